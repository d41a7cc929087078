"""What is answered fits an answer, whatever a sandbox said: every character may take six bytes."""

import json
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.attempt import Output
from headstart.domain.failure import Failure
from headstart.domain.fitting import size
from headstart.domain.message import Input
from headstart.domain.session import Status
from headstart.domain.steps import StepName, StepStatus
from headstart.usecases.inbox import receive
from headstart.usecases.read import get_session, list_sessions, stream_ticket
from headstart.usecases.watch import connect_viewer
from tests.unit.helpers import created

LAMBDA_BYTES = 6 * 1024 * 1024
"""An answer's limit ("Lambda quotas", AWS Lambda Developer Guide)."""

MESSAGE_BYTES = 128 * 1024
"""A WebSocket message's limit ("Amazon API Gateway endpoints and quotas")."""

WIDE = ["\x01", "\U0001f600", '"', "\u2028"]


def hostile(ports: MemoryPorts, wide: str, asked: int = 20) -> str:
    """Return a failed session of which everything says as much as gets through the channel."""
    session_id = created(ports, prompt=f"x{wide * 1000}")
    session = ports.store.session(session_id)
    session.status = Status.FAILED
    session.failure = Failure(code="X", reason=wide * 30_000, retryable=True)
    attempt = ports.store.attempt(session_id, 1)
    for record in attempt.steps:
        record.status = StepStatus.COMPLETED
        record.message = wide * 30_000
        record.output = wide * 2000
    attempt.step(StepName.SETUP).status = StepStatus.FAILED
    output = Output(attempt_number=1, step=StepName.SETUP, text=wide * 16 * 1024)
    rows: dict[str, Any] = {"OUTPUT#0001#setup": output}
    for number in range(asked):
        body = {"title": wide * 300, "metadata": {"diff": [wide * 30_000]}}
        request = Input(
            request_id=f"r{number}",
            turn_id="t",
            kind="permission",
            body=body,
            created_at=session.created_at,
        )
        rows[f"INPUT#r{number}"] = request
        session.pending_inputs.append(request.request_id)
    ports.store.rows[session_id] |= rows
    known = ports.store.sets[session_id]
    known.session, known.attempt = session, attempt
    return session_id


@pytest.mark.parametrize("wide", WIDE)
def test_a_page_of_a_hundred_fits(ports: MemoryPorts, wide: str) -> None:
    ports.policy.active_sessions = 1000
    for _ in range(100):
        hostile(ports, wide, asked=1)
    page = list_sessions(ports, "alice", None, limit=100)
    assert len(page["items"]) == 100
    assert len(json.dumps(page)) < LAMBDA_BYTES * 2 / 3


@pytest.mark.parametrize("wide", WIDE)
def test_one_session_fits(ports: MemoryPorts, wide: str) -> None:
    session_id = hostile(ports, wide)
    assert len(json.dumps(get_session(ports, "alice", session_id))) < LAMBDA_BYTES * 2 / 3


@pytest.mark.parametrize("wide", WIDE)
def test_what_is_asked_fits_a_viewers_message_and_is_named_whole_or_not(
    ports: MemoryPorts, wide: str
) -> None:
    session_id = hostile(ports, wide)
    connect_viewer(ports, "v", stream_ticket(ports, "alice", session_id)["ticket"])
    receive(ports, "v", '{"action":"subscribe","after":0}')
    snapshot = json.loads(ports.sockets.sent["v"][0])["events"][0]["data"]
    assert [asked["requestId"] for asked in snapshot["pendingInputs"]] == [
        f"r{number}" for number in range(20)
    ]
    assert size(snapshot["pendingInputs"]) < MESSAGE_BYTES / 2
    assert all(asked["truncated"] for asked in snapshot["pendingInputs"])
    assert snapshot["pendingInputs"][0]["body"]["title"].startswith(wide * 100)


def test_what_is_asked_is_whole_where_it_fits(ports: MemoryPorts) -> None:
    session_id = hostile(ports, "x", asked=2)
    [first, second] = get_session(ports, "alice", session_id)["pendingInputs"]
    assert first["body"] == {"title": "x" * 300, "metadata": {"diff": ["x" * 30_000]}}
    assert "truncated" not in first
    assert second["body"] == first["body"]


def test_the_list_counts_what_it_does_not_show(ports: MemoryPorts) -> None:
    session_id = hostile(ports, "x", asked=3)
    [item] = list_sessions(ports, "alice", None)["items"]
    assert (item["sessionId"], item["queueLength"], item["pendingInputCount"]) == (session_id, 1, 3)
    assert item["failure"]["reason"] == "x" * 500
    assert "attempt" not in item
    assert "queue" not in item
    assert "pendingInputs" not in item
