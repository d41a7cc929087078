"""Who may connect, how many may watch, and what the runner is told of them."""

from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.connections import Role
from headstart.domain.errors import TicketRefused
from headstart.domain.life import watching as rules
from headstart.domain.session import Status
from headstart.usecases.delete import delete_session
from headstart.usecases.inbox import receive
from headstart.usecases.read import stream_ticket
from headstart.usecases.watch import connect_runner, connect_viewer, disconnect
from tests.unit.helpers import Runner, begin, connected, created, running
from tests.unit.helpers import StepName as S
from tests.unit.test_viewers import SUBSCRIBE, event_ids, frames, say
from tests.unit.test_viewers import connected as watching


def watch(ports: MemoryPorts, session_id: str, *names: str) -> None:
    for name in names:
        watching(ports, session_id, name)
        receive(ports, name, SUBSCRIBE)


def counts(runner: Runner) -> list[int]:
    return [frame["count"] for frame in runner.new_frames() if frame["type"] == "viewers"]


# How many watch.


@pytest.mark.parametrize("how", ["gone", "expired", "disconnected", "gone while it asks"])
def test_the_runner_hears_of_a_viewer_that_is_there_no_more(ports: MemoryPorts, how: str) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    watch(ports, session_id, "v1")
    ports.clock.advance(hours=1)
    watch(ports, session_id, "v2")
    assert counts(runner) == [1, 2]
    known = ports.store.connection("v1")
    assert known
    match how:
        case "gone":
            ports.sockets.gone.add("v1")
            say(ports, session_id)
        case "expired":
            ports.clock.advance(hours=2)
            ports.store.known["r1"].expires_at += ports.policy.connection_life
            say(ports, session_id)
        case "disconnected":
            disconnect(ports, known.connection_id)
        case _:
            ports.sockets.gone.add("v1")
            receive(ports, "v1", SUBSCRIBE)
    assert counts(runner) == [1]
    assert list(ports.store.known) == ["r1", "v2"]


def test_a_welcome_counts_who_watches_now(ports: MemoryPorts) -> None:
    session_id = created(ports)
    begin(ports, session_id, S.SANDBOX)
    watch(ports, session_id, "v1")
    ports.clock.advance(hours=4)
    watch(ports, session_id, "v2")
    watching(ports, session_id, "opening")
    runner = Runner(ports, session_id)
    runner.connect()
    runner.hello()
    [welcome] = [frame for frame in runner.frames() if frame["type"] == "welcome"]
    assert welcome["viewers"] == 1


def test_one_viewer_too_many_is_refused_in_words(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    watch(ports, session_id, *(f"v{number}" for number in range(rules.MOST_VIEWERS)))
    counts(runner)
    close = ports.sockets.close

    def and_hear_of_it(connection_id: str) -> None:
        close(connection_id)
        if known := ports.store.connection(connection_id):
            disconnect(ports, known.connection_id)

    ports.sockets.close = and_hear_of_it  # type: ignore[method-assign]
    watch(ports, session_id, "more")
    [refused] = frames(ports, "more")
    assert (refused["type"], refused["code"]) == ("error", "TooManyViewers")
    assert str(rules.MOST_VIEWERS) in refused["message"]
    assert "more" in ports.sockets.gone
    assert ports.store.connection("more") is None
    assert counts(runner) == []
    assert "v0" not in ports.sockets.gone
    known = ports.store.connection("v0")
    assert known
    disconnect(ports, known.connection_id)
    watch(ports, session_id, "again")
    assert frames(ports, "again")[-1]["type"] == "replayed"


def test_another_session_has_viewers_of_its_own(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MOST_VIEWERS", 1)
    watch(ports, created(ports), "v1")
    watch(ports, created(ports), "v2")
    assert frames(ports, "v2")[-1]["type"] == "replayed"


# Who may connect.


@pytest.mark.parametrize(
    ("session_id", "key"),
    [("x" * 4000, "key"), ("", "key"), ("ses_000000000000AAAAAAAAAAAAAA", "schlüssel")],
)
def test_what_is_no_credential_is_refused_unread(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch, session_id: str, key: str
) -> None:
    def read(*_: object) -> Any:
        pytest.fail("looked up")

    monkeypatch.setattr(ports.store, "sandbox", read)
    monkeypatch.setattr(ports.store, "ticket", read)
    with pytest.raises(TicketRefused):
        connect_runner(ports, "c1", session_id, key)
    with pytest.raises(TicketRefused):
        connect_viewer(ports, "c1", "schlüssel")


def test_a_key_of_other_letters_is_refused_for_a_session_that_starts(ports: MemoryPorts) -> None:
    session_id = created(ports)
    begin(ports, session_id, S.SANDBOX)
    with pytest.raises(TicketRefused):
        connect_runner(ports, "c1", session_id, "schlüssel")
    assert ports.store.known == {}


@pytest.mark.parametrize("when", ["deleting", "deleted"])
def test_a_ticket_of_a_deleted_session_leaves_nothing_behind(ports: MemoryPorts, when: str) -> None:
    session_id = created(ports)
    ticket = stream_ticket(ports, "alice", session_id)["ticket"]
    if when == "deleting":
        ports.store.sessions[session_id].status = Status.DELETING
    else:
        delete_session(ports, "alice", session_id)
        assert session_id not in ports.store.sessions
    with pytest.raises(TicketRefused):
        connect_viewer(ports, "v1", ticket)
    assert ports.store.known == {}


@pytest.mark.parametrize("first", [SUBSCRIBE, '{"action":"ping"}'])
def test_a_connection_that_is_sent_away_leaves_nothing_behind(
    ports: MemoryPorts, first: str
) -> None:
    session_id = created(ports)
    watching(ports, session_id, "v1")
    del ports.store.sets[session_id]
    receive(ports, "v1", first)
    assert "v1" in ports.sockets.gone
    assert ports.store.known == {}


def test_a_refused_runner_leaves_nothing_behind(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    second = Runner(ports, session_id, connection_id="r2", process="p2")
    second.connect()
    second.hello()
    assert [known.connection_id for known in ports.store.connections(session_id)] == ["r1"]


def test_what_happens_while_somebody_subscribes_is_not_missed(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = created(ports)
    watching(ports, session_id, "v1")
    events_after = ports.store.events_after

    def and_meanwhile(*arguments: Any) -> Any:
        page = events_after(*arguments)
        monkeypatch.setattr(ports.store, "events_after", events_after)
        say(ports, session_id)
        return page

    monkeypatch.setattr(ports.store, "events_after", and_meanwhile)
    receive(ports, "v1", SUBSCRIBE)
    assert sorted(event_ids(ports, "v1")) == [1, 2, 3]


def test_a_runner_is_no_viewer(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    roles = {known.role for known in ports.store.connections(session_id)}
    assert roles == {Role.RUNNER}
    assert runner.beat()[-1]["viewers"] == 0
