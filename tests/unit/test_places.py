"""A quota of N is N containers at most: a session has its place as long as its sandbox."""

from collections.abc import Callable

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import (
    QuotaExceeded,
    SandboxUnresponsive,
    SetupCommandFailed,
    StepError,
    StepTimedOut,
    WorkspaceGone,
)
from headstart.domain.requests import RetrySession
from headstart.domain.sandbox import SandboxStatus
from headstart.domain.session import Session, Status
from headstart.domain.steps import StepName
from headstart.usecases import delete, talk
from headstart.usecases.janitor import sweep
from headstart.usecases.prepare import fail_preparation
from headstart.usecases.sandbox import sandbox_stopped
from tests.unit.archives import save
from tests.unit.helpers import Runner, begin, created
from tests.unit.test_sleep import falling, say


def started(ports: MemoryPorts) -> list[str]:
    return [session_id for session_id, _ in ports.machine.started]


def created_by_other_means(ports: MemoryPorts) -> str:
    """Return a session of alice's that has a place whatever the quota."""
    quota, ports.policy.active_sessions = ports.policy.active_sessions, 1000
    session_id = created(ports)
    ports.policy.active_sessions = quota
    return session_id


def failed_in_setup(ports: MemoryPorts, session_id: str) -> None:
    """Have a session's sandbox connect, and its preparation fail after that."""
    runner = connected_alone(ports, session_id)
    runner.send("heartbeat", running=[])
    fail_preparation(ports, session_id, 1, SetupCommandFailed("exited with 1"))


def connected_alone(ports: MemoryPorts, session_id: str) -> Runner:
    begin(ports, session_id, StepName.SANDBOX)
    runner = Runner(ports, session_id, connection_id=f"runner of {session_id}")
    runner.connect()
    runner.hello()
    return runner


def test_a_failed_session_keeps_sandbox_and_place_for_a_retry(ports: MemoryPorts) -> None:
    ports.policy.active_sessions = 1
    session_id = created(ports)
    failed_in_setup(ports, session_id)
    assert ports.store.quota["alice"] == {session_id}
    assert ports.sandboxes.alive
    talk.retry(ports, "alice", session_id, RetrySession(attempt_number=1))
    begin(ports, session_id, StepName.SANDBOX, attempt=2)
    assert len(ports.sandboxes.specs) == 1
    assert ports.store.quota["alice"] == {session_id}


@pytest.mark.parametrize("wait", [True, False])
def test_sessions_that_keep_failing_have_no_more_containers_than_places(
    ports: MemoryPorts, wait: bool
) -> None:
    ports.policy.active_sessions, ports.policy.wait_in_line = 2, wait
    for _ in range(10):
        session_id = created(ports)
        assert started(ports)[-1] == session_id
        failed_in_setup(ports, session_id)
        assert len(ports.sandboxes.alive) <= 2
        assert len(ports.store.quota["alice"]) == len(ports.sandboxes.alive)
        ports.clock.advance(seconds=1)


def test_the_place_of_who_failed_first_goes_to_who_needs_it(ports: MemoryPorts) -> None:
    ports.policy.active_sessions = 2
    ids = [created(ports) for _ in range(2)]
    for session_id in reversed(ids):
        failed_in_setup(ports, session_id)
        ports.clock.advance(seconds=1)
    newer = created(ports)
    assert ports.store.quota["alice"] == {ids[0], newer}
    assert ports.sandboxes.alive == {f"task:{ids[0]}-1-1"}
    with pytest.raises(QuotaExceeded):
        for _ in range(2):
            created(ports)
            talk.retry(ports, "alice", ids[1], RetrySession(attempt_number=1))
    assert ports.store.session(ids[1]).status is Status.FAILED


def test_who_waits_gets_the_place_of_a_failed_session_before_a_newcomer(
    waiting: MemoryPorts,
) -> None:
    first = created(waiting)
    failed_in_setup(waiting, first)
    waiting.store.sessions[first].updated_at = waiting.clock()
    second = created(waiting)
    third = created(waiting)
    assert started(waiting) == [first, second]
    failed_in_setup(waiting, second)
    assert started(waiting) == [first, second, third]
    assert not waiting.sandboxes.alive


def test_a_retry_that_waits_has_no_container(waiting: MemoryPorts) -> None:
    first = created(waiting)
    failed_in_setup(waiting, first)
    created(waiting)
    talk.retry(waiting, "alice", first, RetrySession(attempt_number=1))
    assert waiting.store.session(first).waits_in_line
    assert not waiting.sandboxes.alive
    row = waiting.store.sandbox(first)
    assert row
    assert row.status is SandboxStatus.STOPPED


