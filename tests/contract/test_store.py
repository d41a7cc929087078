"""What every Store promises."""

from datetime import UTC, datetime, timedelta

import pytest

from headstart.domain import events
from headstart.domain.change import IdempotencyKey, QuotaChange, Work
from headstart.domain.connections import Connection, Role, Ticket
from headstart.domain.errors import ChangeRefused, Conflict, QuotaExceeded, SessionNotFound
from headstart.domain.ids import new_session_id
from headstart.domain.policy import DUE_SHARDS
from headstart.domain.session import (
    Attempt,
    AttemptStatus,
    Cause,
    Command,
    Message,
    MessageStatus,
    Output,
    Sandbox,
    SandboxStatus,
    Session,
    SessionConfig,
    Status,
)
from headstart.domain.steps import StepName
from headstart.usecases.ports import Store

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUOTA = 3


def new_work(owner: str = "alice", now: datetime = NOW) -> Work:
    session_id = new_session_id(now)
    session = Session(
        session_id=session_id,
        owner=owner,
        status=Status.PREPARING,
        title="A title",
        created_at=now,
        updated_at=now,
        git_url="https://github.com/org/name.git",
        branch=f"session/{session_id}",
        agent="demo",
        mode="code",
        due_at=now + timedelta(seconds=30),
    )
    work = Work(session, now)
    work.quota = QuotaChange.JOIN
    work.save(SessionConfig(env_vars={"A": "", "B": "ü"}, mcp_servers={"x": {"ratio": 0.1}}))
    work.save(Attempt(number=1, cause=Cause.CREATED, started_at=now, progress_at=now))
    work.emit(events.SessionPreparing(attempt_number=1, cause=Cause.CREATED))
    return work


def new_ticket(session_id: str, name: str = "t1") -> Ticket:
    return Ticket(hash=name, session_id=session_id, owner="alice", expires_at=NOW)


def created(store: Store, owner: str = "alice", now: datetime = NOW) -> str:
    work = new_work(owner, now)
    session_id = work.session.session_id
    assert store.create(work, new_ticket(session_id), QUOTA) is None
    return session_id


def key_of(work: Work, expires_at: datetime) -> IdempotencyKey:
    return IdempotencyKey(
        key="k", body_hash="h", session_id=work.session.session_id, expires_at=expires_at
    )


def test_what_was_written_is_read_back_exactly(store: Store) -> None:
    work = new_work()
    session_id = work.session.session_id
    store.create(work, new_ticket(session_id), QUOTA)
    assert store.session(session_id) == work.session
    assert store.config(session_id) == work.rows[0]
    assert store.attempt(session_id, 1) == work.rows[1]
    assert store.ticket("t1") == new_ticket(session_id)
    assert store.events_after(session_id, 0, 10) == (work.events, False)


def test_rows_of_every_kind_are_read_back_exactly(store: Store) -> None:
    session_id = created(store)
    work = Work(store.session(session_id), NOW)
    message = Message(
        message_id="m", number=1, text="ä\n", status=MessageStatus.QUEUED, created_at=NOW
    )
    command = Command(
        command_id="1.disk.1", kind="disk", attempt_number=1, created_at=NOW, output={"f": 0.5}
    )
    sandbox = Sandbox(attempt_number=1, try_number=1, status=SandboxStatus.STARTING, created_at=NOW)
    output = Output(attempt_number=1, step=StepName.SETUP, text="x" * 70_000)
    for row in (message, command, sandbox, output):
        work.save(row)
    store.commit(work, QUOTA)
    assert store.message(session_id, 1) == message
    assert store.messages(session_id) == [message]
    assert store.messages(session_id, after=1) == []
    assert store.command(session_id, "1.disk.1") == command
    assert store.commands(session_id, "1.") == [command]
    assert store.commands(session_id, "2.") == []
    assert store.sandbox(session_id) == sandbox
    assert store.output(session_id, 1, "setup") == output


