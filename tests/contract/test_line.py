"""What every Store promises of an owner's places and of the line for them."""

from datetime import datetime, timedelta

import pytest

from headstart.domain.change import Change, QuotaChange
from headstart.domain.errors import QuotaExceeded
from headstart.domain.session import Status
from headstart.usecases.ports import Store
from tests.contract.helpers import NOW, QUOTA, created, new_change, new_ticket, read


def changed(store: Store, session_id: str, quota: int = QUOTA) -> Change:
    """Return a change of a session, to be completed and committed."""
    change = read(store, session_id, quota=quota)
    change.session.title += "."
    return change


def in_line(store: Store, session_id: str, since: datetime) -> None:
    """Let a session leave its place and wait for one."""
    change = changed(store, session_id)
    change.session.waiting_since, change.session.in_line = since, True
    change.quota = QuotaChange.LEAVE
    store.commit(change)


def out_of_line(store: Store, session_id: str, quota: int = QUOTA) -> None:
    """Give a waiting session a place."""
    change = changed(store, session_id, quota)
    change.session.waiting_since, change.session.in_line = None, False
    change.quota = QuotaChange.JOIN
    store.commit(change)


def waiting(store: Store, owner: str = "alice") -> list[str]:
    return [place.session_id for place in store.line(owner)]


def test_a_line_is_in_order_and_an_owners_own(store: Store) -> None:
    first, second, third = (created(store) for _ in range(3))
    other = created(store, owner="bob")
    in_line(store, second, NOW + timedelta(seconds=2))
    in_line(store, third, NOW + timedelta(seconds=3))
    in_line(store, first, NOW + timedelta(seconds=1))
    in_line(store, other, NOW)
    assert waiting(store) == [first, second, third]
    assert waiting(store, "bob") == [other]
    assert store.places("alice") == set()
    out_of_line(store, first)
    assert waiting(store) == [second, third]
    assert store.places("alice") == {first}


def test_who_waits_leaves_the_line_with_whatever_ends_the_waiting(store: Store) -> None:
    failing, deleted = created(store), created(store)
    for session_id, status in ((failing, Status.FAILED), (deleted, Status.DELETING)):
        in_line(store, session_id, NOW)
        change = changed(store, session_id)
        change.session.move_to(status, NOW)
        change.quota = QuotaChange.LEAVE
        store.commit(change)
    assert waiting(store) == []
    created(store)


def test_while_somebody_waits_a_place_is_for_those_in_line_and_for_who_has_one(
    store: Store,
) -> None:
    has_one, waits, newcomer = (created(store) for _ in range(3))
    change = changed(store, newcomer)
    change.quota = QuotaChange.LEAVE
    store.commit(change)
    in_line(store, waits, NOW)
    with pytest.raises(QuotaExceeded):
        created(store)
    back = changed(store, newcomer)
    back.quota = QuotaChange.JOIN
    with pytest.raises(QuotaExceeded):
        store.commit(back)
    again = changed(store, has_one, quota=1)
    again.quota = QuotaChange.JOIN
    store.commit(again)
    with pytest.raises(QuotaExceeded):
        out_of_line(store, waits, quota=1)
    out_of_line(store, waits)
    back = changed(store, newcomer)
    back.quota = QuotaChange.JOIN
    store.commit(back)
    assert store.places("alice") == {has_one, waits, newcomer}


def test_a_session_may_be_created_waiting_up_to_the_lines_length(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("dynamodb", "memory_store"):
        monkeypatch.setattr(f"headstart.adapters.{module}.LINE_LENGTH", 2)
    ids = []
    for number in range(3):
        change = new_change()
        change.quota = None
        change.session.waiting_since = NOW + timedelta(seconds=number)
        change.session.in_line = True
        ids.append(change.session.session_id)
        if number < 2:
            assert store.create(change, new_ticket(ids[-1])) is None
    with pytest.raises(QuotaExceeded, match="wait"):
        store.create(change, new_ticket(ids[-1]))
    assert waiting(store) == ids[:2]
    assert store.places("alice") == set()


def test_a_place_in_line_that_nothing_stands_for_can_be_forgotten(store: Store) -> None:
    first, second = created(store), created(store)
    for session_id in (first, second):
        in_line(store, session_id, NOW)
    [place] = [place for place in store.line("alice") if place.session_id == first]
    for _ in range(2):
        store.forget_waiting("alice", place)
    assert waiting(store) == [second]
    with pytest.raises(QuotaExceeded):
        created(store)
    out_of_line(store, second)
    created(store)
