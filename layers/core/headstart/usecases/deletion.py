"""Deleting: the status first, so nothing new starts; then what runs; then the rows, in slices."""

import logging

from headstart.domain import events
from headstart.domain.errors import SessionNotFound
from headstart.domain.session import Status
from headstart.domain.work import QuotaChange, Work
from headstart.usecases.change import change
from headstart.usecases.line import admit_next
from headstart.usecases.ports import Ports

_log = logging.getLogger(__name__)

_SLICE_ROWS = 200


def delete_session(ports: Ports, owner: str, session_id: str) -> None:
    """Delete a session in any status; what is left when this stops halfway the janitor removes.

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
    admit_next(ports, owner)
    clear(ports, session_id)


def clear(ports: Ports, session_id: str) -> bool:
    """Stop what a deleted session still runs and remove a slice of its rows; True when all went."""
    session = ports.store.session(session_id)
    ports.machine.stop(session_id, session.attempt_number, "the session was deleted")
    sandbox = ports.store.sandbox(session_id)
    if sandbox and sandbox.task_arn:
        ports.sandboxes.stop(sandbox.task_arn, "the session was deleted")
    ports.objects.delete(f"snapshots/{session_id}/")
    for connection in ports.store.connections(session_id):
        ports.sockets.close(connection.connection_id)
        ports.store.remove_connection(connection)
    return ports.store.purge(session_id, _SLICE_ROWS)
