"""A turn and its one end: interrupted, failed, watched from the middle."""

import asyncio
from typing import Any

import pytest
from fake_cloud import FakeCloud
from runner_kit import Sandbox, prepare, prompt_args
from talk_kit import Posts, answer, event

from headstart.domain.channel import RunnerEvent
from headstart.domain.command_args import PromptArgs
from headstart_runner.agents.http import AgentClient, AgentSilent
from headstart_runner.conversation import turn
from headstart_runner.redaction import Redactor

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
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    await prepare(cloud, sample, DEMO_AGENT_SECONDS="0.4")
    await cloud.watch(0)
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    await cloud.until(lambda: [e for e in cloud.of("agent.event") if e["data"]["kind"] == "tool"])
    await asyncio.sleep(0.2)
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

    async def connect() -> AgentClient:
        raise AgentSilent("nobody")

    args = PromptArgs.model_validate(prompt_args() | {"sessionId": "ses_1"})
    followed = turn.Turn(
        args,
        agent_message_id="msg_u",
        command_id="c",
        redactor=Redactor(),
        report=reported.append,
        connect=connect,
    )
    followed.release()
    following = asyncio.create_task(followed.follow())
    followed.feed(event("message.updated", info={"id": "msg_u", "role": "user"}))
    followed.feed(answer(finish="stop"))
    followed.feed(event("session.idle"))
    await asyncio.sleep(turn.QUIET_SECONDS / 3)
    late = {"id": "p", "messageID": "msg_a", "type": "patch", "files": ["a"]}
    followed.feed(event("message.part.updated", part=late))
    await following

    assert [item.type for item in reported] == ["agent.event", "turn.ended"]


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

    async def connect() -> AgentClient:
        return client

    stopped = turn.Turn(
        PromptArgs.model_validate(prompt_args() | {"sessionId": "ses_1"}),
        agent_message_id="msg_u",
        command_id="c",
        redactor=Redactor(),
        report=reported.append,
        connect=connect,
    )
    stopped.release()
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
