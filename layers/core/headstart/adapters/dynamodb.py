"""The store on DynamoDB: one table, one transaction a change, no scans."""

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeVar

from headstart.adapters import earlier_layout, layout, rows
from headstart.adapters.dynamodb_callbacks import StoredCallbacks
from headstart.adapters.dynamodb_connections import StoredConnections
from headstart.adapters.dynamodb_owners import StoredOwners, add_place, quota_exceeded
from headstart.adapters.dynamodb_texts import StoredTexts
from headstart.adapters.transaction import Cancelled, Writes
from headstart.domain.change import Change, IdempotencyKey, RowKey, WorkingSet
from headstart.domain.connections import Ticket
from headstart.domain.cursors import SessionPlace
from headstart.domain.errors import (
    Conflict,
    ServiceUnavailable,
    SessionNotFound,
    TicketRefused,
)
from headstart.domain.events import Event
from headstart.domain.message import Message
from headstart.domain.model import Model, RowModel, format_time
from headstart.domain.policy import LINE_LENGTH
from headstart.domain.session import Session
from headstart.usecases.retry import CONFLICT_TRIES, backoff

_log = logging.getLogger(__name__)
_M = TypeVar("_M", bound=Model)
_REFUSED = "ConditionalCheckFailed"

_FIRST_BATCHES = 16
"""Batches of events that are read at first: a page of 200 events of an agent at work, or nearly."""

_PAGE_BYTES = 1_000_000
"""What a page of events may come to, about as much as one Query gives."""


