"""What every Store promises."""

from datetime import datetime, timedelta

import pytest

from headstart.domain import events
from headstart.domain.archive import Archive, StoredFile
from headstart.domain.attempt import Attempt, AttemptStatus, Output
from headstart.domain.change import (
    ARCHIVE,
    CONFIG,
    QuotaChange,
    RowKey,
    input_key,
    message_key,
    output_key,
)
from headstart.domain.errors import Conflict, QuotaExceeded, SessionNotFound
from headstart.domain.message import Input, Message, MessageStatus
from headstart.domain.policy import DUE_SHARDS
from headstart.domain.sandbox import Sandbox, SandboxStatus
from headstart.domain.session import Cause
from headstart.domain.steps import StepName
from headstart.usecases.ports import Store
from tests.contract.helpers import (
    NOW,
    QUOTA,
    command,
    created,
    key_of,
    named,
    new_change,
    new_ticket,
    read,
    used,
    viewer,
    write,
)


def test_what_was_written_is_read_back_exactly(store: Store) -> None:
    change = new_change()
    session_id = change.session.session_id
    store.create(change, new_ticket(session_id))
    assert store.session(session_id) == change.session
    found = store.load(session_id)
    assert (found.session, found.attempt) == (change.session, change.attempt)
    assert (found.sandbox, found.commands, found.connections) == (None, {}, {})
    assert named(store, session_id, CONFIG) == change.rows[0]
    assert store.ticket("t1") == new_ticket(session_id)
    assert store.events_after(session_id, 0, 10) == (change.events, False)


def sandbox(**more: object) -> Sandbox:
    known = {"attempt_number": 1, "try_number": 1, "status": SandboxStatus.STARTING}
    return Sandbox.model_validate({**known, "created_at": NOW, **more})


def message(number: int) -> Message:
    return Message(
        message_id="m", number=number, text="ä\n", status=MessageStatus.QUEUED, created_at=NOW
    )


def test_rows_of_every_kind_are_read_back_exactly(store: Store) -> None:
    session_id = created(store)
    asked, watches = command(1, output={"f": 0.5}), viewer(session_id)
    output = Output(attempt_number=1, step=StepName.SETUP, text="x" * 70_000)
    question = Input(request_id="r/ü", turn_id="t", kind="question", body={}, created_at=NOW)
    copy = Archive(base=StoredFile(key="k", bytes=1, sha256="s"), created_at=NOW)
    write(store, session_id, message(1), asked, sandbox(), output, question, copy, watches)
    assert store.messages_page(session_id, 0, 100)[0] == [message(1)]
    assert store.messages_page(session_id, 1, 100)[0] == []
    found = store.load(session_id)
    assert found.commands == {"1.disk.1": asked}
    assert found.connections == {"c=/+1": watches}
    assert found.sandbox == sandbox()
    names = [message_key(1), output_key(1, "setup"), input_key("r/ü"), ARCHIVE]
    rows = store.named(session_id, [*names, message_key(2), names[0]])
    assert rows == {
        **dict(zip(names, [message(1), output, question, copy], strict=True)),
        message_key(2): None,
    }
    assert store.named(session_id, []) == {}


def test_what_is_forgotten_leaves_the_set_and_what_stays_is_as_it_was(store: Store) -> None:
    session_id = created(store)
    watches, other = viewer(session_id), viewer(session_id, "c2")
    write(store, session_id, command(1), command(2), watches, other)
    change = read(store, session_id)
    change.forget(change.commands["1.disk.1"])
    change.forget(change.connections["c2"])
    answered = change.commands["1.disk.2"]
    answered.answered = True
    change.save(answered)
    store.commit(change)
    found = store.load(session_id)
    assert found.commands == {"1.disk.2": command(2, answered=True)}
    assert found.connections == {"c=/+1": watches}


def test_what_was_not_saved_was_not_written(store: Store) -> None:
    session_id = created(store)
    write(store, session_id, sandbox(), command(1), viewer(session_id))
    before = store.load(session_id)
    change = read(store, session_id)
    change.attempt.cloned_bytes = 7
    assert change.sandbox
    change.sandbox.task_arn = "task"
    change.commands["1.disk.1"].answered = True
    change.connections["c=/+1"].is_open = True
    change.session.title = "written, without a word"
    store.commit(change)
    after = store.load(session_id)
    assert after.session.title == change.session.title
    assert (after.attempt, after.sandbox) == (before.attempt, before.sandbox)
    assert (after.commands, after.connections) == (before.commands, before.connections)


def test_the_next_attempt_takes_the_place_of_the_one_before_which_is_kept(store: Store) -> None:
    session_id = created(store)
    write(store, session_id, command(1), sandbox())
    change = read(store, session_id)
    change.attempt.status = AttemptStatus.FAILED
    change.session.attempt_number = 2
    second = Attempt(number=2, cause=Cause.RETRY, started_at=NOW, progress_at=NOW)
    change.begin(second)
    store.commit(change)
    found = store.load(session_id)
    assert found.attempt == second
    assert (found.sandbox, found.commands) == (sandbox(), {"1.disk.1": command(1)})
    first = named(store, session_id, RowKey(Attempt, (1,)))
    assert (first.number, first.status) == (1, AttemptStatus.FAILED)


