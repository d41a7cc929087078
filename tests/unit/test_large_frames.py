"""Every frame to a viewer can be sent, and one that could not costs none that does without it."""

import json
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain import events
from headstart.domain.errors import ServiceUnavailable
from headstart.domain.fitting import fitting, size
from headstart.domain.life.asking import MAX_PENDING_INPUTS
from headstart.domain.session import Session
from headstart.usecases.inbox import receive
from headstart.usecases.outbox import MESSAGE_BYTES, event_frames
from headstart.usecases.read import get_session
from tests.unit.helpers import Runner, created, running
from tests.unit.test_lost_frames import losing
from tests.unit.test_viewers import SUBSCRIBE, connected, event_ids, frames


@pytest.fixture
def refusing(ports: MemoryPorts) -> MemoryPorts:
    """Let API Gateway refuse what is too large for it."""
    post = ports.sockets.post

    def checked(connection_id: str, text: str) -> None:
        if len(text.encode()) > 128 * 1024:
            raise ServiceUnavailable("PostToConnection: PayloadTooLargeException")
        post(connection_id, text)

    ports.sockets.post = checked  # type: ignore[method-assign]
    return ports


def asking(ports: MemoryPorts, count: int, body: dict[str, Any]) -> tuple[Session, Runner]:
    """Return a session whose agent asks so many things."""
    session_id = created(ports)
    runner = running(ports, session_id)
    session = ports.store.session(session_id)
    assert session.active_turn
    for number in range(count):
        request = {"type": "input.requested", "turnId": session.active_turn.turn_id}
        runner.report({**request, "requestId": f"r{number}", "kind": "permission", "body": body})
    return ports.store.session(session_id), runner


DIFF = {"title": "edit", "patterns": ["*"], "metadata": {"diff": "-\n+ü" * 5800}}
MANY = {"title": "edit", "metadata": {"diff": "-\n+ü", "files": ["x" * 120] * 60}}


def snapshot(ports: MemoryPorts) -> dict[str, Any]:
    [found] = [
        event["data"]
        for frame in frames(ports, "v1")
        for event in frame.get("events", [])
        if event["type"] == "session.snapshot"
    ]
    return dict(found)


@pytest.mark.parametrize(
    ("count", "body"), [(6, DIFF), (MAX_PENDING_INPUTS, DIFF), (MAX_PENDING_INPUTS, MANY)]
)
def test_who_reconnects_sees_everything_however_much_the_agent_asks(
    refusing: MemoryPorts, count: int, body: dict[str, Any]
) -> None:
    session, _ = asking(refusing, count, body)
    connected(refusing, session.session_id)
    receive(refusing, "v1", SUBSCRIBE)
    inputs = snapshot(refusing)["pendingInputs"]
    assert "truncated" not in snapshot(refusing), "all but the inputs is whole"
    assert len(inputs) == count
    assert {asked["truncated"] for asked in inputs} == {True}
    assert all(size(asked["body"]) <= 8 * 1024 for asked in inputs)
    assert inputs[0]["body"]["title"] == "edit"
    assert inputs[0]["body"]["metadata"]["diff"].startswith("-\n+ü")
    whole = get_session(refusing, "alice", session.session_id)["pendingInputs"]
    assert [asked["body"] for asked in whole] == [body] * count
    assert frames(refusing, "v1")[-1]["type"] == "replayed"
    assert event_ids(refusing, "v1") == list(range(1, session.last_event_id + 1))


def test_what_is_short_is_whole_and_says_nothing(ports: MemoryPorts) -> None:
    session, _ = asking(ports, 2, {"title": "ls"})
    connected(ports, session.session_id)
    receive(ports, "v1", SUBSCRIBE)
    [first, _] = snapshot(ports)["pendingInputs"]
    assert first["body"] == {"title": "ls"}
    assert "truncated" not in first


def test_an_event_that_is_too_large_for_any_frame_is_cut(ports: MemoryPorts) -> None:
    session_id = created(ports)
    data = {"kind": "tool", "output": "ü" * 90_000, "partId": "part_1", "input": {"a": ["x" * 99]}}
    event = events.AgentEvent(payload=data).event(session_id, ports.clock(), 7)
    [frame] = event_frames([event])
    assert len(frame.encode()) <= MESSAGE_BYTES
    [sent] = json.loads(frame)["events"]
    assert (sent["eventId"], sent["data"]["partId"], sent["data"]["truncated"]) == (
        7,
        "part_1",
        True,
    )
    assert event.data == data, "what is kept is kept whole"


@pytest.mark.parametrize(
    "value",
    [
        {"a": "x" * 5000},
        {"a": ["y"] * 5000},
        {str(number): number for number in range(5000)},
        {"a": {"b": "\x01" * 9999}},
    ],
    ids=["text", "list", "object", "controls"],
)
@pytest.mark.parametrize("limit", [2, 1000, 4000])
def test_whatever_is_cut_fits(value: dict[str, Any], limit: int) -> None:
    assert size(fitting(value, limit)) <= limit
    assert size(value) > limit


def test_a_replay_comes_without_a_snapshot_that_can_not_be_sent(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    with losing(ports, "session.snapshot"):
        receive(ports, "v1", SUBSCRIBE)
    assert event_ids(ports, "v1") == [1, 2]
    assert frames(ports, "v1")[-1] == {"type": "replayed", "through": 2, "more": False}


def test_a_replay_that_lacks_events_is_not_said_to_be_over(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    with losing(ports, "message.queued"):
        receive(ports, "v1", SUBSCRIBE)
    assert [frame["type"] for frame in frames(ports, "v1")] == ["events"], "the snapshot alone"
