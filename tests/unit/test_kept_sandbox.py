"""Which sandbox an attempt goes on in: one that lives and was heard, and never a mixture of two."""

from collections.abc import Callable

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.change import WorkingSet
from headstart.domain.errors import (
    SandboxLeaving,
    SandboxStartFailed,
    ServiceUnavailable,
    SetupCommandFailed,
)
from headstart.domain.message import MessageStatus
from headstart.domain.requests import RetrySession
from headstart.domain.sandbox import SandboxStatus
from headstart.domain.session import Status
from headstart.domain.steps import HEARTBEAT_INTERVAL, StepName, StepStatus
from headstart.usecases import talk
from headstart.usecases.janitor import sweep
from headstart.usecases.ports import SandboxSpec
from headstart.usecases.prepare import fail_preparation
from headstart.usecases.sandbox import sandbox_stopped
from tests.unit.helpers import (
    Runner,
    begin,
    begin_sleep,
    created,
    prepared_up_to,
    running,
    turn_ended,
)
from tests.unit.test_sleep import say

S = StepName


def failed(ports: MemoryPorts) -> Runner:
    """Return the runner of a session whose setup failed."""
    runner = prepared_up_to(ports, created(ports, setupCommands=["x"]), S.SETUP)
    fail_preparation(ports, runner.session_id, 1, SetupCommandFailed("exited with 1"))
    return runner


def retried(ports: MemoryPorts, session_id: str) -> list[str]:
    """Begin attempt 2 in its first state; returns the names of all sandboxes ever started."""
    talk.retry(ports, "alice", session_id, RetrySession(attempt_number=1))
    begin(ports, session_id, S.SANDBOX, attempt=2)
    return list(ports.sandboxes.specs)


def statuses(ports: MemoryPorts, session_id: str) -> dict[StepName, StepStatus]:
    return {r.step: r.status for r in ports.store.attempt(session_id, 2).steps}


@pytest.mark.parametrize("beats", range(1, 28, 3))
def test_one_that_beats_is_kept_whenever_the_retry_comes(ports: MemoryPorts, beats: int) -> None:
    runner = failed(ports)
    for _ in range(beats):
        ports.clock.advance(seconds=HEARTBEAT_INTERVAL)
        runner.send("heartbeat", running=[])
    ports.clock.advance(seconds=2 * HEARTBEAT_INTERVAL)
    assert len(retried(ports, runner.session_id)) == 1


def test_one_that_fell_silent_is_not_kept(ports: MemoryPorts) -> None:
    runner = failed(ports)
    runner.send("heartbeat", running=[])
    ports.clock.advance(seconds=101)
    assert len(retried(ports, runner.session_id)) == 2
    assert ports.sandboxes.alive == {f"task:{runner.session_id}-2-1"}


def test_one_that_is_dead_is_not_kept_though_nobody_said_so(ports: MemoryPorts) -> None:
    runner = failed(ports)
    ports.sandboxes.alive.clear()
    assert len(retried(ports, runner.session_id)) == 2
    assert S.SANDBOX not in {s for s, status in statuses(ports, runner.session_id).items()
                             if status is StepStatus.SKIPPED}  # fmt: skip