def test_a_command_with_its_answer_leaves_the_open_ones(store: Store) -> None:
    session_id = created(store)
    work = Work(store.session(session_id), NOW)
    first, second = (
        Command(
            command_id=f"1.disk.{number}",
            kind="disk",
            attempt_number=1,
            created_at=NOW + timedelta(seconds=number),
        )
        for number in (1, 2)
    )
    for row in (second, first):
        work.save(row)
    store.commit(work, QUOTA)
    assert store.open_commands(session_id) == [first, second]
    work = Work(store.session(session_id), NOW)
    first.answered = True
    work.save(first)
    store.commit(work, QUOTA)
    assert store.open_commands(session_id) == [second]
    assert store.commands(session_id, "1.disk.") == [first, second]
    assert store.command(session_id, "1.disk.1") == first
    assert store.command(session_id, "1.disk.2") == second
    assert store.command(session_id, "1.disk.3") is None


def test_only_the_first_of_two_changes_of_one_read_commits(store: Store) -> None:
    session_id = created(store)
    first, second = (Work(store.session(session_id), NOW) for _ in range(2))
    first.session.title = "first"
    second.emit(events.SessionAsleep(reason="second"))
    store.commit(first, QUOTA)
    with pytest.raises(Conflict):
        store.commit(second, QUOTA)
    assert store.session(session_id).title == "first"
    assert len(store.events_after(session_id, 0, 10)[0]) == 1


def test_one_row_as_two_objects_is_refused_and_neither_is_written(store: Store) -> None:
    session_id = created(store)
    work = Work(store.session(session_id), NOW)
    for status in (AttemptStatus.FAILED, AttemptStatus.COMPLETED):
        attempt = store.attempt(session_id, 1)
        attempt.status = status
        work.save(attempt)
    with pytest.raises(ChangeRefused):
        store.commit(work, QUOTA)
    assert store.attempt(session_id, 1).status is AttemptStatus.RUNNING


def test_a_change_of_a_session_that_is_gone_is_refused(store: Store) -> None:
    session_id = created(store)
    work = Work(store.session(session_id), NOW)
    while not store.purge(session_id, 100):
        pass
    work.emit(events.SessionAsleep(reason="late"))
    with pytest.raises(SessionNotFound):
        store.commit(work, QUOTA)
    with pytest.raises(SessionNotFound):
        store.session(session_id)
    assert store.events_after(session_id, 0, 10) == ([], False)


def test_purging_goes_in_slices_and_the_session_goes_last(store: Store) -> None:
    session_id = created(store)
    work = Work(store.session(session_id), NOW)
    for number in range(5):
        work.save(
            Command(command_id=f"1.disk.{number}", kind="disk", attempt_number=1, created_at=NOW)
        )
    store.commit(work, QUOTA)
    assert not store.purge(session_id, 2)
    assert store.session(session_id)
    while not store.purge(session_id, 2):
        assert store.session(session_id)
    assert store.commands(session_id) == []


def test_the_quota_counts_who_joins_and_leaves(store: Store) -> None:
    ids = [created(store) for _ in range(QUOTA)]
    with pytest.raises(QuotaExceeded):
        created(store)
    created(store, owner="bob")
    leaving = Work(store.session(ids[0]), NOW)
    leaving.quota = QuotaChange.LEAVE
    leaving.session.title = "left"
    store.commit(leaving, QUOTA)
    created(store)
    back = Work(store.session(ids[0]), NOW)
    back.quota = QuotaChange.JOIN
    back.session.title = "back"
    with pytest.raises(QuotaExceeded):
        store.commit(back, QUOTA)
    assert store.session(ids[0]).title == "left"


def test_places_are_listed_and_can_be_freed(store: Store) -> None:
    first, second = created(store), created(store)
    assert store.places("alice") == {first, second}
    store.free_places("alice", {first})
    assert store.places("alice") == {second}
    store.free_places("alice", {second})
    assert store.places("alice") == store.places("nobody") == set()


def test_a_used_key_is_returned_and_nothing_is_written(store: Store) -> None:
    first = new_work()
    first.key = key_of(first, NOW + timedelta(hours=24))
    store.create(first, new_ticket(first.session.session_id), QUOTA)
    second = new_work()
    second.key = key_of(second, NOW + timedelta(hours=24))
    used = store.create(second, new_ticket(second.session.session_id, "t2"), QUOTA)
    assert used == first.key
    assert store.key("alice", "k", NOW) == first.key
    assert store.ticket("t2") is None
    with pytest.raises(SessionNotFound):
        store.session(second.session.session_id)


