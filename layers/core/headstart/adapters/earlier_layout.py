"""A session as an earlier version kept it: each kind of row lay under a name of its own.

Such a session is read so until its next change, which writes all of it to where rows lie now.
"""

from typing import Protocol, TypeVar

from headstart.adapters import layout, rows
from headstart.adapters.table import Table
from headstart.domain.attempt import Attempt
from headstart.domain.change import WorkingSet
from headstart.domain.connections import Connection, Role
from headstart.domain.errors import SessionNotFound
from headstart.domain.model import RowModel
from headstart.domain.sandbox import Command, Sandbox
from headstart.domain.session import Session, Status

CARRIED_OVER = 20
"""Connections that move with their session to where rows lie now: each is one of its writes."""

_M = TypeVar("_M", bound=RowModel)


class Readable(Protocol):
    """Returns what can be read of rows, and counts the others."""

    def __call__(self, items: list[rows.Item], model: type[_M]) -> list[_M]:
        """Return the rows that are of a model."""


def working_set(table: Table, session: Session, readable: Readable) -> WorkingSet:
    """Return the set of a session whose SESSION was read just now; raises SessionNotFound.

    What is changed after SESSION was read can't be committed on.
    """
    pk = rows.session_pk(session.session_id)
    attempt, sandbox = _attempt(table, session), table.get(pk, "SANDBOX")
    accepted = rows.decode(sandbox, Sandbox) if sandbox else None
    commands = [
        command
        for command in readable(_children(table, pk, "COMMAND#"), Command)
        if not command.answered and command.attempt_number == session.attempt_number
    ]
    _name_delivery(session, commands)
    channel = accepted and accepted.connection_id
    alive = [c for c in readable(_children(table, pk, "CONNECTION#"), Connection) if c.is_open]
    # The runner's own first; a viewer that is left out is told to come again.
    alive.sort(key=lambda c: (c.connection_id != channel, c.role is Role.RUNNER))
    return WorkingSet(
        session=session,
        attempt=attempt,
        sandbox=accepted,
        commands={command.command_id: command for command in commands},
        connections={c.connection_id: c for c in alive[:CARRIED_OVER]},
        receipt=layout.Receipt(None),
    )


def _attempt(table: Table, session: Session) -> Attempt:
    sk = rows.named_sk(Attempt, session.attempt_number)
    item = table.get(rows.session_pk(session.session_id), sk)
    if item is not None:
        return rows.decode(item, Attempt)
    if session.status is not Status.DELETING:
        raise SessionNotFound()
    # A deletion that an earlier version began took it already, and goes on without it.
    return Attempt(
        number=session.attempt_number,
        cause=session.attempt_cause,
        started_at=session.created_at,
        progress_at=session.created_at,
    )


def _name_delivery(session: Session, commands: list[Command]) -> None:
    """Have the active turn name the command that delivers it, of those that may the newest."""
    turn = session.active_turn
    if turn is None or turn.command_id:
        return
    delivering = [command for command in commands if turn.is_by(command.command_id)]
    if delivering:
        turn.command_id = max(delivering, key=lambda c: (c.created_at, c.command_id)).command_id


def _children(table: Table, pk: str, prefix: str) -> list[rows.Item]:
    return table.query(
        KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
        ExpressionAttributeValues={":pk": {"S": pk}, ":sk": {"S": prefix}},
        ConsistentRead=True,
    )
