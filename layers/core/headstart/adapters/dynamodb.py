"""The store on DynamoDB: one table, one transaction a change, no scans."""

import json
import logging
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from headstart.adapters import rows
from headstart.adapters.table import Table
from headstart.adapters.transaction import Cancelled, Writes
from headstart.domain.connections import Connection, Ticket
from headstart.domain.errors import (
    Conflict,
    QuotaExceeded,
    RowUnreadable,
    ServiceUnavailable,
    SessionNotFound,
)
from headstart.domain.events import Event
from headstart.domain.model import Model, format_time
from headstart.domain.policy import LINE_LENGTH
from headstart.domain.session import (
    Attempt,
    Command,
    Input,
    Message,
    Output,
    Sandbox,
    Session,
    SessionConfig,
    Snapshot,
)
from headstart.domain.work import IdempotencyKey, QuotaChange, Waiting, Work
from headstart.usecases.retry import CONFLICT_TRIES, backoff

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_log = logging.getLogger(__name__)
_M = TypeVar("_M", bound=Model)
_QUOTA_FULL = "ConditionalCheckFailed"


class DynamoStore:
    """The Store port on one table."""

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        count_unreadable: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._table = Table(client, table)
        self._count_unreadable = count_unreadable

    # Writing sessions.

    def create(self, work: Work, ticket: Ticket, quota: int) -> IdempotencyKey | None:
        """Write a new session whole; conflicts on the owner's quota are retried with jitter."""
        writes = self._table.writes()
        writes.put(rows.session_item(work.session), "attribute_not_exists(pk)")
        self._add_children(writes, work, quota, LINE_LENGTH)
        writes.put(rows.ticket_item(ticket))
        for attempt in range(CONFLICT_TRIES):
            try:
                self._table.transact(writes)
            except Cancelled as cancelled:
                if used := cancelled.item_of(writes.key_index):
                    return rows.decode(used, IdempotencyKey)
                if cancelled.code_of(writes.quota_index) == _QUOTA_FULL:
                    raise _quota_exceeded(work, quota) from None
                backoff(attempt)
            else:
                return None
        raise ServiceUnavailable("the table kept refusing the transaction")

    def commit(self, work: Work, quota: int) -> None:
        """Write a change whole, on the condition that the session is as it was read."""
        read = work.session.version
        work.session.version = read + 1
        writes = self._table.writes()
        writes.put(
            rows.session_item(work.session),
            "version = :read",
            {":read": {"N": str(read)}},
            return_old=True,
        )
        self._add_children(writes, work, quota)
        try:
            self._table.transact(writes)
        except Cancelled as cancelled:
            if cancelled.code_of(0) == "ConditionalCheckFailed" and not cancelled.item_of(0):
                raise SessionNotFound() from None
            only_quota = cancelled.code_of(0) != "ConditionalCheckFailed"
            if only_quota and cancelled.code_of(writes.quota_index) == _QUOTA_FULL:
                raise _quota_exceeded(work, quota) from None
            raise Conflict("the session changed meanwhile") from None

    def _add_children(
        self, writes: Writes, work: Work, quota: int, line_length: int | None = None
    ) -> None:
        session = work.session
        for row in work.rows:
            writes.put(rows.row_item(session.session_id, row, work.now))
            if isinstance(row, Command) and row.answered:
                writes.delete(
                    rows.key(rows.session_pk(session.session_id), rows.command_sk(row.command_id))
                )
        if work.persisted_events:
            writes.put(rows.events_item(session.session_id, work.persisted_events))
        if work.key:
            writes.key_index = writes.put(
                rows.key_item(session.owner, work.key),
                "attribute_not_exists(pk) OR expires < :now",
                {":now": rows.epoch(work.now)},
                return_old=True,
            )
        if left := work.left_line:
            writes.delete(rows.key_of(rows.waiting_item(session.owner, left)))
        if joined := work.joined_line:
            writes.put(rows.waiting_item(session.owner, joined))
        _add_place(writes, work, quota, line_length)

    # Reading sessions.

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
                _log.exception("left out a row of %s", pk)
        if len(found) < len(items):
            self._count_unreadable(len(items) - len(found))
        return found

    def _require(self, session_id: str, sk: str) -> rows.Item:
        item = self._table.get(rows.session_pk(session_id), sk)
        if item is None:
            raise SessionNotFound()
        return item

    def _children(self, session_id: str, prefix: str) -> list[rows.Item]:
        return self._table.query(
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={
                ":pk": {"S": rows.session_pk(session_id)},
                ":sk": {"S": prefix},
            },
            ConsistentRead=True,
        )

    def session(self, session_id: str) -> Session:
        """Return a session; raises SessionNotFound."""
        return rows.decode(self._require(session_id, "SESSION"), Session)

    def sessions_of(
        self, owner: str, cursor: str | None, limit: int
    ) -> tuple[list[Session], str | None]:
        """Return a page of an owner's sessions, newest first, and where the next page begins."""
        values = {":owner": {"S": rows.owner_pk(owner)}}
        condition = "#owner = :owner"
        if cursor:
            values[":before"] = {"S": cursor}
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
        return sessions, found[-1]["created"]["S"] if more else None

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

    def attempt(self, session_id: str, number: int) -> Attempt:
        """Return an attempt."""
        return rows.decode(self._require(session_id, rows.attempt_sk(number)), Attempt)

    def attempts(self, sessions: list[Session]) -> dict[str, Attempt]:
        """Return the present attempts of sessions."""
        pks = {rows.session_pk(session.session_id): session for session in sessions}
        items = self._table.get_all(
            [rows.key(pk, rows.attempt_sk(session.attempt_number)) for pk, session in pks.items()]
        )
        readable = self._readable_with_pk(items, Attempt)
        return {pks[pk].session_id: attempt for pk, attempt in readable}

    def config(self, session_id: str) -> SessionConfig:
        """Return what was asked for."""
        return rows.decode(self._require(session_id, "CONFIG"), SessionConfig)

    def message(self, session_id: str, number: int) -> Message:
        """Return a message."""
        return rows.decode(self._require(session_id, rows.message_sk(number)), Message)

    def messages(self, session_id: str, after: int = 0) -> list[Message]:
        """Return the messages above a number, in order."""
        return self._readable(self._table.query(**_messages_above(session_id, after)), Message)

    def messages_page(self, session_id: str, after: int, limit: int) -> tuple[list[Message], bool]:
        """Return one page, which DynamoDB ends after 1 MB."""
        answer = self._table.page(Limit=limit + 1, **_messages_above(session_id, after))
        page = self._readable(answer["Items"][:limit], Message)
        return page, len(answer["Items"]) > limit or "LastEvaluatedKey" in answer

    def command(self, session_id: str, command_id: str) -> Command | None:
        """Return a command."""
        for answered in (False, True):
            sk = rows.command_sk(command_id, answered=answered)
            if item := self._table.get(rows.session_pk(session_id), sk):
                return rows.decode(item, Command)
        return None

    def commands(self, session_id: str, prefix: str = "") -> list[Command]:
        """Return the commands whose id begins so, oldest first."""
        items = [
            item
            for answered in (False, True)
            for item in self._children(session_id, rows.command_sk(prefix, answered=answered))
        ]
        return sorted(self._readable(items, Command), key=lambda row: row.created_at)

    def open_commands(self, session_id: str) -> list[Command]:
        """Return the commands that have no answer, oldest first."""
        found = self._readable(self._children(session_id, rows.command_sk("")), Command)
        # An earlier version left those with an answer among them.
        return sorted((r for r in found if not r.answered), key=lambda row: row.created_at)

    def sandbox(self, session_id: str) -> Sandbox | None:
        """Return the session's sandbox."""
        item = self._table.get(rows.session_pk(session_id), "SANDBOX")
        return rows.decode(item, Sandbox) if item else None

    def snapshot(self, session_id: str) -> Snapshot | None:
        """Return the last good snapshot."""
        item = self._table.get(rows.session_pk(session_id), "SNAPSHOT")
        return rows.decode(item, Snapshot) if item else None

    def input(self, session_id: str, request_id: str) -> Input | None:
        """Return something the agent asked."""
        item = self._table.get(rows.session_pk(session_id), rows.input_sk(request_id))
        return rows.decode(item, Input) if item else None

    def inputs(self, session_id: str, request_ids: list[str]) -> list[Input]:
        """Return things the agent asked."""
        pk = rows.session_pk(session_id)
        items = self._table.get_all([rows.key(pk, rows.input_sk(i)) for i in request_ids])
        return self._readable(items, Input)

    def output(self, session_id: str, attempt_number: int, step: str) -> Output | None:
        """Return what is kept of a step's output."""
        item = self._table.get(rows.session_pk(session_id), rows.output_sk(attempt_number, step))
        return rows.decode(item, Output) if item else None

    def events_after(self, session_id: str, after: int, limit: int) -> tuple[list[Event], bool]:
        """Return one page, at most 1 MB; the first batch is trimmed to what was asked."""
        answer = self._table.page(
            KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
            ExpressionAttributeValues={
                ":pk": {"S": rows.session_pk(session_id)},
                ":first": {"S": rows.events_sk(after + 1)},
                ":last": {"S": "EVENTS#~"},
            },
            ConsistentRead=True,
            Limit=limit + 1,
        )
        batches = answer["Items"]
        page: list[Event] = []
        while batches and len(page) < limit:
            page += [e for e in rows.decode_events(batches.pop(0)) if (e.event_id or 0) > after]
        return page, bool(batches or answer.get("LastEvaluatedKey"))

    def key(self, owner: str, key: str, now: datetime) -> IdempotencyKey | None:
        """Return a key that has not expired."""
        item = self._table.get(rows.owner_pk(owner), f"KEY#{key}")
        used = rows.decode(item, IdempotencyKey) if item else None
        return used if used and used.expires_at > now else None

    def forget_key(self, owner: str, used: IdempotencyKey) -> None:
        """Forget a key, unless it stands for another session by now."""
        self._table.delete_if(
            rows.key(rows.owner_pk(owner), f"KEY#{used.key}"),
            "sessionId = :read",
            {"S": used.session_id},
        )

    def places(self, owner: str) -> set[str]:
        """Return the ids that count against an owner's quota."""
        item = self._table.get(rows.owner_pk(owner), "QUOTA")
        return set(item["active"]["SS"]) if item and "active" in item else set()

    def free_places(self, owner: str, session_ids: set[str]) -> None:
        """Have sessions not count any more."""
        ids = {":ids": {"SS": sorted(session_ids)}}
        self._table.update(rows.key(rows.owner_pk(owner), "QUOTA"), "DELETE active :ids", ids)

    def line(self, owner: str) -> list[Waiting]:
        """Return who waits, the first first."""
        answer = self._table.page(
            KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
            ExpressionAttributeValues={
                ":pk": {"S": rows.owner_pk(owner)},
                ":sk": {"S": rows.LINE},
            },
            ConsistentRead=True,
        )
        return self._readable(answer["Items"], Waiting)

    def forget_waiting(self, owner: str, waiting: Waiting) -> None:
        """Take a place out of the line, and out of the number of those who wait."""
        writes = self._table.writes()
        writes.delete(rows.key_of(rows.waiting_item(owner, waiting)), "attribute_exists(pk)")
        writes.update(
            rows.key(rows.owner_pk(owner), "QUOTA"), "ADD waiting :change", {":change": {"N": "-1"}}
        )
        for attempt in range(CONFLICT_TRIES):
            try:
                return self._table.transact(writes)
            except Cancelled as cancelled:
                if "ConditionalCheckFailed" in cancelled.codes:
                    return None
                backoff(attempt)
        raise Conflict("the line kept changing")

    def durations(self, owner: str, git_url: str) -> dict[str, int]:
        """Return how long each step took before."""
        item = self._table.get(rows.owner_pk(owner), rows.durations_sk(git_url))
        found: dict[str, int] = json.loads(item["data"]["S"]) if item else {}
        return found

    def remember_durations(self, owner: str, git_url: str, durations: dict[str, int]) -> None:
        """Replace what is known of an owner's repository."""
        key = rows.key(rows.owner_pk(owner), rows.durations_sk(git_url))
        self._table.put({**key, "data": {"S": json.dumps(durations)}})

    # Tickets and connections.

    def put_ticket(self, ticket: Ticket) -> None:
        """Write a ticket."""
        self._table.put(rows.ticket_item(ticket))

    def ticket(self, ticket_hash: str) -> Ticket | None:
        """Return a ticket."""
        item = self._table.get(f"TICKET#{ticket_hash}", "TICKET")
        return rows.decode(item, Ticket) if item else None

    def put_connection(self, connection: Connection) -> None:
        """Write a connection that is opening."""
        writes = self._table.writes()
        for item in rows.connection_items(connection):
            writes.put(item)
        self._table.transact_at_last(writes)

    def open_connection(self, connection: Connection) -> bool:
        """Open a connection and burn its ticket, together or not at all."""
        connection.is_open = True
        writes = self._table.writes()
        for item in rows.connection_items(connection):
            writes.put(item)
        if connection.role.value == "viewer":
            writes.delete(
                rows.key(f"TICKET#{connection.credential}", "TICKET"), "attribute_exists(pk)"
            )
        try:
            self._table.transact(writes)
        except Cancelled as cancelled:
            connection.is_open = False
            if "ConditionalCheckFailed" in cancelled.codes:
                return False
            raise Conflict("the connection is being changed") from None
        return True

    def connection(self, connection_id: str) -> Connection | None:
        """Return a connection."""
        item = self._table.get(f"CONNECTION#{connection_id}", "CONNECTION")
        return rows.decode(item, Connection) if item else None

    def connections(self, session_id: str) -> list[Connection]:
        """Return a session's connections."""
        return self._readable(self._children(session_id, "CONNECTION#"), Connection)

    def remove_connection(self, connection: Connection) -> None:
        """Forget a connection."""
        writes = self._table.writes()
        for key in rows.connection_keys(connection):
            writes.delete(key)
        self._table.transact_at_last(writes)

    # Deleting.

    def purge(self, session_id: str, limit: int) -> bool:
        """Delete up to `limit` rows of a session, its SESSION row last."""
        pk = rows.session_pk(session_id)
        session = self._table.get(pk, "SESSION")
        answer = self._table.page(
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
            ProjectionExpression="pk, sk",
            ConsistentRead=True,
            Limit=limit + 1,
        )
        keys = [item for item in answer["Items"] if item["sk"]["S"] != "SESSION"]
        self._table.delete_all(keys)
        if answer.get("LastEvaluatedKey"):
            return False
        if session is None:
            return True
        # What was committed since then may have left a row.
        return self._table.delete_if(rows.key(pk, "SESSION"), "version = :read", session["version"])


