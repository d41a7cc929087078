"""The preparation as the machine and the runner drive it, and how it ends."""

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.attempt import AttemptStatus
from headstart.domain.errors import (
    SandboxStopped,
    StepTimedOut,
)
from headstart.domain.message import MessageStatus
from headstart.domain.session import Status
from headstart.domain.steps import STEPS, StepName, StepStatus
from headstart.usecases.delete import delete_session
from headstart.usecases.janitor import sweep
from headstart.usecases.prepare import error_of, fail_preparation, finish_preparation
from headstart.usecases.talk import initiate
from tests.unit.helpers import (
    begin,
    connected,
    created,
    prepared_up_to,
    running,
    statuses,
    token,
    turn_ended,
    types,
)

S = StepName


def test_the_whole_way_to_the_end_of_the_first_turn(ports: MemoryPorts) -> None:
    session_id = created(ports, setupCommands=["npm ci"])
    runner = running(ports, session_id)
    assert ports.machine.answers == {token(step.name): "ok" for step in STEPS}
    session = ports.store.session(session_id)
    assert session.status is Status.RUNNING
    assert session.initiated_at
    assert session.queue_length == 0
    assert ports.store.attempt(session_id, 1).status is AttemptStatus.COMPLETED
    runner.report(turn_ended(ports, session_id))
    assert ports.store.session(session_id).status is Status.READY
    assert types(ports, session_id)[2:] == [
        "message.delivered", "turn.started", "session.ready", "turn.completed",
    ]  # fmt: skip
    ids = [e.event_id for e in ports.store.event_log[session_id]]
    assert ids == list(range(1, len(ids) + 1))


def test_a_receipt_accounts_for_the_time_between_the_steps(ports: MemoryPorts) -> None:
    session_id = created(ports)
    ports.clock.advance(seconds=3)
    runner = prepared_up_to(ports, session_id, S.CLONE)
    begin(ports, session_id, S.CLONE)
    ports.clock.advance(seconds=5)
    runner.complete("1.clone.1")
    ports.clock.advance(milliseconds=250)
    for step in (S.BRANCH, S.RESTORE, S.SETUP, S.AGENT):
        begin(ports, session_id, step)
        runner.complete(f"1.{step.value}.1")
    begin(ports, session_id, S.DELIVER)
    message = ports.store.message(session_id, 1)
    runner.complete(f"{message.message_id}.prompt.1", agentMessageId="msg_1")
    finish_preparation(ports, session_id, 1)
    [ready] = [e for e in ports.store.event_log[session_id] if e.type == "session.ready"]
    receipt = ready.data["receipt"]
    assert (receipt["totalMs"], receipt["betweenMs"]) == (8250, 3250)
    assert sum(step["elapsedMs"] for step in receipt["steps"]) == 5000


def test_setup_without_commands_is_skipped_without_the_runner(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, S.SETUP)
    runner.new_frames()
    assert ports.machine.answers.get(begin(ports, session_id, S.SETUP)) == "ok"
    assert runner.new_frames() == []
    assert statuses(ports, session_id)["setup"] == "skipped"


def test_a_held_message_ends_in_prepared_and_initiate_delivers_it(ports: MemoryPorts) -> None:
    session_id = created(ports, autoInitiate=False)
    runner = prepared_up_to(ports, session_id, S.DELIVER)
    runner.new_frames()
    begin(ports, session_id, S.DELIVER)
    finish_preparation(ports, session_id, 1)
    assert runner.new_frames() == []
    session = ports.store.session(session_id)
    assert (session.status, session.initiated_at) == (Status.PREPARED, None)
    initiate(ports, "alice", session_id)
    initiate(ports, "alice", session_id)
    (frame,) = runner.new_frames()
    assert frame["kind"] == "prompt"
    runner.complete(frame["id"])
    assert ports.store.session(session_id).status is Status.RUNNING
    assert types(ports, session_id).count("session.ready") == 1


def test_a_failure_keeps_the_message_and_the_last_output(ports: MemoryPorts) -> None:
    session_id = created(ports, setupCommands=["npm ci"])
    runner = prepared_up_to(ports, session_id, S.SETUP)
    begin(ports, session_id, S.SETUP)
    for offset, text in ((0, "a" * 40_000), (40_000, "b" * 40_000)):
        runner.report({"type": "output", "commandId": "1.setup.1", "offset": offset, "text": text})
    runner.fail("1.setup.1", "SetupCommandFailed", "`npm ci` exited with 1")
    fail_preparation(
        ports, session_id, 1,
        error_of({"Error": "SetupCommandFailed", "Cause": "`npm ci` exited with 1"}),
    )  # fmt: skip
    session = ports.store.session(session_id)
    assert session.status is Status.FAILED
    assert session.failure
    assert session.failure.model_dump() == {
        "step": S.SETUP,
        "code": "SetupCommandFailed",
        "reason": "`npm ci` exited with 1",
        "retryable": True,
    }
    output = ports.store.output(session_id, 1, "setup")
    assert output
    assert output.text == "a" * (64 * 1024 - 40_000) + "b" * 40_000
    assert ports.store.message(session_id, 1).status is MessageStatus.QUEUED