def test_only_the_first_of_two_changes_of_one_read_commits(store: Store) -> None:
    session_id = created(store)
    first, second = (read(store, session_id) for _ in range(2))
    first.session.title = "first"
    second.emit(events.SessionAsleep(reason="second"))
    second.save(sandbox())
    store.commit(first)
    with pytest.raises(Conflict):
        store.commit(second)
    assert store.session(session_id).title == "first"
    assert store.load(session_id).sandbox is None
    assert len(store.events_after(session_id, 0, 10)[0]) == 1


def test_one_row_as_two_objects_is_written_once_as_it_was_saved_last(store: Store) -> None:
    session_id = created(store)
    change = read(store, session_id)
    for status in (AttemptStatus.FAILED, AttemptStatus.COMPLETED):
        change.save(change.attempt.model_copy(update={"status": status}))
    for text in ("first", "last"):
        change.save(message(1).model_copy(update={"text": text}))
    store.commit(change)
    assert store.load(session_id).attempt.status is AttemptStatus.COMPLETED
    assert [m.text for m in store.messages_page(session_id, 0, 100)[0]] == ["last"]


def test_a_change_of_a_session_that_is_gone_is_refused(store: Store) -> None:
    session_id = created(store)
    change = read(store, session_id)
    while not store.purge(session_id, 100):
        pass
    change.emit(events.SessionAsleep(reason="late"))
    with pytest.raises(SessionNotFound):
        store.commit(change)
    for look in (store.session, store.load):
        with pytest.raises(SessionNotFound):
            look(session_id)
    assert store.events_after(session_id, 0, 10) == ([], False)


def test_the_quota_counts_who_joins_and_leaves(store: Store) -> None:
    ids = [created(store) for _ in range(QUOTA)]
    with pytest.raises(QuotaExceeded):
        created(store)
    created(store, owner="bob")
    leaving = read(store, ids[0])
    leaving.quota = QuotaChange.LEAVE
    leaving.session.title = "left"
    store.commit(leaving)
    created(store)
    back = read(store, ids[0])
    back.quota = QuotaChange.JOIN
    back.session.title = "back"
    with pytest.raises(QuotaExceeded):
        store.commit(back)
    assert store.session(ids[0]).title == "left"


def test_places_are_listed_and_can_be_freed(store: Store) -> None:
    first, second = created(store), created(store)
    assert store.places("alice") == {first, second}
    store.free_places("alice", {first})
    assert store.places("alice") == {second}
    store.free_places("alice", {second})
    assert store.places("alice") == store.places("nobody") == set()


def test_a_used_key_is_returned_and_nothing_is_written(store: Store) -> None:
    first = new_change()
    first.key = key_of(first, NOW + timedelta(hours=24))
    store.create(first, new_ticket(first.session.session_id))
    second = new_change()
    second.key = key_of(second, NOW + timedelta(hours=24))
    found = store.create(second, new_ticket(second.session.session_id, "t2"))
    assert found == used(store) == first.key
    assert used(store, owner="bob") is used(store, key="other") is None
    assert store.ticket("t2") is None
    with pytest.raises(SessionNotFound):
        store.session(second.session.session_id)


def test_a_used_key_wins_over_a_full_quota(store: Store) -> None:
    first, second = new_change(quota=1), new_change(quota=1)
    first.key = key_of(first, NOW + timedelta(hours=24))
    store.create(first, new_ticket(first.session.session_id))
    second.key = key_of(second, NOW + timedelta(hours=24))
    assert store.create(second, new_ticket("x", "t2")) == first.key


def test_an_expired_key_is_as_good_as_none(store: Store) -> None:
    first = new_change()
    first.key = key_of(first, NOW + timedelta(hours=24))
    store.create(first, new_ticket(first.session.session_id))
    later = NOW + timedelta(hours=25)
    second = new_change(now=later)
    second.key = key_of(second, later + timedelta(hours=24))
    assert store.create(second, new_ticket(second.session.session_id)) is None
    assert used(store) == second.key


def test_a_key_that_a_rival_used_meanwhile_is_a_conflict(store: Store) -> None:
    session_id = created(store)
    late = read(store, session_id)
    late.key = key_of(late, NOW + timedelta(hours=24))
    rival = new_change()
    rival.key = key_of(rival, NOW + timedelta(hours=24))
    store.create(rival, new_ticket(rival.session.session_id))
    with pytest.raises(Conflict):
        store.commit(late)
    assert used(store) == rival.key


def test_pages_of_events_are_trimmed_ordered_and_complete(store: Store) -> None:
    session_id = created(store)
    for size in (3, 1, 4):
        change = read(store, session_id)
        for index in range(size):
            change.emit(events.SessionAsleep(reason=str(index)))
        store.commit(change)
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
    change = read(store, session_id)
    change.session.due_at = None
    store.commit(change)
    assert due(NOW + timedelta(days=1)) == []


def test_durations_are_an_owners_own(store: Store) -> None:
    session_id, url = created(store), "https://github.com/org/name.git"
    for milliseconds in (2, 1):
        change = read(store, session_id)
        change.durations = {"clone": milliseconds}
        assert not change.is_empty
        store.commit(change)
    assert store.prepared_before("alice", url, None)[0] == {"clone": 1}
    assert store.prepared_before("alice", url + "x", None)[0] == {}
    assert store.prepared_before("bob", url, None)[0] == {}
