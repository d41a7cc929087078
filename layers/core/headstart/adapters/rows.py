"""How rows are laid out in the table: keys and the few attributes that DynamoDB itself looks at.

Everything else is one JSON text in `data`: exact for floats and empty strings, and cheaper to
read than DynamoDB's typed maps. Attributes repeat only what a condition, an index, the TTL or an
operator's query needs.
"""

import hashlib
import json
import zlib
from datetime import datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from headstart.domain.archive import Archive, Tree
from headstart.domain.attempt import Attempt, Output
from headstart.domain.callbacks import DueCallbacks
from headstart.domain.change import IdempotencyKey, name_of
from headstart.domain.connections import Connection, Ticket
from headstart.domain.cursors import SessionPlace
from headstart.domain.errors import ChangeRefused, RowUnreadable
from headstart.domain.events import Event
from headstart.domain.long_texts import Text, TextPiece
from headstart.domain.message import Input, Message
from headstart.domain.model import Model, RowModel, format_time
from headstart.domain.policy import DUE_SHARDS
from headstart.domain.session import Session, SessionConfig, Waiting

Item = dict[str, dict[str, Any]]
_M = TypeVar("_M", bound=Model)

LINE = "LINE#"
BY_OWNER = "byOwner"
BY_DUE = "byDue"

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


def durations_item(owner: str, git_url: str, durations: dict[str, int]) -> Item:
    """Return the row of how many milliseconds each step took on a repository."""
    return {**key(owner_pk(owner), durations_sk(git_url)), "data": {"S": json.dumps(durations)}}


def tree_place(key_of_tree: str) -> Item:
    """Return the primary key of a prepared tree."""
    return key(f"TREE#{key_of_tree}", "TREE")


def tree_item(tree: Tree) -> Item:
    """Return a prepared tree's row; TTL only tidies."""
    found = item(f"TREE#{tree.key}", "TREE", tree)
    found["expires"] = epoch(tree.expires_at)
    return found


def due_pk(shard: int) -> str:
    """Return the partition of a shard of the due index."""
    return f"DUE#{shard}"


def callbacks_due_pk(shard: int) -> str:
    """Return the partition of a shard of the due index that has callbacks."""
    return f"DUE#CALLBACKS#{shard}"


def epoch(moment: datetime) -> dict[str, str]:
    """Return a TTL attribute: whole seconds."""
    return {"N": str(int(moment.timestamp()))}


def item(pk: str, sk: str, model: Model) -> Item:
    """Return a row."""
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
    found = item(session_pk(session.session_id), "SESSION", session)
    found["version"] = {"N": str(session.version)}
    found["status"] = {"S": session.status.value}
    found["owner"] = {"S": owner_pk(session.owner)}
    found["created"] = {"S": SessionPlace.of(session).text}
    if session.due_at:
        found |= _due(due_pk(_shard_of(session.session_id)), session.due_at)
    return found


def _shard_of(session_id: str) -> int:
    return zlib.crc32(session_id.encode()) % DUE_SHARDS


def _due(pk: str, moment: datetime) -> Item:
    return {"due": {"S": pk}, "dueAt": {"S": format_time(moment)}}


def row_sk(row: RowModel) -> str:
    """Return the sort key of a row beside the working set."""
    model, name = name_of(row)
    return named_sk(model, *name)


def named_sk(model: type[RowModel], *name: str | int) -> str:
    """Return the sort key of a row beside the working set, by its kind and what names it."""
    patterns: dict[type[RowModel], str] = {
        SessionConfig: "CONFIG",
        Archive: "ARCHIVE",
        Attempt: "ATTEMPT#{:04d}",
        Message: "MESSAGE#{:06d}",
        Input: "INPUT#{}",
        DueCallbacks: "CALLBACKS#{:012d}",
        Output: "OUTPUT#{:04d}#{}",
        Text: "TEXT#{}",
        TextPiece: "PIECE#{}#{}#{:09d}",
    }
    return patterns[model].format(*name)


def named_key(session_id: str, model: type[RowModel], name: tuple[str | int, ...]) -> Item:
    """Return the primary key of a row that is asked for by name."""
    if model is IdempotencyKey:
        owner, used = name
        return key(owner_pk(str(owner)), f"KEY#{used}")
    return key(session_pk(session_id), named_sk(model, *name))


def row_item(session_id: str, row: RowModel) -> Item:
    """Return a row beside the working set; callbacks have a place in the due index."""
    found = item(session_pk(session_id), row_sk(row), row)
    if isinstance(row, DueCallbacks):
        found |= _due(callbacks_due_pk(_shard_of(session_id)), row.due_at)
    return found


def callbacks_key(session_id: str, last_id: int) -> Item:
    """Return the primary key of a row of callbacks, by its last event."""
    return key(session_pk(session_id), named_sk(DueCallbacks, last_id))


def events_sk(last_id: int) -> str:
    """Return the sort key of a batch of events, by its last id."""
    return f"EVENTS#{last_id:012d}"


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
    return item(owner_pk(owner), sk, waiting)


def key_of(item: Item) -> Item:
    """Return an item's primary key."""
    return {name: item[name] for name in ("pk", "sk")}


def key_item(owner: str, used: IdempotencyKey) -> Item:
    """Return an idempotency key's row; `expires` is compared, TTL only tidies."""
    found = item(owner_pk(owner), f"KEY#{used.key}", used)
    found["expires"] = epoch(used.expires_at)
    found["sessionId"] = {"S": used.session_id}
    return found


def ticket_item(ticket: Ticket) -> Item:
    """Return a ticket's row."""
    found = item(f"TICKET#{ticket.hash}", "TICKET", ticket)
    found["expires"] = epoch(ticket.expires_at)
    return found


def connection_item(connection: Connection) -> Item:
    """Return the row that says whose a connection is."""
    found = item(*_connection_place(connection.connection_id), connection)
    found["expires"] = epoch(connection.expires_at)
    return found


def connection_key(connection_id: str) -> Item:
    """Return the key of that row."""
    return key(*_connection_place(connection_id))


def _connection_place(connection_id: str) -> tuple[str, str]:
    return f"CONNECTION#{connection_id}", "CONNECTION"
