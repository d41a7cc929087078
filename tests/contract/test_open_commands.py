"""What heartbeats and hellos read of a session's commands: those that are open, and no others."""

import json
from datetime import timedelta
from typing import Any

import pytest

from headstart.adapters.dynamodb import DynamoStore
from headstart.adapters.memory import MemoryPorts
from headstart.domain.change import Work
from headstart.domain.requests import SendMessage
from headstart.domain.session import Command
from headstart.domain.steps import StepName
from headstart.usecases.sandbox import sandbox_stopped
from headstart.usecases.talk import send_message
from tests.contract.test_store import NOW, QUOTA
from tests.contract.test_store import created as created_in
from tests.unit.helpers import Runner, begin, created, running, turn_ended

SAVED = {"bytes": 7, "sha256": "hash"}


@pytest.fixture
def ports(dynamodb: Any) -> MemoryPorts:
    store: Any = DynamoStore(dynamodb, "headstart")
    return MemoryPorts(store=store)


def items(client: Any, session_id: str, prefix: str) -> list[dict[str, Any]]:
    """Return the rows of a kind as they are in the table."""
    found = client.query(
        TableName="headstart",
        KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
        ExpressionAttributeValues={":pk": {"S": f"SESSION#{session_id}"}, ":sk": {"S": prefix}},
    )["Items"]
    return list(found)


def saved(ports: MemoryPorts, runner: Runner) -> None:
    """Make and send the copy that was asked for last."""
    runner.complete(commanded(runner, "snapshot"), **SAVED)
    upload = [frame for frame in runner.frames() if frame.get("kind") == "upload"][-1]
    key = upload["args"]["url"].removeprefix("https://objects.test/")
    ports.objects.stored[key] = (7, "hash")
    runner.complete(upload["id"])


def commanded(runner: Runner, kind: str) -> str:
    """Return the id of the newest command of a kind."""
    return str([frame for frame in runner.frames() if frame.get("kind") == kind][-1]["id"])


def test_answered_commands_are_read_by_no_heartbeat(ports: MemoryPorts, dynamodb: Any) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    for _ in range(3):
        runner.report(turn_ended(ports, session_id))
        saved(ports, runner)
        send_message(ports, "alice", session_id, SendMessage(prompt="more"), None)
        runner.complete(commanded(runner, "prompt"), agentMessageId="m")
    assert items(dynamodb, session_id, "COMMAND#") == []
    assert len(items(dynamodb, session_id, "ANSWERED#")) == 5 + 4 + 2 * 3
    send_message(ports, "alice", session_id, SendMessage(prompt="last"), None)
    runner.report(turn_ended(ports, session_id))
    open_ids = {row.command_id for row in ports.store.open_commands(session_id)}
    assert open_ids == {commanded(runner, "snapshot"), commanded(runner, "prompt")}


def test_an_answered_command_is_forgotten_by_the_table(ports: MemoryPorts, dynamodb: Any) -> None:
    session_id = created(ports)
    running(ports, session_id)
    week = int((ports.clock() + timedelta(days=7)).timestamp())
    rows = items(dynamodb, session_id, "ANSWERED#")
    assert {int(row["expires"]["N"]) for row in rows} == {week}


def test_what_nobody_answers_any_more_is_open_no_longer_with_the_next_sandbox(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    runner.report(turn_ended(ports, session_id))
    runner.complete(commanded(runner, "snapshot"), **SAVED)
    send_message(ports, "alice", session_id, SendMessage(prompt="more"), None)
    runner.complete(commanded(runner, "prompt"), agentMessageId="m")
    runner.report(turn_ended(ports, session_id))
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "gone")
    left = sorted(row.kind for row in ports.store.open_commands(session_id))
    assert left == ["snapshot", "upload"]
    send_message(ports, "alice", session_id, SendMessage(prompt="again"), None)
    begin(ports, session_id, StepName.SANDBOX, attempt=2)
    [upload] = ports.store.open_commands(session_id)
    assert upload.kind == "upload"


def test_one_that_an_earlier_version_left_in_its_place_is_not_open(dynamodb: Any) -> None:
    store = DynamoStore(dynamodb, "headstart")
    session_id = created_in(store)
    work = Work(store.session(session_id), NOW)
    work.save(Command(command_id="1.disk.1", kind="disk", attempt_number=1, created_at=NOW))
    store.commit(work, QUOTA)
    [item] = items(dynamodb, session_id, "COMMAND#")
    data = json.loads(item["data"]["S"]) | {"answered": True}
    dynamodb.put_item(TableName="headstart", Item={**item, "data": {"S": json.dumps(data)}})
    assert store.open_commands(session_id) == []
    found = store.command(session_id, "1.disk.1")
    assert found
    assert found.answered
