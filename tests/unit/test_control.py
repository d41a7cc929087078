"""Interrupt, cancel, retry, answers: what a person does to a session that is at work."""

from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.attempt import AttemptStatus
from headstart.domain.errors import (
    AlreadyInitiated,
    InputNotFound,
    SandboxStopped,
    SessionBusy,
    StaleAttempt,
    ValidationFailed,
    WrongStatus,
)
from headstart.domain.message import MessageStatus
from headstart.domain.requests import AnswerInput, PatchSession, RetrySession, SendMessage
from headstart.domain.session import Hold, Status
from headstart.domain.steps import STEPS, StepName
from headstart.usecases import talk
from headstart.usecases.prepare import fail_preparation
from headstart.usecases.read import get_session
from headstart.usecases.sandbox import sandbox_stopped
from headstart.usecases.talk import initiate, send_message
from tests.unit.helpers import Runner, begin, created, prepared_up_to, running, turn_ended, types

S = StepName


def commands(runner: Runner) -> list[str]:
    return [f["kind"] for f in runner.new_frames() if f["type"] == "command"]


def say(ports: MemoryPorts, session_id: str, text: str = "more") -> None:
    send_message(ports, "alice", session_id, SendMessage(prompt=text), None)


@pytest.mark.parametrize("step", [s.name for s in STEPS[1:]], ids=str)
def test_a_preparation_is_cancelled_in_any_step(ports: MemoryPorts, step: StepName) -> None:
    session_id = created(ports, setupCommands=["npm ci"])
    runner = prepared_up_to(ports, session_id, step)
    begin(ports, session_id, step)
    running_command = runner.frames()[-1]["id"]
    talk.interrupt(ports, "alice", session_id)
    session = ports.store.session(session_id)
    assert session.status is Status.FAILED
    assert session.failure
    assert session.failure.code == "Cancelled"
    assert ports.store.attempt(session_id, 1).status is AttemptStatus.CANCELLED
    assert ports.store.attempt(session_id, 1).step(step).status.value == "cancelled"
    assert (session_id, 1) in ports.machine.stopped
    assert runner.frames()[-1] == {"type": "cancel", "id": running_command}
    late = runner.frames()
    runner.complete(running_command)
    assert ports.store.session(session_id).status is Status.FAILED
    assert len(runner.frames()) == len(late) + 1


def test_a_cancelled_delivery_is_unknown_and_waits_for_a_person(ports: MemoryPorts) -> None:
    session_id = created(ports)
    prepared_up_to(ports, session_id, S.DELIVER)
    begin(ports, session_id, S.DELIVER)
    talk.interrupt(ports, "alice", session_id)
    message = ports.store.message(session_id, 1)
    assert message.status is MessageStatus.HELD
    assert message.failure
    assert message.failure.code == "DeliveryUnknown"
    assert ports.store.session(session_id).hold is Hold.INITIATE