def test_a_container_of_before_places_went_with_it_is_stopped_when_its_retry_waits(
    waiting: MemoryPorts,
) -> None:
    first = created(waiting)
    failed_in_setup(waiting, first)
    waiting.store.quota["alice"] = {created_by_other_means(waiting)}
    talk.retry(waiting, "alice", first, RetrySession(attempt_number=1))
    assert waiting.store.session(first).waits_in_line
    assert not waiting.sandboxes.alive
    row = waiting.store.sandbox(first)
    assert row
    assert row.status is SandboxStatus.STOPPED


def test_a_deleted_sessions_container_is_stopped_before_the_next_one_starts(
    waiting: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = created(waiting)
    connected_alone(waiting, first)
    second = created(waiting)
    alive: list[set[str]] = []
    start = waiting.machine.start

    def look(session_id: str, attempt_number: int) -> str:
        alive.append(set(waiting.sandboxes.alive))
        return start(session_id, attempt_number)

    monkeypatch.setattr(waiting.machine, "start", look)
    delete.delete_session(waiting, "alice", first)
    assert started(waiting)[-1] == second
    assert alive == [set()]


def left_by_time(ports: MemoryPorts, session_id: str) -> None:
    ports.clock.advance(minutes=10)
    sweep(ports)


def left_by_death(ports: MemoryPorts, session_id: str) -> None:
    ports.sandboxes.alive.clear()
    sandbox_stopped(ports, f"{session_id}-1-1", f"task:{session_id}-1-1", "gone")


def left_by_deletion(ports: MemoryPorts, session_id: str) -> None:
    delete.delete_session(ports, "alice", session_id)


@pytest.mark.parametrize("leave", [left_by_time, left_by_death, left_by_deletion])
def test_a_failed_session_leaves_its_place_with_its_sandbox(
    ports: MemoryPorts, leave: Callable[[MemoryPorts, str], None]
) -> None:
    session_id = created(ports)
    failed_in_setup(ports, session_id)
    leave(ports, session_id)
    assert ports.store.quota["alice"] == set()
    assert not ports.sandboxes.alive


def test_a_place_that_is_left_by_time_goes_to_who_waits(waiting: MemoryPorts) -> None:
    first = created(waiting)
    failed_in_setup(waiting, first)
    waiting.policy.active_sessions = 0
    second = created(waiting)
    waiting.policy.active_sessions = 1
    waiting.store.sessions[second].due_at = None
    left_by_time(waiting, first)
    assert started(waiting) == [first, second]


@pytest.mark.parametrize("error", [SandboxUnresponsive("silent"), WorkspaceGone("gone")])
def test_a_sandbox_that_no_retry_can_use_goes_at_once(ports: MemoryPorts, error: StepError) -> None:
    session_id = created(ports)
    connected_alone(ports, session_id)
    fail_preparation(ports, session_id, 1, error)
    assert not ports.sandboxes.alive
    assert ports.store.quota["alice"] == set()
    talk.retry(ports, "alice", session_id, RetrySession(attempt_number=1))
    begin(ports, session_id, StepName.SANDBOX, attempt=2)
    assert [*ports.sandboxes.specs] == [f"{session_id}-1-1", f"{session_id}-2-1"]


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
def test_a_sandbox_that_never_connected_goes_at_once(ports: MemoryPorts, how: str) -> None:
    session_id = created(ports)
    begin(ports, session_id, StepName.SANDBOX)
    if how == "fails":
        fail_preparation(ports, session_id, 1, StepTimedOut("240 s"))
    else:
        talk.interrupt(ports, "alice", session_id)
    assert ports.store.session(session_id).status is Status.FAILED
    assert not ports.sandboxes.alive
    assert ports.store.quota["alice"] == set()


def test_a_place_that_is_needed_again_is_not_taken_for_leaked(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports.policy.active_sessions = 1
    session_id, runner = falling(ports)
    save(ports, runner)
    ports.store.quota["alice"] = {session_id}
    found, woken = ports.store.session, []

    def wakes_just_after(asked: str) -> Session:
        session = found(asked)
        if asked == session_id and not woken:
            woken.append(asked)
            say(ports, session_id)
        return session

    monkeypatch.setattr(ports.store, "session", wakes_just_after)
    with pytest.raises(QuotaExceeded):
        created(ports)
    assert woken
    assert ports.store.session(session_id).status is Status.PREPARING
    assert ports.store.quota["alice"] == {session_id}
