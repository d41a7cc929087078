"""Tickets, connections and replay."""

import json
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain import events
from headstart.domain.change import Change
from headstart.domain.errors import ServiceUnavailable, TicketRefused
from headstart.usecases.change import change
from headstart.usecases.delete import delete_session
from headstart.usecases.inbox import receive
from headstart.usecases.read import stream_ticket
from headstart.usecases.watch import PAGE_EVENTS, connect_viewer, disconnect
from tests.unit.helpers import created

SUBSCRIBE = json.dumps({"action": "subscribe", "after": 0})


def frames(ports: MemoryPorts, connection_id: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in ports.sockets.sent[connection_id]]


def event_ids(ports: MemoryPorts, connection_id: str) -> list[int]:
    found = [e["eventId"] for f in frames(ports, connection_id) for e in f.get("events", [])]
    return [event_id for event_id in found if event_id]


def say(ports: MemoryPorts, session_id: str, count: int = 1) -> None:
    def decide(work: Change) -> None:
        for number in range(count):
            work.emit(events.SessionAsleep(reason=str(number)))

    change(ports, session_id, decide)


def connected(ports: MemoryPorts, session_id: str, connection_id: str = "v1") -> None:
    ticket = stream_ticket(ports, "alice", session_id)["ticket"]
    connect_viewer(ports, connection_id, ticket)


