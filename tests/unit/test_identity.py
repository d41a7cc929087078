"""Who speaks for a session: its sandbox, its process, its newest connection, and nobody else."""

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import StepTimedOut, TicketRefused
from headstart.domain.requests import RetrySession
from headstart.domain.sandbox import SandboxStatus
from headstart.domain.session import Status
from headstart.domain.steps import StepName, StepStatus
from headstart.usecases import talk
from headstart.usecases.inbox import receive
from headstart.usecases.janitor import sweep
from headstart.usecases.prepare import fail_preparation, finish_preparation
from headstart.usecases.sandbox import sandbox_stopped
from headstart.usecases.watch import disconnect
from tests.unit.archives import save
from tests.unit.helpers import (
    Runner,
    another,
    begin,
    connected,
    created,
    prepared_up_to,
    running,
    statuses,
    token,
    turn_ended,
)
from tests.unit.test_sleep import falling, idle, say
from tests.unit.test_viewers import SUBSCRIBE, frames
from tests.unit.test_viewers import connected as watching

S = StepName


def acks(runner: Runner) -> list[bool]:
    return [f["accepted"] for f in runner.frames() if f["type"] == "ack"]


def test_what_comes_over_an_older_connection_is_not_acknowledged_and_comes_again(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    begin(ports, session_id, S.DISK)
    newest = another(runner, "r2")
    newest.hello()
    assert "r1" in ports.sockets.gone
    ports.sockets.gone.discard("r1")
    runner.complete("1.disk.1")
    assert acks(runner) == []
    assert "r1" in ports.sockets.gone
    assert statuses(ports, session_id)["disk"] == "running"
    newest.complete("1.disk.1")
    assert acks(newest) == [True]
    assert statuses(ports, session_id)["disk"] == "completed"


@pytest.mark.parametrize("action", ["heartbeat", "leaving"])
def test_an_older_connection_is_closed_whatever_comes_over_it(
    ports: MemoryPorts, action: str
) -> None:
    session_id, runner = idle(ports)
    another(runner, "r2").hello()
    ports.sockets.gone.discard("r1")
    runner.new_frames()
    runner.send(action)
    assert runner.new_frames() == []
    assert "r1" in ports.sockets.gone
    assert ports.store.session(session_id).status is Status.READY


def test_a_hello_of_an_older_connection_takes_nothing_over(ports: MemoryPorts) -> None:
    session_id = created(ports)
    begin(ports, session_id, S.SANDBOX)
    late = Runner(ports, session_id, number=1)
    late.connect()
    newest = Runner(ports, session_id, connection_id="r2", number=2)
    newest.connect()
    newest.hello()
    late.hello()
    assert late.frames() == [], "not refused: its process would stop"
    assert "r1" in ports.sockets.gone
    assert "r2" not in ports.sockets.gone
    begin(ports, session_id, S.DISK)
    newest.complete("1.disk.1")
    assert acks(newest) == [True]


def test_a_hello_that_is_repeated_is_answered_again(ports: MemoryPorts) -> None:
    session_id = created(ports)
    begin(ports, session_id, S.SANDBOX)
    runner = Runner(ports, session_id, number=3)
    runner.connect()
    runner.hello()
    runner.hello()
    assert [f["type"] for f in runner.frames()] == ["welcome", "welcome"]


def test_a_runner_that_does_not_count_takes_over_with_each_hello(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    another(runner, "r2").hello()
    sandbox = ports.store.sandbox(session_id)
    assert sandbox
    assert (sandbox.connection_id, sandbox.connection_number) == ("r2", 0)


def test_no_connection_but_the_present_one_makes_the_runner_look_gone(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    watching(ports, session_id)
    receive(ports, "v1", SUBSCRIBE)
    older = ports.store.connection("r1")
    another(runner, "r2").hello()
    newer = ports.store.connection("r2")
    assert older
    assert newer
    disconnect(ports, older.connection_id)
    disconnect(ports, newer.connection_id)
    told = [e["type"] for f in frames(ports, "v1") for e in f.get("events", [])]
    assert told.count("runner.disconnected") == 1


def test_after_a_deletion_nothing_more_is_said(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    watching(ports, session_id)
    receive(ports, "v1", SUBSCRIBE)
    ports.store.sessions[session_id].status = Status.DELETING
    known = ports.store.connection("r1")
    assert known
    seen = len(frames(ports, "v1"))
    disconnect(ports, known.connection_id)
    assert len(frames(ports, "v1")) == seen


def retried(ports: MemoryPorts) -> tuple[str, Runner]:
    """Return a session whose second attempt has a sandbox, and the first one's, that says hello
    only now."""
    session_id = created(ports)
    begin(ports, session_id, S.SANDBOX)
    late = Runner(ports, session_id, connection_id="old", process="old")
    late.connect()
    fail_preparation(ports, session_id, 1, StepTimedOut("too slow"))
    talk.retry(ports, "alice", session_id, RetrySession(attempt_number=1))
    begin(ports, session_id, S.SANDBOX, 2)
    return session_id, late


def test_the_sandbox_of_an_earlier_attempt_is_not_taken_for_the_new_one(
    ports: MemoryPorts,
) -> None:
    session_id, late = retried(ports)
    late.hello()
    assert [f["type"] for f in late.frames()] == ["refused"]
    assert token(S.SANDBOX, 2) not in ports.machine.answers
    new = Runner(ports, session_id)
    new.connect()
    new.hello()
    assert new.frames()[0]["type"] == "welcome"
    assert ports.machine.answers[token(S.SANDBOX, 2)] == "ok"


@pytest.mark.parametrize("which", ["sandbox", "connection"])
def test_rows_of_before_have_no_ids_and_are_borne(ports: MemoryPorts, which: str) -> None:
    session_id = created(ports)
    begin(ports, session_id, S.SANDBOX)
    runner = Runner(ports, session_id)
    runner.connect()
    sandbox = ports.store.sandbox(session_id)
    assert sandbox
    assert sandbox.sandbox_id
    if which == "sandbox":
        ports.store.sets[session_id].sandbox = sandbox.model_copy(update={"sandbox_id": ""})
    else:
        ports.store.known["r1"].sandbox_id = None
    runner.hello()
    assert runner.frames()[0]["type"] == "welcome"


def kept(ports: MemoryPorts) -> tuple[str, Runner]:
    """Return a session that is retried in a sandbox that has not been acquired again yet."""
    session_id = created(ports, setupCommands=["make"])
    runner = prepared_up_to(ports, session_id, S.SETUP)
    begin(ports, session_id, S.SETUP)
    talk.interrupt(ports, "alice", session_id)
    talk.retry(ports, "alice", session_id, RetrySession(attempt_number=1))
    return session_id, runner


def test_a_reconnect_before_the_sandbox_is_kept_ends_no_step(ports: MemoryPorts) -> None:
    session_id, runner = kept(ports)
    again = another(runner, "r2")
    again.hello()
    assert again.frames()[0]["type"] == "welcome"
    step = ports.store.attempt(session_id, 2).step(S.SANDBOX)
    assert step.status is StepStatus.PENDING
    assert ports.machine.answers[begin(ports, session_id, S.SANDBOX, 2)] == "ok"


def test_a_kept_sandbox_is_waited_for_by_its_new_attempt_only(ports: MemoryPorts) -> None:
    session_id, _ = kept(ports)
    begin(ports, session_id, S.SANDBOX, 2)
    sandbox = ports.store.sandbox(session_id)
    assert sandbox
    assert sandbox.tokens == [token(S.SANDBOX, 2)]


def test_a_new_sandbox_that_dies_after_such_a_reconnect_fails_its_step(ports: MemoryPorts) -> None:
    session_id, runner = kept(ports)
    another(runner, "r2").hello()
    ports.sandboxes.alive.clear()
    waiting = begin(ports, session_id, S.SANDBOX, 2)
    sandbox_stopped(ports, f"{session_id}-2-1", "task", "CannotPullContainerError")
    assert ports.machine.answers[waiting] == "SandboxStopped"


def test_an_execution_that_was_never_started_is_started_whatever_its_steps_look_like(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    ports.machine.started.clear()
    ports.clock.advance(minutes=3)
    sweep(ports)
    assert ports.machine.started == [(session_id, 1)]
    assert ports.store.session(session_id).status is Status.PREPARING


@pytest.mark.parametrize("what", ["heartbeat", "report"])
def test_the_first_key_goes_once_the_runner_is_heard_to_have_the_other(
    ports: MemoryPorts, what: str
) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    begin(ports, session_id, S.DISK)
    Runner(ports, session_id, connection_id="r8").connect()
    if what == "heartbeat":
        runner.beat("1.disk.1")
    else:
        runner.complete("1.disk.1")
    sandbox = ports.store.sandbox(session_id)
    assert sandbox
    assert sandbox.bootstrap_key is None
    with pytest.raises(TicketRefused):
        Runner(ports, session_id, connection_id="r9").connect()
    another(runner, "r3").hello()


def test_the_end_of_an_older_attempt_does_not_end_the_present_one(ports: MemoryPorts) -> None:
    session_id, _ = kept(ports)
    finish_preparation(ports, session_id, 1)
    fail_preparation(ports, session_id, 1, StepTimedOut("late"))
    assert ports.store.session(session_id).status is Status.PREPARING


def test_what_a_woken_session_reports_counts_from_one_again(ports: MemoryPorts) -> None:
    session_id, runner = falling(ports)
    save(ports, runner)
    say(ports, session_id)
    assert ports.store.session(session_id).runner_seq > 0
    begin(ports, session_id, S.SANDBOX, 2)
    new = Runner(ports, session_id, connection_id="new", process="new")
    new.connect()
    new.hello()
    begin(ports, session_id, S.DISK, 2)
    new.report(
        {"type": "progress", "commandId": "2.disk.1", "message": "looking", "elapsedMs": 1},
        results=[{"commandId": "2.disk.1", "status": "completed", "output": {}}],
    )
    assert ports.store.session(session_id).runner_seq == 1


def test_a_connection_of_a_session_that_is_gone_is_closed(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    ended = turn_ended(ports, session_id)
    del ports.store.sets[session_id]
    runner.report(ended)
    assert "r1" in ports.sockets.gone


def test_a_stopped_sandbox_is_still_heard_but_not_let_in(ports: MemoryPorts) -> None:
    session_id, runner = falling(ports)
    save(ports, runner)
    sandbox = ports.store.sandbox(session_id)
    assert sandbox
    assert sandbox.status is SandboxStatus.STOPPED
    runner.report()
    assert acks(runner)[-1] is True
    with pytest.raises(TicketRefused):
        another(runner, "r2")
