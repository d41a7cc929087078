"""The end: the status first, so nothing new starts; then what runs; the rows last."""

from headstart.domain import events
from headstart.domain.change import Change, QuotaChange
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errands import CloseConnections, StopAttempt, StopSandbox
from headstart.domain.errors import SessionNotFound
from headstart.domain.session import Status


def delete(change: Change, *, owner: str) -> None:
    """Mark a session as deleted, once; raises SessionNotFound for anybody else's."""
    session = change.session
    if session.owner != owner:
        raise SessionNotFound()
    if session.status is not Status.DELETING:
        session.move_to(Status.DELETING, change.now)
        change.quota = QuotaChange.LEAVE
        change.emit(events.SessionDeleted())
    stop_all(change)


def stop_all(change: Change) -> None:
    """Have everything stopped that a deleted session still runs, and everybody sent away."""
    reason = "the session was deleted"
    change.then(StopAttempt(change.session.attempt_number, reason))
    if change.sandbox and change.sandbox.task_arn:
        change.then(StopSandbox(change.sandbox.task_arn, reason))
    connections = list(change.connections.values())
    for connection in connections:
        change.forget(connection)
    if connections:
        change.then(CloseConnections(tuple(row.connection_id for row in connections)))


def is_uploading(change: Change) -> bool:
    """Say whether a URL to put an object by may still be in use."""
    uploads = (c for c in change.commands.values() if c.kind is CommandKind.UPLOAD)
    return any(not command.answered for command in uploads)
