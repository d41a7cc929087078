"""A turn and its one end: interrupted, failed, watched from the middle."""

import asyncio
from typing import Any

import pytest
from fake_cloud import FakeCloud
from runner_kit import Sandbox, prepare, prompt_args
from talk_kit import Posts, answer, event, released

from headstart.domain.channel import RunnerEvent
from headstart_runner.agents.http import AgentClient
from headstart_runner.conversation import turn
from headstart_runner.conversation.courier import Courier

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("how", ["cancel", "abort", "next prompt"])
async def test_a_turn_can_be_interrupted_and_the_next_is_not_disturbed(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, how: str
) -> None:
    await prepare(cloud, sample, DEMO_AGENT_SECONDS="0.4")
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    await cloud.until(lambda: cloud.of("agent.delta"))
    if how == "cancel":
        await cloud.cancel("msg_1.prompt")
    elif how == "abort":
        assert (await cloud.do("abort", {"turnId": "trn_1"}))["status"] == "completed"
    await cloud.do("prompt", prompt_args(2), name="msg_2.prompt")

    first, second = await cloud.turn_ended("trn_1"), await cloud.turn_ended("trn_2")
    assert (first["error"], first["interrupted"]) == (None, True)
    assert (second["error"], second["interrupted"]) == (None, False)
    order = [e["turnId"] for e in cloud.order if "turnId" in e]
    assert order == sorted(order)


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("when", ["before it came", "while it waits", "twice"])
async def test_a_turn_is_stopped_whose_message_is_still_on_its_way(
    cloud: FakeCloud,
    sample: str,
    when: str,
    monkeypatch: pytest.MonkeyPatch,
    posts: Posts,
) -> None:
    await prepare(cloud, sample, DEMO_AGENT_SECONDS="30")
    asked, go_on = asyncio.Event(), asyncio.Event()
    real = AgentClient.messages

    async def slow(self: AgentClient, session_id: str) -> list[dict[str, Any]]:
        asked.set()
        await go_on.wait()
        return await real(self, session_id)

    monkeypatch.setattr(AgentClient, "messages", slow)
    if when != "before it came":
        await cloud.start("prompt", prompt_args(), name="msg_1.prompt")
        await asked.wait()
    for number in range(2 if when == "twice" else 1):
        await cloud.do("abort", {"turnId": "trn_1"}, name=f"trn_1.abort.{number}")
    await cloud.start("prompt", prompt_args(), name="msg_1.prompt")
    go_on.set()

    assert (await cloud.result("msg_1.prompt"))["status"] == "completed"
    ended = await cloud.turn_ended("trn_1")
    assert (ended["error"], ended["interrupted"]) == (None, True)
    await cloud.do("prompt", prompt_args(2), name="msg_2.prompt")
    await cloud.until(lambda: cloud.of("agent.delta", turnId="trn_2"))
    assert len(posts) == 2
    assert len(cloud.of("turn.ended")) == 1


