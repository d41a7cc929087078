"""Where the rows of a session lie: what each read needs under one prefix, all else beside it.

SESSION and the rows under `SESSION#` are the working set: the present attempt, the sandbox, the
commands the runner was asked and has not answered, who is connected. One consistent Query reads
them, but not at one moment: so SESSION says at which version each of them was last written, and
each row says it too. Where they differ, a rival was at it, and the set is read again.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeGuard

from headstart.adapters import rows
from headstart.domain.attempt import Attempt
from headstart.domain.change import Change, HotRow, WorkingSet
from headstart.domain.connections import Connection
from headstart.domain.errors import RowUnreadable, SessionNotFound
from headstart.domain.sandbox import Command, Sandbox
from headstart.domain.session import Session

PREFIX = "SESSION"
ATTEMPT = f"{PREFIX}#ATTEMPT"
SANDBOX = f"{PREFIX}#SANDBOX"
LOOKS = 3
"""How often a connection that the newest change wrote is looked for, until its time is over."""

LAYOUT = 2
"""How rows lie now. Before, there was no such number, and each kind lay under a name of its own."""

WITH_GAPS = 3
"""The same, of a session in whose queue messages were withdrawn: a version that does not know of
them would deliver them, so it is to refuse the session as long as there are any."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """At which version each row of a set was last written, by sort key; None for the old layout."""

    versions: dict[str, int] | None


class Torn(Exception):
    """The rows that were read are not of one moment."""


def hot_sk(row: HotRow) -> str:
    """Return the sort key of a row of the working set."""
    match row:
        case Attempt():
            return ATTEMPT
        case Sandbox():
            return SANDBOX
        case Command():
            return f"{PREFIX}#COMMAND#{row.command_id}"
        case Connection():
            return f"{PREFIX}#CONNECTION#{row.connection_id}"


def query(session_id: str) -> dict[str, Any]:
    """Return the Query that reads a working set."""
    return {
        "KeyConditionExpression": "pk = :pk AND begins_with(sk, :sk)",
        "ExpressionAttributeValues": {
            ":pk": {"S": rows.session_pk(session_id)},
            ":sk": {"S": PREFIX},
        },
        "ConsistentRead": True,
    }


def receipt_of(item: rows.Item) -> Receipt:
    """Return what SESSION says of the rows of its set; raises RowUnreadable for a later layout."""
    layout = int(item["layout"]["N"]) if "layout" in item else 1
    if layout > WITH_GAPS:
        raise RowUnreadable(f"the session lies as a newer version keeps it (layout {layout})")
    versions: dict[str, int] = json.loads(item["hot"]["S"]) if "hot" in item else {}
    return Receipt(versions if layout >= LAYOUT else None)


def working_set(
    items: list[rows.Item], left_out: Callable[[str], None], looks: int = LOOKS
) -> WorkingSet:
    """Return the set that a Query found; raises Torn, SessionNotFound, RowUnreadable.

    A connection may be missing, since its row has a time to live; `looks` is how often it was
    looked for. A row that SESSION does not know of, and that is not newer than it, is left over
    from what has gone. A command or connection of which a newer version wrote what can't be read
    is told to `left_out`, and stays where it is.
    """
    by_sk = {item["sk"]["S"]: item for item in items}
    item = by_sk.pop(PREFIX, None)
    if item is None:
        raise SessionNotFound()
    session, receipt = rows.decode(item, Session), receipt_of(item)
    if receipt.versions is None:
        raise OldLayout(session)
    _check_moment(session, by_sk, receipt.versions, looks)
    found: dict[str, HotRow] = {}
    for sk in receipt.versions:
        model = _MODELS.get(_kind(sk))
        if model is None or sk not in by_sk:
            continue
        try:
            found[sk] = rows.decode(by_sk[sk], model)
        except RowUnreadable:
            if model is Attempt or model is Sandbox:
                raise
            left_out(rows.session_pk(session.session_id))
    attempt, sandbox = found.get(ATTEMPT), found.get(SANDBOX)
    if not isinstance(attempt, Attempt):
        raise RowUnreadable("the session has no attempt")
    return WorkingSet(
        session=session,
        attempt=attempt,
        sandbox=sandbox if isinstance(sandbox, Sandbox) else None,
        commands={r.command_id: r for r in found.values() if isinstance(r, Command)},
        connections={r.connection_id: r for r in found.values() if isinstance(r, Connection)},
        receipt=Receipt({sk: n for sk, n in receipt.versions.items() if sk in by_sk}),
    )


def _check_moment(
    session: Session, by_sk: dict[str, rows.Item], versions: dict[str, int], looks: int
) -> None:
    """Raise Torn unless SESSION and the rows of its set are of one moment."""
    for sk, row in by_sk.items():
        version = int(row["version"]["N"])
        if version > session.version or versions.get(sk, version) != version:
            raise Torn
    for sk in versions.keys() - by_sk.keys():
        is_late = versions[sk] == session.version and looks < LOOKS
        if is_late or _kind(sk) != "CONNECTION":
            raise Torn


class OldLayout(Exception):
    """A session whose rows lie as an earlier version kept them."""

    def __init__(self, session: Session) -> None:
        super().__init__(session.session_id)
        self.session = session


_MODELS: dict[str, type[Attempt | Sandbox | Command | Connection]] = {
    "ATTEMPT": Attempt,
    "SANDBOX": Sandbox,
    "COMMAND": Command,
    "CONNECTION": Connection,
}


def _kind(sk: str) -> str:
    return sk.split("#")[1]


def is_hot(row: object) -> TypeGuard[HotRow]:
    """Say whether a row belongs to the working set."""
    return isinstance(row, Attempt | Sandbox | Command | Connection)


def written(change: Change) -> tuple[list[HotRow], dict[str, int]]:
    """Return the rows of the set that a change writes, and what SESSION says of all of them then.

    The change is at its new version already. What lies as an earlier version kept it moves whole.
    """
    version = change.session.version
    known = change.receipt.versions if isinstance(change.receipt, Receipt) else None
    if known is None:
        everything: list[HotRow | None] = [
            change.attempt,
            change.sandbox,
            *change.commands.values(),
            *change.connections.values(),
        ]
        hot: list[HotRow] = [row for row in everything if row is not None]
    else:
        hot = [row for row in change.rows if is_hot(row)]
    versions = {**(known or {}), **{hot_sk(row): version for row in hot}}
    for row in change.gone:
        versions.pop(hot_sk(row), None)
    return hot, versions


def session_item(session: Session, versions: dict[str, int]) -> rows.Item:
    """Return the SESSION row, with the versions of the rows of its set."""
    item = rows.session_item(session)
    item["layout"] = {"N": str(WITH_GAPS if session.withdrawn else LAYOUT)}
    item["hot"] = {"S": json.dumps(versions, separators=(",", ":"))}
    return item


def hot_item(session: Session, row: HotRow) -> rows.Item:
    """Return a row of the working set, as of the session's version."""
    item = rows.item(rows.session_pk(session.session_id), hot_sk(row), row)
    item["version"] = {"N": str(session.version)}
    if isinstance(row, Connection):
        item["expires"] = rows.epoch(row.expires_at)
    return item
