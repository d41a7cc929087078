"""DynamoDB: what the product relies on and stock ministack does right."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import botocore.exceptions
import pytest

from tests.conformance.conftest import Probe

Item = dict[str, Any]


def key(pk: str, sk: str = "s") -> Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def table(probe: Probe) -> tuple[Any, str]:
    return probe.cloud.client("dynamodb"), probe.cloud.outputs["TableName"]


def get(probe: Probe, pk: str) -> Item:
    client, name = table(probe)
    return client.get_item(TableName=name, Key=key(pk), ConsistentRead=True).get("Item", {})


def test_transaction_tells_each_reason_and_the_old_item(probe: Probe, unique: str) -> None:
    client, name = table(probe)
    client.put_item(TableName=name, Item={**key(unique), "n": {"N": "5"}})
    new = {"TableName": name, "Item": key(f"{unique}-new")}
    check = {
        "TableName": name,
        "Key": key(unique),
        "UpdateExpression": "SET n = n + :one",
        "ConditionExpression": "n < :max",
        "ExpressionAttributeValues": {":one": {"N": "1"}, ":max": {"N": "5"}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    with pytest.raises(client.exceptions.TransactionCanceledException) as raised:
        client.transact_write_items(TransactItems=[{"Put": new}, {"Update": check}])
    first, second = raised.value.response["CancellationReasons"]
    assert first["Code"] == "None"
    assert second["Code"] == "ConditionalCheckFailed"
    assert second["Item"] == {**key(unique), "n": {"N": "5"}}
    assert get(probe, f"{unique}-new") == {}


def test_condition_failure_returns_the_old_item(probe: Probe, unique: str) -> None:
    client, name = table(probe)
    client.put_item(TableName=name, Item=key(unique))
    with pytest.raises(client.exceptions.ConditionalCheckFailedException) as raised:
        client.put_item(
            TableName=name,
            Item=key(unique),
            ConditionExpression="attribute_not_exists(pk)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    assert raised.value.response["Item"] == key(unique)


def test_sets_and_their_size(probe: Probe, unique: str) -> None:
    client, name = table(probe)

    def change(action: str, member: str, limit: int = 9) -> None:
        client.update_item(
            TableName=name,
            Key=key(unique),
            UpdateExpression=f"{action} active :m",
            ConditionExpression="attribute_not_exists(active) OR size(active) < :n",
            ExpressionAttributeValues={":m": {"SS": [member]}, ":n": {"N": str(limit)}},
        )

    for member in ("a", "b", "a"):
        change("ADD", member)
    assert set(get(probe, unique)["active"]["SS"]) == {"a", "b"}
    with pytest.raises(client.exceptions.ConditionalCheckFailedException):
        change("ADD", "c", limit=2)
    for member in ("a", "b"):
        change("DELETE", member)
    # A set can't be empty: deleting its last member removes the attribute.
    assert "active" not in get(probe, unique)


def test_client_request_token_makes_a_transaction_idempotent(probe: Probe, unique: str) -> None:
    client, name = table(probe)
    add = {
        "TableName": name,
        "Key": key(unique),
        "UpdateExpression": "ADD n :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    for _ in range(2):
        client.transact_write_items(TransactItems=[{"Update": add}], ClientRequestToken=unique)
    assert get(probe, unique)["n"] == {"N": "1"}
    changed = {**add, "ExpressionAttributeValues": {":one": {"N": "2"}}}
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        client.transact_write_items(TransactItems=[{"Update": changed}], ClientRequestToken=unique)
    assert raised.value.response["Error"]["Code"] == "IdempotentParameterMismatchException"


def test_two_actions_on_one_item_are_refused(probe: Probe, unique: str) -> None:
    client, name = table(probe)
    put = {"Put": {"TableName": name, "Item": key(unique)}}
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        client.transact_write_items(TransactItems=[put, put])
    assert raised.value.response["Error"]["Code"] == "ValidationException"


def test_sparse_index(probe: Probe, unique: str) -> None:
    client, name = table(probe)
    for number, due in (("1", True), ("2", False), ("3", True)):
        index = {"due": {"S": unique}, "at": {"S": number}} if due else {}
        client.put_item(TableName=name, Item={**key(unique, number), **index, "big": {"S": "x"}})
    query = {
        "TableName": name,
        "IndexName": "due",
        "KeyConditionExpression": "due = :d AND #at <= :now",
        "ExpressionAttributeNames": {"#at": "at"},
        "ExpressionAttributeValues": {":d": {"S": unique}, ":now": {"S": "2"}},
    }
    assert [item["sk"]["S"] for item in client.query(**query)["Items"]] == ["1"]
    query["ExpressionAttributeValues"] = {":d": {"S": unique}, ":now": {"S": "9"}}
    items = client.query(**query, ScanIndexForward=False)["Items"]
    assert [item["sk"]["S"] for item in items] == ["3", "1"]
    assert "big" not in items[0]
    client.update_item(TableName=name, Key=key(unique, "3"), UpdateExpression="REMOVE due")
    assert len(client.query(**query)["Items"]) == 1


def test_pages(probe: Probe, unique: str) -> None:
    client, name = table(probe)
    for number in range(5):
        client.put_item(TableName=name, Item=key(unique, f"EVENTS#{number:012}"))
    query = {
        "TableName": name,
        "KeyConditionExpression": "pk = :p AND sk > :s",
        "ExpressionAttributeValues": {":p": {"S": unique}, ":s": {"S": "EVENTS#000000000001"}},
        "ConsistentRead": True,
        "Limit": 2,
    }
    first = client.query(**query)
    second = client.query(**query, ExclusiveStartKey=first["LastEvaluatedKey"])
    found = [item["sk"]["S"][-1] for item in first["Items"] + second["Items"]]
    assert found == ["2", "3", "4"]


def test_batch_get(probe: Probe, unique: str) -> None:
    client, name = table(probe)
    client.put_item(TableName=name, Item=key(unique))
    keys = [key(unique), key(f"{unique}-missing")]
    answer = client.batch_get_item(RequestItems={name: {"Keys": keys, "ConsistentRead": True}})
    assert answer["Responses"][name] == [key(unique)]
    assert answer["UnprocessedKeys"] == {}


def test_one_of_many_wins_a_condition(probe: Probe, unique: str) -> None:
    client, name = table(probe)

    def claim(number: int) -> bool:
        try:
            client.put_item(
                TableName=name,
                Item={**key(unique), "by": {"N": str(number)}},
                ConditionExpression="attribute_not_exists(pk)",
            )
        except client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(claim, range(24))) == 1


def test_item_size_is_limited(probe: Probe, unique: str) -> None:
    client, name = table(probe)
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        client.put_item(TableName=name, Item={**key(unique), "x": {"S": "x" * 410_000}})
    assert raised.value.response["Error"]["Code"] == "ValidationException"
