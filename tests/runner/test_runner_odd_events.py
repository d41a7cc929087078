"""Events of any shape: what is told of them has the shape that is promised, and turns end."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from unittest import mock

import pytest
from fake_cloud import FakeCloud, Json
from hypothesis import given, settings
from hypothesis import strategies as st
from runner_kit import SESSION_ID, Sandbox, agent_args, prompt_args
from talk_kit import answer, event, released

from headstart.domain.channel import RunnerEvent, TurnEnded
from headstart_runner.agents import said
from headstart_runner.agents.http import AgentClient
from headstart_runner.agents.said import OddEvent
from headstart_runner.conversation import shapes, tracker, turn
from headstart_runner.conversation.courier import Courier
from headstart_runner.conversation.tracker import TurnTracker
from headstart_runner.redaction import Redactor

pytestmark = pytest.mark.anyio

KINDS = {"text", "reasoning", "tool", "patch", "usage", "error", "other"}
TEXTS = {"kind", "messageId", "partId", "text", "tool", "status", "title", "output", "name", "type"}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(), max_size=9), inner, max_size=4)
    ),
    max_leaves=8,
)


def half(**likely: Any) -> st.SearchStrategy[Any]:
    """Return objects with some of these fields, likely or not, or no object at all."""
    fields = {name: values | anything for name, values in likely.items()}
    return st.fixed_dictionaries({}, optional=fields) | anything


def one_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


tokens = half(input=st.integers(), output=one_of("many", 7), reasoning=st.floats())
states = half(
    status=one_of("running", "completed", "error"),
    title=anything,
    input=anything,
    output=anything,
    error=anything,
)
parts = half(
    id=one_of("p1", "p2", "x" * 5_000),
    messageID=one_of("msg_a", "msg_b"),
    type=one_of("text", "reasoning", "tool", "patch", "step-finish", "file"),
    text=one_of("a", "ab", "b"),
    time=half(end=one_of(1, 0)),
    tool=one_of("bash"),
    state=states,
    files=anything,
    tokens=tokens,
    cost=st.floats(),
)
infos = half(
    id=one_of("msg_a", "msg_b", "msg_u", "x" * 5_000),
    role=one_of("assistant", "user"),
    parentID=one_of("msg_u"),
    finish=one_of("stop"),
    error=half(name=one_of("APIError"), data=anything),
    tokens=tokens,
    cost=st.floats(),
)
requests = half(id=one_of("per_1", "x" * 5_000), questions=anything, patterns=anything)
questions = half(question=anything, options=anything)
odd_events = st.one_of(
    st.dictionaries(st.text(max_size=9), anything, max_size=3),
    st.builds(lambda info: event("message.updated", info=info), infos),
    st.builds(lambda part: event("message.part.updated", part=part), parts),
    st.builds(
        lambda status: event("session.status", status=status),
        half(type=one_of("idle", "busy", "retry"), message=anything),
    ),
    st.builds(lambda error: event("session.error", error=error), anything),
    st.builds(
        lambda fields: event("message.part.delta", **fields),
        st.fixed_dictionaries(
            {
                "messageID": one_of("msg_a") | anything,
                "partID": one_of("p1", "p2") | anything,
                "field": one_of("text") | anything,
                "delta": one_of("a", "b") | anything,
            }
        ),
    ),
    st.builds(lambda part: event("message.part.removed", partID=part), one_of("p1") | anything),
    st.builds(lambda kind, asked: {"type": kind, "properties": asked},
              one_of("permission.asked", "question.asked", "question.rejected"), requests),
    st.builds(lambda asked: event("question.asked", id="que_1", questions=[asked]), questions),
)  # fmt: skip


def as_said(told: Any) -> Json:
    """Return an event as it comes out of the stream."""
    read: Json = said.read(json.dumps(told).encode())
    return read


def levels(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(levels, inner), default=0)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 10**15


def assert_promised(reported: list[RunnerEvent]) -> None:
    """Compare everything that was reported with what docs/api.md says of it."""
    for item in reported:
        told = type(item).model_validate(item.to_json()).to_json()
        json.dumps(told, ensure_ascii=False, allow_nan=False).encode()
        assert levels(told) < 50
        if told["type"] == "agent.event":
            data = told["data"]
            assert isinstance(data, dict)
            assert data["kind"] in KINDS
            assert 0 < len(data["messageId"].encode()) <= shapes.ID_BYTES
            assert 0 < len(data["partId"].encode()) <= shapes.ID_BYTES + len(".error")
            assert all(isinstance(data[name], str) for name in TEXTS & set(data))
            if data["kind"] == "tool":
                assert {"tool", "status", "title", "input"} <= set(data)
                assert isinstance(data["input"], dict)
            if data["kind"] == "patch":
                assert all(isinstance(file, str) for file in data["files"])
            if data["kind"] == "usage":
                assert is_number(data["cost"])
                assert all(is_number(data["tokens"][name]) for name in ("input", "output"))
        if told["type"] == "input.requested":
            assert 0 < len(str(told["requestId"]).encode()) <= shapes.ID_BYTES
        if told["type"] == "turn.ended":
            assert isinstance(told["usage"], dict)
            assert all(map(is_number, told["usage"].values()))


@settings(max_examples=150)
@given(st.lists(odd_events, max_size=12))
def test_what_is_told_has_the_promised_shape_whatever_the_agent_says(events: list[Json]) -> None:
    tracked = TurnTracker("ses_1", "trn_1", "msg_u", Redactor())
    reported: list[RunnerEvent] = []
    for told in [event("message.updated", info={"id": "msg_u"}), answer(), *events]:
        try:
            reported += tracked.feed(as_said(told)) or []
        except OddEvent:
            continue
    assert_promised([*reported, *tracked.close()])
    assert all(is_number(value) for value in tracked.usage.values())
    assert all(isinstance(part["text"], str) for part in tracked.snapshot())


@settings(max_examples=60)
@given(st.lists(odd_events, max_size=12))
def test_a_turn_ends_once_whatever_the_agent_says(events: list[Json]) -> None:
    reported: list[RunnerEvent] = []

    async def scenario() -> None:
        followed = released(reported)
        following = asyncio.create_task(followed.follow())
        end = [
            event("message.updated", info={"id": "msg_u"}),
            answer(id="msg_z", finish="stop"),
            event("session.idle"),
        ]
        for told in [answer(), *events, *end]:
            try:
                followed.feed(as_said(told))
            except OddEvent:
                continue
        async with asyncio.timeout(5):
            await following

    with mock.patch.object(turn, "QUIET_SECONDS", 0.0):
        asyncio.run(scenario())
    assert_promised(reported)
    assert [item.type for item in reported].count("turn.ended") == 1
    assert isinstance(reported[-1], TurnEnded)


async def test_a_runner_goes_on_past_odd_events_of_every_kind(
    cloud: FakeCloud,
    prepared: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    real = said.lines

    async def noisy(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes | None]:
        async for line in real(chunks):
            if line and b'"message.updated"' in line:
                info = json.loads(line[5:])["properties"]["info"]
                for odd in ODD_LINES * 5:
                    yield odd
                for part in ODD_PARTS if info["role"] == "assistant" else []:
                    yield said_of(info["id"], part)
            yield line

    monkeypatch.setattr(said, "lines", noisy)
    await cloud.do("agent", agent_args(ANEW="1"), name="1.agent.2")
    for number in (1, 2):
        await cloud.do("prompt", prompt_args(number), name=f"msg_{number}.prompt")
        ended = await cloud.turn_ended(f"trn_{number}")
        assert (ended["error"], ended["interrupted"]) == (None, False)
        assert all(map(is_number, ended["usage"].values()))
        told = [e["data"] for e in cloud.of("agent.event", turnId=f"trn_{number}")]
        assert [data["kind"] for data in told if "Add a health check" in str(data.get("text"))]
        tools = {data["tool"]: data for data in told if data["kind"] == "tool"}
        assert levels(tools["deep"]["input"]) == shapes.LEVELS + 1
        assert (tools["wide"]["input"], tools["wide"]["title"]) == ({}, "wide")
        assert tools["wide"]["output"] == '{"a": [1]}'
        assert [data["files"] for data in told if data["kind"] == "patch"] == [[]]

    assert len(cloud.hellos) == 1
    assert max(map(levels, cloud.events)) < 50
    odd = [record for record in caplog.records if record.getMessage().startswith("odd: ")]
    assert 3 < len(odd) < 30


def said_of(message_id: str, part: Json) -> bytes:
    fields = {"sessionID": SESSION_ID, "messageID": message_id, **part}
    told = {"type": "message.part.updated", "properties": {"part": fields}}
    return b"data: " + json.dumps(told).encode()


def _ours(kind: str, **properties: Any) -> bytes:
    told = {"type": kind, "properties": {"sessionID": SESSION_ID, **properties}}
    return b"data: " + json.dumps(told).encode()


def _nested(depth: int) -> Any:
    value: Any = "bottom"
    for _ in range(depth):
        value = {"a": value}
    return value


_UNKNOWN = "x" * 1_000_000
ODD_LINES: list[bytes | None] = [
    None,
    b"data: 5",
    b"data: {",
    b"data: " + b"[" * 100_000,
    b'data: {"type":["session.idle"],"properties":{}}',
    b'data: {"type":"message.updated","properties":[]}',
    b'data: {"\\ud800":"\\udfff","type":"session.status","properties":{"sessionID":"\\ud800"}}',
    _ours("message.updated"),
    _ours("message.updated", info={"id": ["a"]}),
    _ours("message.updated", info={"id": _UNKNOWN, "role": "assistant", "parentID": _UNKNOWN}),
    _ours("message.part.updated", part="p"),
    _ours("message.part.removed", partID={"a": 1}),
    _ours("session.status"),
    _ours("session.status", status="idle"),
    _ours("session.status", status={"type": {"a": 1}}),
    _ours("permission.asked"),
    _ours("question.replied", requestID=[1]),
]
ODD_PARTS: list[Json] = [
    {"type": "tool", "tool": "nameless"},
    {"id": 5, "type": "tool"},
    {"id": "prt_typeless"},
    {"id": "prt_deep", "type": "tool", "tool": "deep",
     "state": {"status": "running", "input": _nested(254)}},
    {"id": "prt_wide", "type": "tool", "tool": "wide",
     "state": {"status": "completed", "input": [], "title": {"a": 1}, "output": {"a": [1]}}},
    {"id": "prt_files", "type": "patch", "files": 5},
    {"id": "prt_usage", "type": "step-finish", "tokens": {"input": "many"}, "cost": "much"},
    {"id": "prt_text", "type": "text", "text": 5, "time": "now"},
    {"id": _UNKNOWN, "type": _UNKNOWN},
]  # fmt: skip


async def test_a_listener_that_fails_is_told_the_next_event(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failed = Courier.agent_event, []

    def failing(self: Courier, told: Json) -> None:
        if told["type"] == "message.part.delta":
            failed.append(told)
            raise KeyError("a defect of ours")
        real(self, told)

    monkeypatch.setattr(Courier, "agent_event", failing)
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")

    assert (await cloud.turn_ended("trn_1"))["error"] is None
    assert len(failed) > 1


async def test_a_stream_that_breaks_in_an_unknown_way_is_opened_again(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, broken = said.lines, []

    async def breaking(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes | None]:
        async for line in real(chunks):
            if line and b"message.part.delta" in line and not broken:
                broken.append(line)
                raise RuntimeError("nobody thought of this")
            yield line

    monkeypatch.setattr(said, "lines", breaking)
    await cloud.do("agent", agent_args(ANEW="1"), name="1.agent.2")
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")

    assert (await cloud.turn_ended("trn_1"))["error"] is None
    assert len(broken) == 1
    texts = [e["data"].get("text", "") for e in cloud.of("agent.event", turnId="trn_1")]
    assert any(texts)


async def test_an_end_that_the_stream_tells_while_the_agent_is_asked_is_the_end(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell, ask, idle, looking = Courier.agent_event, AgentClient.messages, asyncio.Event(), []

    def telling(self: Courier, told: Json) -> None:
        tell(self, told)
        if told["type"] == "message.part.delta" and not looking:
            looking.append(told)
            self.agent_reconnected()
        elif told["type"] == "session.idle":
            idle.set()

    async def asking(self: AgentClient, session_id: str) -> list[Json]:
        if looking:
            await idle.wait()
        return await ask(self, session_id)

    monkeypatch.setattr(Courier, "agent_event", telling)
    monkeypatch.setattr(AgentClient, "messages", asking)
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")

    assert (await cloud.turn_ended("trn_1"))["error"] is None
    assert looking


async def test_a_turn_that_can_not_be_followed_ends_in_words(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: TurnTracker) -> Json:
        raise TypeError("nobody thought of this")

    with monkeypatch.context() as patch:
        patch.setattr(TurnTracker, "usage", property(broken))
        await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
        ended = await cloud.turn_ended("trn_1")
    await cloud.do("prompt", prompt_args(2), name="msg_2.prompt")

    assert ended["error"]["code"] == "InternalStepError"
    assert "nobody thought of this" in ended["error"]["reason"]
    assert (await cloud.turn_ended("trn_2"))["error"] is None


def test_a_flood_of_parts_is_forgotten_but_for_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "_MOST_PARTS", 3)
    monkeypatch.setattr(tracker, "_MOST_MESSAGES", 3)
    monkeypatch.setattr(tracker, "_OPEN_CHARACTERS", 10)
    tracked = TurnTracker("ses_1", "trn_1", "msg_u", Redactor())
    tracked.feed(event("message.updated", info={"id": "msg_u"}))
    for number in range(9):
        tracked.feed(answer(id=f"msg_{number}", tokens={"input": 1}))
    for number in range(9):
        delta = {"messageID": "msg_8", "field": "text", "delta": "four"}
        tracked.feed(event("message.part.delta", partID=f"p{number}", **delta))

    assert tracked.usage["inputTokens"] == 3
    assert [part["partId"] for part in tracked.snapshot()] == ["p6", "p7"]
    done = {"id": "p8", "messageID": "msg_8", "type": "text", "text": "four and more",
            "time": {"end": 1}}  # fmt: skip
    [told] = tracked.feed(event("message.part.updated", part=done)) or []
    assert told.to_json()["data"]["text"] == "four and more"


def test_an_input_is_cut_to_what_anybody_could_be_shown() -> None:
    wide = {"list": list(range(10_000)), "text": "x" * 1_000_000}
    cut = shapes.free(wide)

    assert len(cut["list"]) < 2_000
    assert len(shapes.free({"text": "x" * 1_000_000})["text"]) < 200_001
    assert levels(shapes.free(_nested(300))) == shapes.LEVELS + 1
    assert shapes.free({"a": [1, None, "b", {"c": 0.5}]}) == {"a": [1, None, "b", {"c": 0.5}]}
