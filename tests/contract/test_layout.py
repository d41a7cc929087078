"""SESSION says at which version each row of its set was last written, and each row says it too."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.adapters import layout
from headstart.adapters.dynamodb import DynamoStore
from headstart.adapters.memory import MemoryPorts
from headstart.domain.attempt import Attempt
from headstart.domain.change import Change
from headstart.domain.errors import Conflict, RowUnreadable
from headstart.domain.ids import new_session_id
from headstart.domain.sandbox import Sandbox, SandboxStatus
from headstart.domain.session import Cause
from headstart.usecases.janitor import sweep
from headstart.usecases.read import get_session, list_sessions
from headstart.usecases.talk import initiate
from tests.contract.helpers import NOW, command, created, read, viewer, write

ATTEMPT, SANDBOX = "SESSION#ATTEMPT", "SESSION#SANDBOX"


@pytest.fixture
def store(dynamodb: Any) -> DynamoStore:
    return DynamoStore(dynamodb, "headstart")


def rows(client: Any, session_id: str) -> dict[str, Any]:
    """Return the rows of a working set as they are in the table, by sort key."""
    items = client.query(TableName="headstart", **layout.query(session_id))["Items"]
    return {item["sk"]["S"]: item for item in items}


def hot(client: Any, session_id: str) -> dict[str, int]:
    """Return what SESSION says of its rows, which is what they say themselves."""
    found = rows(client, session_id)
    session = found.pop("SESSION")
    assert session["layout"] == {"N": "2"}
    said: dict[str, int] = json.loads(session["hot"]["S"])
    assert said == {sk: int(row["version"]["N"]) for sk, row in found.items()}
    return said


def sandbox() -> Sandbox:
    return Sandbox(attempt_number=1, try_number=1, status=SandboxStatus.STARTING, created_at=NOW)


def test_it_follows_what_is_saved_and_forgotten_and_a_new_attempt(
    dynamodb: Any, store: DynamoStore
) -> None:
    session_id = created(store)
    assert hot(dynamodb, session_id) == {ATTEMPT: 0}
    write(store, session_id, sandbox(), command(1))
    first = {SANDBOX: 1, "SESSION#COMMAND#1.disk.1": 1}
    assert hot(dynamodb, session_id) == {ATTEMPT: 0, **first}
    write(store, session_id, viewer(session_id, "c1"))
    watched = {"SESSION#CONNECTION#c1": 2}
    assert hot(dynamodb, session_id) == {ATTEMPT: 0, **first, **watched}
    write(store, session_id)
    assert hot(dynamodb, session_id) == {ATTEMPT: 0, **first, **watched}
    change = read(store, session_id)
    change.forget(change.commands["1.disk.1"])
    change.forget(change.connections["c1"])
    change.session.attempt_number = 2
    change.begin(Attempt(number=2, cause=Cause.RETRY, started_at=NOW, progress_at=NOW))
    store.commit(change)
    assert hot(dynamodb, session_id) == {ATTEMPT: 4, SANDBOX: 1}


def test_a_refused_change_leaves_it_alone(dynamodb: Any, store: DynamoStore) -> None:
    session_id = created(store)
    late = read(store, session_id)
    write(store, session_id, sandbox())
    late.save(command(1))
    before = hot(dynamodb, session_id)
    with pytest.raises(Exception, match="meanwhile"):
        store.commit(late)
    assert hot(dynamodb, session_id) == before


def test_a_connections_row_has_the_time_of_its_end_and_no_other_has(
    dynamodb: Any, store: DynamoStore
) -> None:
    session_id = created(store)
    write(store, session_id, sandbox(), command(1), viewer(session_id, "c1"))
    ends = {sk: row.get("expires") for sk, row in rows(dynamodb, session_id).items()}
    assert ends.pop("SESSION#CONNECTION#c1") == {"N": str(int(NOW.timestamp()))}
    assert set(ends.values()) == {None}


# What is done to a session, in any order: a kind of row, a number, and whether it is saved.
STEPS = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["command", "viewer", "sandbox"]), st.integers(1, 3), st.booleans()
        ),
        max_size=4,
        unique_by=lambda step: step[:2],
    ),
    max_size=6,
)


@settings(max_examples=10, suppress_health_check=list(HealthCheck))
@given(changes=STEPS)
def test_whatever_is_done_the_set_is_what_was_saved(
    dynamodb: Any, store: DynamoStore, changes: list[list[tuple[str, int, bool]]]
) -> None:
    # An owner each: examples share the table, and its quotas.
    session_id = created(store, owner=new_session_id(NOW))
    expected = store.load(session_id)
    for steps in changes:
        change = read(store, session_id)
        for kind, number, is_saved in steps:
            _do(change, kind, number, is_saved=is_saved)
        store.commit(change)
        expected.commands, expected.connections = change.commands, change.connections
        expected.sandbox, expected.session = change.sandbox, change.session
        found = store.load(session_id)
        expected.receipt = found.receipt
        assert found == expected
        hot(dynamodb, session_id)


def _do(change: Any, kind: str, number: int, *, is_saved: bool) -> None:
    if kind == "sandbox":
        change.save(change.sandbox or sandbox())
        return
    known = change.commands if kind == "command" else change.connections
    name = f"1.disk.{number}" if kind == "command" else str(number)
    if is_saved:
        new = command(number) if kind == "command" else viewer(change.session.session_id, name)
        change.save(known.get(name, new))
    elif name in known:
        change.forget(known[name])


# A layout of tomorrow's.


@pytest.fixture
def ports(store: Any) -> MemoryPorts:
    return MemoryPorts(store=store)


def of_tomorrow(client: Any, store: DynamoStore) -> str:
    """Return a session that a newer version keeps in a way of its own."""
    session_id = created(store)
    session = rows(client, session_id)["SESSION"]
    client.put_item(TableName="headstart", Item={**session, "layout": {"N": "4"}})
    return session_id


def test_a_later_layout_is_refused_in_words(dynamodb: Any, ports: MemoryPorts) -> None:
    session_id = of_tomorrow(dynamodb, ports.store)  # type: ignore[arg-type]
    before = rows(dynamodb, session_id)
    for call in (get_session, initiate):
        with pytest.raises(RowUnreadable, match=r"newer version keeps it \(layout 4\)") as refused:
            call(ports, "alice", session_id)
        assert (refused.value.status, refused.value.retryable) == (503, True)
    assert rows(dynamodb, session_id) == before


def test_and_harms_no_other_session(dynamodb: Any, ports: MemoryPorts) -> None:
    store: Any = ports.store
    bad, good = of_tomorrow(dynamodb, store), created(store)
    assert good in [item["sessionId"] for item in list_sessions(ports, "alice", None)["items"]]
    ports.clock.advance(minutes=1)
    assert sweep(ports) == 2
    assert ports.machine.started == [(good, 1)]
    counted = [name for name, *_ in ports.metrics.measured]
    assert counted.count("RowsUnreadable") == 1
    assert "JanitorErrors" not in counted
    assert rows(dynamodb, bad)["SESSION"]["layout"] == {"N": "4"}


def test_a_kind_of_row_that_we_do_not_know_stays_in_its_place(
    dynamodb: Any, store: DynamoStore
) -> None:
    session_id = created(store)
    session = rows(dynamodb, session_id)["SESSION"]
    strange = "SESSION#TOMORROW#1"
    known = json.dumps({**json.loads(session["hot"]["S"]), strange: 0})
    for item in (
        {**session, "hot": {"S": known}},
        {"pk": session["pk"], "sk": {"S": strange}, "version": {"N": "0"}, "data": {"S": "{}"}},
    ):
        dynamodb.put_item(TableName="headstart", Item=item)
    write(store, session_id, command(1))
    assert hot(dynamodb, session_id) == {ATTEMPT: 0, strange: 0, "SESSION#COMMAND#1.disk.1": 1}


def withdrawn_behind_the_head(store: Any) -> tuple[str, Change]:
    """Return a session with such a message, and what somebody read before it was withdrawn."""
    session_id = created(store)
    change = read(store, session_id)
    change.session.message_count = 3
    store.commit(change)
    before = read(store, session_id)
    change = read(store, session_id)
    change.session.withdraw(2)
    store.commit(change)
    return session_id, before


def test_a_version_that_knows_no_withdrawals_delivers_nothing_of_such_a_queue(
    dynamodb: Any, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, before = withdrawn_behind_the_head(store)
    before.session.pass_head()
    with pytest.raises(Conflict):
        store.commit(before)
    with monkeypatch.context() as of_before:
        of_before.setattr(layout, "WITH_GAPS", layout.LAYOUT)
        with pytest.raises(RowUnreadable, match="layout 3"):
            read(store, session_id)
    change = read(store, session_id)
    change.session.pass_head()
    store.commit(change)
    assert rows(dynamodb, session_id)["SESSION"]["layout"] == {"N": "2"}
    assert read(store, session_id).session.next_message == 3
