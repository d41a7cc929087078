"""Delivering a message at most once, and the one end of its turn."""

import asyncio
import os
import signal
from typing import Any

import pytest
from fake_cloud import FakeCloud
from runner_kit import Sandbox, agent_args, eventually, prepare, processes, prompt_args

from headstart.domain.channel import RunnerEvent
from headstart.domain.command_args import AgentArgs, PromptArgs
from headstart_runner.agents.http import AgentClient, AgentRefused, AgentSilent, AgentUnreachable
from headstart_runner.agents.supervisor import Supervisor
from headstart_runner.conversation import courier, turn
from headstart_runner.conversation.courier import mint_message_id
from headstart_runner.conversation.tracker import TurnTracker
from headstart_runner.processes.nanny import descendants
from headstart_runner.redaction import Redactor

pytestmark = pytest.mark.anyio

SERVE = "headstart_demo_agent serve"
Posts = list[dict[str, Any]]


@pytest.fixture
def posts(monkeypatch: pytest.MonkeyPatch) -> Posts:
    """Record what is posted to the agent."""
    posted: Posts = []
    real = AgentClient.prompt

    async def prompt(self: AgentClient, session_id: str, body: dict[str, Any]) -> None:
        posted.append(body)
        await real(self, session_id, body)

    monkeypatch.setattr(AgentClient, "prompt", prompt)
    return posted


def agents() -> list[int]:
    """Return the pids of the agent servers below this process."""
    return sorted({*processes(SERVE)} & {*descendants()})


async def test_a_refused_message_is_failed_and_may_be_tried_again(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch, posts: Posts
) -> None:
    async def refuse(*_: Any) -> None:
        raise AgentRefused("status 400: no")

    with monkeypatch.context() as patch:
        patch.setattr(AgentClient, "prompt", refuse)
        failed = await cloud.do("prompt", prompt_args(), name="msg_1.prompt.1")
    again = await cloud.do("prompt", prompt_args(), name="msg_1.prompt.2")

    assert failed["error"]["code"] == "DeliveryFailed"
    assert "status 400: no" in failed["error"]["reason"]
    assert again["status"] == "completed"
    assert (await cloud.turn_ended("trn_1"))["error"] is None
    assert len(posts) == 1