def test_a_refused_message_is_held_with_its_reason(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, S.DELIVER)
    waiting = begin(ports, session_id, S.DELIVER)
    message = ports.store.message(session_id, 1)
    runner.fail(f"{message.message_id}.prompt.1", "DeliveryFailed", "no such model")
    assert ports.machine.answers[waiting] == "DeliveryFailed"
    fail_preparation(ports, session_id, 1, error_of({"Error": "DeliveryFailed", "Cause": "x"}))
    held = ports.store.message(session_id, 1)
    assert held.status is MessageStatus.HELD
    assert held.failure
    assert held.failure.reason == "no such model"
    session = ports.store.session(session_id)
    assert (session.status, session.initiated_at) == (Status.FAILED, None)


def test_a_prompt_of_any_size_reaches_the_runner_in_parts(ports: MemoryPorts) -> None:
    session_id = created(ports, prompt="ü" * 50_000)
    runner = prepared_up_to(ports, session_id, S.DELIVER)
    runner.new_frames()
    begin(ports, session_id, S.DELIVER)
    parts = runner.new_frames()
    assert {p["type"] for p in parts} == {"part"}
    assert [p["index"] for p in parts] == list(range(parts[0]["count"]))
    assert all(len(t) <= 32 * 1024 for t in ports.sockets.sent["r1"])


@pytest.mark.parametrize(
    ("caught", "code"),
    [
        ({"Error": "CloneFailed", "Cause": "why"}, "CloneFailed"),
        ({"Error": "SandboxStartFailed", "Cause": '{"errorMessage":"why"}'}, "SandboxStartFailed"),
        ({"Error": "States.HeartbeatTimeout", "Cause": ""}, "SandboxUnresponsive"),
        ({"Error": "States.Timeout", "Cause": ""}, "StepTimedOut"),
        ({"Error": "KeyError", "Cause": '{"errorMessage":"x"}'}, "InternalStepError"),
        ({}, "InternalStepError"),
        ({"Error": "InternalStepError", "Cause": "why"}, "InternalStepError"),
    ],
)
def test_what_the_machine_catches_becomes_our_error(caught: dict[str, str], code: str) -> None:
    assert error_of(caught).code == code
    assert len(error_of(caught).reason) > 1


@pytest.mark.parametrize(
    ("caught", "details"),
    [
        (
            {
                "Error": "Runtime.ExitError",
                "Cause": '{"errorType":"Runtime.ExitError",'
                '"errorMessage":"Runtime exited with status -9"}',
            },
            "Runtime.ExitError: Runtime exited with status -9",
        ),
        (
            {"Error": "ServiceUnavailable", "Cause": "Unavailable"},
            "ServiceUnavailable: Unavailable",
        ),
        ({"Error": "Sandbox.Died", "Cause": ""}, "Sandbox.Died"),
        ({}, "it did not say why"),
    ],
)
def test_a_failure_of_the_cloud_itself_is_told_in_words(
    caught: dict[str, str], details: str
) -> None:
    error = error_of(caught)
    words = "A part of the cloud itself failed; it can be tried again"
    assert error.reason == f"{words} ({details})"
    assert error.retryable


def test_an_execution_that_ended_without_a_word_is_closed(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    ports.machine.stopped.append((session_id, 1))
    ports.clock.advance(minutes=3)
    sweep(ports)
    assert ports.store.session(session_id).status is Status.FAILED


def test_long_with_progress_lives_and_long_without_ends(ports: MemoryPorts) -> None:
    session_id = created(ports, setupCommands=["npm ci"])
    runner = prepared_up_to(ports, session_id, S.SETUP)
    begin(ports, session_id, S.SETUP)
    progress = {"type": "progress", "commandId": "1.setup.1", "message": "m", "elapsedMs": 1}
    for _ in range(20):
        ports.clock.advance(minutes=5)
        runner.report(progress)
        sweep(ports)
    assert ports.store.session(session_id).status is Status.PREPARING
    for _ in range(4):
        ports.clock.advance(minutes=5)
        sweep(ports)
    session = ports.store.session(session_id)
    assert session.status is Status.FAILED
    assert session.failure
    assert session.failure.code == "StepTimedOut"


def test_a_task_whose_end_no_event_told_is_noticed(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    waiting = begin(ports, session_id, S.DISK)
    ports.sandboxes.alive.clear()
    ports.clock.advance(minutes=3)
    sweep(ports)
    assert ports.machine.answers[waiting] == "SandboxStopped"


def test_the_sandbox_of_a_failed_attempt_goes_after_ten_minutes(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    fail_preparation(ports, session_id, 1, SandboxStopped("x"))
    ports.clock.advance(minutes=9)
    sweep(ports)
    assert ports.sandboxes.alive
    ports.clock.advance(minutes=1)
    sweep(ports)
    assert not ports.sandboxes.alive


def test_ending_an_attempt_twice_is_harmless(ports: MemoryPorts) -> None:
    session_id = created(ports)
    running(ports, session_id)
    seen = types(ports, session_id)
    finish_preparation(ports, session_id, 1)
    fail_preparation(ports, session_id, 1, SandboxStopped("x"))
    assert types(ports, session_id) == seen
    assert StepStatus.FAILED not in set(statuses(ports, session_id).values())


def test_the_end_of_an_attempt_of_a_session_that_is_gone_is_no_error(ports: MemoryPorts) -> None:
    session_id = created(ports)
    delete_session(ports, "alice", session_id)
    finish_preparation(ports, session_id, 1)
    fail_preparation(ports, session_id, 1, StepTimedOut("too slow"))
    assert begin(ports, session_id, S.SANDBOX) in ports.machine.answers