def test_an_interrupted_turn_ends_once_and_the_queue_waits(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    say(ports, session_id)
    runner.new_frames()
    talk.interrupt(ports, "alice", session_id)
    talk.interrupt(ports, "alice", session_id)
    assert commands(runner) == ["abort", "abort"]
    runner.report(turn_ended(ports, session_id, interrupted=True))
    assert types(ports, session_id).count("turn.interrupted") == 1
    session = ports.store.session(session_id)
    assert (session.status, session.hold) == (Status.READY, Hold.PAUSED)
    assert commands(runner) == ["archive"]
    say(ports, session_id, "go on")
    assert commands(runner) == ["prompt"]
    assert ports.store.message(session_id, 2).status is MessageStatus.DELIVERING


@pytest.mark.parametrize("interrupted", [True, False])
def test_with_nothing_queued_the_next_message_goes_on(
    ports: MemoryPorts, interrupted: bool
) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    error = None if interrupted else {"code": "ProviderUnavailable", "reason": "overloaded"}
    runner.report(turn_ended(ports, session_id, error, interrupted=interrupted))
    assert ports.store.session(session_id).hold is Hold.PAUSED
    runner.new_frames()
    say(ports, session_id, "go on")
    assert commands(runner) == ["prompt"]
    assert ports.store.message(session_id, 2).status is MessageStatus.DELIVERING


def test_a_failed_turn_pauses_the_queue_until_initiate(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    say(ports, session_id)
    error = {"code": "ProviderUnavailable", "reason": "overloaded"}
    runner.report(turn_ended(ports, session_id, error))
    assert ports.store.session(session_id).active_turn is None
    initiate(ports, "alice", session_id)
    assert ports.store.session(session_id).active_turn


def test_messages_are_delivered_one_by_one_in_order(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    for text in ("second", "third"):
        say(ports, session_id, text)
    for number in (2, 3):
        runner.report(turn_ended(ports, session_id))
        message = ports.store.message(session_id, number)
        assert message.status is MessageStatus.DELIVERING
        runner.complete(f"{message.message_id}.prompt.1")
    runner.report(turn_ended(ports, session_id))
    delivered = [m.status for m in ports.store.messages_page(session_id, 0, 100)[0]]
    assert delivered == [MessageStatus.DELIVERED] * 3


def test_busy_is_refused_only_when_asked_to(ports: MemoryPorts) -> None:
    session_id = created(ports)
    running(ports, session_id)
    request = SendMessage(prompt="x", if_busy="reject")
    with pytest.raises(SessionBusy, match="turn_"):
        send_message(ports, "alice", session_id, request, None)
    assert ports.store.session(session_id).message_count == 1


def test_a_repeated_message_is_queued_once(ports: MemoryPorts) -> None:
    session_id = created(ports)
    first = send_message(ports, "alice", session_id, SendMessage(prompt="x"), "k")
    again = send_message(ports, "alice", session_id, SendMessage(prompt="x"), "k")
    assert again["messageId"] == first["messageId"]
    assert ports.store.session(session_id).message_count == 2


def failed_in_setup(ports: MemoryPorts) -> tuple[str, Runner]:
    session_id = created(ports, setupCommands=["npm ci"])
    runner = prepared_up_to(ports, session_id, S.SETUP)
    begin(ports, session_id, S.SETUP)
    runner.fail("1.setup.1", "SetupCommandFailed")
    fail_preparation(ports, session_id, 1, SandboxStopped("x"))
    return session_id, runner


def test_a_retry_keeps_the_sandbox_and_skips_what_succeeded(ports: MemoryPorts) -> None:
    session_id, runner = failed_in_setup(ports)
    changed = RetrySession(attempt_number=1, setup_commands=["npm install"])
    talk.retry(ports, "alice", session_id, changed)
    assert (session_id, 2) in ports.machine.started
    for step in (S.SANDBOX, S.CLONE, S.BRANCH, S.RESTORE):
        waiting = begin(ports, session_id, step, attempt=2)
        assert ports.machine.answers[waiting] == "ok", step
    attempt = ports.store.attempt(session_id, 2)
    shown = {r.step.value: r.status.value for r in attempt.steps}
    assert {shown[n] for n in ("sandbox", "clone", "branch", "restore")} == {"skipped"}
    begin(ports, session_id, S.DISK, attempt=2)
    begin(ports, session_id, S.SETUP, attempt=2)
    frame = runner.frames()[-1]
    assert (frame["id"], frame["args"]["commands"]) == ("2.setup.1", ["npm install"])
    assert len(ports.sandboxes.specs) == 1


def test_a_retry_without_the_sandbox_does_everything_again(ports: MemoryPorts) -> None:
    session_id, _ = failed_in_setup(ports)
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "gone")
    talk.retry(ports, "alice", session_id, RetrySession(attempt_number=1))
    begin(ports, session_id, S.SANDBOX, attempt=2)
    assert list(ports.sandboxes.specs) == [f"{session_id}-1-1", f"{session_id}-2-1"]
    runner = Runner(ports, session_id, connection_id="r2", process="p2")
    runner.connect()
    runner.hello()
    begin(ports, session_id, S.DISK, attempt=2)
    assert [f["id"] for f in runner.frames() if f["type"] == "command"] == ["2.disk.1"]


def test_a_retry_of_another_attempt_is_stale(ports: MemoryPorts) -> None:
    session_id, _ = failed_in_setup(ports)
    with pytest.raises(StaleAttempt):
        talk.retry(ports, "alice", session_id, RetrySession(attempt_number=2))
    talk.retry(ports, "alice", session_id, RetrySession(attempt_number=1))
    with pytest.raises(StaleAttempt):
        talk.retry(ports, "alice", session_id, RetrySession(attempt_number=1))
    assert ports.store.session(session_id).attempt_number == 2


def asked(ports: MemoryPorts, kind: str = "permission", **body: Any) -> tuple[str, Runner, str]:
    session_id = created(ports)
    runner = running(ports, session_id)
    turn = ports.store.session(session_id).active_turn
    assert turn
    body = {"title": "Write a file", **body}
    event = {"type": "input.requested", "requestId": "per_1", "kind": kind, "body": body}
    runner.report({**event, "turnId": turn.turn_id})
    runner.new_frames()
    return session_id, runner, turn.turn_id


def test_what_the_agent_asks_is_shown_answered_and_resolved(ports: MemoryPorts) -> None:
    session_id, runner, turn_id = asked(ports)
    (pending,) = get_session(ports, "alice", session_id)["pendingInputs"]
    assert (pending["requestId"], pending["kind"]) == ("per_1", "permission")
    talk.answer_input(ports, "alice", session_id, "per_1", AnswerInput(reply="once"))
    (frame,) = runner.new_frames()
    assert frame["args"] == {"requestId": "per_1", "answer": {"reply": "once"}}
    runner.complete(frame["id"])
    resolved = {"type": "input.resolved", "requestId": "per_1", "outcome": "answered"}
    runner.report({**resolved, "turnId": turn_id})
    assert get_session(ports, "alice", session_id)["pendingInputs"] == []
    assert types(ports, session_id)[-2:] == ["input.requested", "input.resolved"]
    said = ports.store.event_log[session_id][-1].data
    assert said == {"requestId": "per_1", "outcome": "answered", "answer": {"reply": "once"}}
    with pytest.raises(InputNotFound):
        talk.answer_input(ports, "alice", session_id, "per_1", AnswerInput(reply="once"))


def test_what_was_answered_is_told_in_a_size_that_anybody_can_be_shown(ports: MemoryPorts) -> None:
    for answers, told in (
        ([["x" * 2000] * 20], [["x" * 256 + "…"] * 20]),
        ([["x" * 2000] * 20] * 20, None),
    ):
        questions = [{"question": "Which?"}] * len(answers)
        session_id, runner, turn_id = asked(ports, "question", questions=questions)
        talk.answer_input(ports, "alice", session_id, "per_1", AnswerInput(answers=answers))
        resolved = {"type": "input.resolved", "requestId": "per_1", "outcome": "answered"}
        runner.report({**resolved, "turnId": turn_id})
        data = ports.store.event_log[session_id][-1].data
        assert data.get("answer", {}).get("answers") == told


def test_of_what_the_agent_took_back_no_answer_is_told(ports: MemoryPorts) -> None:
    session_id, runner, turn_id = asked(ports)
    talk.answer_input(ports, "alice", session_id, "per_1", AnswerInput(reply="once"))
    resolved = {"type": "input.resolved", "requestId": "per_1", "outcome": "withdrawn"}
    runner.report({**resolved, "turnId": turn_id})
    data = ports.store.event_log[session_id][-1].data
    assert data == {"requestId": "per_1", "outcome": "withdrawn"}


@pytest.mark.parametrize("reached", ["on its way", "taken", "long taken"])
def test_the_first_answer_counts(ports: MemoryPorts, reached: str) -> None:
    session_id, runner, _ = asked(ports)
    talk.answer_input(ports, "alice", session_id, "per_1", AnswerInput(reply="once"))
    (first,) = runner.new_frames()
    if reached != "on its way":
        runner.complete(first["id"])
    if reached == "long taken":
        runner.report()
    runner.new_frames()
    for other in (AnswerInput(reply="reject"), AnswerInput(reject=True)):
        with pytest.raises(WrongStatus, match="another answer"):
            talk.answer_input(ports, "alice", session_id, "per_1", other)
    assert runner.new_frames() == []
    talk.answer_input(ports, "alice", session_id, "per_1", AnswerInput(reply="once"))
    assert runner.new_frames() == ([first] if reached == "on its way" else [])


@pytest.mark.parametrize("how", ["it was not told", "it asks again"])
def test_an_answer_that_did_not_reach_the_agent_is_no_answer(ports: MemoryPorts, how: str) -> None:
    session_id, runner, turn_id = asked(ports)
    talk.answer_input(ports, "alice", session_id, "per_1", AnswerInput(reply="once"))
    (first,) = runner.new_frames()
    if how == "it was not told":
        runner.fail(first["id"], "InternalStepError")
    else:
        runner.complete(first["id"])
        again = {"type": "input.requested", "requestId": "per_1", "kind": "permission"}
        runner.report({**again, "body": {}, "turnId": turn_id})
    runner.new_frames()
    talk.answer_input(ports, "alice", session_id, "per_1", AnswerInput(reply="reject"))
    (second,) = runner.new_frames()
    assert second["args"]["answer"] == {"reply": "reject"}


def test_an_answer_the_agent_wants_no_more_is_withdrawn(ports: MemoryPorts) -> None:
    session_id, runner, _ = asked(ports)
    talk.answer_input(ports, "alice", session_id, "per_1", AnswerInput(reply="once"))
    (frame,) = runner.new_frames()
    runner.fail(frame["id"], "InputGone")
    assert ports.store.session(session_id).pending_inputs == []
    assert ports.store.event_log[session_id][-1].data["outcome"] == "withdrawn"


@pytest.mark.parametrize(
    ("kind", "answer"),
    [("question", AnswerInput(reply="once")), ("permission", AnswerInput(answers=[["red"]]))],
)
def test_an_answer_of_the_wrong_kind_is_refused(
    ports: MemoryPorts, kind: str, answer: AnswerInput
) -> None:
    session_id, _, _ = asked(ports, kind)
    with pytest.raises(ValidationFailed):
        talk.answer_input(ports, "alice", session_id, "per_1", answer)


@pytest.mark.parametrize("answers", [[], [["red"]], [["red"], [], ["blue"]]])
def test_each_question_wants_its_answer(ports: MemoryPorts, answers: list[list[str]]) -> None:
    session_id, runner, _ = asked(ports, "question", questions=[{"question": "a"}, {}])
    with pytest.raises(ValidationFailed):
        talk.answer_input(ports, "alice", session_id, "per_1", AnswerInput(answers=answers))
    both = AnswerInput(answers=[["red"], []])
    talk.answer_input(ports, "alice", session_id, "per_1", both)
    (frame,) = runner.new_frames()
    assert frame["args"]["answer"] == {"answers": [["red"], []]}


def test_a_change_before_the_first_delivery_is_what_is_sent(ports: MemoryPorts) -> None:
    session_id = created(ports, autoInitiate=False, envVars={"A": "1"}, setupCommands=["x"])
    request = PatchSession.model_validate(
        {"prompt": "Something else", "model": "p/m", "setupCommands": None, "envVars": {}}
    )
    talk.patch_session(ports, "alice", session_id, request)
    assert ports.store.message(session_id, 1).text == "Something else"
    session = ports.store.session(session_id)
    assert (session.title, session.model) == ("Something else", "p/m")
    assert session.counts["envVars"] == session.counts["setupCommands"] == 0


def test_after_the_first_delivery_nothing_is_changed(ports: MemoryPorts) -> None:
    session_id = created(ports)
    running(ports, session_id)
    with pytest.raises(AlreadyInitiated):
        talk.patch_session(ports, "alice", session_id, PatchSession(mode="plan"))
