"""What every part of the store on DynamoDB has: its table, and reading what can be read."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from headstart.adapters import rows
from headstart.adapters.table import Table
from headstart.domain.errors import RowUnreadable
from headstart.domain.model import Model

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_log = logging.getLogger(__name__)
_M = TypeVar("_M", bound=Model)


class StoredRows:
    """A table of rows; `count_unreadable` is told of those that lists leave out."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        count_unreadable: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._table = Table(client, table)
        self._count_unreadable = count_unreadable

    def _readable(self, items: list[rows.Item], model: type[_M]) -> list[_M]:
        """Return what can be read; one row of a newer version shall not hide all others."""
        return [row for _, row in self._readable_with_pk(items, model)]

    def _readable_with_pk(self, items: list[rows.Item], model: type[_M]) -> list[tuple[str, _M]]:
        found: list[tuple[str, _M]] = []
        for item in items:
            pk = item["pk"]["S"]
            try:
                found.append((pk, rows.decode(item, model)))
            except RowUnreadable:
                self._leave_out(pk)
        return found

    def _leave_out(self, pk: str) -> None:
        _log.exception("left out a row of %s", pk)
        self._count_unreadable(1)

    def _children(self, session_id: str, prefix: str) -> list[rows.Item]:
        return self._table.query(
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={
                ":pk": {"S": rows.session_pk(session_id)},
                ":sk": {"S": prefix},
            },
            ConsistentRead=True,
        )
