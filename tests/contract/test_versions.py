"""Rows of another version: what it wrote is kept, and what can't be read harms itself alone."""

import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import pytest

from headstart.adapters.dynamodb import DynamoStore
from headstart.adapters.memory import MemoryPorts
from headstart.domain import events
from headstart.domain.change import Row, Work
from headstart.domain.errors import RowUnreadable
from headstart.domain.model import RowModel
from headstart.domain.session import (
    Attempt,
    Command,
    Failure,
    Input,
    Message,
    MessageStatus,
    Output,
    Sandbox,
    SandboxStatus,
    Session,
    SessionConfig,
    Snapshot,
    Turn,
)
from headstart.domain.steps import StepName
from headstart.usecases.change import publish
from headstart.usecases.janitor import sweep
from headstart.usecases.read import get_session, list_messages, list_sessions
from tests.contract.test_store import NOW, QUOTA, created, viewer

MARK = {"fromTomorrow": {"list": [1, 0.5, None, "ü"]}}


@dataclass
class Kind:
    """A kind of row: one of it, its sort key, and how it is read."""

    model: type[RowModel]
    row: Row | None
    sk: str
    read: Callable[[DynamoStore, str], Any]


FAILURE = Failure(code="X", reason="x", retryable=True)
KINDS = {
    "a session": Kind(Session, None, "SESSION", lambda s, i: s.session(i)),
    "what was asked for": Kind(SessionConfig, None, "CONFIG", lambda s, i: s.config(i)),
    "an attempt": Kind(Attempt, None, "ATTEMPT#0001", lambda s, i: s.attempt(i, 1)),
    "a message": Kind(
        Message,
        Message(
            message_id="m",
            number=1,
            text="x",
            status=MessageStatus.HELD,
            created_at=NOW,
            failure=FAILURE,
        ),
        "MESSAGE#000001",
        lambda s, i: s.message(i, 1),
    ),
    "a command": Kind(
        Command,
        Command(
            command_id="1.disk.1", kind="disk", attempt_number=1, created_at=NOW, failure=FAILURE
        ),
        "COMMAND#1.disk.1",
        lambda s, i: s.command(i, "1.disk.1"),
    ),
    "a sandbox": Kind(
        Sandbox,
        Sandbox(attempt_number=1, try_number=1, status=SandboxStatus.STARTING, created_at=NOW),
        "SANDBOX",
        lambda s, i: s.sandbox(i),
    ),
    "a question": Kind(
        Input,
        Input(request_id="r", turn_id="t", kind="question", body={}, created_at=NOW),
        "INPUT#r",
        lambda s, i: s.input(i, "r"),
    ),
    "saved work": Kind(
        Snapshot,
        Snapshot(key="k", bytes=1, sha256="s", created_at=NOW), "SNAPSHOT",
        lambda s, i: s.snapshot(i),
    ),
    "an output": Kind(
        Output,
        Output(attempt_number=1, step=StepName.SETUP), "OUTPUT#0001#setup",
        lambda s, i: s.output(i, 1, "setup"),
    ),
}  # fmt: skip


class Table:
    """The rows as they are in the table."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def data(self, pk: str, sk: str) -> dict[str, Any]:
        """Return what a row holds."""
        key = {"pk": {"S": pk}, "sk": {"S": sk}}
        item = self.client.get_item(TableName="headstart", Key=key)["Item"]
        return dict(json.loads(item["data"]["S"]))

    def rewrite(self, pk: str, sk: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Change what a row holds, behind the store's back."""
        data = self.data(pk, sk)
        change(data)
        self.client.update_item(
            TableName="headstart",
            Key={"pk": {"S": pk}, "sk": {"S": sk}},
            UpdateExpression="SET #data = :data",
            ExpressionAttributeNames={"#data": "data"},
            ExpressionAttributeValues={":data": {"S": json.dumps(data)}},
        )


@pytest.fixture
def table(dynamodb: Any) -> Table:
    return Table(dynamodb)


@pytest.fixture
def unreadable() -> list[int]:
    return []


@pytest.fixture
def store(dynamodb: Any, unreadable: list[int]) -> DynamoStore:
    return DynamoStore(dynamodb, "headstart", unreadable.append)


def written(store: DynamoStore, kind: Kind) -> str:
    """Return a session that has a row of the kind."""
    session_id = created(store)
    work = Work(store.session(session_id), NOW)
    work.session.failure = FAILURE
    work.session.active_turn = Turn(turn_id="t", message_id="m", message_number=1, claimed_at=NOW)
    if kind.row:
        work.save(kind.row)
    store.commit(work, QUOTA)
    return session_id


def mark(value: Any) -> None:
    """Add a field to an object and to every one of ours inside of it."""
    if isinstance(value, dict) and not value.keys() & MARK.keys():
        for name in ("failure", "activeTurn", "steps"):
            mark(value.get(name))
        value |= MARK
    elif isinstance(value, list):
        for item in value:
            mark(item)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_field_of_a_newer_version_outlives_a_change_by_this_one(
    store: DynamoStore, table: Table, kind: Kind
) -> None:
    session_id = written(store, kind)
    table.rewrite(f"SESSION#{session_id}", kind.sk, mark)
    before = table.data(f"SESSION#{session_id}", kind.sk)
    work = Work(store.session(session_id), NOW)
    work.session.title = "changed"
    row = kind.read(store, session_id)
    if kind.sk != "SESSION":
        work.save(row)
    store.commit(work, QUOTA)
    after = table.data(f"SESSION#{session_id}", kind.sk)
    changed = {"title": "changed", "version": work.session.version}
    assert after == before | (changed if kind.sk == "SESSION" else {})


