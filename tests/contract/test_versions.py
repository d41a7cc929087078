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
from headstart.domain.archive import Archive, StoredFile
from headstart.domain.attempt import Attempt, Output
from headstart.domain.change import (
    ARCHIVE,
    CONFIG,
    HotRow,
    NamedRow,
    input_key,
    message_key,
    output_key,
    text_key,
)
from headstart.domain.connections import Connection
from headstart.domain.errors import RowUnreadable
from headstart.domain.failure import Failure
from headstart.domain.long_texts import Text, TextPiece
from headstart.domain.message import Input, Message, MessageStatus
from headstart.domain.model import RowModel
from headstart.domain.sandbox import Command, Sandbox, SandboxStatus
from headstart.domain.session import Session, SessionConfig, Turn
from headstart.domain.steps import StepName
from headstart.usecases.janitor import sweep
from headstart.usecases.outbox import publish
from headstart.usecases.read import get_session, list_messages, list_sessions
from tests.contract.helpers import NOW, created, named, read, viewer, write

MARK = {"fromTomorrow": {"list": [1, 0.5, None, "ü"]}}


@dataclass
class Kind:
    """A kind of row: one of it, its sort key, and how it is read."""

    model: type[RowModel]
    row: RowModel | None
    sk: str
    read: Callable[[DynamoStore, str], Any]


FAILURE = Failure(code="X", reason="x", retryable=True)
KINDS = {
    "a session": Kind(Session, None, "SESSION", lambda s, i: s.session(i)),
    "what was asked for": Kind(SessionConfig, None, "CONFIG", lambda s, i: named(s, i, CONFIG)),
    "an attempt": Kind(Attempt, None, "SESSION#ATTEMPT", lambda s, i: s.load(i).attempt),
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
        lambda s, i: named(s, i, message_key(1)),
    ),
    "a command": Kind(
        Command,
        Command(
            command_id="1.disk.1", kind="disk", attempt_number=1, created_at=NOW, failure=FAILURE
        ),
        "SESSION#COMMAND#1.disk.1",
        lambda s, i: s.load(i).commands["1.disk.1"],
    ),
    "a sandbox": Kind(
        Sandbox,
        Sandbox(attempt_number=1, try_number=1, status=SandboxStatus.STARTING, created_at=NOW),
        "SESSION#SANDBOX",
        lambda s, i: s.load(i).sandbox,
    ),
    "a connection": Kind(
        Connection,
        viewer("s", "c1"),
        "SESSION#CONNECTION#c1",
        lambda s, i: s.load(i).connections["c1"],
    ),
    "a question": Kind(
        Input,
        Input(request_id="r", turn_id="t", kind="question", body={}, created_at=NOW),
        "INPUT#r",
        lambda s, i: named(s, i, input_key("r")),
    ),
    "saved work": Kind(
        Archive,
        Archive(base=StoredFile(key="k", bytes=1, sha256="s"), created_at=NOW), "ARCHIVE",
        lambda s, i: named(s, i, ARCHIVE),
    ),
    "an output": Kind(
        Output,
        Output(attempt_number=1, step=StepName.SETUP), "OUTPUT#0001#setup",
        lambda s, i: named(s, i, output_key(1, "setup")),
    ),
    "how a text stands": Kind(
        Text, Text(ref="t", writer="w"), "TEXT#t",
        lambda s, i: named(s, i, text_key("t")),
    ),
    "a piece of a text": Kind(
        TextPiece,
        TextPiece(ref="t", writer="w", offset=0, text="x"), "PIECE#t#w#000000000",
        lambda s, i: s.text_pieces(i, Text(ref="t", writer="w"), 0)[0],
    ),
}  # fmt: skip
LEFT_OUT = {"a command", "a connection"}
"""What is missing where it can't be read; without any other kind its session makes no sense."""


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
    change = read(store, session_id)
    change.session.failure = FAILURE
    change.session.active_turn = Turn(turn_id="t", message_id="m", message_number=1, claimed_at=NOW)
    if kind.row:
        change.save(kind.row)
    store.commit(change)
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
    change = read(store, session_id)
    change.session.title = "changed"
    row = kind.read(store, session_id)
    if kind.sk != "SESSION":
        change.save(row)
    store.commit(change)
    after = table.data(f"SESSION#{session_id}", kind.sk)
    changed = {"title": "changed", "version": change.session.version}
    assert after == before | (changed if kind.sk == "SESSION" else {})


