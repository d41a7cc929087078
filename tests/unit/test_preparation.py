"""The preparation as the machine and the runner drive it, with what repeats, comes late or dies."""

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import (
    AttemptSuperseded,
    SandboxStartFailed,
    SandboxStopped,
    SessionNotFound,
    TicketRefused,
)
from headstart.domain.session import AttemptStatus, MessageStatus, SandboxStatus, Status
from headstart.domain.steps import STEPS, StepName, StepStatus
from headstart.usecases import deletion
from headstart.usecases.janitor import sweep
from headstart.usecases.messages import initiate
from headstart.usecases.ports import SandboxSpec
from headstart.usecases.preparation import error_of, fail_preparation, finish_preparation
from headstart.usecases.sandbox import sandbox_stopped
from tests.unit.helpers import (
    Runner,
    begin,
    connected,
    created,
    prepared_up_to,
    running,
    token,
    turn_ended,
)

S = StepName


def statuses(ports: MemoryPorts, session_id: str) -> dict[str, str]:
    attempt = ports.store.attempt(session_id, 1)
    return {record.step.value: record.status.value for record in attempt.steps}


def types(ports: MemoryPorts, session_id: str) -> list[str]:
    return [event.type for event in ports.store.event_log[session_id]]


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


def test_a_repeated_state_continues_the_try_with_the_new_token(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    begin(ports, session_id, S.DISK)
    again = begin(ports, session_id, S.DISK, number=2)
    commands = [f["id"] for f in runner.frames() if f["type"] == "command"]
    assert commands == ["1.disk.1", "1.disk.1"]
    runner.complete("1.disk.1")
    assert ports.machine.answers[again] == "ok"


def test_a_state_retried_after_a_failure_is_a_new_try(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, S.CLONE)
    first = begin(ports, session_id, S.CLONE)
    runner.fail("1.clone.1", "GitNetworkError")
    assert ports.machine.answers[first] == "GitNetworkError"
    assert statuses(ports, session_id)["clone"] == "running"
    begin(ports, session_id, S.CLONE, number=2)
    assert runner.frames()[-1]["id"] == "1.clone.2"


def test_a_lost_answer_is_given_when_the_state_asks_again(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    begin(ports, session_id, S.DISK)
    runner.complete("1.disk.1")
    again = begin(ports, session_id, S.DISK, number=2)
    assert ports.machine.answers[again] == "ok"


def test_a_duplicate_batch_writes_nothing_and_repeats_the_answer(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    waiting = begin(ports, session_id, S.DISK)
    runner.complete("1.disk.1")
    del ports.machine.answers[waiting]
    commits = ports.store.commits
    runner.repeat(results=[{"commandId": "1.disk.1", "status": "completed"}])
    assert ports.store.commits == commits
    assert ports.machine.answers[waiting] == "ok"
    acks = [f for f in runner.frames() if f["type"] == "ack"]
    assert acks == [{"type": "ack", "seq": 1, "accepted": True}] * 2


def test_what_the_agent_said_is_kept_once_however_often_it_is_sent(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    turn = ports.store.session(session_id).active_turn
    assert turn
    event = {"type": "agent.event", "turnId": turn.turn_id, "data": {"kind": "text"}}
    runner.report(event)
    runner.repeat(event)
    assert types(ports, session_id).count("agent.event") == 1


def test_a_sandbox_started_for_a_session_just_deleted_is_stopped(ports: MemoryPorts) -> None:
    session_id = created(ports)
    start = ports.sandboxes.start

    def start_too_late(spec: SandboxSpec) -> str:
        handle = start(spec)
        deletion.delete_session(ports, "alice", session_id)
        return handle

    ports.sandboxes.start = start_too_late  # type: ignore[method-assign]
    with pytest.raises(SessionNotFound):
        begin(ports, session_id, S.SANDBOX)
    assert ports.sandboxes.alive == set()


def test_a_batch_of_volatile_events_writes_nothing(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    turn = ports.store.session(session_id).active_turn
    assert turn
    commits = ports.store.commits
    delta = {"type": "agent.delta", "turnId": turn.turn_id, "partId": "p", "offset": 0, "text": "x"}
    runner.report(delta, delta)
    assert ports.store.commits == commits


def test_progress_reaches_the_row_now_and_then_and_never_goes_back(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, S.CLONE)
    begin(ports, session_id, S.CLONE)
    commits = ports.store.commits
    progress = {"type": "progress", "commandId": "1.clone.1", "message": "m", "elapsedMs": 1}
    runner.report({**progress, "percent": 10})
    assert ports.store.commits == commits
    ports.clock.advance(seconds=3)
    runner.report({**progress, "percent": 40})
    ports.clock.advance(seconds=3)
    runner.report({**progress, "percent": 30})
    assert ports.store.attempt(session_id, 1).step(S.CLONE).percent == 40


def test_late_progress_of_a_finished_step_is_dropped(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, S.CLONE)
    ports.clock.advance(seconds=9)
    late = {"type": "progress", "commandId": "1.disk.1", "message": "late", "elapsedMs": 1}
    runner.report(late)
    assert statuses(ports, session_id)["disk"] == "completed"
    assert ports.store.attempt(session_id, 1).step(S.DISK).message != "late"


def test_what_a_late_worker_of_an_ended_attempt_says_changes_nothing(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, S.CLONE)
    begin(ports, session_id, S.CLONE)
    fail_preparation(ports, session_id, 1, SandboxStopped("gone"))
    before = ports.store.session(session_id)
    runner.complete("1.clone.1")
    after = ports.store.session(session_id)
    assert (after.status, after.last_event_id) == (before.status, before.last_event_id)
    assert statuses(ports, session_id)["clone"] == "failed"
    with pytest.raises(AttemptSuperseded):
        begin(ports, session_id, S.BRANCH)


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


def test_a_sandbox_that_dies_while_delivering_leaves_the_message_unknown_and_held(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports)
    prepared_up_to(ports, session_id, S.DELIVER)
    waiting = begin(ports, session_id, S.DELIVER)
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "Essential container exited")
    assert ports.machine.answers[waiting] == "SandboxStopped"
    fail_preparation(ports, session_id, 1, SandboxStopped("Essential container exited"))
    message = ports.store.message(session_id, 1)
    assert message.status is MessageStatus.HELD
    assert message.failure
    assert message.failure.code == "DeliveryUnknown"
    assert ports.store.session(session_id).hold


@pytest.mark.parametrize("step", [s.name for s in STEPS[1:]], ids=str)
def test_a_sandbox_that_dies_fails_the_step_that_waits_for_it(
    ports: MemoryPorts, step: StepName
) -> None:
    session_id = created(ports, setupCommands=["npm ci"])
    prepared_up_to(ports, session_id, step)
    waiting = begin(ports, session_id, step)
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "out of memory")
    assert ports.machine.answers[waiting] == "SandboxStopped"


def test_a_sandbox_that_died_between_two_steps_fails_the_next(ports: MemoryPorts) -> None:
    session_id = created(ports)
    prepared_up_to(ports, session_id, S.CLONE)
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "out of memory")
    with pytest.raises(SandboxStopped, match="out of memory"):
        begin(ports, session_id, S.CLONE)


def test_a_sandbox_that_dies_before_its_hello_fails_its_own_step(ports: MemoryPorts) -> None:
    session_id = created(ports)
    waiting = begin(ports, session_id, S.SANDBOX)
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "CannotPullContainerError")
    assert ports.machine.answers[waiting] == "SandboxStopped"
    again = begin(ports, session_id, S.SANDBOX, number=2)
    assert list(ports.sandboxes.specs) == [f"{session_id}-1-1", f"{session_id}-1-2"]
    assert again not in ports.machine.answers


def test_a_session_whose_sandbox_dies_sleeps_and_its_turn_failed(ports: MemoryPorts) -> None:
    session_id = created(ports)
    running(ports, session_id)
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "out of memory")
    session = ports.store.session(session_id)
    assert (session.status, session.active_turn) == (Status.ASLEEP, None)
    assert types(ports, session_id)[-2:] == ["turn.failed", "session.asleep"]