def _messages_above(session_id: str, after: int) -> dict[str, Any]:
    return {
        "KeyConditionExpression": "pk = :pk AND sk BETWEEN :first AND :last",
        "ExpressionAttributeValues": {
            ":pk": {"S": rows.session_pk(session_id)},
            ":first": {"S": rows.message_sk(after + 1)},
            ":last": {"S": "MESSAGE#~"},
        },
        "ConsistentRead": True,
    }


def _add_place(writes: Writes, work: Work, quota: int, line_length: int | None) -> None:
    """Add the one update of the owner's QUOTA row: the set of places, and how many wait.

    Whoever has no place yet may not overtake: while others wait it is refused, unless it comes out
    of the line itself. `line_length` is how many may wait, None for any number.
    """
    waiting = (1 if work.joined_line else 0) - (1 if work.left_line else 0)
    own = work.session.session_id
    verbs: dict[str, list[str]] = {}
    values: dict[str, Any] = {}
    condition: str | None = None
    if work.quota:
        verbs["ADD" if work.quota is QuotaChange.JOIN else "DELETE"] = ["active :ids"]
        values[":ids"] = {"SS": [own]}
    if waiting:
        verbs.setdefault("ADD", []).append("waiting :change")
        values[":change"] = {"N": str(waiting)}
    if work.quota is QuotaChange.JOIN:
        condition = "attribute_not_exists(active) OR size(active) < :limit"
        values |= {":own": {"S": own}, ":limit": {"N": str(quota)}}
        if not work.left_line:
            condition = f"({condition}) AND (attribute_not_exists(waiting) OR waiting < :most)"
            values[":most"] = {"N": "1"}
        condition = f"contains(active, :own) OR ({condition})"
    elif work.joined_line and line_length is not None:
        condition = "attribute_not_exists(waiting) OR waiting < :most"
        values[":most"] = {"N": str(line_length)}
    if verbs:
        expression = " ".join(f"{verb} {', '.join(parts)}" for verb, parts in verbs.items())
        quota_row = rows.key(rows.owner_pk(work.session.owner), "QUOTA")
        writes.quota_index = writes.update(quota_row, expression, values, condition)


def _quota_exceeded(work: Work, quota: int) -> QuotaExceeded:
    if work.joined_line:
        return QuotaExceeded(f"at most {LINE_LENGTH} sessions may wait for a place")
    return QuotaExceeded(f"at most {quota} sessions may be active")
