"""A message on its way while something stops: it reaches the agent at most once, and is kept."""

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.change import Change
from headstart.domain.errors import StepTimedOut
from headstart.domain.life.turns import end_turn
from headstart.domain.message import Message, MessageStatus
from headstart.domain.requests import PatchSession, RetrySession
from headstart.domain.session import Cause, Hold, Status
from headstart.domain.steps import StepName
from headstart.usecases import talk
from headstart.usecases.prepare import fail_preparation
from headstart.usecases.sandbox import sandbox_stopped
from headstart.usecases.talk import initiate
from tests.unit.archives import save
from tests.unit.helpers import (
    Runner,
    begin,
    connected,
    created,
    opened,
    prepared_up_to,
    running,
    touch,
)
from tests.unit.test_sleep import idle, say

S = StepName


def on_its_way(ports: MemoryPorts) -> tuple[str, Runner, str]:
    """Return an idle session whose second message was sent; its command's id comes along."""
    session_id, runner = idle(ports)
    say(ports, session_id)
    [prompt] = [f["id"] for f in runner.new_frames() if f.get("kind") == "prompt"][-1:]
    return session_id, runner, prompt


def preparing(ports: MemoryPorts) -> tuple[str, Runner, str]:
    """Return a preparing session whose first message was sent; its command's id comes along."""
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, S.DELIVER)
    runner.new_frames()
    begin(ports, session_id, S.DELIVER)
    [prompt] = runner.new_frames()
    return session_id, runner, prompt["id"]


def prompts(runner: Runner) -> list[str]:
    return [f["id"] for f in runner.new_frames() if f.get("kind") == "prompt"]


def cancelled(runner: Runner) -> list[str]:
    return [f["id"] for f in runner.new_frames() if f["type"] == "cancel"]


# A sandbox that must stop.


@pytest.mark.parametrize("older", [True, False])
def test_a_message_that_may_have_arrived_is_held_for_a_person(
    ports: MemoryPorts, older: bool
) -> None:
    session_id, runner, prompt = on_its_way(ports)
    runner.send("leaving", **({} if older else {"delivering": [prompt]}))
    message = ports.store.message(session_id, 2)
    assert message.status is MessageStatus.HELD
    assert message.failure
    assert message.failure.code == "DeliveryUnknown"
    save(ports, runner)
    session = ports.store.session(session_id)
    assert (session.status, session.hold) == (Status.ASLEEP, Hold.INITIATE)
    initiate(ports, "alice", session_id)
    assert ports.store.session(session_id).attempt_cause is Cause.WAKE


def test_a_message_that_was_not_handed_over_wakes_the_session_again(ports: MemoryPorts) -> None:
    session_id, runner, _ = on_its_way(ports)
    runner.send("leaving", delivering=["another.prompt.1"])
    assert ports.store.message(session_id, 2).status is MessageStatus.QUEUED
    save(ports, runner)
    session = ports.store.session(session_id)
    assert (session.status, session.attempt_cause) == (Status.PREPARING, Cause.WAKE)


def test_a_message_that_a_leaving_sandbox_sends_back_is_not_sent_to_it_again(
    ports: MemoryPorts,
) -> None:
    session_id, runner, prompt = on_its_way(ports)
    runner.fail(prompt, "SandboxLeaving")
    assert ports.store.message(session_id, 2).status is MessageStatus.QUEUED
    assert ports.store.session(session_id).hold is None
    assert prompts(runner) == []
    runner.send("leaving", delivering=[])
    save(ports, runner)
    session = ports.store.session(session_id)
    assert (session.status, session.attempt_cause) == (Status.PREPARING, Cause.WAKE)
    asleep = [e.data for e in ports.store.event_log[session_id] if e.type == "session.asleep"]
    assert asleep == [{"reason": "The sandbox had to stop", "saved": True, "leftOut": []}]


def test_a_leaving_sandbox_saves_its_work_as_it_is_now(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    say(ports, session_id)
    turn = ports.store.session(session_id).active_turn
    assert turn
    ended = {"type": "turn.ended", "turnId": turn.turn_id, "messageId": turn.message_id}
    runner.report(ended)
    [prompt] = [f["id"] for f in runner.frames() if f.get("kind") == "prompt"][-1:]
    runner.fail(prompt, "SandboxLeaving")
    copies = [f["id"] for f in runner.frames() if f.get("kind") == "archive"]
    assert len(set(copies)) == 2
    save(ports, runner)
    assert ports.store.session(session_id).status is Status.PREPARING


@pytest.mark.parametrize("how", ["sent back", "not handed over", "unknown"])
def test_a_preparation_in_a_leaving_sandbox_fails_and_says_what_is_known(
    ports: MemoryPorts, how: str
) -> None:
    session_id, runner, prompt = preparing(ports)
    if how == "sent back":
        runner.fail(prompt, "SandboxLeaving")
    else:
        runner.send("leaving", delivering=[prompt] if how == "unknown" else [])
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "retired")
    fail_preparation(ports, session_id, 1, StepTimedOut("whatever"))
    message = ports.store.message(session_id, 1)
    expected = MessageStatus.HELD if how == "unknown" else MessageStatus.QUEUED
    assert message.status is expected
    assert (ports.store.session(session_id).hold is None) == (how != "unknown")


# A prompt that was stopped before it was sent.


def interrupting(ports: MemoryPorts, session_id: str) -> None:
    """Let a person interrupt between the next commit and what follows it."""
    commit = ports.store.commit

    def and_then(work: Change) -> None:
        commit(work)
        ports.store.commit = commit  # type: ignore[method-assign]
        talk.interrupt(ports, "alice", session_id)

    ports.store.commit = and_then  # type: ignore[method-assign]


