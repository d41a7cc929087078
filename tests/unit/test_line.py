"""Over the quota: refused, or in line where the deployment lets people wait."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.change import Waiting, WorkingSet
from headstart.domain.errors import (
    QuotaExceeded,
    RowUnreadable,
    SandboxStopped,
    SandboxUnresponsive,
    SetupCommandFailed,
    StepError,
    StepTimedOut,
    WorkspaceGone,
)
from headstart.domain.policy import LINE_LENGTH
from headstart.domain.requests import CreateSession, RetrySession
from headstart.domain.session import SandboxStatus, Session, Status
from headstart.domain.steps import StepName
from headstart.usecases import delete, talk
from headstart.usecases.create import create_session
from headstart.usecases.janitor import sweep
from headstart.usecases.prepare import fail_preparation
from headstart.usecases.read import get_session
from headstart.usecases.sandbox import sandbox_stopped
from tests.unit.helpers import Runner, begin, created
from tests.unit.test_sleep import falling, idle, save, say


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


def created_by(ports: MemoryPorts, owner: str) -> str:
    request = CreateSession(prompt="Add a health check", github_repo="org/name")
    ports.clock.advance(seconds=1)
    return str(create_session(ports, owner, request, None)["sessionId"])


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


def created_by_other_means(ports: MemoryPorts) -> str:
    """Return a session of alice's that has a place whatever the quota."""
    quota, ports.policy.active_sessions = ports.policy.active_sessions, 1000
    session_id = created(ports)
    ports.policy.active_sessions = quota
    return session_id


# No more containers than places.


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