def test_no_kind_of_row_is_left_out() -> None:
    assert {kind.model for kind in KINDS.values()} == {Session, *get_args(Row)}


def test_a_connections_rows_keep_them_too(store: DynamoStore, table: Table) -> None:
    session_id = created(store)
    connection = viewer(session_id)
    store.put_connection(connection)
    table.rewrite(f"CONNECTION#{connection.connection_id}", "CONNECTION", mark)
    found = store.connection(connection.connection_id)
    assert found
    assert store.open_connection(found)
    for pk, sk in (
        (f"CONNECTION#{connection.connection_id}", "CONNECTION"),
        (f"SESSION#{session_id}", f"CONNECTION#{connection.connection_id}"),
    ):
        data = table.data(pk, sk)
        assert data["isOpen"]
        assert MARK.items() <= data.items()


# What can't be read.


def spoil(data: dict[str, Any]) -> None:
    """Use a word that this version doesn't know."""
    for name in ("status", "kind", "role"):
        if name in data:
            data[name] = "tomorrow's"
            return
    data["createdAt"] = "tomorrow"


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_row_that_can_not_be_read_is_said_to_be_so(
    store: DynamoStore, table: Table, kind: Kind
) -> None:
    session_id = written(store, kind)
    pk = f"SESSION#{session_id}"
    table.rewrite(pk, kind.sk, lambda data: data.update({name: [["secret"]] for name in data}))
    with pytest.raises(RowUnreadable, match="newer version") as refused:
        kind.read(store, session_id)
    assert "secret" not in "".join(traceback.format_exception(refused.value))


def test_lists_leave_it_out_and_count_it(
    store: DynamoStore, table: Table, unreadable: list[int]
) -> None:
    bad, good = created(store), created(store)
    work = Work(store.session(good), NOW)
    for number in (1, 2):
        name, held = str(number), MessageStatus.HELD
        work.save(Message(message_id=name, number=number, text="", status=held, created_at=NOW))
        work.save(Command(command_id=name, kind="disk", attempt_number=1, created_at=NOW))
        store.put_connection(viewer(good, name))
    store.commit(work, QUOTA)
    table.rewrite(f"SESSION#{bad}", "SESSION", spoil)
    for sk in ("MESSAGE#000001", "COMMAND#1", "CONNECTION#1"):
        table.rewrite(f"SESSION#{good}", sk, spoil)
    assert [s.session_id for s in store.sessions_of("alice", None, 10)[0]] == [good]
    assert [m.number for m in store.messages(good)] == [2]
    assert [m.number for m in store.messages_page(good, 0, 10)[0]] == [2]
    assert [c.command_id for c in store.commands(good)] == ["2"]
    assert [c.connection_id for c in store.connections(good)] == ["2"]
    assert unreadable == [1] * 5


@pytest.fixture
def ports(store: Any) -> MemoryPorts:
    return MemoryPorts(store=store)


def test_viewers_that_can_be_read_hear_what_others_can_not(
    ports: MemoryPorts, table: Table
) -> None:
    session_id = created(ports.store)
    for name in ("c1", "c2"):
        connection = viewer(session_id, name)
        connection.is_open = True
        connection.expires_at = ports.clock().replace(year=2030)
        ports.store.put_connection(connection)
    table.rewrite(f"SESSION#{session_id}", "CONNECTION#c1", spoil)
    event = events.SessionDeleted().event(session_id, NOW, None)
    publish(ports, session_id, [event])
    assert list(ports.sockets.sent) == ["c2"]


def test_its_owner_is_told_in_words_and_sees_the_others(ports: MemoryPorts, table: Table) -> None:
    bad, good = created(ports.store), created(ports.store)
    table.rewrite(f"SESSION#{bad}", "SESSION", spoil)
    for call in (get_session, list_messages):
        with pytest.raises(RowUnreadable) as refused:
            call(ports, "alice", bad)
        assert (refused.value.status, refused.value.retryable) == (503, True)
    items = list_sessions(ports, "alice", None)["items"]
    assert [item["sessionId"] for item in items] == [good]


def test_a_session_whose_attempt_can_not_be_read_is_left_out_of_the_list(
    ports: MemoryPorts, table: Table
) -> None:
    bad, good = created(ports.store), created(ports.store)
    table.rewrite(f"SESSION#{bad}", "ATTEMPT#0001", spoil)
    items = list_sessions(ports, "alice", None)["items"]
    assert [item["sessionId"] for item in items] == [good]


@pytest.mark.parametrize("sk", ["SESSION", "ATTEMPT#0001"])
def test_the_janitor_passes_it_and_says_how_often(
    ports: MemoryPorts, table: Table, sk: str
) -> None:
    bad, good = created(ports.store), created(ports.store)
    table.rewrite(f"SESSION#{bad}", sk, spoil)
    ports.clock.advance(minutes=1)
    assert sweep(ports) == 2
    assert ports.machine.started == [(good, 1)]
    counted = [name for name, *_ in ports.metrics.measured]
    assert counted.count("RowsUnreadable") == 1
    assert "JanitorErrors" not in counted
