"""What is to be put in the queue of callbacks, on DynamoDB."""

from datetime import datetime

from headstart.adapters import rows
from headstart.adapters.dynamodb_rows import StoredRows
from headstart.domain.callbacks import DueCallbacks
from headstart.domain.model import format_time


class StoredCallbacks(StoredRows):
    """The part of the Store port that is about callbacks."""

    def callbacks_due(
        self, shard: int, now: datetime, limit: int
    ) -> list[tuple[str, DueCallbacks]]:
        """Return what is due of a shard, with the session's id."""
        answer = self._table.page(
            IndexName=rows.BY_DUE,
            KeyConditionExpression="due = :due AND dueAt <= :now",
            ExpressionAttributeValues={
                ":due": {"S": rows.callbacks_due_pk(shard)},
                ":now": {"S": format_time(now)},
            },
            Limit=limit,
        )
        items = self._table.get_all([rows.key_of(item) for item in answer["Items"]])
        found = self._readable_with_pk(items, DueCallbacks)
        return [(pk.partition("#")[2], row) for pk, row in found]

    def forget_callbacks(self, session_id: str, last_id: int) -> None:
        """Delete a row of callbacks; one that is gone is fine."""
        self._table.delete(rows.callbacks_key(session_id, last_id))
