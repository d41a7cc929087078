"""The store on DynamoDB: one table, one transaction a change, no scans."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from headstart.adapters import rows
from headstart.adapters.aws import translated
from headstart.adapters.transaction import Cancelled, Writes
from headstart.domain.errors import (
    ChangeRefused,
    Conflict,
    QuotaExceeded,
    ServiceUnavailable,
    SessionNotFound,
)
from headstart.domain.events import Event
from headstart.domain.model import format_time
from headstart.domain.session import (
    Attempt,
    CommandRow,
    Input,
    Message,
    Output,
    Sandbox,
    Session,
    SessionConfig,
    Snapshot,
)
from headstart.domain.work import IdempotencyKey, QuotaChange, Work
from headstart.usecases.ports import Connection, Ticket
from headstart.usecases.retry import CONFLICT_TRIES, backoff

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_BATCH_WRITE = 25
"""BatchWriteItem takes 25 items ("BatchWriteItem", DynamoDB API reference)."""

_OUTCOME_TRIES = 3
"""How often a transaction's outcome is asked for; botocore asks three times each."""

_QUOTA_FULL = "ConditionalCheckFailed"


class DynamoStore:
    """The Store port on one table."""

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._client = client
        self._table = table

    # Writing sessions.

    def create(self, work: Work, ticket: Ticket, quota: int) -> IdempotencyKey | None:
        """Write a new session whole; conflicts on the owner's quota are retried with jitter."""
        writes = Writes(self._table)
        writes.put(rows.session_item(work.session), "attribute_not_exists(pk)")
        self._add_children(writes, work, quota)
        writes.put(rows.ticket_item(ticket))
        for attempt in range(CONFLICT_TRIES):
            try:
                self._transact(writes)
            except Cancelled as cancelled:
                if used := cancelled.item_of(writes.key_index):
                    return rows.decode(used, IdempotencyKey)
                if cancelled.code_of(writes.quota_index) == _QUOTA_FULL:
                    raise QuotaExceeded(f"at most {quota} sessions may be active") from None
                backoff(attempt)
            else:
                return None
        raise ServiceUnavailable("the table kept refusing the transaction")

    def commit(self, work: Work, quota: int) -> None:
        """Write a change whole, on the condition that the session is as it was read."""
        read = work.session.version
        work.session.version = read + 1
        writes = Writes(self._table)
        writes.put(
            rows.session_item(work.session),
            "version = :read",
            {":read": {"N": str(read)}},
            return_old=True,
        )
        self._add_children(writes, work, quota)
        try:
            self._transact(writes)
        except Cancelled as cancelled:
            if cancelled.code_of(0) == "ConditionalCheckFailed" and not cancelled.item_of(0):
                raise SessionNotFound() from None
            only_quota = cancelled.code_of(0) != "ConditionalCheckFailed"
            if only_quota and cancelled.code_of(writes.quota_index) == _QUOTA_FULL:
                raise QuotaExceeded(f"at most {quota} sessions may be active") from None
            raise Conflict("the session changed meanwhile") from None

    def _add_children(self, writes: Writes, work: Work, quota: int) -> None:
        session = work.session
        for row in work.rows:
            writes.put(rows.row_item(session.session_id, row))
        if work.persisted_events:
            writes.put(rows.events_item(session.session_id, work.persisted_events))
        if work.key:
            writes.key_index = writes.put(
                rows.key_item(session.owner, work.key),
                "attribute_not_exists(pk) OR expires < :now",
                {":now": rows.epoch(work.now)},
                return_old=True,
            )
        if work.quota is QuotaChange.JOIN:
            writes.quota_index = writes.update(
                rows.key(rows.owner_pk(session.owner), "QUOTA"),
                "ADD active :id",
                {":id": {"SS": [session.session_id]}, ":limit": {"N": str(quota)}},
                "attribute_not_exists(active) OR size(active) < :limit",
            )
        elif work.quota is QuotaChange.LEAVE:
            writes.update(
                rows.key(rows.owner_pk(session.owner), "QUOTA"),
                "DELETE active :id",
                {":id": {"SS": [session.session_id]}},
            )

    def _transact(self, writes: Writes) -> None:
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
                else:
                    return
        raise ServiceUnavailable("the table did not say what became of a transaction")

    # Reading sessions.

    def _get(self, pk: str, sk: str) -> rows.Item | None:
        with translated():
            answer: Any = self._client.get_item(
                TableName=self._table, Key=rows.key(pk, sk), ConsistentRead=True
            )
        item: rows.Item | None = answer.get("Item")
        return item

    def _require(self, session_id: str, sk: str) -> rows.Item:
        item = self._get(rows.session_pk(session_id), sk)
        if item is None:
            raise SessionNotFound()
        return item

    def _query(self, **query: Any) -> list[rows.Item]:
        found: list[rows.Item] = []
        with translated():
            while True:
                answer: Any = self._client.query(TableName=self._table, **query)
                found += answer["Items"]
                if "LastEvaluatedKey" not in answer:
                    return found
                query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _children(self, session_id: str, prefix: str) -> list[rows.Item]:
        return self._query(
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
        with translated():
            answer: Any = self._client.query(
                TableName=self._table,
                IndexName=rows.BY_OWNER,
                KeyConditionExpression=condition,
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues=values,
                ScanIndexForward=False,
                Limit=limit,
            )
        found = answer["Items"]
        by_pk = self._batch_get([rows.key(i["pk"]["S"], i["sk"]["S"]) for i in found])
        sessions = [
            rows.decode(by_pk[i["pk"]["S"]], Session) for i in found if i["pk"]["S"] in by_pk
        ]
        more = answer.get("LastEvaluatedKey") and found
        return sessions, found[-1]["created"]["S"] if more else None

    def _batch_get(self, keys: list[rows.Item]) -> dict[str, rows.Item]:
        found: dict[str, rows.Item] = {}
        request: Any = {self._table: {"Keys": keys}} if keys else {}
        for attempt in range(CONFLICT_TRIES):
            if not request:
                return found
            with translated():
                answer: Any = self._client.batch_get_item(RequestItems=request)
            found |= {item["pk"]["S"]: item for item in answer["Responses"].get(self._table, [])}
            request = answer.get("UnprocessedKeys")
            if request:
                backoff(attempt)
        raise ServiceUnavailable("the table kept postponing a read")

    def due(self, shard: int, now: datetime, limit: int) -> list[str]:
        """Return ids of a shard's sessions whose time has come."""
        with translated():
            answer: Any = self._client.query(
                TableName=self._table,
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

    def config(self, session_id: str) -> SessionConfig:
        """Return what was asked for."""
        return rows.decode(self._require(session_id, "CONFIG"), SessionConfig)

    def message(self, session_id: str, number: int) -> Message:
        """Return a message."""
        return rows.decode(self._require(session_id, rows.message_sk(number)), Message)

    def messages(self, session_id: str, after: int = 0) -> list[Message]:
        """Return the messages above a number, in order."""
        items = self._query(**_messages_above(session_id, after))
        return [rows.decode(item, Message) for item in items]

    def messages_page(self, session_id: str, after: int, limit: int) -> tuple[list[Message], bool]:
        """Return one page, which DynamoDB ends after 1 MB."""
        with translated():
            answer: Any = self._client.query(
                TableName=self._table, Limit=limit + 1, **_messages_above(session_id, after)
            )
        page = [rows.decode(item, Message) for item in answer["Items"][:limit]]
        return page, len(answer["Items"]) > limit or "LastEvaluatedKey" in answer

    def command(self, session_id: str, command_id: str) -> CommandRow | None:
        """Return a command."""
        item = self._get(rows.session_pk(session_id), rows.command_sk(command_id))
        return rows.decode(item, CommandRow) if item else None

    def commands(self, session_id: str, prefix: str = "") -> list[CommandRow]:
        """Return the commands whose id begins so, oldest first."""
        items = self._children(session_id, rows.command_sk(prefix))
        found = [rows.decode(item, CommandRow) for item in items]
        return sorted(found, key=lambda row: row.created_at)

    def sandbox(self, session_id: str) -> Sandbox | None:
        """Return the session's sandbox."""
        item = self._get(rows.session_pk(session_id), "SANDBOX")
        return rows.decode(item, Sandbox) if item else None

    def snapshot(self, session_id: str) -> Snapshot | None:
        """Return the last good snapshot."""
        item = self._get(rows.session_pk(session_id), "SNAPSHOT")
        return rows.decode(item, Snapshot) if item else None

    def input(self, session_id: str, request_id: str) -> Input | None:
        """Return something the agent asked."""
        item = self._get(rows.session_pk(session_id), rows.input_sk(request_id))
        return rows.decode(item, Input) if item else None

    def output(self, session_id: str, attempt_number: int, step: str) -> Output | None:
        """Return what is kept of a step's output."""
        item = self._get(rows.session_pk(session_id), rows.output_sk(attempt_number, step))
        return rows.decode(item, Output) if item else None

    def events_after(self, session_id: str, after: int, limit: int) -> tuple[list[Event], bool]:
        """Return one page, at most 1 MB; the first batch is trimmed to what was asked."""
        with translated():
            answer: Any = self._client.query(
                TableName=self._table,
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
        item = self._get(rows.owner_pk(owner), f"KEY#{key}")
        used = rows.decode(item, IdempotencyKey) if item else None
        return used if used and used.expires_at > now else None

    def forget_key(self, owner: str, used: IdempotencyKey) -> None:
        """Forget a key, unless it stands for another session by now."""
        self._delete_if(
            rows.key(rows.owner_pk(owner), f"KEY#{used.key}"),
            "sessionId = :read",
            {"S": used.session_id},
        )

    def places(self, owner: str) -> set[str]:
        """Return the ids that count against an owner's quota."""
        item = self._get(rows.owner_pk(owner), "QUOTA")
        return set(item["active"]["SS"]) if item and "active" in item else set()

    def free_places(self, owner: str, session_ids: set[str]) -> None:
        """Have sessions not count any more."""
        with translated():
            self._client.update_item(
                TableName=self._table,
                Key=rows.key(rows.owner_pk(owner), "QUOTA"),
                UpdateExpression="DELETE active :ids",
                ExpressionAttributeValues={":ids": {"SS": sorted(session_ids)}},
            )

    def durations(self, git_url: str) -> dict[str, int]:
        """Return how long each step took before."""
        item = self._get(rows.repository_pk(git_url), "DURATIONS")
        found: dict[str, int] = json.loads(item["data"]["S"]) if item else {}
        return found

    def remember_durations(self, git_url: str, durations: dict[str, int]) -> None:
        """Replace what is known of a repository."""
        key = rows.key(rows.repository_pk(git_url), "DURATIONS")
        self._put({**key, "data": {"S": json.dumps(durations)}})

    # Tickets and connections.

    def put_ticket(self, ticket: Ticket) -> None:
        """Write a ticket."""
        self._put(rows.ticket_item(ticket))

    def ticket(self, ticket_hash: str) -> Ticket | None:
        """Return a ticket."""
        item = self._get(f"TICKET#{ticket_hash}", "TICKET")
        return rows.decode(item, Ticket) if item else None

    def put_connection(self, connection: Connection) -> None:
        """Write a connection that is opening."""
        writes = Writes(self._table)
        for item in rows.connection_items(connection):
            writes.put(item)
        self._transact_plain(writes)

    def open_connection(self, connection: Connection) -> bool:
        """Open a connection and burn its ticket, together or not at all."""
        connection.is_open = True
        writes = Writes(self._table)
        for item in rows.connection_items(connection):
            writes.put(item)
        if connection.role.value == "viewer":
            writes.delete(
                rows.key(f"TICKET#{connection.credential}", "TICKET"), "attribute_exists(pk)"
            )
        try:
            self._transact(writes)
        except Cancelled as cancelled:
            connection.is_open = False
            if "ConditionalCheckFailed" in cancelled.codes:
                return False
            raise Conflict("the connection is being changed") from None
        return True

    def connection(self, connection_id: str) -> Connection | None:
        """Return a connection."""
        item = self._get(f"CONNECTION#{connection_id}", "CONNECTION")
        return rows.decode(item, Connection) if item else None

    def connections(self, session_id: str) -> list[Connection]:
        """Return a session's connections."""
        items = self._children(session_id, "CONNECTION#")
        return [rows.decode(item, Connection) for item in items]

    def remove_connection(self, connection: Connection) -> None:
        """Forget a connection."""
        writes = Writes(self._table)
        for key in rows.connection_keys(connection):
            writes.delete(key)
        self._transact_plain(writes)

    def _transact_plain(self, writes: Writes) -> None:
        for attempt in range(CONFLICT_TRIES):
            try:
                return self._transact(writes)
            except Cancelled:
                backoff(attempt)
        raise Conflict("rows kept changing")

    def _put(self, item: rows.Item) -> None:
        with translated():
            self._client.put_item(TableName=self._table, Item=item)

    # Deleting.

    def purge(self, session_id: str, limit: int) -> bool:
        """Delete up to `limit` rows of a session, its SESSION row last."""
        pk = rows.session_pk(session_id)
        session = self._get(pk, "SESSION")
        with translated():
            answer: Any = self._client.query(
                TableName=self._table,
                KeyConditionExpression="pk = :pk",
                ExpressionAttributeValues={":pk": {"S": pk}},
                ProjectionExpression="pk, sk",
                ConsistentRead=True,
                Limit=limit + 1,
            )
        keys = [item for item in answer["Items"] if item["sk"]["S"] != "SESSION"]
        for start in range(0, len(keys), _BATCH_WRITE):
            self._delete_batch(keys[start : start + _BATCH_WRITE])
        if answer.get("LastEvaluatedKey"):
            return False
        if session is None:
            return True
        # What was committed since then may have left a row.
        return self._delete_if(rows.key(pk, "SESSION"), "version = :read", session["version"])

    def _delete_if(self, key: rows.Item, condition: str, read: dict[str, Any]) -> bool:
        """Delete a row that is as it was `:read`; False where it isn't any more."""
        with translated():
            try:
                self._client.delete_item(
                    TableName=self._table,
                    Key=key,
                    ConditionExpression=condition,
                    ExpressionAttributeValues={":read": read},
                )
            except self._client.exceptions.ConditionalCheckFailedException:
                return False
        return True

    def _delete_batch(self, keys: list[rows.Item]) -> None:
        request: Any = {self._table: [{"DeleteRequest": {"Key": key}} for key in keys]}
        for attempt in range(CONFLICT_TRIES):
            with translated():
                request = self._client.batch_write_item(RequestItems=request)["UnprocessedItems"]
            if not request:
                return
            backoff(attempt)
        raise ServiceUnavailable("the table kept postponing a deletion")


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
