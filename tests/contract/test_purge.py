"""Deleting rows in slices, while somebody still writes one, as fast as the table takes them."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from headstart.adapters.aws import make_client
from headstart.adapters.dynamodb import DynamoStore
from headstart.domain import events
from headstart.domain.errors import SessionNotFound
from headstart.domain.message import Message, MessageStatus
from headstart.domain.sandbox import Sandbox, SandboxStatus
from headstart.usecases import retry
from headstart.usecases.ports import Store
from tests.contract.helpers import NOW, command, created, read, viewer, write


def message(number: int) -> Message:
    return Message(
        message_id="m", number=number, text="", status=MessageStatus.HELD, created_at=NOW
    )


def with_rows(store: Store) -> str:
    """Return a session with rows in its working set, before it and behind it."""
    session_id = created(store)
    sandbox = Sandbox(attempt_number=1, try_number=1, status=SandboxStatus.STARTING, created_at=NOW)
    write(store, session_id, *map(message, range(1, 6)), *map(command, range(5)), sandbox)
    write(store, session_id, viewer(session_id, "c1"), viewer(session_id, "c2"))
    return session_id


def test_it_goes_in_slices_and_what_is_left_can_be_read_to_the_last(store: Store) -> None:
    session_id = with_rows(store)
    found = store.load(session_id)
    found.receipt = None
    slices = 0
    while not store.purge(session_id, 2):
        slices += 1
        left = store.load(session_id)
        left.receipt = None
        assert left == found
    assert slices >= 2
    for look in (store.session, store.load):
        with pytest.raises(SessionNotFound):
            look(session_id)
    assert store.messages_page(session_id, 0, 100)[0] == []
    assert store.purge(session_id, 2)


def test_all_of_it_is_gone_then(dynamodb: Any) -> None:
    store = DynamoStore(dynamodb, "headstart")
    session_id = with_rows(store)
    for sk in ("COMMAND#1.disk.1", "CONNECTION#c", "SANDBOX", "TOMORROW#1", "~"):
        key = {"pk": {"S": f"SESSION#{session_id}"}, "sk": {"S": sk}}
        dynamodb.put_item(TableName="headstart", Item=key)
    while not store.purge(session_id, 4):
        pass
    assert rows(dynamodb, session_id) == []


def test_rows_that_are_left_of_a_session_that_is_gone_go_too(dynamodb: Any) -> None:
    store = DynamoStore(dynamodb, "headstart")
    session_id = with_rows(store)
    key = {"pk": {"S": f"SESSION#{session_id}"}, "sk": {"S": "SESSION"}}
    dynamodb.delete_item(TableName="headstart", Key=key)
    assert store.purge(session_id, 100)
    assert rows(dynamodb, session_id) == []


def test_a_set_larger_than_a_transaction_goes_too(dynamodb: Any) -> None:
    store = DynamoStore(dynamodb, "headstart")
    session_id = created(store)
    for start in (0, 60):
        write(store, session_id, *map(command, range(start, start + 60)))
    while not store.purge(session_id, 10):
        pass
    assert rows(dynamodb, session_id) == []


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
            change = read(rival, session_id)
            change.emit(events.SessionAsleep(reason="late"))
            rival.commit(change)

    client.meta.events.register("before-call.dynamodb.TransactWriteItems", write_late)
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
    write(store, session_id, *(message(number) for number in range(58)))
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