def test_a_prompt_is_not_sent_once_its_preparation_was_cancelled(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, S.DELIVER)
    runner.new_frames()
    interrupting(ports, session_id)
    begin(ports, session_id, S.DELIVER)
    assert [f["type"] for f in runner.new_frames()] == ["cancel"]
    assert ports.store.session(session_id).status is Status.FAILED


def test_a_prompt_is_not_sent_once_its_sandbox_is_gone(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    runner.new_frames()
    commit = ports.store.commit
    sandbox = ports.store.sandbox(session_id)
    assert sandbox

    def claimed(work: Change) -> bool:
        return any(
            isinstance(r, Message) and r.status is MessageStatus.DELIVERING for r in work.rows
        )

    def and_then(work: Change) -> None:
        commit(work)
        if claimed(work):
            ports.store.commit = commit  # type: ignore[method-assign]
            sandbox_stopped(ports, sandbox.name(session_id), str(sandbox.task_arn), "gone")

    ports.store.commit = and_then  # type: ignore[method-assign]
    say(ports, session_id)
    assert prompts(runner) == []
    assert ports.store.message(session_id, 2).status is MessageStatus.HELD


def test_an_interrupted_preparation_cancels_its_prompt(ports: MemoryPorts) -> None:
    session_id, runner, prompt = preparing(ports)
    talk.interrupt(ports, "alice", session_id)
    assert cancelled(runner) == [prompt]


def test_a_failed_preparation_cancels_its_prompt(ports: MemoryPorts) -> None:
    session_id, runner, prompt = preparing(ports)
    fail_preparation(ports, session_id, 1, StepTimedOut("too slow"))
    assert cancelled(runner) == [prompt]


def test_what_became_of_an_earlier_try_does_not_end_the_present_one(ports: MemoryPorts) -> None:
    session_id, runner, prompt = preparing(ports)
    fail_preparation(ports, session_id, 1, StepTimedOut("too slow"))
    initiate_after_retry(ports, session_id)
    runner.fail(prompt, "DeliveryFailed", "late")
    message = ports.store.message(session_id, 1)
    assert (message.status, message.tries) == (MessageStatus.DELIVERING, 2)


def initiate_after_retry(ports: MemoryPorts, session_id: str) -> None:
    """Begin the second attempt in the sandbox that is there, and deliver what is held."""
    talk.retry(ports, "alice", session_id, RetrySession(attempt_number=1))
    initiate(ports, "alice", session_id)
    begin(ports, session_id, S.SANDBOX, 2)
    begin(ports, session_id, S.DELIVER, 2)


# A message of which nobody knows.


def unknown(ports: MemoryPorts) -> tuple[str, Runner]:
    """Return an awake session whose second message may have arrived, with a third behind it."""
    session_id, runner, prompt = on_its_way(ports)
    runner.fail(prompt, "DeliveryUnknown")
    assert ports.store.session(session_id).hold is Hold.INITIATE
    runner.new_frames()
    return session_id, runner


@pytest.mark.parametrize("how", ["message", "interrupt", "janitor"])
def test_nothing_but_a_person_who_says_so_releases_it(ports: MemoryPorts, how: str) -> None:
    session_id, runner = unknown(ports)
    match how:
        case "message":
            say(ports, session_id)
        case "interrupt":
            talk.interrupt(ports, "alice", session_id)
        case _:
            touch(ports, session_id)
    runner.beat()
    assert prompts(runner) == []
    assert ports.store.session(session_id).hold is Hold.INITIATE
    assert ports.store.message(session_id, 2).status is MessageStatus.HELD


def test_neither_a_retry_nor_a_patch_releases_it(ports: MemoryPorts) -> None:
    session_id, runner, _ = preparing(ports)
    fail_preparation(ports, session_id, 1, StepTimedOut("too slow"))
    with pytest.raises(Exception, match="delivered"):
        talk.patch_session(ports, "alice", session_id, PatchSession(auto_initiate=True))
    talk.retry(ports, "alice", session_id, RetrySession(attempt_number=1))
    begin(ports, session_id, S.SANDBOX, 2)
    runner.new_frames()
    begin(ports, session_id, S.DELIVER, 2)
    assert prompts(runner) == []
    assert ports.store.session(session_id).hold is Hold.INITIATE


def test_a_person_can_always_have_it_sent_again(ports: MemoryPorts) -> None:
    session_id, runner = unknown(ports)
    for number in range(2, 5):
        initiate(ports, "alice", session_id)
        [prompt] = prompts(runner)
        assert prompt.endswith(f".prompt.{number}")
        runner.fail(prompt, "DeliveryUnknown")
    initiate(ports, "alice", session_id)
    runner.complete(prompts(runner)[0])
    assert ports.store.message(session_id, 2).status is MessageStatus.DELIVERED


def test_a_turn_that_has_not_begun_does_not_end(ports: MemoryPorts) -> None:
    session_id, runner, _ = on_its_way(ports)
    turn = ports.store.session(session_id).active_turn
    assert turn
    runner.report({"type": "turn.ended", "turnId": turn.turn_id, "messageId": turn.message_id})
    session = ports.store.session(session_id)
    assert session.active_turn == turn
    assert not end_turn(opened(ports, session_id), turn.turn_id, {})


def test_no_sandbox_is_told_of_what_it_was_not_given(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    runner.new_frames()
    begin(ports, session_id, S.DISK)
    fail_preparation(ports, session_id, 1, StepTimedOut("too slow"))
    assert cancelled(runner) == ["1.disk.1"]
