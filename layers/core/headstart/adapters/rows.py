"""How rows are laid out in the table: keys and the few attributes that DynamoDB itself looks at.

Everything else is one JSON text in `data`: exact for floats and empty strings, and cheaper to
read than DynamoDB's typed maps. Attributes repeat only what a condition, an index, the TTL or an
operator's query needs.
"""

import hashlib
import json
import zlib
from datetime import datetime, timedelta
from typing import Any, TypeVar

from pydantic import ValidationError

from headstart.domain.connections import Connection, Ticket
from headstart.domain.errors import ChangeRefused, RowUnreadable
from headstart.domain.events import Event
from headstart.domain.model import Model, format_time
from headstart.domain.policy import DUE_SHARDS
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
from headstart.domain.work import IdempotencyKey, Row, Waiting

Item = dict[str, dict[str, Any]]
_M = TypeVar("_M", bound=Model)

LINE = "LINE#"
BY_OWNER = "byOwner"
BY_DUE = "byDue"

ANSWERED_LIFE = timedelta(days=7)
"""How long an answered command is kept: a repeated result, or the next try, may ask for it."""

MAX_WRITES = 100
"""Rows in one transaction ("Quotas", DynamoDB Developer Guide)."""


def check_count(writes: int) -> None:
    """Raise ChangeRefused for more writes than one transaction takes."""
    if writes > MAX_WRITES:
        raise ChangeRefused(f"{writes} rows can't be written at once; {MAX_WRITES} can")


def key(pk: str, sk: str) -> Item:
    """Return a primary key."""
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def session_pk(session_id: str) -> str:
    """Return the partition of everything a session owns."""
    return f"SESSION#{session_id}"


def owner_pk(owner: str) -> str:
    """Return the partition of a user."""
    return f"USER#{owner}"


def durations_sk(git_url: str) -> str:
    """Return the sort key, under an owner, of how long a repository's steps took."""
    return f"DURATIONS#{hashlib.sha256(git_url.encode()).hexdigest()}"


def due_pk(shard: int) -> str:
    """Return the partition of a shard of the due index."""
    return f"DUE#{shard}"


def epoch(moment: datetime) -> dict[str, str]:
    """Return a TTL attribute: whole seconds."""
    return {"N": str(int(moment.timestamp()))}


def _item(pk: str, sk: str, model: Model) -> Item:
    data = model.model_dump_json(by_alias=True, exclude_none=True)
    return {**key(pk, sk), "data": {"S": data}}


def decode(item: Item, model: type[_M]) -> _M:
    """Return the model a row holds; raises RowUnreadable."""
    try:
        return model.model_validate_json(item["data"]["S"])
    except ValidationError as error:
        # Its fields only: what stands in them may be the user's secrets.
        fields = sorted({str(wrong["loc"][0]) for wrong in error.errors() if wrong["loc"]})
    name, where = model.__name__, ", ".join(fields) or "no JSON"
    raise RowUnreadable(f"{name} can't be read; a newer version may have written it: {where}")


def session_item(session: Session) -> Item:
    """Return the SESSION row, with its place in the owner's list and in the due index."""
    item = _item(session_pk(session.session_id), "SESSION", session)
    item["version"] = {"N": str(session.version)}
    item["status"] = {"S": session.status.value}
    item["owner"] = {"S": owner_pk(session.owner)}
    item["created"] = {"S": f"{format_time(session.created_at)}#{session.session_id}"}
    if session.due_at:
        shard = zlib.crc32(session.session_id.encode()) % DUE_SHARDS
        item["due"] = {"S": due_pk(shard)}
        item["dueAt"] = {"S": format_time(session.due_at)}
    return item


def row_sk(row: Row) -> str:  # noqa: PLR0911  one kind a line
    """Return the sort key of a row a session owns."""
    match row:
        case SessionConfig():
            return "CONFIG"
        case Attempt():
            return attempt_sk(row.number)
        case Message():
            return message_sk(row.number)
        case Command():
            return command_sk(row.command_id, answered=row.answered)
        case Input():
            return input_sk(row.request_id)
        case Sandbox():
            return "SANDBOX"
        case Snapshot():
            return "SNAPSHOT"
        case Output():
            return output_sk(row.attempt_number, row.step.value)


def attempt_sk(number: int) -> str:
    """Return an attempt's sort key."""
    return f"ATTEMPT#{number:04d}"


def message_sk(number: int) -> str:
    """Return a message's sort key."""
    return f"MESSAGE#{number:06d}"


def command_sk(command_id: str, *, answered: bool = False) -> str:
    """Return a command's sort key; with its answer it leaves the place of those still open."""
    return f"{'ANSWERED' if answered else 'COMMAND'}#{command_id}"


def input_sk(request_id: str) -> str:
    """Return the sort key of something the agent asks."""
    return f"INPUT#{request_id}"


def output_sk(attempt_number: int, step: str) -> str:
    """Return the sort key of what a step printed."""
    return f"OUTPUT#{attempt_number:04d}#{step}"


def events_sk(last_id: int) -> str:
    """Return the sort key of a batch of events, by its last id."""
    return f"EVENTS#{last_id:012d}"


def row_item(session_id: str, row: Row, now: datetime) -> Item:
    """Return a row a session owns."""
    item = _item(session_pk(session_id), row_sk(row), row)
    if isinstance(row, Command) and row.answered:
        item["expires"] = epoch(now + ANSWERED_LIFE)
    return item


def events_item(session_id: str, batch: list[Event]) -> Item:
    """Return the one row of a batch of events."""
    last = batch[-1].event_id or 0
    data = json.dumps([event.to_json() for event in batch], separators=(",", ":"))
    return {**key(session_pk(session_id), events_sk(last)), "data": {"S": data}}


def decode_events(item: Item) -> list[Event]:
    """Return the events of a batch."""
    return [Event.model_validate(event) for event in json.loads(item["data"]["S"])]


def waiting_item(owner: str, waiting: Waiting) -> Item:
    """Return the row of a place in line; rows of an owner's line are in its order."""
    sk = f"{LINE}{format_time(waiting.since)}#{waiting.session_id}"
    return _item(owner_pk(owner), sk, waiting)


def key_of(item: Item) -> Item:
    """Return an item's primary key."""
    return {name: item[name] for name in ("pk", "sk")}


def key_item(owner: str, used: IdempotencyKey) -> Item:
    """Return an idempotency key's row; `expires` is compared, TTL only tidies."""
    item = _item(owner_pk(owner), f"KEY#{used.key}", used)
    item["expires"] = epoch(used.expires_at)
    item["sessionId"] = {"S": used.session_id}
    return item


def ticket_item(ticket: Ticket) -> Item:
    """Return a ticket's row."""
    item = _item(f"TICKET#{ticket.hash}", "TICKET", ticket)
    item["expires"] = epoch(ticket.expires_at)
    return item


def connection_items(connection: Connection) -> list[Item]:
    """Return a connection's two rows: by its own id and among its session's."""
    own = f"CONNECTION#{connection.connection_id}"
    items = [
        _item(own, "CONNECTION", connection),
        _item(session_pk(connection.session_id), own, connection),
    ]
    for item in items:
        item["expires"] = epoch(connection.expires_at)
        item["open"] = {"BOOL": connection.is_open}
    return items


def connection_keys(connection: Connection) -> list[Item]:
    """Return the keys of a connection's two rows."""
    own = f"CONNECTION#{connection.connection_id}"
    return [key(own, "CONNECTION"), key(session_pk(connection.session_id), own)]
