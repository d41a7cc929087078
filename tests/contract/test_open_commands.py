"""What each read of a session finds of its commands: those that are open, and few others."""

from contextlib import suppress
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import WrongStatus
from headstart.domain.requests import AnswerInput, SendMessage
from headstart.domain.session import Status
from headstart.domain.steps import StepName
from headstart.usecases.delete import delete_session
from headstart.usecases.sandbox import sandbox_stopped
from headstart.usecases.talk import answer_input, send_message
from tests.contract.helpers import LookedAt
from tests.unit.helpers import Runner, begin, created, running, turn_ended

FILE = {"bytes": 7, "sha256": "hash"}
SAVED = {"base": FILE, "difference": FILE}


@pytest.fixture
def ports(dynamodb: Any) -> MemoryPorts:
    store: Any = LookedAt(dynamodb, "headstart")
    return MemoryPorts(store=store)


def saved(ports: MemoryPorts, runner: Runner) -> None:
    """Make and send the copy that was asked for last."""
    runner.complete(commanded(runner, "archive"), **SAVED)
    upload = [frame for frame in runner.frames() if frame.get("kind") == "upload"][-1]
    for file in upload["args"]["files"]:
        key = file["url"].removeprefix("https://objects.test/")
        ports.objects.stored[key] = (7, "hash")
    runner.complete(upload["id"])


def commanded(runner: Runner, kind: str) -> str:
    """Return the id of the newest command of a kind."""
    return str([frame for frame in runner.frames() if frame.get("kind") == kind][-1]["id"])


def kinds(ports: MemoryPorts, session_id: str) -> list[str]:
    """Return the kinds of the commands that were read, the oldest first."""
    known = ports.store.load(session_id).commands.values()
    return [row.kind.value for row in sorted(known, key=lambda row: row.created_at)]


def rows_of_commands(client: Any, session_id: str) -> list[str]:
    """Return the sort keys of all commands that are in the table."""
    pk = {":pk": {"S": f"SESSION#{session_id}"}}
    found = client.query(
        TableName="headstart", KeyConditionExpression="pk = :pk", ExpressionAttributeValues=pk
    )["Items"]
    return [item["sk"]["S"] for item in found if "COMMAND" in item["sk"]["S"]]


def test_an_answered_command_is_read_until_its_answer_was_acknowledged_and_no_longer(
    ports: MemoryPorts, dynamodb: Any
) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    for _ in range(3):
        runner.report(turn_ended(ports, session_id))
        saved(ports, runner)
        send_message(ports, "alice", session_id, SendMessage(prompt="more"), None)
        runner.complete(commanded(runner, "prompt"), agentMessageId="m")
    assert kinds(ports, session_id) == ["prompt"]
    send_message(ports, "alice", session_id, SendMessage(prompt="last"), None)
    runner.report(turn_ended(ports, session_id))
    known = ports.store.load(session_id).commands
    assert set(known) == {commanded(runner, "archive"), commanded(runner, "prompt")}
    assert len(rows_of_commands(dynamodb, session_id)) == 2


def test_what_nobody_answers_any_more_is_gone_with_the_next_attempt(
    ports: MemoryPorts, dynamodb: Any
) -> None:
    """But for the upload: while it is open, a deletion waits for who may still be sending."""
    session_id = created(ports)
    runner = running(ports, session_id)
    runner.report(turn_ended(ports, session_id))
    runner.complete(commanded(runner, "archive"), **SAVED)
    send_message(ports, "alice", session_id, SendMessage(prompt="more"), None)
    runner.complete(commanded(runner, "prompt"), agentMessageId="m")
    runner.report(turn_ended(ports, session_id))
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "gone")
    assert kinds(ports, session_id) == ["upload", "archive"]
    send_message(ports, "alice", session_id, SendMessage(prompt="again"), None)
    assert kinds(ports, session_id) == ["upload"]
    begin(ports, session_id, StepName.SANDBOX, attempt=2)
    second = Runner(ports, session_id, connection_id="r2", process="p2")
    second.connect()
    second.hello()
    assert [frame["type"] for frame in second.frames()] == ["welcome"]
    assert len(rows_of_commands(dynamodb, session_id)) == 1
    delete_session(ports, "alice", session_id)
    assert ports.store.session(session_id).status is Status.DELETING


def test_however_often_somebody_answers_the_session_can_be_written(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    turn = ports.store.session(session_id).active_turn
    assert turn
    asked = {"turnId": turn.turn_id, "requestId": "r", "kind": "permission", "body": {}}
    runner.report({"type": "input.requested", **asked})
    for reply in ("once", "reject") * 60:
        with suppress(WrongStatus):
            answer_input(ports, "alice", session_id, "r", AnswerInput(reply=reply))
    assert kinds(ports, session_id) == ["input"]
    sent = [frame for frame in runner.frames() if frame.get("kind") == "input"]
    assert {frame["args"]["answer"]["reply"] for frame in sent} == {"once"}
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "gone")
    send_message(ports, "alice", session_id, SendMessage(prompt="more"), None)
    assert ports.store.session(session_id).attempt_number == 2
