"""Over the quota: refused, or in line where the deployment lets people wait."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.change import Waiting, WorkingSet
from headstart.domain.errors import (
    QuotaExceeded,
    RowUnreadable,
    SandboxStopped,
)
from headstart.domain.policy import LINE_LENGTH
from headstart.domain.requests import CreateSession, RetrySession
from headstart.domain.session import Status
from headstart.usecases import delete, talk
from headstart.usecases.create import create_session
from headstart.usecases.janitor import sweep
from headstart.usecases.prepare import fail_preparation
from headstart.usecases.read import get_session
from tests.unit.archives import save
from tests.unit.helpers import created
from tests.unit.test_places import created_by_other_means, started
from tests.unit.test_sleep import falling, idle, say


def in_line(ports: MemoryPorts) -> list[str]:
    ids = []
    for _ in range(3):
        ids.append(created(ports))
        ports.clock.advance(seconds=1)
    return ids


def created_by(ports: MemoryPorts, owner: str) -> str:
    request = CreateSession(prompt="Add a health check", github_repo="org/name")
    ports.clock.advance(seconds=1)
    return str(create_session(ports, owner, request, None)["sessionId"])


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
    delete.delete_session(waiting, "alice", ids[1])
    assert started(waiting) == ids
    assert waiting.store.quota["alice"] == {ids[2]}


def test_nobody_waits_for_another_users_sessions(waiting: MemoryPorts) -> None:
    ids = in_line(waiting)
    others = [created_by(waiting, "bob") for _ in range(2)]
    assert started(waiting) == [ids[0], others[0]]
    delete.delete_session(waiting, "bob", others[0])
    assert started(waiting) == [ids[0], *others]


def test_waiting_long_is_not_failing(waiting: MemoryPorts) -> None:
    ids = in_line(waiting)
    for _ in range(60):
        waiting.clock.advance(minutes=1)
        waiting.store.sessions[ids[0]].due_at = None
        sweep(waiting)
    assert waiting.store.session(ids[1]).status is Status.PREPARING


def test_who_waits_can_be_cancelled_and_deleted(waiting: MemoryPorts) -> None:
    ids = in_line(waiting)
    talk.interrupt(waiting, "alice", ids[1])
    assert waiting.store.session(ids[1]).status is Status.FAILED
    delete.delete_session(waiting, "alice", ids[2])
    assert waiting.store.quota["alice"] == {ids[0]}
    assert started(waiting) == ids[:1]


def test_a_retry_over_the_quota_waits_too(waiting: MemoryPorts) -> None:
    ids = in_line(waiting)
    fail_preparation(waiting, ids[0], 1, SandboxStopped("gone"))
    talk.retry(waiting, "alice", ids[0], RetrySession(attempt_number=1))
    assert waiting.store.session(ids[0]).waiting_since
    assert (ids[0], 2) not in waiting.machine.started


def test_without_a_line_a_retry_over_the_quota_is_refused(ports: MemoryPorts) -> None:
    ports.policy.active_sessions = 1
    first = created(ports)
    fail_preparation(ports, first, 1, SandboxStopped("gone"))
    created(ports)
    with pytest.raises(QuotaExceeded):
        talk.retry(ports, "alice", first, RetrySession(attempt_number=1))
    assert ports.store.session(first).status is Status.FAILED


# The whole line, and nobody before another.


def next_minute(ports: MemoryPorts) -> None:
    ports.clock.advance(minutes=1)
    sweep(ports)


def test_who_waits_behind_a_thousand_newer_sessions_is_admitted_first(
    waiting: MemoryPorts,
) -> None:
    ids = in_line(waiting)
    for number in range(1100):
        newer = waiting.store.session(ids[0])
        newer.session_id, newer.status = f"ses_{number}", Status.ASLEEP
        newer.created_at += timedelta(hours=1)
        newer.due_at = None
        waiting.store.sessions[newer.session_id] = newer
    last = created_by(waiting, "alice")
    delete.delete_session(waiting, "alice", ids[0])
    assert started(waiting) == ids[:2]
    next_minute(waiting)
    delete.delete_session(waiting, "alice", ids[1])
    delete.delete_session(waiting, "alice", ids[2])
    assert started(waiting) == [*ids, last]


def freed_by_nobody(ports: MemoryPorts, session_id: str) -> None:
    """Have a session's place free, and the process die before it let anybody in."""
    session = ports.store.sessions[session_id]
    session.status, session.due_at = Status.FAILED, None
    ports.store.quota[session.owner].discard(session_id)


def test_nobody_overtakes_who_waits_though_a_place_is_free(waiting: MemoryPorts) -> None:
    ids = in_line(waiting)
    freed_by_nobody(waiting, ids[0])
    late = created_by(waiting, "alice")
    assert started(waiting) == ids[:1]
    next_minute(waiting)
    assert started(waiting) == ids[:2]
    assert [place.session_id for place in waiting.store.line("alice")] == [ids[2], late]


def test_a_leaked_place_goes_to_who_waits_and_not_to_who_found_it(waiting: MemoryPorts) -> None:
    ids = in_line(waiting)
    freed_by_nobody(waiting, ids[0])
    waiting.store.quota["alice"] = {ids[0]}
    late = created_by(waiting, "alice")
    assert started(waiting) == ids[:2]
    assert [place.session_id for place in waiting.store.line("alice")] == [ids[2], late]


def test_nobody_overtakes_by_waking(waiting: MemoryPorts) -> None:
    asleep, runner = falling(waiting)
    save(waiting, runner)
    ids = in_line(waiting)
    freed_by_nobody(waiting, ids[0])
    say(waiting, asleep)
    assert waiting.store.session(asleep).waits_in_line
    next_minute(waiting)
    assert started(waiting)[-1] == ids[1]