def test_the_end_of_another_task_is_none_of_our_business(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    sandbox_stopped(ports, f"{session_id}-1-9", "other", "x")
    sandbox_stopped(ports, "ses_unknown-1-1", "other", "x")
    sandbox_stopped(ports, "", "other", "x")
    sandbox = ports.store.sandbox(session_id)
    assert sandbox
    assert sandbox.status is SandboxStatus.CONNECTED


def test_starting_twice_runs_one_sandbox(ports: MemoryPorts) -> None:
    session_id = created(ports)
    begin(ports, session_id, S.SANDBOX)
    begin(ports, session_id, S.SANDBOX, number=2)
    assert len(ports.sandboxes.specs) == 1
    runner = Runner(ports, session_id)
    runner.connect()
    runner.hello()
    assert ports.machine.answers == {token(S.SANDBOX, number=2): "ok"}


def test_a_sandbox_that_can_not_start_is_tried_under_a_new_name(ports: MemoryPorts) -> None:
    session_id = created(ports)
    ports.sandboxes.refusal = SandboxStartFailed("no capacity")
    with pytest.raises(SandboxStartFailed):
        begin(ports, session_id, S.SANDBOX)
    ports.sandboxes.refusal = None
    begin(ports, session_id, S.SANDBOX, number=2)
    assert list(ports.sandboxes.specs) == [f"{session_id}-1-2"]


def test_a_second_process_with_the_key_is_refused(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    second = Runner(ports, session_id, connection_id="r2", process="p2")
    second.connect()
    second.hello()
    assert second.frames()[0]["type"] == "refused"
    assert "r2" in ports.sockets.gone
    sandbox = ports.store.sandbox(session_id)
    assert sandbox
    assert sandbox.connection_id == "r1"


def test_keys_a_lost_welcome_locks_nobody_out_and_the_first_key_goes(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    again = Runner(ports, session_id, connection_id="r2")
    again.connect()
    again.hello()
    assert again.key == runner.key
    resumed = Runner(ports, session_id, connection_id="r4")
    resumed.connect(again.key)
    resumed.hello()
    with pytest.raises(TicketRefused):
        Runner(ports, session_id, connection_id="r5").connect()


def test_what_was_asked_is_asked_again_after_a_reconnect(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    ports.sockets.gone.add("r1")
    begin(ports, session_id, S.DISK)
    back = Runner(ports, session_id, connection_id="r2", seq=runner.seq)
    back.connect(runner.key)
    back.hello()
    assert [f["id"] for f in back.frames() if f["type"] == "command"] == ["1.disk.1"]


def test_the_newest_connection_wins_and_the_older_is_not_heard(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    begin(ports, session_id, S.DISK)
    newest = Runner(ports, session_id, connection_id="r2")
    newest.connect(runner.key)
    newest.hello()
    assert "r1" in ports.sockets.gone
    ports.sockets.gone.discard("r1")
    runner.complete("1.disk.1")
    assert runner.frames()[-1] == {"type": "ack", "seq": 1, "accepted": False}
    assert statuses(ports, session_id)["disk"] == "running"


def test_heartbeats_keep_the_waiting_task_alive(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    waiting = begin(ports, session_id, S.DISK)
    runner.send("heartbeat", running=["1.disk.1", "nonsense"])
    assert ports.machine.beats == [waiting]
    runner.complete("1.disk.1")
    runner.send("heartbeat", running=["1.disk.1"])
    assert ports.machine.beats == [waiting]


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
    ],
)
def test_what_the_machine_catches_becomes_our_error(caught: dict[str, str], code: str) -> None:
    assert error_of(caught).code == code
    assert len(error_of(caught).reason) > 1


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
