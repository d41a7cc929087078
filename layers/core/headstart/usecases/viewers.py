"""WebSocket connections: let in by a ticket or a key, opened by their first frame."""

import hmac
import json
import logging
import re

from headstart.domain import events
from headstart.domain.connections import Connection, Role, Standing, standing
from headstart.domain.errors import HeadstartError, SessionNotFound, TicketRefused, TooManyViewers
from headstart.domain.ids import SESSION_ID_PATTERN, hash_secret
from headstart.domain.session import Sandbox, SandboxStatus, Status
from headstart.usecases.change import (
    event_frames,
    forget,
    hang_up,
    post,
    publish,
    tell_viewer_count,
    viewer_count,
)
from headstart.usecases.ports import Ports
from headstart.usecases.sessions import view_of

_log = logging.getLogger(__name__)

PAGE_EVENTS = 200
"""How many persisted events one subscribe replays, about; clients ask again for more."""

MAX_VIEWERS = 50
"""How many may watch one session at once: each event is posted to each of them."""


def connect_viewer(ports: Ports, connection_id: str, secret: str) -> None:
    """Let a viewer in by its ticket, which its first frame burns; raises TicketRefused."""
    now = ports.clock()
    ticket = ports.store.ticket(hash_secret(secret)) if secret.isascii() else None
    if ticket is None or ticket.expires_at <= now:
        raise TicketRefused("the ticket is unknown, used or expired")
    connection = Connection(
        connection_id=connection_id,
        session_id=ticket.session_id,
        role=Role.VIEWER,
        credential=ticket.hash,
        expires_at=now + ports.policy.connection_life,
    )
    ports.store.put_connection(connection)
    # Looked at afterwards: a deletion that begins later finds the connection and removes it.
    if not _is_there(ports, ticket.session_id):
        ports.store.remove_connection(connection)
        raise TicketRefused("the ticket's session is gone")


def _is_there(ports: Ports, session_id: str) -> bool:
    try:
        return ports.store.session(session_id).status is not Status.DELETING
    except SessionNotFound:
        return False


def connect_runner(ports: Ports, connection_id: str, session_id: str, key: str) -> None:
    """Let a runner in by its sandbox's bootstrap or resume key; raises TicketRefused."""
    # Looked at before any read: what anybody may send is not always what a key of a row may be.
    sensible = re.fullmatch(SESSION_ID_PATTERN, session_id) and key.isascii()
    sandbox = ports.store.sandbox(session_id) if sensible else None
    credential = _credential(sandbox, key)
    if sandbox is None or credential is None:
        raise TicketRefused("the key is not of this session's sandbox")
    ports.store.put_connection(
        Connection(
            connection_id=connection_id,
            session_id=session_id,
            role=Role.RUNNER,
            credential=credential,
            sandbox_id=sandbox.sandbox_id or None,
            expires_at=ports.clock() + ports.policy.connection_life,
        )
    )


def _credential(sandbox: Sandbox | None, key: str) -> str | None:
    if sandbox is None or sandbox.status is SandboxStatus.STOPPED:
        return None
    if sandbox.bootstrap_key and hmac.compare_digest(sandbox.bootstrap_key, key):
        return "bootstrap"
    if sandbox.resume_key_hash and hmac.compare_digest(sandbox.resume_key_hash, hash_secret(key)):
        return "resume"
    return None


def subscribe(ports: Ports, connection: Connection, after: int) -> None:
    """Answer with the session, one page of persisted events after `after`, and where it ends.

    The connection is open before anything is read: so nothing that happens from then on is missed.
    """
    if not _open(ports, connection):
        return
    try:
        session = ports.store.session(connection.session_id)
        if session.status is Status.DELETING:
            raise SessionNotFound()
        view = view_of(ports, session, snapshot=True)
    except SessionNotFound:
        gone = events.SessionDeleted().event(connection.session_id, ports.clock(), None)
        post(ports, connection, event_frames([gone]))
        hang_up(ports, connection)
        return
    snapshot = events.SessionSnapshot(payload=view).event(session.session_id, ports.clock(), None)
    page, more = ports.store.events_after(session.session_id, after, PAGE_EVENTS)
    through = page[-1].event_id if page else min(after, session.last_event_id)
    replayed = json.dumps({"type": "replayed", "through": through, "more": more})
    # Apart: a replay needs no snapshot before it, but is only over when all of it was sent.
    post(ports, connection, event_frames([snapshot]))
    post(ports, connection, [*event_frames(page), replayed])


def _open(ports: Ports, connection: Connection) -> bool:
    """Have the first frame burn the ticket; False, and closed, where the ticket is used up.

    Two first frames are served at once, or in any order: either may be the one that opens.
    """
    if connection.is_open:
        return True
    if ports.store.open_connection(connection):
        return _admit(ports, connection)
    known = ports.store.connection(connection.connection_id)
    if known and known.is_open:
        connection.is_open = True
        return True
    _say_error(ports, connection, TicketRefused("the ticket was used"))
    hang_up(ports, connection)
    return False


def _admit(ports: Ports, connection: Connection) -> bool:
    """Tell the runner of one more viewer, or send one too many away."""
    if viewer_count(ports, connection.session_id) > MAX_VIEWERS:
        error = TooManyViewers(f"{MAX_VIEWERS} connections watch this session already")
        _say_error(ports, connection, error)
        hang_up(ports, connection)
        return False
    tell_viewer_count(ports, connection.session_id)
    return True


def ping(ports: Ports, connection: Connection) -> None:
    """Answer with the last event id, so that a viewer notices what it missed."""
    if not _open(ports, connection):
        return
    try:
        last = ports.store.session(connection.session_id).last_event_id
    except SessionNotFound as error:
        _say_error(ports, connection, error)
        hang_up(ports, connection)
        return
    post(ports, connection, [json.dumps({"type": "pong", "lastEventId": last})])


def disconnect(ports: Ports, connection: Connection) -> None:
    """Forget a connection, and tell the other side."""
    session_id = connection.session_id
    forget(ports, connection)
    if connection.role is not Role.RUNNER:
        return
    current = standing(connection, ports.store.sandbox(session_id)) is Standing.CURRENT
    # Nothing is said after `session.deleted`.
    if current and _is_there(ports, session_id):
        event = events.RunnerDisconnected().event(session_id, ports.clock(), None)
        publish(ports, session_id, [event])


def say_bad_frame(ports: Ports, connection: Connection, reason: str) -> None:
    """Answer a frame that can't be read; nothing of it was done."""
    frame = {"type": "error", "code": "BadFrame", "message": reason}
    post(ports, connection, [json.dumps(frame)])


def _say_error(ports: Ports, connection: Connection, error: HeadstartError) -> None:
    frame = {"type": "error", "code": error.code, "message": error.reason}
    post(ports, connection, [json.dumps(frame)])
