"""What a runner reports, with what repeats and what comes late."""

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import (
    SandboxStopped,
)
from headstart.domain.steps import StepName
from headstart.usecases.prepare import fail_preparation
from tests.unit.helpers import (
    begin,
    connected,
    created,
    prepared_up_to,
    running,
    statuses,
    types,
)

S = StepName


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


def test_what_a_step_was_at_is_not_told_of_it_once_it_has_ended(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, S.CLONE)
    begin(ports, session_id, S.CLONE)
    ports.clock.advance(seconds=3)
    going = {"type": "progress", "commandId": "1.clone.1", "message": "receiving", "elapsedMs": 1}
    runner.report(going)
    assert ports.store.attempt(session_id, 1).step(S.CLONE).message == "receiving"
    runner.complete("1.clone.1")
    assert ports.store.attempt(session_id, 1).step(S.CLONE).message is None


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
    waiting = begin(ports, session_id, S.BRANCH)
    assert ports.machine.answers[waiting] == "AttemptSuperseded"


def test_heartbeats_keep_the_waiting_task_alive(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    waiting = begin(ports, session_id, S.DISK)
    runner.send("heartbeat", running=["1.disk.1", "nonsense"])
    assert ports.machine.beats == [waiting]
    runner.complete("1.disk.1")
    runner.send("heartbeat", running=["1.disk.1"])
    assert ports.machine.beats == [waiting]
