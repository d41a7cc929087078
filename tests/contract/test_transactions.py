"""Transactions whose outcome is not known, and those that no table could ever take."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from headstart.adapters.aws import make_client
from headstart.adapters.dynamodb import DynamoStore
from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import ChangeRefused, Conflict, ServiceUnavailable
from headstart.domain.message import Message, MessageStatus
from headstart.domain.requests import CreateSession, SendMessage
from headstart.usecases import retry
from headstart.usecases.create import create_session
from headstart.usecases.ports import Store
from headstart.usecases.talk import send_message
from tests.contract.helpers import NOW, command, created, new_ticket, read, write

REQUEST = CreateSession(prompt="Add a health check", github_repo="org/name")


class Rival:
    """Somebody else's transaction on the same item: writes of one item are refused meanwhile."""

    def __init__(self, client: Any) -> None:
        self.left = 0
        for call in ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems"):
            client.meta.events.register(f"before-call.dynamodb.{call}", self._refuse)

    def _refuse(self, model: Any, **_: Any) -> Any:
        if not self.left:
            return None
        self.left -= 1
        code, reasons = "TransactionConflictException", {}
        if model.name == "TransactWriteItems":
            code = "TransactionCanceledException"
            reasons = {"CancellationReasons": [{"Code": "TransactionConflict"}]}
        return SimpleNamespace(status_code=400), {"Error": {"Code": code, "Message": ""}, **reasons}


class Wire:
    """A table whose transactions are seen, and answered now and then as if still in progress."""

    def __init__(self, client: Any) -> None:
        self.tokens: list[str] = []
        self.in_progress = 0
        client.meta.events.register("before-call.dynamodb.TransactWriteItems", self._see)

    def _see(self, model: Any, params: dict[str, Any], **_: Any) -> Any:
        self.tokens.append(json.loads(params["body"])["ClientRequestToken"])
        if not self.in_progress:
            return None
        self.in_progress -= 1
        error = {"Code": "TransactionInProgressException", "Message": ""}
        return SimpleNamespace(status_code=400), {"Error": error}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.time, "sleep", lambda _: None)


@pytest.fixture
def wire(dynamodb: Any) -> Wire:
    return Wire(dynamodb)


@pytest.fixture
def ports(dynamodb: Any) -> MemoryPorts:
    store: Any = DynamoStore(dynamodb, "headstart")
    return MemoryPorts(store=store)


def test_a_transaction_in_progress_is_asked_for_again_and_not_decided_anew(
    ports: MemoryPorts, wire: Wire
) -> None:
    session_id = create_session(ports, "alice", REQUEST, None)["sessionId"]
    wire.tokens.clear()
    wire.in_progress = 2
    send_message(ports, "alice", session_id, SendMessage(prompt="more"), None)
    assert len(wire.tokens) == 3
    assert len(set(wire.tokens)) == 1
    assert [m.text for m in ports.store.messages_page(session_id, 1, 100)[0]] == ["more"]


def test_an_outcome_that_stays_unknown_is_no_conflict(ports: MemoryPorts, wire: Wire) -> None:
    session_id = create_session(ports, "alice", REQUEST, None)["sessionId"]
    wire.tokens.clear()
    wire.in_progress = 99
    with pytest.raises(ServiceUnavailable) as refused:
        send_message(ports, "alice", session_id, SendMessage(prompt="more"), None)
    assert not isinstance(refused.value, Conflict)
    assert len(set(wire.tokens)) == 1


def test_each_change_has_a_token_of_its_own(ports: MemoryPorts, wire: Wire) -> None:
    session_id = create_session(ports, "alice", REQUEST, None)["sessionId"]
    send_message(ports, "alice", session_id, SendMessage(prompt="more"), None)
    assert len(set(wire.tokens)) == len(wire.tokens) >= 2


def test_a_change_of_more_rows_than_fit_is_refused_for_good(store: Store) -> None:
    session_id = created(store)
    write(store, session_id, *map(command, range(99)))
    with pytest.raises(ChangeRefused) as refused:
        write(store, session_id, *map(command, range(100)))
    assert not refused.value.retryable
    assert store.session(session_id).version == 1


def message(number: int, size: int) -> Message:
    return Message(
        message_id="m",
        number=number,
        text="ü" * (size // 2),
        status=MessageStatus.HELD,
        created_at=NOW,
    )


@pytest.mark.parametrize("sizes", [[400 * 1024], [380 * 1024] * 11], ids=["a row", "together"])
def test_rows_too_large_for_the_table_are_refused_unsent(
    dynamodb: Any, wire: Wire, sizes: list[int]
) -> None:
    store = DynamoStore(dynamodb, "headstart")
    session_id = created(store)
    wire.tokens.clear()
    change = read(store, session_id)
    wire.tokens.clear()
    for number, size in enumerate(sizes):
        change.save(message(number, size))
    with pytest.raises(ChangeRefused):
        store.commit(change)
    assert wire.tokens == []


def test_what_the_table_calls_invalid_is_refused_for_good(dynamodb: Any) -> None:
    client = make_client("dynamodb")
    store = DynamoStore(client, "headstart")
    session_id = created(store)
    reasons = {"CancellationReasons": [{"Code": "ValidationError"}, {"Code": "None"}]}
    error = {"Error": {"Code": "TransactionCanceledException", "Message": ""}, **reasons}
    client.meta.events.register(
        "before-call.dynamodb.TransactWriteItems",
        lambda **_: (SimpleNamespace(status_code=400), error),
    )
    with pytest.raises(ChangeRefused):
        write(store, session_id, command(1))


WRITES: dict[str, Callable[[Store, str], object]] = {
    "a ticket": lambda store, session_id: store.put_ticket(new_ticket(session_id, "t2")),
    "a place": lambda store, session_id: store.free_places("alice", {session_id}),
    "the last rows": lambda store, session_id: store.purge(session_id, 100),
}


@pytest.mark.parametrize("written", WRITES.values(), ids=WRITES)
def test_a_write_that_meets_a_transaction_is_tried_again(
    dynamodb: Any, written: Callable[[Store, str], object]
) -> None:
    store = DynamoStore(dynamodb, "headstart")
    session_id = created(store)
    rival = Rival(dynamodb)
    rival.left = 3
    written(store, session_id)
    assert rival.left == 0


def test_a_write_that_always_meets_one_ends_as_a_conflict(dynamodb: Any) -> None:
    store = DynamoStore(dynamodb, "headstart")
    session_id = created(store)
    Rival(dynamodb).left = 999
    with pytest.raises(Conflict):
        store.free_places("alice", {session_id})