def test_a_used_key_wins_over_a_full_quota(store: Store) -> None:
    first = new_work()
    first.key = key_of(first, NOW + timedelta(hours=24))
    store.create(first, new_ticket(first.session.session_id), 1)
    second = new_work()
    second.key = key_of(second, NOW + timedelta(hours=24))
    assert store.create(second, new_ticket("x", "t2"), 1) == first.key


def test_an_expired_key_is_as_good_as_none(store: Store) -> None:
    first = new_work()
    first.key = key_of(first, NOW + timedelta(hours=24))
    store.create(first, new_ticket(first.session.session_id), QUOTA)
    later = NOW + timedelta(hours=25)
    second = new_work(now=later)
    second.key = key_of(second, later + timedelta(hours=24))
    assert store.key("alice", "k", later) is None
    assert store.create(second, new_ticket(second.session.session_id), QUOTA) is None


def test_pages_of_events_are_trimmed_ordered_and_complete(store: Store) -> None:
    session_id = created(store)
    for size in (3, 1, 4):
        work = Work(store.session(session_id), NOW)
        for index in range(size):
            work.emit(events.SessionAsleep(reason=str(index)))
        store.commit(work, QUOTA)
    whole, more = store.events_after(session_id, 0, 100)
    assert [e.event_id for e in whole] == list(range(1, 10))
    assert not more
    seen: list[int | None] = []
    more = True
    while more:
        page, more = store.events_after(session_id, seen[-1] or 0 if seen else 0, 2)
        seen += [e.event_id for e in page]
    assert seen == list(range(1, 10))
    assert store.events_after(session_id, 3, 1)[0][0].event_id == 4


def test_an_owners_sessions_come_newest_first_in_pages(store: Store) -> None:
    ids = [created(store, now=NOW + timedelta(seconds=n)) for n in range(3)]
    created(store, owner="bob")
    first, cursor = store.sessions_of("alice", None, 2)
    assert [s.session_id for s in first] == [ids[2], ids[1]]
    assert cursor
    rest, cursor = store.sessions_of("alice", cursor, 2)
    assert [s.session_id for s in rest] == [ids[0]]
    assert cursor is None
    assert store.sessions_of("carol", None, 2) == ([], None)


def test_due_sessions_are_found_once_their_time_has_come(store: Store) -> None:
    session_id = created(store)

    def due(now: datetime) -> list[str]:
        return [i for shard in range(DUE_SHARDS) for i in store.due(shard, now, 10)]

    assert due(NOW) == []
    assert due(NOW + timedelta(seconds=30)) == [session_id]
    work = Work(store.session(session_id), NOW)
    work.session.due_at = None
    store.commit(work, QUOTA)
    assert due(NOW + timedelta(days=1)) == []


def test_durations_are_an_owners_own(store: Store) -> None:
    url = "https://github.com/org/name.git"
    store.remember_durations("alice", url, {"clone": 1})
    store.remember_durations("alice", url + "x", {"clone": 2})
    assert store.durations("alice", url) == {"clone": 1}
    assert store.durations("bob", url) == {}


def viewer(session_id: str, connection_id: str = "c=/+1") -> Connection:
    return Connection(
        connection_id=connection_id,
        session_id=session_id,
        role=Role.VIEWER,
        credential="t1",
        expires_at=NOW,
    )


def test_a_ticket_opens_one_connection(store: Store) -> None:
    session_id = created(store)
    first, second = viewer(session_id), viewer(session_id, "c2")
    store.put_connection(first)
    store.put_connection(second)
    assert [c.is_open for c in store.connections(session_id)] == [False, False]
    assert store.open_connection(first)
    assert first.is_open
    assert store.ticket("t1") is None
    assert not store.open_connection(second)
    assert not second.is_open
    assert store.connection("c=/+1") == first
    assert store.connection("c2") == second
    store.remove_connection(first)
    store.remove_connection(first)
    assert store.connection("c=/+1") is None
    assert store.connections(session_id) == [second]