async def test_an_agent_that_is_out_of_reach_was_certainly_not_given_the_message(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    async def unreachable(*_: Any) -> None:
        tries.append(1)
        raise AgentUnreachable("connection refused")

    monkeypatch.setattr(AgentClient, "prompt", unreachable)
    failed = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")

    assert failed["error"]["code"] == "DeliveryFailed"
    assert len(tries) == 3


async def test_a_lost_answer_is_settled_by_looking(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = AgentClient.prompt

    async def forgetful(self: AgentClient, session_id: str, body: dict[str, Any]) -> None:
        await real(self, session_id, body)
        raise AgentSilent("the answer was lost")

    monkeypatch.setattr(AgentClient, "prompt", forgetful)
    done = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")

    assert done["status"] == "completed"
    assert (await cloud.turn_ended("trn_1"))["error"] is None


async def test_what_can_not_be_known_is_unknown_and_never_posted_again(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch, posts: Posts
) -> None:
    async def swallow(*_: Any) -> None:
        raise AgentSilent("the connection broke")

    monkeypatch.setattr(courier, "_LAST_LOOK_SECONDS", 0.3)
    with monkeypatch.context() as patch:
        patch.setattr(AgentClient, "prompt", swallow)
        unknown = await cloud.do("prompt", prompt_args(), name="msg_1.prompt.1")
    again = await cloud.do("prompt", prompt_args(), name="msg_1.prompt.2")

    for result in (unknown, again):
        assert result["error"]["code"] == "DeliveryUnknown"
        assert result["error"]["retryable"] is False
    assert posts == []
    assert cloud.of("turn.ended") == []


async def test_an_agent_that_dies_in_a_turn_ends_it_and_is_started_again(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    await prepare(cloud, sample, DEMO_AGENT_SECONDS="30")
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    await cloud.until(lambda: cloud.of("agent.delta"))
    [pid] = agents()
    os.kill(pid, signal.SIGKILL)

    ended = await cloud.turn_ended("trn_1")
    assert ended["error"]["code"] == "AgentCrashed"
    assert "signal 9" in ended["error"]["reason"]
    await eventually(lambda: agents() not in ([], [pid]))
    await cloud.do("prompt", prompt_args(2), name="msg_2.prompt")
    await cloud.cancel("msg_2.prompt")
    interrupted = await cloud.turn_ended("trn_2")
    assert (interrupted["error"], interrupted["interrupted"]) == (None, True)


async def test_an_agent_that_keeps_dying_stays_down_and_says_so(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    up = asyncio.Event()
    up.set()
    real = Supervisor._start

    async def start(self: Supervisor, args: AgentArgs) -> str:
        version = await real(self, args)
        up.set()
        return version

    monkeypatch.setattr(Supervisor, "_start", start)
    for _ in range(4):
        async with asyncio.timeout(20):
            await up.wait()
        up.clear()
        [pid] = agents()
        os.kill(pid, signal.SIGKILL)
    await eventually(lambda: not agents())
    failed = await cloud.do("prompt", prompt_args(), name="msg_1.prompt.1")
    restarted = await cloud.do("agent", agent_args(), name="1.agent.2")
    done = await cloud.do("prompt", prompt_args(), name="msg_1.prompt.2")

    assert failed["error"]["code"] == "DeliveryFailed"
    assert "3 times" in failed["error"]["reason"]
    assert (restarted["status"], done["status"]) == ("completed", "completed")


async def test_an_agent_that_runs_with_the_same_arguments_stays(
    cloud: FakeCloud, prepared: Sandbox
) -> None:
    before = agents()
    same = await cloud.do("agent", agent_args(), name="1.agent.2")
    kept = agents()
    await cloud.do("agent", agent_args(OTHER="1"), name="1.agent.3")

    assert same["output"] == {"agent": "demo", "version": "1.0.0"}
    assert before == kept != agents()


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


async def test_an_agent_that_does_not_start_says_why(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    sandbox.make_repository()
    unknown = await cloud.do("agent", {**agent_args(), "agent": "nobody"})
    broken = await cloud.do("agent", agent_args(DEMO_AGENT_SECONDS="x"), name="1.agent.2")
    early = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")

    assert unknown["error"]["code"] == "AgentStartFailed"
    assert "demo" in unknown["error"]["reason"]
    assert broken["error"]["code"] == "AgentStartFailed"
    assert "could not convert string to float" in broken["error"]["reason"]
    assert early["error"]["code"] == "DeliveryFailed"


def test_minted_ids_are_above_all_of_the_session() -> None:
    future = "msg_" + "f" * 11 + "0" + "x" * 14
    minted = mint_message_id([{"info": {"id": future}}, {"info": {"id": "msg_odd"}}])

    assert minted > future
    assert minted[:16] == "msg_" + "f" * 11 + "1"


def event(kind: str, **properties: Any) -> dict[str, Any]:
    return {"type": kind, "properties": {"sessionID": "ses_1", **properties}}


def tracker() -> TurnTracker:
    tracked = TurnTracker("ses_1", "trn_1", "msg_u", Redactor())
    tracked.feed(event("message.updated", info={"id": "msg_u", "role": "user"}))
    return tracked


def answer(**fields: Any) -> dict[str, Any]:
    info = {"id": "msg_a", "role": "assistant", "parentID": "msg_u", **fields}
    return event("message.updated", info=info)


def test_trailing_events_of_an_earlier_turn_do_not_end_the_next() -> None:
    tracked = tracker()
    tracked.feed(event("session.idle"))
    old = {"id": "msg_o", "role": "assistant", "parentID": "msg_before", "finish": "stop"}
    tracked.feed(event("message.updated", info=old))
    assert not tracked.over
    tracked.feed(event("session.status", status={"type": "busy"}))
    tracked.feed(answer(finish="tool-calls"))
    assert not tracked.over
    tracked.feed(answer(finish="stop"))
    tracked.feed(event("session.status", status={"type": "idle"}))
    assert tracked.over
    assert tracked.error is None


def test_another_session_is_not_ours() -> None:
    tracked = tracker()
    other = answer(finish="stop")
    other["properties"]["sessionID"] = "ses_2"
    assert tracked.feed(other) == []
    tracked.feed(event("session.idle"))
    assert not tracked.over


def test_an_agents_own_progress_is_no_part_of_its_answer() -> None:
    tracked = tracker()
    tracked.feed(answer())
    part = {"id": "p1", "messageID": "msg_a", "type": "text", "text": "Initializing snapshot"}
    progress = {**part, "synthetic": True, "metadata": {"kilocode.lifecycle": "transient"}}

    assert tracked.feed(event("message.part.updated", part=progress)) == []
    assert tracked.snapshot() == tracked.close() == []


def test_a_long_answer_is_told_to_a_late_viewer_from_its_beginning() -> None:
    tracked = tracker()
    tracked.feed(answer())
    for number in range(2_000):
        delta = {
            "messageID": "msg_a",
            "partID": "p1",
            "field": "text",
            "delta": f"日本語 {number} ",
        }
        tracked.feed(event("message.part.delta", **delta))

    [part] = tracked.snapshot()
    assert part["offset"] == 0
    assert part["text"].startswith("日本語 0 日本語 1 ")
    assert part["text"].endswith(" 1999 ")


def test_a_removed_part_is_forgotten_and_an_open_one_is_closed() -> None:
    tracked = tracker()
    tracked.feed(answer())
    for part_id in ("p1", "p2"):
        part = {"id": part_id, "messageID": "msg_a", "type": "text", "text": "hello"}
        tracked.feed(event("message.part.updated", part=part))
    tracked.feed(event("message.part.removed", messageID="msg_a", partID="p1"))

    [closed] = tracked.close()
    assert closed.to_json()["data"]["partId"] == "p2"
    assert tracked.close() == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"name": "APIError", "data": {"message": "overloaded"}}, "ProviderUnavailable"),
        ({"name": "UnknownError", "data": {"message": "odd"}}, "InternalStepError"),
        ({"name": "MessageAbortedError", "data": {}}, "Cancelled"),
    ],
)
def test_the_agents_errors_have_our_names(error: dict[str, Any], code: str) -> None:
    tracked = tracker()
    reports = tracked.feed(event("session.error", error=error))
    tracked.feed(answer(error=error))
    tracked.feed(event("session.idle"))

    assert tracked.over
    assert tracked.error is not None
    assert tracked.error.code == code
    assert [report.to_json()["data"]["kind"] for report in reports] == ["error"]


def test_a_provider_that_keeps_failing_is_told_once_a_reason() -> None:
    tracked = tracker()
    reports = []
    for reason in ("overloaded", "overloaded", "rate limited"):
        status = {"type": "retry", "attempt": 1, "message": reason}
        reports += tracked.feed(event("session.status", status=status))

    assert [report.to_json()["reason"] for report in reports] == ["overloaded", "rate limited"]


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