def test_what_the_kept_one_had_done_is_done_again_in_the_next(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = failed(ports)
    session_id = runner.session_id
    succeed = ports.machine.succeed

    def die(task_token: str) -> None:
        raise ServiceUnavailable

    monkeypatch.setattr(ports.machine, "succeed", die)
    with pytest.raises(ServiceUnavailable):
        retried(ports, session_id)
    skipped = {s for s, status in statuses(ports, session_id).items() if status == "skipped"}
    assert skipped == {S.SANDBOX, S.CLONE, S.BRANCH, S.RESTORE}
    monkeypatch.setattr(ports.machine, "succeed", succeed)
    ports.sandboxes.alive.clear()
    sandbox_stopped(ports, f"{session_id}-2-0", f"task:{session_id}-1-1", "gone")
    begin(ports, session_id, S.SANDBOX, attempt=2, number=2)
    assert set(statuses(ports, session_id).values()) == {StepStatus.PENDING, StepStatus.RUNNING}
    second = Runner(ports, session_id, connection_id="r2", process="p2")
    second.connect()
    second.hello()
    begin(ports, session_id, S.CLONE, attempt=2)
    assert second.frames()[-1]["kind"] == "clone"


def test_one_that_dies_again_before_it_connects_fails_its_step_at_once(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = failed(ports)
    session_id = runner.session_id

    def die(task_token: str) -> None:
        raise ServiceUnavailable

    with monkeypatch.context() as patch, pytest.raises(ServiceUnavailable):
        patch.setattr(ports.machine, "succeed", die)
        retried(ports, session_id)
    sandbox_stopped(ports, f"{session_id}-2-0", f"task:{session_id}-1-1", "gone")
    waiting = begin(ports, session_id, S.SANDBOX, attempt=2, number=2)
    sandbox_stopped(ports, f"{session_id}-2-1", f"task:{session_id}-2-1", "gone too")
    assert ports.machine.answers[waiting] == "SandboxStopped"


def connects(ports: MemoryPorts, session_id: str) -> None:
    runner = Runner(ports, session_id)
    runner.connect()
    runner.hello()


def is_known(ports: MemoryPorts, session_id: str) -> None:
    row = ports.store.sandbox(session_id)
    assert row
    row.task_arn = f"task:{session_id}-1-1"
    ports.store.sets[session_id].sandbox = row


def is_another(ports: MemoryPorts, session_id: str) -> None:
    row = ports.store.sandbox(session_id)
    assert row
    row.sandbox_id = "another"
    ports.store.sets[session_id].sandbox = row


@pytest.mark.parametrize("meanwhile", [connects, is_known, is_another])
def test_a_lost_answer_of_run_task_stops_no_sandbox_that_is_there(
    ports: MemoryPorts,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: Callable[[MemoryPorts, str], None],
) -> None:
    session_id = created(ports)
    start = ports.sandboxes.start

    def answer_is_lost(spec: SandboxSpec) -> str:
        start(spec)
        meanwhile(ports, session_id)
        raise SandboxStartFailed("ECS could not be reached")

    with monkeypatch.context() as patch, pytest.raises(SandboxStartFailed):
        patch.setattr(ports.sandboxes, "start", answer_is_lost)
        begin(ports, session_id, S.SANDBOX)
    row = ports.store.sandbox(session_id)
    assert row
    assert row.status is not SandboxStatus.STOPPED


def test_a_task_that_was_refused_is_noted_as_stopped(ports: MemoryPorts) -> None:
    session_id = created(ports)
    ports.sandboxes.refusal = SandboxStartFailed("no capacity")
    with pytest.raises(SandboxStartFailed):
        begin(ports, session_id, S.SANDBOX)
    row = ports.store.sandbox(session_id)
    assert row
    assert (row.status, row.stopped_reason) == (SandboxStatus.STOPPED, "no capacity")


def test_a_session_does_not_sleep_over_a_message_that_it_can_deliver(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    runner.report(turn_ended(ports, session_id))
    session = ports.store.sessions[session_id]
    session.message_count += 1
    ports.store.rows[session_id]["MESSAGE#000002"] = ports.store.message(session_id, 1).model_copy(
        update={"number": 2, "status": MessageStatus.QUEUED, "message_id": "msg_2"}
    )
    assert not begin_sleep(ports, session_id)
    assert ports.store.session(session_id).status is Status.READY


def test_a_message_that_comes_as_the_janitor_looks_is_not_slept_over(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    runner.report(turn_ended(ports, session_id))
    load = ports.store.load
    reads: list[str] = []

    def and_then(found: str) -> WorkingSet:
        reads.append(found)
        if len(reads) == 2:  # the janitor has looked, and is about to decide
            monkeypatch.setattr(ports.store, "load", load)
            say(ports, session_id)
        return load(found)

    ports.clock.advance(minutes=15)
    monkeypatch.setattr(ports.store, "load", and_then)
    sweep(ports)
    session = ports.store.session(session_id)
    assert session.status is Status.READY
    assert session.active_turn


def leaves_a_delivery(ports: MemoryPorts) -> Runner:
    runner = prepared_up_to(ports, created(ports), S.DELIVER)
    begin(ports, runner.session_id, S.DELIVER)
    [prompt] = [f["id"] for f in runner.frames() if f.get("kind") == "prompt"]
    runner.fail(prompt, "SandboxLeaving")
    fail_preparation(ports, runner.session_id, 1, SandboxLeaving())
    return runner


def leaves_a_failed_session(ports: MemoryPorts) -> Runner:
    runner = failed(ports)
    runner.send("leaving", delivering=[])
    return runner


@pytest.mark.parametrize("left", [leaves_a_delivery, leaves_a_failed_session])
def test_one_that_is_about_to_leave_is_not_kept(
    ports: MemoryPorts, left: Callable[[MemoryPorts], Runner]
) -> None:
    session_id = left(ports).session_id
    assert len(retried(ports, session_id)) == 2
    assert ports.sandboxes.alive == {f"task:{session_id}-2-1"}