def test_nobody_overtakes_where_people_are_refused(waiting: MemoryPorts) -> None:
    ids = in_line(waiting)
    waiting.policy.wait_in_line = False
    freed_by_nobody(waiting, ids[0])
    with pytest.raises(QuotaExceeded):
        created(waiting)
    next_minute(waiting)
    assert started(waiting) == ids[:2]


def test_who_waited_before_the_deployment_refused_people_is_let_in(waiting: MemoryPorts) -> None:
    ids = in_line(waiting)
    waiting.policy.wait_in_line = False
    delete.delete_session(waiting, "alice", ids[0])
    assert started(waiting) == ids[:2]


def test_a_line_has_an_end(waiting: MemoryPorts) -> None:
    in_line(waiting)
    place = waiting.store.line("alice")[0]
    others = [
        Waiting(session_id=f"ses_{number}", since=place.since) for number in range(LINE_LENGTH - 2)
    ]
    waiting.store.lines["alice"] += others
    with pytest.raises(QuotaExceeded, match="may wait"):
        created(waiting)


def counted(ports: MemoryPorts, patch: pytest.MonkeyPatch) -> Counter[str]:
    """Count the calls to the store."""
    calls: Counter[str] = Counter()

    def count(name: str) -> None:
        found = getattr(ports.store, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return found(*args, **kwargs)

        patch.setattr(ports.store, name, call)

    for name in ("line", "places", "session", "sessions_of", "attempt", "commit", "create"):
        count(name)
    return calls


def test_a_run_reads_an_owners_line_once_and_each_session_a_few_times(
    waiting: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [created_by(waiting, "alice") for _ in range(40)]
    waiting.store.sessions[ids[0]].due_at = None
    calls = counted(waiting, monkeypatch)
    next_minute(waiting)
    assert calls["line"] == 1
    assert calls["places"] == 1
    assert calls["sessions_of"] == 0
    assert calls["session"] <= 4 * 40
    now = waiting.clock()
    assert all(waiting.store.session(i).due_at > now for i in ids[1:])  # type: ignore[operator]


def test_who_is_far_behind_is_looked_at_less_often(waiting: MemoryPorts) -> None:
    ids = [created_by(waiting, "alice") for _ in range(40)]
    next_minute(waiting)
    delays = [waiting.store.session(i).due_at - waiting.clock() for i in ids[1:]]  # type: ignore[operator]
    assert delays[0] == timedelta(seconds=30)
    assert delays[-1] == timedelta(minutes=5)


def test_who_waits_says_so_at_once(waiting: MemoryPorts) -> None:
    ids = in_line(waiting)
    steps = get_session(waiting, "alice", ids[1])["attempt"]["steps"]
    assert steps[0]["message"] == "Waiting for a free place"


# Rows of the version before, and rows that nothing stands for.


def test_sessions_that_an_earlier_version_let_wait_are_admitted_in_their_order(
    waiting: MemoryPorts,
) -> None:
    ids = in_line(waiting)
    for session_id in ids[1:]:
        waiting.store.sessions[session_id].in_line = False
    waiting.store.lines.clear()
    next_minute(waiting)
    next_minute(waiting)
    assert [place.session_id for place in waiting.store.line("alice")] == ids[1:]
    delete.delete_session(waiting, "alice", ids[0])
    assert started(waiting) == ids[:2]


def test_one_that_waits_no_more_holds_up_nobody(waiting: MemoryPorts) -> None:
    ids = in_line(waiting)
    since = waiting.store.line("alice")[0].since - timedelta(hours=1)
    waiting.store.lines["alice"] += [
        Waiting(session_id=ids[0], since=since),
        Waiting(session_id="ses_gone", since=since),
    ]
    delete.delete_session(waiting, "alice", ids[0])
    assert started(waiting) == ids[:2]
    assert [place.session_id for place in waiting.store.line("alice")] == ids[2:]


def test_one_that_can_not_be_read_holds_up_nobody_and_keeps_its_place(
    waiting: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = in_line(waiting)
    found = waiting.store.load

    def unreadable(session_id: str) -> WorkingSet:
        if session_id == ids[1]:
            raise RowUnreadable
        return found(session_id)

    monkeypatch.setattr(waiting.store, "load", unreadable)
    delete.delete_session(waiting, "alice", ids[0])
    assert started(waiting) == [ids[0], ids[2]]
    assert [place.session_id for place in waiting.store.line("alice")] == [ids[1]]


# A message that was accepted waits for a place, too.


def test_a_message_that_came_as_the_session_fell_asleep_keeps_its_place(ports: MemoryPorts) -> None:
    ports.policy.active_sessions = 1
    session_id, runner = falling(ports)
    say(ports, session_id)
    save(ports, runner)
    assert ports.machine.started[-1] == (session_id, 2)
    assert ports.store.places("alice") == {session_id}
    assert not ports.sandboxes.alive


def test_what_was_left_running_of_it_is_stopped_before_it_waits(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    ports.policy.active_sessions = 1
    ports.clock.advance(minutes=15)
    sweep(ports)
    say(ports, session_id)
    session = ports.store.sessions[session_id]
    session.status, session.due_at = Status.ASLEEP, ports.clock()
    ports.store.quota["alice"] = {created_by_other_means(ports)}
    assert ports.sandboxes.alive
    sweep(ports)
    assert ports.store.session(session_id).waits_in_line
    assert not ports.sandboxes.alive
    assert runner.new_frames()[-1]["type"] == "leave"
