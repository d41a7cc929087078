"""A ticket lets one viewer in: the first frame of its connection burns it."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from headstart.adapters.dynamodb import DynamoStore
from headstart.adapters.memory import MemoryPorts
from headstart.domain.change import QuotaChange
from headstart.domain.connections import Role
from headstart.domain.errors import Conflict, TicketRefused
from headstart.domain.ids import new_session_id
from headstart.domain.session import Status
from headstart.usecases import retry
from headstart.usecases.inbox import receive
from headstart.usecases.ports import Store
from headstart.usecases.read import stream_ticket
from headstart.usecases.watch import connect_viewer
from tests.contract.helpers import created, new_ticket, read, viewer


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.time, "sleep", lambda _: None)


@pytest.fixture
def ports(store: Any) -> MemoryPorts:
    return MemoryPorts(store=store)


def opened(store: Store, session_id: str, connection_id: str) -> Any:
    """Return the change that opens a connection with the ticket t1."""
    change = read(store, session_id)
    change.save(viewer(session_id, connection_id, is_open=True))
    change.burnt = "t1"
    return change


def test_a_ticket_opens_one_connection(store: Store) -> None:
    session_id = created(store)
    store.put_ticket(new_ticket(session_id, "t2"))
    store.commit(opened(store, session_id, "c1"))
    assert store.ticket("t1") is None
    assert store.ticket("t2")
    refused = opened(store, session_id, "c2")
    refused.session.title = "refused"
    with pytest.raises(TicketRefused):
        store.commit(refused)
    found = store.load(session_id)
    assert set(found.connections) == {"c1"}
    assert (found.session.version, found.session.title) == (1, "A title")


def test_who_read_before_a_rival_burnt_it_decides_anew(store: Store) -> None:
    session_id = created(store)
    first, second = opened(store, session_id, "c1"), opened(store, session_id, "c2")
    store.commit(first)
    with pytest.raises(Conflict):
        store.commit(second)


def test_whose_a_connection_is_is_known_apart_from_its_session(store: Store) -> None:
    session_id = created(store)
    for connection_id in ("c=/+1", "c2"):
        assert store.let_in(viewer(session_id, connection_id))
    assert store.load(session_id).connections == {}
    assert store.connection("c=/+1") == viewer(session_id)
    assert store.remove_connection("c=/+1") == viewer(session_id)
    assert store.remove_connection("c=/+1") is None
    assert store.connection("c=/+1") is None
    assert store.connection("c2") == viewer(session_id, "c2")


# The first frames of viewers, through the use cases.


def first_frames(ports: MemoryPorts, *connection_ids: str) -> tuple[str, list[Callable[[], None]]]:
    """Let connections in by one ticket; returns the session and what sends each first frame."""
    session_id = created(ports.store)
    secret = stream_ticket(ports, "alice", session_id)["ticket"]
    for connection_id in set(connection_ids):
        connect_viewer(ports, connection_id, secret)
    ping = json.dumps({"action": "ping"})
    return session_id, [
        lambda connection_id=connection_id: receive(ports, connection_id, ping)
        for connection_id in connection_ids
    ]


def raced(ports: MemoryPorts, first: Callable[[], None], second: Callable[[], None]) -> None:
    """Have the second frame served whole between the first one's read and its commit."""
    commit = ports.store.commit

    def late(change: Any) -> None:
        ports.store.commit = commit  # type: ignore[method-assign]
        second()
        commit(change)

    ports.store.commit = late  # type: ignore[method-assign]
    first()


def frames(ports: MemoryPorts, connection_id: str) -> list[str]:
    """Return what a connection was told: types, and codes of errors."""
    told = [json.loads(text) for text in ports.sockets.sent[connection_id]]
    return [frame.get("code", frame["type"]) for frame in told]


def test_of_two_connections_by_one_ticket_the_faster_opens(ports: MemoryPorts) -> None:
    session_id, (slow, fast) = first_frames(ports, "slow", "fast")
    raced(ports, slow, fast)
    assert frames(ports, "fast") == ["pong"]
    assert frames(ports, "slow") == ["TicketRefused"]
    assert set(ports.store.load(session_id).connections) == {"fast"}
    assert ports.sockets.gone == {"slow"}
    assert ports.store.connection("slow") is None


def test_two_first_frames_of_one_connection_are_both_answered(ports: MemoryPorts) -> None:
    session_id, (one, other) = first_frames(ports, "c1", "c1")
    raced(ports, one, other)
    assert frames(ports, "c1") == ["pong", "pong"]
    [connection] = ports.store.load(session_id).connections.values()
    assert (connection.connection_id, connection.role) == ("c1", Role.VIEWER)
    assert ports.sockets.gone == set()


def test_it_lets_nobody_in_afterwards(ports: MemoryPorts) -> None:
    session_id = created(ports.store)
    secret = stream_ticket(ports, "alice", session_id)["ticket"]
    connect_viewer(ports, "c1", secret)
    receive(ports, "c1", json.dumps({"action": "ping"}))
    with pytest.raises(TicketRefused):
        connect_viewer(ports, "c2", secret)


# A rival is at the session: what is refused beside that was judged by what it is changing.


@pytest.mark.parametrize("sk", ["TICKET", "QUOTA"])
def test_a_refusal_while_a_rival_is_at_it_is_a_conflict(dynamodb: Any, sk: str) -> None:
    store = DynamoStore(dynamodb, "headstart")
    session_id = created(store)
    change = opened(store, session_id, "c1")
    change.quota = QuotaChange.JOIN

    def answer(params: dict[str, Any], **_: Any) -> Any:
        verdicts = {"SESSION": "TransactionConflict", sk: "ConditionalCheckFailed"}
        reasons = []
        for write in json.loads(params["body"])["TransactItems"]:
            [body] = write.values()
            place = body.get("Item", body.get("Key"))["sk"]["S"]
            reasons.append({"Code": verdicts.get(place, "None")})
        error = {"Code": "TransactionCanceledException", "Message": ""}
        return SimpleNamespace(status_code=400), {"Error": error, "CancellationReasons": reasons}

    dynamodb.meta.events.register("before-call.dynamodb.TransactWriteItems", answer)
    with pytest.raises(Conflict):
        store.commit(change)


def test_nobody_is_let_in_to_a_session_that_is_gone_or_being_deleted(store: Store) -> None:
    session_id = created(store)
    change = read(store, session_id)
    change.session.move_to(Status.DELETING, change.now)
    store.commit(change)
    for gone in (session_id, new_session_id(change.now)):
        assert not store.let_in(viewer(gone))
    assert store.connection("c=/+1") is None
