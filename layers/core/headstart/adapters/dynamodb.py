"""The store on DynamoDB: one table, one transaction a change, no scans."""

from datetime import datetime
from typing import Any

from headstart.adapters import rows
from headstart.adapters.dynamodb_connections import StoredConnections
from headstart.adapters.dynamodb_owners import StoredOwners, add_place, quota_exceeded
from headstart.adapters.transaction import Cancelled, Writes
from headstart.domain.connections import Ticket
from headstart.domain.errors import (
    Conflict,
    ServiceUnavailable,
    SessionNotFound,
)
from headstart.domain.events import Event
from headstart.domain.model import format_time
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
from headstart.domain.work import IdempotencyKey, Work
from headstart.usecases.retry import CONFLICT_TRIES, backoff

_QUOTA_FULL = "ConditionalCheckFailed"


class DynamoStore(StoredConnections, StoredOwners):
    """The Store port on one table."""

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
                    raise quota_exceeded(work, quota) from None
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
                raise quota_exceeded(work, quota) from None
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
        add_place(writes, work, quota, line_length)

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