def test_no_kind_of_row_is_left_out() -> None:
    assert {kind.model for kind in KINDS.values()} == {
        Session,
        *get_args(HotRow),
        *get_args(NamedRow),
    }


def test_a_connection_keeps_them_on_its_way_into_its_session(
    store: DynamoStore, table: Table
) -> None:
    session_id = created(store)
    connection = viewer(session_id)
    store.let_in(connection)
    own, name = f"CONNECTION#{connection.connection_id}", connection.connection_id
    table.rewrite(own, "CONNECTION", mark)
    found = store.connection(name)
    assert found
    write(store, session_id, found)
    for pk, sk in ((own, "CONNECTION"), (f"SESSION#{session_id}", f"SESSION#{own}")):
        assert MARK.items() <= table.data(pk, sk).items()


# What can't be read.


def spoil(data: dict[str, Any]) -> None:
    """Use a word that this version doesn't know."""
    for name in ("status", "kind", "role"):
        if name in data:
            data[name] = "tomorrow's"
            return
    data["createdAt"] = "tomorrow"


@pytest.mark.parametrize("name", [name for name in KINDS if name not in LEFT_OUT])
def test_a_row_that_can_not_be_read_is_said_to_be_so(
    store: DynamoStore, table: Table, name: str
) -> None:
    kind = KINDS[name]
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
    rows: list[RowModel] = []
    for number in (1, 2):
        name, held = str(number), MessageStatus.HELD
        rows += [
            Message(message_id=name, number=number, text="", status=held, created_at=NOW),
            Command(command_id=name, kind="disk", attempt_number=1, created_at=NOW),
            viewer(good, name),
        ]
    write(store, good, *rows)
    table.rewrite(f"SESSION#{bad}", "SESSION", spoil)
    for sk in ("MESSAGE#000001", "SESSION#COMMAND#1", "SESSION#CONNECTION#1"):
        table.rewrite(f"SESSION#{good}", sk, spoil)
    assert [s.session_id for s in store.sessions_of("alice", None, 10)[0]] == [good]
    assert [m.number for m in store.messages_page(good, 0, 100)[0]] == [2]
    assert [m.number for m in store.messages_page(good, 0, 10)[0]] == [2]
    found = store.load(good)
    assert list(found.commands) == ["2"]
    assert list(found.connections) == ["2"]
    assert unreadable == [1] * 5


def test_what_is_left_out_is_still_there_for_who_can_read_it(
    store: DynamoStore, table: Table
) -> None:
    session_id = created(store)
    write(store, session_id, viewer(session_id, "c1"), viewer(session_id, "c2"))
    pk = f"SESSION#{session_id}"
    whole = table.data(pk, "SESSION#CONNECTION#c1")
    table.rewrite(pk, "SESSION#CONNECTION#c1", spoil)
    write(store, session_id, viewer(session_id, "c3"))
    table.rewrite(pk, "SESSION#CONNECTION#c1", lambda data: data.update(whole))
    assert set(store.load(session_id).connections) == {"c1", "c2", "c3"}


@pytest.fixture
def ports(store: Any) -> MemoryPorts:
    return MemoryPorts(store=store)


def test_viewers_that_can_be_read_hear_what_others_can_not(
    ports: MemoryPorts, table: Table
) -> None:
    session_id = created(ports.store)
    later = ports.clock().replace(year=2030)
    connections = [viewer(session_id, name, is_open=True) for name in ("c1", "c2")]
    for connection in connections:
        connection.expires_at = later
    write(ports.store, session_id, *connections)
    table.rewrite(f"SESSION#{session_id}", "SESSION#CONNECTION#c1", spoil)
    change = read(ports.store, session_id)
    change.emit(events.SessionDeleted())
    publish(ports, change)
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


def test_a_session_whose_attempt_can_not_be_read_is_in_the_list_all_the_same(
    ports: MemoryPorts, table: Table
) -> None:
    bad, good = created(ports.store), created(ports.store)
    table.rewrite(f"SESSION#{bad}", "SESSION#ATTEMPT", spoil)
    items = list_sessions(ports, "alice", None)["items"]
    assert {item["sessionId"] for item in items} == {bad, good}


@pytest.mark.parametrize("sk", ["SESSION", "SESSION#ATTEMPT"])
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
