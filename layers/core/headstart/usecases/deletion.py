"""Deleting: the status first, so nothing new starts; then what runs; then the rows, in slices.

An upload under way may end after the objects were deleted. So the rows stay until the sandbox has
stopped, and the janitor deletes the objects once more.
"""

import logging
from datetime import datetime, timedelta

from headstart.domain import events
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errors import SessionNotFound
from headstart.domain.session import Status
from headstart.domain.work import QuotaChange, Work
from headstart.usecases.change import change
from headstart.usecases.line import admit_next
from headstart.usecases.ports import Ports

_log = logging.getLogger(__name__)

DELETION_CHECK = timedelta(seconds=15)
"""When to go on with a deletion that is not done."""

STOP_PATIENCE = timedelta(minutes=5)
"""How long a sandbox may take to stop; ECS kills it after half a minute."""

_CLEAR_TIME = timedelta(seconds=10)
_SLICE_ROWS = 200


def delete_session(ports: Ports, owner: str, session_id: str) -> None:
    """Delete a session in any status; what is left the janitor removes, minutes later at most.

    Twice is harmless. Raises SessionNotFound.
    """

    def decide(work: Work) -> None:
        if work.session.owner != owner:
            raise SessionNotFound()
        if work.session.status is Status.DELETING:
            return
        work.session.move_to(Status.DELETING, work.now)
        work.session.due_at = work.now
        work.quota = QuotaChange.LEAVE
        work.emit(events.SessionDeleted())

    change(ports, session_id, decide)
    _stop(ports, session_id)
    admit_next(ports, owner)
    if not _is_uploading(ports, session_id):
        ports.store.purge(session_id, _SLICE_ROWS)


def clear(ports: Ports, session_id: str, until: datetime) -> bool:
    """Go on with a deletion for ten seconds at most, and not after `until`; True when all went."""
    # Asked first: what was put before its sandbox stopped is among the objects deleted then.
    waits = _is_uploading(ports, session_id) and _may_run(ports, session_id)
    _stop(ports, session_id)
    if waits:
        return False
    until = min(until, ports.clock() + _CLEAR_TIME)
    while ports.clock() < until:
        if ports.store.purge(session_id, _SLICE_ROWS):
            return True
    return False


def _stop(ports: Ports, session_id: str) -> None:
    """Stop what a deleted session still runs, and delete what lies outside of its rows."""
    session = ports.store.session(session_id)
    ports.machine.stop(session_id, session.attempt_number, "the session was deleted")
    sandbox = ports.store.sandbox(session_id)
    if sandbox and sandbox.task_arn:
        ports.sandboxes.stop(sandbox.task_arn, "the session was deleted")
    ports.objects.delete(f"snapshots/{session_id}/")
    for connection in ports.store.connections(session_id):
        ports.sockets.close(connection.connection_id)
        ports.store.remove_connection(connection)


def _is_uploading(ports: Ports, session_id: str) -> bool:
    """Say whether a URL to put an object by may still be in use."""
    return any(row.kind is CommandKind.UPLOAD for row in ports.store.open_commands(session_id))


def _may_run(ports: Ports, session_id: str) -> bool:
    """Say whether the sandbox may not have stopped yet; after five minutes it has to have."""
    if ports.clock() - ports.store.session(session_id).updated_at > STOP_PATIENCE:
        _log.warning("a deletion waits no longer for its sandbox to stop")
        return False
    sandbox = ports.store.sandbox(session_id)
    if sandbox is None:
        return False
    return sandbox.task_arn is None or ports.sandboxes.is_alive(sandbox.task_arn)
