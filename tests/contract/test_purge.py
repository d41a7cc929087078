"""Deleting rows while somebody still writes one, and as fast as the table takes them."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from headstart.adapters.aws import make_client
from headstart.adapters.dynamodb import DynamoStore
from headstart.domain import events
from headstart.domain.change import Work
from headstart.domain.session import Command
from headstart.usecases import retry
from tests.contract.test_store import NOW, QUOTA, created


def rows(dynamodb: Any, session_id: str) -> list[str]:
    found = dynamodb.query(
        TableName="headstart",
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": f"SESSION#{session_id}"}},
    )["Items"]
    return [item["sk"]["S"] for item in found]


def test_a_row_written_while_the_session_goes_is_deleted_too(dynamodb: Any) -> None:
    client = make_client("dynamodb")
    store, rival = DynamoStore(client, "headstart"), DynamoStore(dynamodb, "headstart")
    session_id = created(rival)
    late = [1]

    def write_late(**_: Any) -> None:
        if late and late.pop():
            work = Work(rival.session(session_id), NOW)
            work.emit(events.SessionAsleep(reason="late"))
            rival.commit(work, QUOTA)

    client.meta.events.register("before-call.dynamodb.DeleteItem", write_late)
    assert not store.purge(session_id, 100)
    assert "SESSION" in rows(dynamodb, session_id)
    assert store.purge(session_id, 100)
    assert rows(dynamodb, session_id) == []
    assert store.purge(session_id, 100)


def test_what_the_table_puts_off_is_deleted_all_the_same(
    dynamodb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry.time, "sleep", lambda _: None)
    client = make_client("dynamodb")
    session_id = created(DynamoStore(dynamodb, "headstart"))
    store = DynamoStore(client, "headstart")
    work = Work(store.session(session_id), NOW)
    for number in range(60):
        work.save(Command(command_id=str(number), kind="disk", attempt_number=1, created_at=NOW))
    store.commit(work, QUOTA)
    asked: list[int] = []

    def take_ten(params: dict[str, Any], **_: Any) -> Any:
        requests = json.loads(params["body"])["RequestItems"]["headstart"]
        asked.append(len(requests))
        dynamodb.batch_write_item(RequestItems={"headstart": requests[:10]})
        left = requests[10:]
        unprocessed = {"UnprocessedItems": {"headstart": left} if left else {}}
        return SimpleNamespace(status_code=200), unprocessed

    client.meta.events.register("before-call.dynamodb.BatchWriteItem", take_ten)
    assert store.purge(session_id, 100)
    assert asked[:3] == [25, 15, 5]
    assert rows(dynamodb, session_id) == []
