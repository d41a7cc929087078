"""Over the quota: refused, or in line where the deployment lets people wait."""

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import QuotaExceeded, SandboxStopped
from headstart.domain.requests import RetrySession
from headstart.domain.session import Status
from headstart.usecases import control, deletion
from headstart.usecases.janitor import sweep
from headstart.usecases.preparation import fail_preparation
from tests.unit.helpers import created


@pytest.fixture
def waiting(ports: MemoryPorts) -> MemoryPorts:
    ports.policy.active_sessions = 1
    ports.policy.wait_in_line = True
    return ports


def in_line(ports: MemoryPorts) -> list[str]:
    ids = []
    for _ in range(3):
        ids.append(created(ports))
        ports.clock.advance(seconds=1)
    return ids


def started(ports: MemoryPorts) -> list[str]:
    return [session_id for session_id, _ in ports.machine.started]


def test_who_waits_is_recorded_and_not_started(waiting: MemoryPorts) -> None:
    ids = in_line(waiting)
    assert started(waiting) == ids[:1]
    assert waiting.store.quota["alice"] == {ids[0]}
    assert waiting.store.session(ids[1]).status is Status.PREPARING


def test_a_leaked_place_refuses_nobody(ports: MemoryPorts) -> None:
    ports.policy.active_sessions = 2
    failed = created(ports)
    fail_preparation(ports, failed, 1, SandboxStopped("gone"))
    ports.store.quota["alice"] = {failed, "ses_gone"}
    session_id = created(ports)
    assert ports.store.quota["alice"] == {session_id}
    assert ("LeakedPlaces", 2, {}) in ports.metrics.measured


def test_viewers_are_told_the_position(waiting: MemoryPorts) -> None:
    ids = in_line(waiting)
    waiting.clock.advance(minutes=1)
    sweep(waiting)
    notes = [waiting.store.attempt(i, 1).steps[0].message for i in ids]
    assert notes[1:] == [
        "Waiting for a free place: position 1 in line",
        "Waiting for a free place: position 2 in line",
    ]
    assert started(waiting) == ids[:1]


def test_a_place_that_frees_goes_to_the_first_in_line(waiting: MemoryPorts) -> None:
    ids = in_line(waiting)
    fail_preparation(waiting, ids[0], 1, SandboxStopped("gone"))
    assert started(waiting) == ids[:2]
    deletion.delete_session(waiting, "alice", ids[1])
    assert started(waiting) == ids
    assert waiting.store.quota["alice"] == {ids[2]}


def test_nobody_waits_for_another_users_sessions(waiting: MemoryPorts) -> None:
    ids = in_line(waiting)
    waiting.store.sessions[ids[2]].owner = "bob"
    deletion.delete_session(waiting, "alice", ids[0])
    assert started(waiting) == ids[:2]
    waiting.clock.advance(minutes=1)
    sweep(waiting)
    assert started(waiting) == ids


def test_waiting_long_is_not_failing(waiting: MemoryPorts) -> None:
    ids = in_line(waiting)
    for _ in range(60):
        waiting.clock.advance(minutes=1)
        waiting.store.sessions[ids[0]].due_at = None
        sweep(waiting)
    assert waiting.store.session(ids[1]).status is Status.PREPARING


def test_who_waits_can_be_cancelled_and_deleted(waiting: MemoryPorts) -> None:
    ids = in_line(waiting)
    control.interrupt(waiting, "alice", ids[1])
    assert waiting.store.session(ids[1]).status is Status.FAILED
    deletion.delete_session(waiting, "alice", ids[2])
    assert waiting.store.quota["alice"] == {ids[0]}
    assert started(waiting) == ids[:1]


def test_a_retry_over_the_quota_waits_too(waiting: MemoryPorts) -> None:
    ids = in_line(waiting)
    fail_preparation(waiting, ids[0], 1, SandboxStopped("gone"))
    control.retry(waiting, "alice", ids[0], RetrySession(attempt_number=1))
    assert waiting.store.session(ids[0]).waiting_since
    assert (ids[0], 2) not in waiting.machine.started


def test_without_a_line_a_retry_over_the_quota_is_refused(ports: MemoryPorts) -> None:
    ports.policy.active_sessions = 1
    first = created(ports)
    fail_preparation(ports, first, 1, SandboxStopped("gone"))
    created(ports)
    with pytest.raises(QuotaExceeded):
        control.retry(ports, "alice", first, RetrySession(attempt_number=1))
    assert ports.store.session(first).status is Status.FAILED
