"""One Query reads rows of several moments: that is noticed, and read again until it is one."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from headstart.adapters import layout
from headstart.adapters.dynamodb import DynamoStore
from headstart.domain.attempt import AttemptStatus
from headstart.domain.change import Change, WorkingSet
from headstart.domain.errors import Conflict, SessionNotFound
from headstart.domain.sandbox import Sandbox, SandboxStatus
from headstart.usecases import retry
from tests.contract.helpers import NOW, command, created, read, viewer, write

Item = dict[str, Any]


class Watched:
    """The table's Queries, counted; something may happen right after one, or change its answer."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.queries = 0
        self.after: dict[int, Callable[[], object]] = {}
        self.hidden: dict[int, str] = {}
        client.meta.events.register("after-call.dynamodb.Query", self._see)

    def _see(self, parsed: dict[str, Any], **_: Any) -> None:
        self.queries += 1
        if hidden := self.hidden.get(self.queries):
            parsed["Items"] = [item for item in parsed["Items"] if item["sk"]["S"] != hidden]
        if happens := self.after.get(self.queries):
            happens()

    def rows(self, session_id: str) -> dict[str, Item]:
        """Return the rows of a working set as they are in the table, by sort key."""
        items: list[Item] = self.client.query(TableName="headstart", **layout.query(session_id))[
            "Items"
        ]
        self.queries = 0
        return {item["sk"]["S"]: item for item in items}

    def put(self, item: Item) -> None:
        """Put a row behind the store's back."""
        self.client.put_item(TableName="headstart", Item=item)

    def delete(self, session_id: str, sk: str) -> None:
        """Delete a row behind the store's back, as the table does when its time is over."""
        key = {"pk": {"S": f"SESSION#{session_id}"}, "sk": {"S": sk}}
        self.client.delete_item(TableName="headstart", Key=key)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.time, "sleep", lambda _: None)


@pytest.fixture
def watched(dynamodb: Any) -> Watched:
    return Watched(dynamodb)


@pytest.fixture
def store(dynamodb: Any) -> DynamoStore:
    return DynamoStore(dynamodb, "headstart")


def sandbox() -> Sandbox:
    return Sandbox(attempt_number=1, try_number=1, status=SandboxStatus.STARTING, created_at=NOW)


def stored(store: DynamoStore) -> str:
    """Return a session with a row of each kind in its working set."""
    session_id = created(store)
    rows = [sandbox(), command(1), command(2), viewer(session_id, "c1"), viewer(session_id, "c2")]
    write(store, session_id, *rows)
    return session_id


def everything(change: Change) -> None:
    """Change whatever a working set has: rows are rewritten, added and forgotten."""
    change.attempt.status = AttemptStatus.FAILED
    change.save(change.attempt)
    assert change.sandbox
    change.sandbox.task_arn = "task"
    change.save(change.sandbox)
    change.forget(change.commands["1.disk.1"])
    change.commands["1.disk.2"].answered = True
    change.save(change.commands["1.disk.2"])
    change.save(command(3))
    change.forget(change.connections["c1"])
    change.connections["c2"].is_open = True
    change.save(change.connections["c2"])
    change.save(viewer(change.session.session_id, "c3"))


def seen(found: WorkingSet) -> WorkingSet:
    """Return a set without the store's own part of it."""
    found.receipt = None
    return found


def test_no_mixture_of_two_moments_is_taken_for_one(store: DynamoStore, watched: Watched) -> None:
    session_id = stored(store)
    write(store, session_id, command(4))
    before, old = seen(store.load(session_id)), watched.rows(session_id)
    change = read(store, session_id)
    everything(change)
    store.commit(change)
    after, new = seen(store.load(session_id)), watched.rows(session_id)
    names = sorted({*old, *new})
    assert len(names) == 10
    taken = []
    for choice in itertools.product((old, new), repeat=len(names)):
        items = [rows[sk] for sk, rows in zip(names, choice, strict=True) if sk in rows]
        try:
            found = layout.working_set(items, pytest.fail, looks=1)
        except layout.Torn:
            continue
        taken.append(seen(found))
    # A connection that is gone is gone, whatever else was read; nothing can be committed on it.
    del before.connections["c1"]
    gone = [found for found in taken if found == before]
    before.connections["c1"] = viewer(session_id, "c1")
    assert gone
    assert all(found in (before, after) for found in taken if found not in gone)
    assert before in taken
    assert after in taken


