"""Building one TransactWriteItems, and reading why one was cancelled."""

from typing import Any

from botocore.exceptions import ClientError

from headstart.adapters.rows import Item, check_count
from headstart.domain.errors import ChangeRefused

_ROW_BYTES = 400 * 1024
_TRANSACTION_BYTES = 4 * 1024 * 1024
"""What one row and one transaction may be ("Quotas", DynamoDB Developer Guide)."""


class Writes:
    """The items of one TransactWriteItems, and where the ones we ask about later stand."""

    def __init__(self, table: str) -> None:
        self._table = table
        self.items: list[Any] = []
        self.key_index: int | None = None
        self.quota_index: int | None = None
        self.ticket_index: int | None = None

    def _add(self, kind: str, body: dict[str, Any]) -> int:
        self.items.append({kind: {"TableName": self._table, **body}})
        return len(self.items) - 1

    def put(
        self,
        item: Item,
        condition: str | None = None,
        values: Item | None = None,
        *,
        return_old: bool = False,
    ) -> int:
        """Add a Put; returns its index, by which a cancellation names it."""
        body: dict[str, Any] = {"Item": item}
        if condition:
            body["ConditionExpression"] = condition
        if values:
            body["ExpressionAttributeValues"] = values
        if return_old:
            body["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        return self._add("Put", body)

    def update(self, key: Item, update: str, values: Any, condition: str | None = None) -> int:
        """Add an Update."""
        body = {"Key": key, "UpdateExpression": update, "ExpressionAttributeValues": values}
        if condition:
            body["ConditionExpression"] = condition
        return self._add("Update", body)

    def delete(self, key: Item, condition: str | None = None, values: Item | None = None) -> int:
        """Add a Delete."""
        body: dict[str, Any] = {"Key": key}
        if condition:
            body["ConditionExpression"] = condition
        if values:
            body["ExpressionAttributeValues"] = values
        return self._add("Delete", body)

    def require(self, key: Item, condition: str, names: dict[str, str], values: Item) -> int:
        """Add a condition on a row that is left as it is."""
        body = {"Key": key, "ConditionExpression": condition, "ExpressionAttributeNames": names}
        return self._add("ConditionCheck", {**body, "ExpressionAttributeValues": values})

    def check(self) -> None:
        """Raise ChangeRefused for what DynamoDB would refuse each time it is asked."""
        check_count(len(self.items))
        sizes = [_size(put["Item"]) for write in self.items if (put := write.get("Put"))]
        if max(sizes, default=0) > _ROW_BYTES or sum(sizes) > _TRANSACTION_BYTES:
            raise ChangeRefused(f"rows of {sum(sizes)} bytes can't be written")


def _size(item: Item) -> int:
    """Return how DynamoDB counts a row: names and values, in UTF-8."""
    return sum(
        len(name.encode()) + len(str(text).encode())
        for name, value in item.items()
        for text in value.values()
    )


class Cancelled(Exception):
    """Why a transaction was cancelled, item by item."""

    def __init__(self, error: ClientError) -> None:
        super().__init__("cancelled")
        reasons: Any = error.response.get("CancellationReasons", [])
        self._reasons: list[dict[str, Any]] = reasons

    @property
    def codes(self) -> list[str]:
        """The verdict on each item; `None` where nothing was wrong."""
        return [reason.get("Code", "None") for reason in self._reasons]

    def code_of(self, index: int | None) -> str:
        """Return the verdict on one item."""
        return "None" if index is None else self.codes[index]

    def item_of(self, index: int | None) -> Item | None:
        """Return the row that stood in the way of one item's condition."""
        if index is None or self.code_of(index) != "ConditionalCheckFailed":
            return None
        item: Item | None = self._reasons[index].get("Item")
        return item
