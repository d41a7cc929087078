"""A deleted session leaves nothing: not what was on its way, however much there is."""

from datetime import timedelta

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import SessionNotFound
from headstart.domain.session import Status
from headstart.usecases.delete import delete_session
from headstart.usecases.janitor import SWEEP_TIME, sweep
from headstart.usecases.read import get_session, list_sessions
from tests.unit.archives import key_of, last, make
from tests.unit.helpers import created, running, turn_ended


@pytest.fixture
def stopping(ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch) -> MemoryPorts:
    """Ports whose sandboxes take their time to stop, as ECS's do."""
    monkeypatch.setattr(ports.sandboxes, "stop", lambda handle, reason: None)
    return ports


def uploading(ports: MemoryPorts) -> tuple[str, str]:
    """Return a session whose work is on its way, and the key of the object that it will be."""
    session_id = created(ports)
    runner = running(ports, session_id)
    runner.report(turn_ended(ports, session_id))
    make(runner, last(runner, "archive"))
    return session_id, key_of(last(runner, "upload")["args"]["files"][-1])


def next_minute(ports: MemoryPorts) -> None:
    ports.clock.advance(minutes=1)
    sweep(ports)


def test_an_upload_under_way_is_deleted_with_all_the_rest(stopping: MemoryPorts) -> None:
    ports = stopping
    session_id, key = uploading(ports)
    delete_session(ports, "alice", session_id)
    for _ in range(2):
        next_minute(ports)
    ports.objects.stored[key] = (7, "hash")
    ports.sandboxes.alive.clear()
    next_minute(ports)
    assert ports.objects.stored == {}
    assert ports.store.sessions == {}
    assert not ports.store.rows[session_id]


def test_meanwhile_the_session_is_gone_for_everybody(stopping: MemoryPorts) -> None:
    session_id, _ = uploading(stopping)
    delete_session(stopping, "alice", session_id)
    assert stopping.store.session(session_id).status is Status.DELETING
    assert list_sessions(stopping, "alice", None)["items"] == []
    with pytest.raises(SessionNotFound):
        get_session(stopping, "alice", session_id)
    delete_session(stopping, "alice", session_id)


@pytest.mark.parametrize("known", [True, False], ids=["alive", "unknown"])
def test_a_sandbox_that_never_stops_is_not_waited_for_for_ever(
    stopping: MemoryPorts, known: bool
) -> None:
    session_id, _ = uploading(stopping)
    if not known:
        row = stopping.store.sandbox(session_id)
        assert row
        row.task_arn = None
        stopping.store.rows[session_id]["SANDBOX"] = row
    delete_session(stopping, "alice", session_id)
    for _ in range(5):
        next_minute(stopping)
        assert stopping.store.sessions
    next_minute(stopping)
    assert stopping.store.sessions == {}


def test_nothing_is_waited_for_where_nothing_is_on_its_way(stopping: MemoryPorts) -> None:
    session_id = created(stopping)
    running(stopping, session_id)
    delete_session(stopping, "alice", session_id)
    assert stopping.store.sessions == {}


def with_rows(ports: MemoryPorts, count: int) -> str:
    session_id = created(ports)
    for number in range(count):
        ports.store.rows[session_id][f"EVENTS#{number}"] = ports.policy
    return session_id


def test_a_long_session_is_gone_within_a_minute(ports: MemoryPorts) -> None:
    session_id = with_rows(ports, 28_800)
    delete_session(ports, "alice", session_id)
    next_minute(ports)
    assert ports.store.sessions == {}
    assert not ports.store.rows[session_id]


def test_a_deletion_takes_turns_with_the_others(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    purge, slices = ports.store.purge, 0

    def slow(session_id: str, limit: int) -> bool:
        nonlocal slices
        slices += 1
        ports.clock.advance(seconds=1)
        return purge(session_id, limit)

    session_id = with_rows(ports, 10_000)
    delete_session(ports, "alice", session_id)
    monkeypatch.setattr(ports.store, "purge", slow)
    ports.clock.advance(minutes=1)
    began = ports.clock()
    sweep(ports)
    assert slices == 10
    assert ports.clock() - began < SWEEP_TIME
    assert ports.store.session(session_id).due_at == ports.clock() + timedelta(seconds=15)
    for _ in range(4):
        next_minute(ports)
    assert ports.store.sessions == {}