def test_a_rivals_change_between_two_pages_is_noticed_and_read_whole(
    store: DynamoStore, watched: Watched
) -> None:
    session_id = stored(store)
    write(store, session_id, *(command(n, output={"text": "x" * 300_000}) for n in range(4, 9)))

    def rival() -> None:
        watched.after.clear()
        change = read(store, session_id)
        everything(change)
        store.commit(change)
        watched.queries = 0

    watched.after[1] = rival
    watched.queries = 0
    found = store.load(session_id)
    # The page that was left, and then two of one moment.
    assert watched.queries == 3
    assert found.attempt.status is AttemptStatus.FAILED
    assert found.sandbox
    assert found.sandbox.task_arn == "task"
    assert {"c2", "c3"} == set(found.connections)
    assert found.session.version == 3


def swapped(watched: Watched, store: DynamoStore, sk: str) -> tuple[str, Item]:
    """Return a session of which one row is older than the others, and that row as it should be."""
    session_id = stored(store)
    old = watched.rows(session_id)[sk]
    change = read(store, session_id)
    everything(change)
    store.commit(change)
    new = watched.rows(session_id)[sk]
    watched.put(old)
    return session_id, new


KINDS = ["SESSION", "SESSION#ATTEMPT", "SESSION#SANDBOX", "SESSION#COMMAND#1.disk.2"]


@pytest.mark.parametrize("sk", [*KINDS, "SESSION#CONNECTION#c2"])
def test_a_row_that_lags_behind_is_waited_for(
    store: DynamoStore, watched: Watched, sk: str
) -> None:
    session_id, new = swapped(watched, store, sk)
    watched.after[4] = lambda: watched.put(new)
    found = store.load(session_id)
    assert watched.queries == 5
    assert (found.session.version, set(found.commands)) == (2, {"1.disk.2", "1.disk.3"})


@pytest.mark.parametrize("sk", [*KINDS, "SESSION#CONNECTION#c2"])
def test_a_row_that_never_comes_ends_as_a_conflict_within_a_bound(
    store: DynamoStore, watched: Watched, sk: str
) -> None:
    session_id, _ = swapped(watched, store, sk)
    with pytest.raises(Conflict):
        store.load(session_id)
    assert watched.queries == retry.CONFLICT_TRIES


@pytest.mark.parametrize("sk", KINDS[1:])
def test_a_row_that_is_missing_is_waited_for_too(
    store: DynamoStore, watched: Watched, sk: str
) -> None:
    session_id = stored(store)
    kept = watched.rows(session_id)[sk]
    watched.delete(session_id, sk)
    watched.after[2] = lambda: watched.put(kept)
    assert len(store.load(session_id).commands) == 2
    assert watched.queries == 3


def test_a_row_that_is_left_over_from_what_has_gone_is_nobodys(
    store: DynamoStore, watched: Watched
) -> None:
    session_id = stored(store)
    left = watched.rows(session_id)
    change = read(store, session_id)
    everything(change)
    store.commit(change)
    watched.put(left["SESSION#COMMAND#1.disk.1"])
    watched.put(left["SESSION#CONNECTION#c1"])
    watched.queries = 0
    found = store.load(session_id)
    assert watched.queries == 1
    assert set(found.commands) == {"1.disk.2", "1.disk.3"}
    assert set(found.connections) == {"c2", "c3"}


# Connections: their rows have a time to live.


def test_a_connection_that_the_table_has_forgotten_is_no_torn_read(
    store: DynamoStore, watched: Watched
) -> None:
    session_id = stored(store)
    write(store, session_id, command(4))
    watched.delete(session_id, "SESSION#CONNECTION#c1")
    watched.queries = 0
    assert set(store.load(session_id).connections) == {"c2"}
    assert watched.queries == 1
    write(store, session_id)
    assert "SESSION#CONNECTION#c1" not in watched.rows(session_id)["SESSION"]["hot"]["S"]


def test_nor_is_it_one_for_long_where_nothing_has_changed_since_it_came(
    store: DynamoStore, watched: Watched
) -> None:
    session_id = stored(store)
    watched.delete(session_id, "SESSION#CONNECTION#c1")
    watched.queries = 0
    assert set(store.load(session_id).connections) == {"c2"}
    assert watched.queries == layout.LOOKS


def test_a_connection_that_is_only_late_is_not_lost(store: DynamoStore, watched: Watched) -> None:
    session_id = stored(store)
    watched.rows(session_id)
    watched.hidden = {1: "SESSION#CONNECTION#c1", 2: "SESSION#CONNECTION#c1"}
    change = read(store, session_id)
    assert watched.queries == 3
    change.session.title = "written"
    store.commit(change)
    assert set(store.load(session_id).connections) == {"c1", "c2"}


def test_a_session_that_goes_meanwhile_is_gone(store: DynamoStore, watched: Watched) -> None:
    session_id = stored(store)
    watched.delete(session_id, "SESSION#ATTEMPT")
    watched.after[2] = lambda: watched.delete(session_id, "SESSION")
    watched.queries = 0
    with pytest.raises(SessionNotFound):
        store.load(session_id)
    assert watched.queries == 3
