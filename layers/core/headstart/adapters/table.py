"""One DynamoDB table: the calls the store makes, each bounded, with their errors told as ours."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.exceptions import ClientError

from headstart.adapters import rows
from headstart.adapters.aws import error_code, translated
from headstart.adapters.transaction import Cancelled, Writes
from headstart.domain.errors import ChangeRefused, Conflict, ServiceUnavailable
from headstart.usecases.retry import CONFLICT_TRIES, backoff

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_BATCH_WRITE = 25
"""BatchWriteItem takes 25 items ("BatchWriteItem", DynamoDB API reference)."""

_MOST_KEYS = 100
"""BatchGetItem takes 100 keys ("BatchGetItem", DynamoDB API reference)."""

_OUTCOME_TRIES = 3
"""How often a transaction's outcome is asked for; botocore asks three times each."""


class Table:
    """A table of items under `pk` and `sk`; whatever AWS raises is ServiceUnavailable here."""

    def __init__(self, client: "DynamoDBClient", name: str) -> None:
        self._client = client
        self._name = name

    def writes(self) -> Writes:
        """Return an empty transaction."""
        return Writes(self._name)

    def transact(self, writes: Writes) -> None:
        """Send a transaction; raises Cancelled, ChangeRefused, ServiceUnavailable.

        Under one token every repeat, botocore's too, is the same transaction for ten minutes
        ("TransactWriteItems", DynamoDB API reference). While DynamoDB is still at it nobody knows
        its outcome, so it is asked again, and never taken for a conflict: what a use case would
        then decide anew, it would decide on top of its own change.
        """
        writes.check()
        token = str(uuid4())
        with translated():
            for attempt in range(_OUTCOME_TRIES):
                try:
                    self._client.transact_write_items(
                        TransactItems=writes.items, ClientRequestToken=token
                    )
                except self._client.exceptions.TransactionCanceledException as error:
                    cancelled = Cancelled(error)
                    if "ValidationError" in cancelled.codes:
                        raise ChangeRefused("the table refused a row") from error
                    raise cancelled from None
                except self._client.exceptions.TransactionInProgressException:
                    backoff(attempt)
                except ClientError as error:
                    if error_code(error) == "ValidationException":
                        raise ChangeRefused("the table refused a transaction") from error
                    raise
                else:
                    return
        raise ServiceUnavailable("the table did not say what became of a transaction")

    def transact_if(self, writes: Writes) -> bool:
        """Send a transaction until none is in its way; False where a condition speaks against it.

        Raises Conflict after CONFLICT_TRIES.
        """
        for attempt in range(CONFLICT_TRIES):
            try:
                self.transact(writes)
            except Cancelled as cancelled:
                if "ConditionalCheckFailed" in cancelled.codes:
                    return False
                backoff(attempt)
            else:
                return True
        raise Conflict("rows kept changing")

    def get(self, pk: str, sk: str) -> rows.Item | None:
        """Return an item, read consistently."""
        with translated():
            answer: Any = self._client.get_item(
                TableName=self._name, Key=rows.key(pk, sk), ConsistentRead=True
            )
        item: rows.Item | None = answer.get("Item")
        return item

    def query(self, **query: Any) -> list[rows.Item]:
        """Return all items that a query finds: a session's of one kind, at most."""
        found: list[rows.Item] = []
        while True:
            answer = self.page(**query)
            found += answer["Items"]
            if "LastEvaluatedKey" not in answer:
                return found
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def page(self, **query: Any) -> Any:
        """Return one page of a query, as DynamoDB answers it."""
        with translated():
            return self._client.query(TableName=self._name, **query)

    def get_all(self, keys: list[rows.Item]) -> list[rows.Item]:
        """Return the items of keys, in their order, without those that are not there."""
        return [
            item
            for start in range(0, len(keys), _MOST_KEYS)
            for item in self._get_batch(keys[start : start + _MOST_KEYS])
        ]

    def _get_batch(self, keys: list[rows.Item]) -> list[rows.Item]:
        found: dict[tuple[str, str], rows.Item] = {}
        request: Any = {self._name: {"Keys": keys, "ConsistentRead": True}}
        for attempt in range(CONFLICT_TRIES):
            if not request:
                return [found[at] for key in keys if (at := _place(key)) in found]
            with translated():
                answer: Any = self._client.batch_get_item(RequestItems=request)
            items = answer["Responses"].get(self._name, [])
            found |= {_place(item): item for item in items}
            request = answer.get("UnprocessedKeys")
            if request:
                backoff(attempt)
        raise ServiceUnavailable("the table kept postponing a read")

    def put(self, item: rows.Item) -> None:
        """Write an item over whatever is there."""
        self._write(self._client.put_item, Item=item)

    def put_over(self, item: rows.Item, read: rows.Item | None) -> bool:
        """Write an item over the one that was read, or none; False where that has changed since."""
        if read is None:
            return self._write(
                self._client.put_item, Item=item, ConditionExpression="attribute_not_exists(pk)"
            )
        return self._write(
            self._client.put_item,
            Item=item,
            ConditionExpression="#data = :read",
            ExpressionAttributeNames={"#data": "data"},
            ExpressionAttributeValues={":read": read["data"]},
        )

    def update(self, key: rows.Item, expression: str, values: dict[str, Any]) -> None:
        """Change an item, or make it."""
        self._write(
            self._client.update_item,
            Key=key,
            UpdateExpression=expression,
            ExpressionAttributeValues=values,
        )

    def delete(self, key: rows.Item) -> rows.Item | None:
        """Delete an item and return it, None for one that is not there."""
        with translated():
            answer: Any = self._client.delete_item(
                TableName=self._name, Key=key, ReturnValues="ALL_OLD"
            )
        item: rows.Item | None = answer.get("Attributes")
        return item

    def delete_if(self, key: rows.Item, condition: str, read: dict[str, Any]) -> bool:
        """Delete a row that is as it was `:read`; False where it isn't any more."""
        return self._write(
            self._client.delete_item,
            Key=key,
            ConditionExpression=condition,
            ExpressionAttributeValues={":read": read},
        )

    def _write(self, call: Callable[..., Any], **parameters: Any) -> bool:
        """Write one item, again while a transaction is in its way; False where its condition fails.

        Raises Conflict after CONFLICT_TRIES.
        """
        for attempt in range(CONFLICT_TRIES):
            with translated():
                try:
                    call(TableName=self._name, **parameters)
                except self._client.exceptions.ConditionalCheckFailedException:
                    return False
                except self._client.exceptions.TransactionConflictException:
                    backoff(attempt)
                else:
                    return True
        raise Conflict("a row kept changing")

    def delete_all(self, keys: list[rows.Item]) -> None:
        """Delete items, 25 at a time."""
        for start in range(0, len(keys), _BATCH_WRITE):
            self._delete_batch(keys[start : start + _BATCH_WRITE])

    def _delete_batch(self, keys: list[rows.Item]) -> None:
        request: Any = {self._name: [{"DeleteRequest": {"Key": key}} for key in keys]}
        for attempt in range(CONFLICT_TRIES):
            with translated():
                request = self._client.batch_write_item(RequestItems=request)["UnprocessedItems"]
            if not request:
                return
            backoff(attempt)
        raise ServiceUnavailable("the table kept postponing a deletion")


def _place(item: rows.Item) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]
