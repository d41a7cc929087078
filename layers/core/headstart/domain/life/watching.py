"""Viewers: let in by a ticket that their first frame burns, counted, and forgotten."""

from headstart.domain import events
from headstart.domain.change import Change
from headstart.domain.connections import Connection, Role
from headstart.domain.errors import SessionNotFound, TooManyViewers
from headstart.domain.life import hosting
from headstart.domain.session import Status

MOST_VIEWERS = 50
"""How many viewers one session may have: each is a post for each frame."""


def watch(change: Change, connection: Connection) -> None:
    """Open a viewer's connection, which burns its ticket; raises TooManyViewers, SessionNotFound.

    Two first frames are served at once, or in any order: either may be the one that opens.
    """
    if change.session.status is Status.DELETING:
        raise SessionNotFound()
    known = change.connections.get(connection.connection_id)
    if known is not None and known.is_open:
        return
    if hosting.count_viewers(change) >= MOST_VIEWERS:
        raise TooManyViewers(f"at most {MOST_VIEWERS} viewers may watch a session")
    connection.is_open = True
    change.save(connection)
    change.burnt = connection.credential
    hosting.tell_viewer_count(change)


def leave(change: Change, connection_id: str) -> None:
    """Forget a connection that is gone, and tell the other side."""
    connection = change.connections.get(connection_id)
    if connection is None:
        return
    had_channel = hosting.has_channel(change, connection_id)
    change.forget(connection)
    if connection.role is Role.VIEWER:
        hosting.tell_viewer_count(change)
    elif had_channel:
        change.emit(events.RunnerDisconnected())


def leave_all(change: Change, connection_ids: list[str]) -> None:
    """Forget connections that were found to be gone."""
    for connection_id in connection_ids:
        leave(change, connection_id)