async def test_a_viewer_who_joins_in_the_middle_gets_the_open_parts(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaking, real = asyncio.Event(), Courier.agent_event

    def heard(self: Courier, told: dict[str, Any]) -> None:
        real(self, told)
        if told["type"] == "message.part.delta":
            speaking.set()

    monkeypatch.setattr(Courier, "agent_event", heard)
    await prepare(cloud, sample, DEMO_AGENT_SECONDS="2")
    await cloud.watch(0)
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    await speaking.wait()
    await cloud.watch(1)
    [snapshot] = await cloud.until(lambda: cloud.of("agent.snapshot"))
    await cloud.turn_ended("trn_1")

    [part] = snapshot["parts"]
    text = part["text"]
    for delta in cloud.of("agent.delta"):
        assert delta["offset"] == len(text)
        text += delta["text"]
    [said] = [e["data"] for e in cloud.of("agent.event") if e["data"]["kind"] == "text"]
    assert said["text"].startswith(text)
    assert said["partId"] == part["partId"]


async def test_events_that_trail_the_idle_still_belong_to_the_turn() -> None:
    reported: list[RunnerEvent] = []

    followed = released(reported)
    following = asyncio.create_task(followed.follow())
    followed.feed(event("message.updated", info={"id": "msg_u", "role": "user"}))
    followed.feed(answer(finish="stop"))
    followed.feed(event("session.idle"))
    await asyncio.sleep(turn.QUIET_SECONDS / 3)
    late = {"id": "p", "messageID": "msg_a", "type": "patch", "files": ["a"]}
    followed.feed(event("message.part.updated", part=late))
    await following

    assert [item.type for item in reported] == ["agent.event", "turn.ended"]


def done(followed: turn.Turn) -> None:
    """Let the agent finish its answer."""
    for told in (
        event("message.updated", info={"id": "msg_u"}),
        answer(finish="stop"),
        event("session.idle"),
    ):
        followed.feed(told)


async def flooded(followed: turn.Turn, *events: dict[str, Any]) -> None:
    """Let the agent say these events over and over until the turn ends, 5 s at most."""
    following = asyncio.create_task(followed.follow())
    async with asyncio.timeout(5):
        while not following.done():
            for told in events:
                followed.feed(told)
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("told", [event("session.idle"), answer(finish="stop")])
async def test_an_agent_that_never_falls_silent_has_ended_all_the_same(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, Any]
) -> None:
    monkeypatch.setattr(turn, "_TRAILING_SECONDS", 0.3)
    reported: list[RunnerEvent] = []
    followed = released(reported)
    done(followed)
    await flooded(followed, told)

    ended = reported[-1].to_json()
    assert (ended["type"], ended["error"]) == ("turn.ended", None)


async def test_what_is_no_event_of_the_turn_does_not_put_off_its_end() -> None:
    reported: list[RunnerEvent] = []
    followed = released(reported)
    done(followed)
    others = event("session.idle")
    others["properties"]["sessionID"] = "ses_2"
    await flooded(followed, others, event("todo.updated"), {"type": "server.heartbeat"})

    assert reported[-1].to_json()["error"] is None


async def test_an_agent_that_is_idle_over_and_over_does_not_hold_the_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turn, "_STALLED_SECONDS", 0.2)
    reported: list[RunnerEvent] = []
    await flooded(released(reported), answer(), event("session.idle"))

    assert reported[-1].to_json()["error"]["code"] == "InternalStepError"  # type: ignore[index]


async def test_a_provider_that_fails_between_two_tries_keeps_failing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turn, "RETRYING_SECONDS", 0.3)
    reported: list[RunnerEvent] = []
    followed = released(reported, Told())
    followed.feed(event("message.updated", info={"id": "msg_u"}))
    retry = event("session.status", status={"type": "retry", "message": "overloaded"})
    busy = event("session.status", status={"type": "busy"})
    start = {"id": "p0", "messageID": "msg_a", "type": "step-start"}
    monkeypatch.setattr(turn, "_ABORT_SECONDS", 0.1)
    await flooded(followed, answer(), retry, busy, event("message.part.updated", part=start))

    assert reported[-1].to_json()["error"]["code"] == "ProviderUnavailable"  # type: ignore[index]
    assert [item.type for item in reported] == ["turn.retrying", "turn.ended"]


async def test_an_answer_between_two_failures_is_progress() -> None:
    reported: list[RunnerEvent] = []
    followed = released(reported)
    for told in (
        event("message.updated", info={"id": "msg_u"}),
        answer(),
        event("session.status", status={"type": "retry", "message": "overloaded"}),
        event("message.part.delta", messageID="msg_a", partID="p", field="text", delta="word"),
        event("session.status", status={"type": "retry", "message": "overloaded"}),
    ):
        followed.feed(told)

    told_of = [item.type for item in reported]
    assert told_of == ["turn.retrying", "agent.delta", "turn.retrying"]


