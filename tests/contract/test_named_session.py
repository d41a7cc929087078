"""A runner's frame that names its session is taken by that session's own knowledge of it."""

import json
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.session import Status
from headstart.domain.steps import StepName
from headstart.usecases.inbox import receive
from headstart.usecases.read import stream_ticket
from headstart.usecases.watch import connect_viewer
from tests.unit.helpers import Runner, begin, created, running, token, turn_ended


@pytest.fixture
def ports(store: Any) -> MemoryPorts:
    return MemoryPorts(store=store)


def sent(ports: MemoryPorts, connection_id: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in ports.sockets.sent[connection_id]]


def say(ports: MemoryPorts, connection_id: str, session_id: str, action: str, **body: Any) -> None:
    frame = {"action": action, "sessionId": session_id, **body}
    receive(ports, connection_id, json.dumps(frame))


def test_what_a_runner_says_of_its_own_session_is_taken(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    seen = len(sent(ports, "r1"))
    ended = turn_ended(ports, session_id)
    say(ports, "r1", session_id, "heartbeat", running=[], lastSeq=runner.seq)
    say(ports, "r1", session_id, "report", seq=runner.seq + 1, events=[ended], results=[])
    say(ports, "r1", session_id, "leaving")
    told = [(frame["type"], frame.get("kind")) for frame in sent(ports, "r1")[seen:]]
    # The copy that the end of the turn asks for will do for leaving.
    assert told == [
        ("heard", None),
        ("command", "archive"),
        ("ack", None),
        ("command", "archive"),
    ]
    assert ports.store.session(session_id).status is Status.STOPPING


FRAMES: dict[str, dict[str, Any]] = {
    "report": {"seq": 99, "events": [], "results": []},
    "heartbeat": {"running": []},
    "leaving": {},
}


@pytest.mark.parametrize("action", FRAMES)
def test_who_names_anothers_session_gets_nothing_and_is_closed(
    ports: MemoryPorts, action: str
) -> None:
    theirs, own = created(ports), created(ports)
    begin(ports, theirs, StepName.SANDBOX)
    accepted = Runner(ports, theirs, connection_id="theirs")
    accepted.connect()
    accepted.hello()
    command = begin(ports, theirs, StepName.DISK)
    begin(ports, own, StepName.SANDBOX)
    stranger = Runner(ports, own, connection_id="stranger")
    stranger.connect()
    stranger.hello()
    before, seen = ports.store.session(theirs), len(sent(ports, "theirs"))
    told, kept = len(sent(ports, "stranger")), ports.store.session(own)
    body = dict(FRAMES[action])
    if action == "report":
        body["results"] = [{"commandId": "1.disk.1", "status": "completed"}]
    say(ports, "stranger", theirs, action, **body)
    assert ports.store.session(theirs) == before
    assert ports.store.session(own) == kept
    assert len(sent(ports, "theirs")) == seen
    assert len(sent(ports, "stranger")) == told
    assert command == token(StepName.DISK)
    assert command not in ports.machine.answers
    assert command not in ports.machine.beats
    assert ports.sockets.gone == {"stranger"}
    # It is let in again by its own key, and its session goes on.
    again = Runner(ports, own, connection_id="again", key=stranger.key)
    again.connect(again.key)
    again.hello()
    assert [frame["type"] for frame in again.frames()] == ["welcome"]


def gone(session_id: str) -> str:
    """Return the id of a session that is not there."""
    return session_id[:-1] + ("y" if session_id.endswith("x") else "x")


@pytest.mark.parametrize("action", FRAMES)
@pytest.mark.parametrize("named", ["own", "gone", "none"])
def test_a_viewer_that_speaks_as_a_runner_gets_nothing(
    ports: MemoryPorts, action: str, named: str
) -> None:
    session_id = created(ports)
    running(ports, session_id)
    secret = stream_ticket(ports, "alice", session_id)["ticket"]
    connect_viewer(ports, "v1", secret)
    receive(ports, "v1", json.dumps({"action": "ping"}))
    before = ports.store.session(session_id)
    names = {"own": session_id, "gone": gone(session_id), "none": "ses_1"}
    say(ports, "v1", names[named], action, **FRAMES[action])
    assert ports.store.session(session_id).version == before.version
    told = [(frame["type"], frame.get("code")) for frame in sent(ports, "v1")]
    assert told == [("pong", None), ("error", "BadFrame")]
    assert "v1" not in ports.sockets.gone


@pytest.mark.parametrize("action", FRAMES)
def test_of_a_session_that_is_not_there_nobody_is_the_runner(
    ports: MemoryPorts, action: str
) -> None:
    session_id = created(ports)
    running(ports, session_id)
    say(ports, "r1", gone(session_id), action, **FRAMES[action])
    assert "r1" in ports.sockets.gone


@pytest.mark.parametrize(
    "body",
    [
        {"action": "heartbeat", "running": 7},
        {"action": "report", "seq": "one"},
        {"action": "leaving", "delivering": {"a": 1}},
    ],
    ids=lambda body: str(body["action"]),
)
def test_a_frame_that_names_its_session_and_makes_no_sense_is_not_passed_over(
    ports: MemoryPorts, body: dict[str, Any]
) -> None:
    outcomes = []
    for names in (True, False):
        session_id = created(ports)
        runner = Runner(ports, session_id, connection_id=f"r{names}")
        begin(ports, session_id, StepName.SANDBOX)
        runner.connect()
        runner.hello()
        runner.new_frames()
        named = {"sessionId": session_id} if names else {}
        receive(ports, runner.connection_id, json.dumps({**body, **named}))
        outcomes.append((runner.new_frames(), runner.connection_id in ports.sockets.gone))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0] != ([], False)