def test_nothing_is_sent_before_the_first_frame(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    say(ports, session_id)
    assert ports.sockets.sent["v1"] == []


def test_a_subscribe_brings_snapshot_events_and_the_end_of_the_page(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    receive(ports, "v1", SUBSCRIBE)
    first, second, third = frames(ports, "v1")
    snapshot = first["events"][0]
    assert (snapshot["eventId"], snapshot["type"]) == (None, "session.snapshot")
    assert snapshot["data"]["sessionId"] == session_id
    assert snapshot["data"]["attempt"]["revision"] == 0
    assert [e["type"] for e in second["events"]] == ["session.preparing", "message.queued"]
    assert third == {"type": "replayed", "through": 2, "more": False}


def test_long_histories_come_page_by_page(ports: MemoryPorts) -> None:
    session_id = created(ports)
    say(ports, session_id, PAGE_EVENTS + 50)
    connected(ports, session_id)
    receive(ports, "v1", SUBSCRIBE)
    end = frames(ports, "v1")[-1]
    assert end == {"type": "replayed", "through": PAGE_EVENTS, "more": True}
    receive(ports, "v1", json.dumps({"action": "subscribe", "after": end["through"]}))
    assert frames(ports, "v1")[-1]["more"] is False
    assert event_ids(ports, "v1") == list(range(1, PAGE_EVENTS + 53))


def test_every_frame_fits_the_gateway(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    receive(ports, "v1", SUBSCRIBE)

    def decide(work: Change) -> None:
        for _ in range(9):
            work.emit(events.SessionAsleep(reason="ü" * 4000))

    change(ports, session_id, decide)
    assert max(len(t.encode()) for t in ports.sockets.sent["v1"]) <= 32 * 1024
    assert event_ids(ports, "v1") == list(range(1, 12))


@pytest.mark.parametrize("when", ["unknown", "expired", "used"])
def test_a_ticket_that_is_not_good_connects_nobody(ports: MemoryPorts, when: str) -> None:
    session_id = created(ports)
    ticket = stream_ticket(ports, "alice", session_id)["ticket"]
    if when == "unknown":
        ticket += "x"
    if when == "expired":
        ports.clock.advance(minutes=1)
    if when == "used":
        connect_viewer(ports, "v1", ticket)
        receive(ports, "v1", SUBSCRIBE)
    with pytest.raises(TicketRefused):
        connect_viewer(ports, "v2", ticket)


def test_of_two_handshakes_with_one_ticket_one_opens(ports: MemoryPorts) -> None:
    session_id = created(ports)
    ticket = stream_ticket(ports, "alice", session_id)["ticket"]
    connect_viewer(ports, "v1", ticket)
    connect_viewer(ports, "v2", ticket)
    receive(ports, "v1", SUBSCRIBE)
    receive(ports, "v2", SUBSCRIBE)
    assert frames(ports, "v2")[-1]["type"] == "error"
    assert "v2" in ports.sockets.gone
    assert "v1" not in ports.sockets.gone


def test_a_gone_socket_is_forgotten_and_the_others_are_served(ports: MemoryPorts) -> None:
    session_id = created(ports)
    for name in ("v1", "v2"):
        connected(ports, session_id, name)
        receive(ports, name, SUBSCRIBE)
    ports.sockets.gone.add("v1")
    say(ports, session_id)
    assert 3 in event_ids(ports, "v2")
    assert list(ports.store.known) == ["v2"]
    assert ("GoneSockets", 1, {"Role": "viewer"}) in ports.metrics.measured


def test_a_post_that_fails_keeps_no_viewer_from_anything_and_is_told(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session_id = created(ports)
    for name in ("v1", "v2", "v3", "v4"):
        connected(ports, session_id, name)
        receive(ports, name, SUBSCRIBE)
    ports.metrics.measured.clear()
    post, troubles = ports.sockets.post, {"v1": ServiceUnavailable("down"), "v3": KeyError("x")}

    def second_frame_fails(connection_id: str, text: str) -> None:
        if connection_id in troubles and '"eventId":4' in text:
            raise troubles[connection_id]
        post(connection_id, text)

    monkeypatch.setattr(ports.sockets, "post", second_frame_fails)
    ports.sockets.gone.add("v2")

    def decide(work: Change) -> None:
        for letter in "ab":
            work.emit(events.SessionAsleep(reason=letter * 30_000))

    change(ports, session_id, decide)
    assert event_ids(ports, "v4")[-2:] == [3, 4]
    assert event_ids(ports, "v1")[-1] == event_ids(ports, "v3")[-1] == 3
    assert ports.metrics.measured == [
        ("GoneSockets", 1, {"Role": "viewer"}),
        ("PostsFailed", 2, {"Role": "viewer"}),
    ]
    assert [vars(r)["error"] for r in caplog.records] == ["ServiceUnavailable", "KeyError"]
    assert list(ports.store.known) == ["v1", "v3", "v4"]


def test_a_deletion_closes_every_connection_whatever_ails_one(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = created(ports)
    for name in ("v1", "v2", "v3"):
        connected(ports, session_id, name)
        receive(ports, name, SUBSCRIBE)
    close = ports.sockets.close

    def but_one(connection_id: str) -> None:
        if connection_id == "v1":
            raise ServiceUnavailable("down")
        close(connection_id)

    monkeypatch.setattr(ports.sockets, "close", but_one)
    delete_session(ports, "alice", session_id)
    for name in ("v1", "v2", "v3"):
        assert frames(ports, name)[-1]["events"][-1]["type"] == "session.deleted"
    assert ports.sockets.gone == {"v2", "v3"}
    assert list(ports.store.known) == ["v1"]
    assert ("FollowUpsFailed", 1, {}) in ports.metrics.measured


def test_an_expired_connection_is_forgotten_without_a_post(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    receive(ports, "v1", SUBSCRIBE)
    before = len(ports.sockets.sent["v1"])
    ports.clock.advance(hours=3)
    say(ports, session_id)
    assert ports.store.known == {}
    assert len(ports.sockets.sent["v1"]) == before


def test_a_handshake_in_progress_is_never_removed(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    ports.sockets.gone.add("v1")
    say(ports, session_id)
    assert "v1" in ports.store.known


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("", "JSON object"), ("[]", "JSON object"), ("nonsense", "JSON object"),
     ("[" * 30_000, "JSON object"), ("{}", "no action"), ('{"action":"dance"}', "action must"),
     ('{"action":["ping"]}', "action must"), ('{"action":"hello"}', "action must"),
     ('{"action":"subscribe","after":-1}', "after must"),
     ('{"action":"subscribe","after":1.0}', "after must"),
     ('{"action":"subscribe","after":true}', "after must"),
     ('{"action":"subscribe","after":"1"}', "after must")],
)  # fmt: skip
def test_a_first_frame_that_is_wrong_is_answered_and_opens_nothing(
    ports: MemoryPorts, text: str, wrong: str
) -> None:
    session_id = created(ports)
    ticket = stream_ticket(ports, "alice", session_id)["ticket"]
    connect_viewer(ports, "v1", ticket)
    receive(ports, "v1", text)
    [answer] = frames(ports, "v1")
    assert (answer["type"], answer["code"]) == ("error", "BadFrame")
    assert wrong in answer["message"]
    assert "v1" not in ports.sockets.gone
    connect_viewer(ports, "v2", ticket)
    for connection in ("v1", "v2"):
        receive(ports, connection, SUBSCRIBE)
    assert frames(ports, "v1")[-1]["type"] == "replayed"
    assert frames(ports, "v2")[-1]["code"] == "TicketRefused"


def test_a_later_wrong_frame_is_answered_and_nothing_else(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    receive(ports, "v1", SUBSCRIBE)
    for text in ('{"action":"dance"}', "[" * 30_000, "9" * 200_000):
        receive(ports, "v1", text)
        assert frames(ports, "v1")[-1]["code"] == "BadFrame"
    receive(ports, "v1", '{"action":"ping"}')
    assert frames(ports, "v1")[-1] == {"type": "pong", "lastEventId": 2}


def test_a_viewer_of_a_deleted_session_is_told_and_let_go(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    del ports.store.sets[session_id]
    receive(ports, "v1", SUBSCRIBE)
    assert frames(ports, "v1")[-1]["events"][0]["type"] == "session.deleted"
    assert "v1" in ports.sockets.gone


def test_who_is_not_known_disconnects_harmlessly(ports: MemoryPorts) -> None:
    disconnect(ports, "nobody")
    disconnected = ports.store.connection("nobody")
    assert disconnected is None


def test_a_viewer_that_leaves_is_forgotten(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    receive(ports, "v1", SUBSCRIBE)
    connection = ports.store.connection("v1")
    assert connection
    disconnect(ports, connection.connection_id)
    assert ports.store.known == {}


def test_a_ping_may_be_the_first_frame(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    receive(ports, "v1", '{"action":"ping"}')
    receive(ports, "v1", SUBSCRIBE)
    assert frames(ports, "v1")[0] == {"type": "pong", "lastEventId": 2}
    assert frames(ports, "v1")[-1]["type"] == "replayed"
    assert "v1" not in ports.sockets.gone


def test_first_frames_that_are_served_at_once_open_it_once(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    stale = ports.store.connection("v1")
    assert stale
    stale = stale.model_copy()
    receive(ports, "v1", SUBSCRIBE)
    known, looked = ports.store.connection, iter([stale])
    monkeypatch.setattr(ports.store, "connection", lambda i: next(looked, None) or known(i))
    receive(ports, "v1", '{"action":"ping"}')
    assert frames(ports, "v1")[-1]["type"] == "pong"
    assert "v1" not in ports.sockets.gone


def test_a_replay_never_ends_beyond_the_last_event(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    receive(ports, "v1", json.dumps({"action": "subscribe", "after": 99}))
    assert frames(ports, "v1")[-1] == {"type": "replayed", "through": 2, "more": False}