class Hanging(AgentClient):
    """An agent's client that never hears an answer."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def busy(self, _: str) -> bool:
        self.asked.set()
        await asyncio.Event().wait()
        return True

    async def abort(self, _: str) -> None:
        return


async def test_an_agent_that_does_not_answer_does_not_hold_up_an_interrupt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turn, "_STALLED_SECONDS", 0.1)
    monkeypatch.setattr(turn, "_ABORT_SECONDS", 0.1)
    reported: list[RunnerEvent] = []
    client = Hanging()
    followed = released(reported, client)
    following = asyncio.create_task(followed.follow())
    for told in (answer(), event("session.idle")):
        followed.feed(told)
    await client.asked.wait()
    followed.cancel()
    async with asyncio.timeout(5):
        await following

    assert reported[-1].to_json()["interrupted"] is True


async def test_an_end_that_the_stream_did_not_tell_is_found_by_looking(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "_SILENT_SECONDS", 0.3)
    real = Courier.agent_event

    def deaf(self: Courier, told: dict[str, Any]) -> None:
        if not told["type"].startswith("session."):
            real(self, told)

    monkeypatch.setattr(Courier, "agent_event", deaf)
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")

    assert (await cloud.turn_ended("trn_1"))["error"] is None


class Told(AgentClient):
    """An agent's client that only notes that it was told to stop."""

    def __init__(self) -> None:
        self.aborts: list[str] = []

    async def abort(self, session_id: str) -> None:
        self.aborts.append(session_id)


@pytest.mark.parametrize("begins", [True, False])
async def test_an_agent_is_told_to_stop_once_it_has_begun(begins: bool) -> None:
    reported: list[RunnerEvent] = []
    client = Told()
    stopped = released(reported, client)
    stopped.cancel()
    following = asyncio.create_task(stopped.follow())
    stopped.feed(event("message.updated", info={"id": "msg_u", "role": "user"}))
    stopped.feed(event("session.status", status={"type": "busy"}))
    await asyncio.sleep(0.05)
    assert client.aborts == []
    if begins:
        stopped.feed(answer())
        await asyncio.sleep(0.05)
        assert client.aborts == ["ses_1"]
        stopped.feed(answer(error={"name": "MessageAbortedError"}))
        stopped.feed(event("session.idle"))
    else:
        stopped.crashed("it died before")
    async with asyncio.timeout(1):
        await following

    ended = reported[-1].to_json()
    assert (ended["type"], ended["interrupted"], ended["error"]) == ("turn.ended", True, None)
    assert len(client.aborts) == begins


async def test_an_agent_that_goes_idle_without_an_answer_does_not_hold_the_turn(
    monkeypatch: pytest.MonkeyPatch, cloud: FakeCloud, prepared: Sandbox
) -> None:
    monkeypatch.setattr(turn, "_STALLED_SECONDS", 0.2)
    real = turn.Turn.feed

    def forgetful(self: turn.Turn, given: dict[str, Any]) -> None:
        info = given["properties"].get("info") or {}
        info.pop("finish", None)
        real(self, given)

    monkeypatch.setattr(turn.Turn, "feed", forgetful)
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    ended = await cloud.turn_ended("trn_1")

    assert ended["error"]["code"] == "InternalStepError"
    assert "without finishing" in ended["error"]["reason"]


async def test_a_provider_that_fails_for_too_long_ends_the_turn(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "RETRYING_SECONDS", 0.2)
    await prepare(cloud, sample, DEMO_AGENT_SECONDS="30")
    real = turn.Turn.feed

    def failing(self: turn.Turn, given: dict[str, Any]) -> None:
        if given["type"] == "message.part.delta":
            given = event("session.status", status={"type": "retry", "message": "overloaded"})
            given["properties"]["sessionID"] = self.args.session_id
        real(self, given)

    monkeypatch.setattr(turn.Turn, "feed", failing)
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    ended = await cloud.turn_ended("trn_1")

    assert ended["error"]["code"] == "ProviderUnavailable"
    assert "overloaded" in ended["error"]["reason"]
    assert cloud.of("turn.retrying", reason="overloaded")