class DynamoStore(StoredCallbacks, StoredConnections, StoredOwners, StoredTexts):
    """The Store port on one table."""

    # Writing sessions.

    def load(self, session_id: str) -> WorkingSet:
        """Return what belongs to a session now, as of one moment."""
        for attempt in range(CONFLICT_TRIES):
            try:
                items = self._table.query(**layout.query(session_id))
                return layout.working_set(items, self._leave_out, looks=attempt + 1)
            except layout.Torn:
                backoff(attempt)
            except layout.OldLayout as old:
                return earlier_layout.working_set(self._table, old.session, self._readable)
        raise Conflict(f"session {session_id} kept changing while it was read")

    def named(self, session_id: str, keys: Iterable[RowKey]) -> dict[RowKey, RowModel | None]:
        """Return rows beside the working set by their names."""
        places = {name: rows.named_key(session_id, name.model, name.name) for name in keys}
        items = self._table.get_all(list({str(p): p for p in places.values()}.values()))
        found = {str(rows.key_of(item)): item for item in items}
        read: dict[RowKey, RowModel | None] = {}
        for name, place in places.items():
            item = found.get(str(place))
            read[name] = rows.decode(item, name.model) if item else None
        return read

    def create(self, change: Change, ticket: Ticket) -> IdempotencyKey | None:
        """Write a new session whole; conflicts on the owner's quota are retried with jitter."""
        writes = self._table.writes()
        change.receipt = layout.Receipt({})
        self._add_session(writes, change, "attribute_not_exists(pk)", None)
        self._add_owned(writes, change, LINE_LENGTH)
        writes.put(rows.ticket_item(ticket))
        for attempt in range(CONFLICT_TRIES):
            try:
                self._table.transact(writes)
            except Cancelled as cancelled:
                if used := cancelled.item_of(writes.key_index):
                    return rows.decode(used, IdempotencyKey)
                if cancelled.code_of(writes.quota_index) == _REFUSED:
                    raise quota_exceeded(change) from None
                backoff(attempt)
            else:
                return None
        raise ServiceUnavailable("the table kept refusing the transaction")

    def commit(self, change: Change) -> None:
        """Write a change whole, on the condition that the session is as it was read."""
        read = change.session.version
        change.session.version = read + 1
        writes = self._table.writes()
        versions = self._add_session(writes, change, "version = :read", {":read": {"N": str(read)}})
        self._add_owned(writes, change, None)
        if change.burnt:
            place = rows.key(f"TICKET#{change.burnt}", "TICKET")
            writes.ticket_index = writes.delete(place, "attribute_exists(pk)")
        try:
            self._table.transact(writes)
        except Cancelled as cancelled:
            if cancelled.code_of(0) == _REFUSED and not cancelled.item_of(0):
                raise SessionNotFound() from None
            # While a rival is at the session, what else was refused is judged anew.
            is_as_read = cancelled.code_of(0) == "None"
            if is_as_read and cancelled.code_of(writes.ticket_index) == _REFUSED:
                raise TicketRefused("the ticket was used") from None
            if is_as_read and cancelled.code_of(writes.quota_index) == _REFUSED:
                raise quota_exceeded(change) from None
            raise Conflict("the session changed meanwhile") from None
        change.receipt = layout.Receipt(versions)

    def _add_session(
        self, writes: Writes, change: Change, condition: str, values: rows.Item | None
    ) -> dict[str, int]:
        """Add SESSION and all rows in its partition; returns what SESSION says of its set."""
        session = change.session
        hot, versions = layout.written(change)
        item = layout.session_item(session, versions)
        writes.put(item, condition, values, return_old=values is not None)
        for row in hot:
            writes.put(layout.hot_item(session, row))
        for gone in change.gone:
            writes.delete(rows.key(rows.session_pk(session.session_id), layout.hot_sk(gone)))
        for beside in [*change.closed, *(r for r in change.rows if not layout.is_hot(r))]:
            writes.put(rows.row_item(session.session_id, beside))
        if change.persisted_events:
            writes.put(rows.events_item(session.session_id, change.persisted_events))
        return versions

    def _add_owned(self, writes: Writes, change: Change, line_length: int | None) -> None:
        """Add what is the owner's: the use of a key, what steps took, a place, one in line."""
        owner = change.session.owner
        if change.key:
            writes.key_index = writes.put(
                rows.key_item(owner, change.key),
                "attribute_not_exists(pk) OR expires < :now",
                {":now": rows.epoch(change.now)},
                return_old=True,
            )
        if change.durations:
            writes.put(rows.durations_item(owner, change.session.git_url, change.durations))
        if left := change.left_line:
            writes.delete(rows.key_of(rows.waiting_item(owner, left)))
        if joined := change.joined_line:
            writes.put(rows.waiting_item(owner, joined))
        add_place(writes, change, line_length)

    # Reading sessions.

    def _require(self, session_id: str, sk: str) -> rows.Item:
        item = self._table.get(rows.session_pk(session_id), sk)
        if item is None:
            raise SessionNotFound()
        return item

    def session(self, session_id: str) -> Session:
        """Return a session; raises SessionNotFound."""
        return rows.decode(self._require(session_id, "SESSION"), Session)

    def sessions_of(
        self, owner: str, after: SessionPlace | None, limit: int
    ) -> tuple[list[Session], SessionPlace | None]:
        """Return a page of an owner's sessions, newest first, and where it ended."""
        values = {":owner": {"S": rows.owner_pk(owner)}}
        condition = "#owner = :owner"
        if after:
            values[":before"] = {"S": after.text}
            condition += " AND created < :before"
        answer = self._table.page(
            IndexName=rows.BY_OWNER,
            KeyConditionExpression=condition,
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues=values,
            ScanIndexForward=False,
            Limit=limit,
        )
        found = answer["Items"]
        items = self._table.get_all([rows.key(i["pk"]["S"], i["sk"]["S"]) for i in found])
        sessions = self._readable(items, Session)
        more = answer.get("LastEvaluatedKey") and found
        return sessions, SessionPlace.parse(found[-1]["created"]["S"]) if more else None

    def due(self, shard: int, now: datetime, limit: int) -> list[str]:
        """Return ids of a shard's sessions whose time has come."""
        answer = self._table.page(
            IndexName=rows.BY_DUE,
            KeyConditionExpression="due = :due AND dueAt <= :now",
            ExpressionAttributeValues={
                ":due": {"S": rows.due_pk(shard)},
                ":now": {"S": format_time(now)},
            },
            Limit=limit,
        )
        return [item["pk"]["S"].partition("#")[2] for item in answer["Items"]]

    def messages_page(self, session_id: str, after: int, limit: int) -> tuple[list[Message], bool]:
        """Return one page, which DynamoDB ends after 1 MB."""
        answer = self._table.page(Limit=limit + 1, **_messages_above(session_id, after))
        page = self._readable(answer["Items"][:limit], Message)
        return page, len(answer["Items"]) > limit or "LastEvaluatedKey" in answer

    def events_after(self, session_id: str, after: int, limit: int) -> tuple[list[Event], bool]:
        """Return one page, about 1 MB at most; the first batch is trimmed to what was asked.

        How many batches that takes is not known: some are read, and more only where those had few
        events, since DynamoDB charges for what is read and not for what is used of it.
        """
        page: list[Event] = []
        size, asked = 0, min(limit + 1, _FIRST_BATCHES)
        while True:
            answer = self._table.page(
                KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
                ExpressionAttributeValues={
                    ":pk": {"S": rows.session_pk(session_id)},
                    ":first": {"S": rows.events_sk(after + 1)},
                    ":last": {"S": "EVENTS#~"},
                },
                ConsistentRead=True,
                Limit=asked,
            )
            batches = answer["Items"]
            while batches and len(page) < limit:
                batch = batches.pop(0)
                size += len(batch["data"]["S"])
                page += [e for e in rows.decode_events(batch) if (e.event_id or 0) > after]
            more = bool(batches or answer.get("LastEvaluatedKey"))
            if not more or len(page) >= limit or size >= _PAGE_BYTES:
                return page, more
            after, asked = page[-1].event_id or 0, 2 * asked

    # Tickets and connections.

    # Deleting.

    def purge(self, session_id: str, limit: int) -> bool:
        """Delete up to `limit` rows of a session, and once they are all, its working set at once.

        So what is left of a session can be read until nothing is.
        """
        pk = rows.session_pk(session_id)
        session = self._table.get(pk, layout.PREFIX)
        answer = self._table.page(
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
            ProjectionExpression="pk, sk",
            ConsistentRead=True,
            Limit=limit + rows.MAX_WRITES,
        )
        keys = [item for item in answer["Items"] if item["sk"]["S"] != layout.PREFIX]
        hot = [key for key in keys if key["sk"]["S"].startswith(layout.PREFIX)]
        if session is not None:
            # What is more than one transaction takes goes before.
            hot = hot[: rows.MAX_WRITES - 1]
            keys = [key for key in keys if key not in hot]
        self._table.delete_all(keys[:limit])
        if len(keys) > limit or answer.get("LastEvaluatedKey"):
            return False
        if session is None:
            return True
        writes = self._table.writes()
        read = {":read": session["version"]}
        # What was committed since then may have left a row.
        writes.delete(rows.key(pk, layout.PREFIX), "version = :read", read)
        for key in hot:
            writes.delete(key)
        return self._table.transact_if(writes)


def _messages_above(session_id: str, after: int) -> dict[str, Any]:
    return {
        "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last",
        "ExpressionAttributeValues": {
            ":pk": {"S": rows.session_pk(session_id)},
            ":first": {"S": rows.named_sk(Message, after + 1)},
            ":last": {"S": "MESSAGE#~"},
        },
        "ConsistentRead": True,
    }
