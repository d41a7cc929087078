"""WebSocket connections: let in by a ticket or a key, opened by their first frame."""

import hmac
import json
import logging

from headstart.domain import channel, events
from headstart.domain.connections import Connection, Role
from headstart.domain.errors import SessionNotFound, TicketRefused
from headstart.domain.ids import hash_secret
from headstart.domain.session import Sandbox, SandboxStatus, Status
from headstart.usecases.change import event_frames, post, publish, tell_runner
from headstart.usecases.ports import Ports
from headstart.usecases.sessions import view_of

_log = logging.getLogger(__name__)

PAGE_EVENTS = 200
"""How many persisted events one subscribe replays, about; clients ask again for more."""


def connect_viewer(ports: Ports, connection_id: str, secret: str) -> None:
    """Let a viewer in by its ticket, which its first frame burns; raises TicketRefused."""
    now = ports.clock()
    ticket = ports.store.ticket(hash_secret(secret))
    if ticket is None or ticket.expires_at <= now:
        raise TicketRefused("the ticket is unknown, used or expired")
    ports.store.put_connection(
        Connection(
            connection_id=connection_id,
            session_id=ticket.session_id,
            role=Role.VIEWER,
            credential=ticket.hash,
            expires_at=now + ports.policy.connection_life,
        )
    )


def connect_runner(ports: Ports, connection_id: str, session_id: str, key: str) -> None:
    """Let a runner in by its sandbox's bootstrap or resume key; raises TicketRefused."""
    sandbox = ports.store.sandbox(session_id)
    credential = _credential(sandbox, key)
    if credential is None:
        raise TicketRefused("the key is not of this session's sandbox")
    ports.store.put_connection(
        Connection(
            connection_id=connection_id,
            session_id=session_id,
            role=Role.RUNNER,
            credential=credential,
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
        ports.sockets.close(connection.connection_id)
        return
    snapshot = events.SessionSnapshot(payload=view).event(session.session_id, ports.clock(), None)
    page, more = ports.store.events_after(session.session_id, after, PAGE_EVENTS)
    through = page[-1].event_id if page else min(after, session.last_event_id)
    replayed = json.dumps({"type": "replayed", "through": through, "more": more})
    frames = [*event_frames([snapshot]), *event_frames(page), replayed]
    post(ports, connection, frames)


def _open(ports: Ports, connection: Connection) -> bool:
    """Have the first frame burn the ticket; False, and closed, where the ticket is used up.

    Two first frames are served at once, or in any order: either may be the one that opens.
    """
    if connection.is_open:
        return True
    if ports.store.open_connection(connection):
        tell_viewer_count(ports, connection.session_id)
        return True
    known = ports.store.connection(connection.connection_id)
    if known and known.is_open:
        connection.is_open = True
        return True
    _say_error(ports, connection, TicketRefused("the ticket was used"))
    ports.sockets.close(connection.connection_id)
    return False


def ping(ports: Ports, connection: Connection) -> None:
    """Answer with the last event id, so that a viewer notices what it missed."""
    if not _open(ports, connection):
        return
    try:
        last = ports.store.session(connection.session_id).last_event_id
    except SessionNotFound as error:
        _say_error(ports, connection, error)
        return
    post(ports, connection, [json.dumps({"type": "pong", "lastEventId": last})])


def disconnect(ports: Ports, connection: Connection) -> None:
    """Forget a connection, and tell the other side."""
    ports.store.remove_connection(connection)
    if connection.role is Role.RUNNER:
        sandbox = ports.store.sandbox(connection.session_id)
        if sandbox and sandbox.connection_id == connection.connection_id:
            event = events.RunnerDisconnected().event(connection.session_id, ports.clock(), None)
            publish(ports, connection.session_id, [event])
    elif connection.is_open:
        tell_viewer_count(ports, connection.session_id)


def tell_viewer_count(ports: Ports, session_id: str) -> None:
    """Tell the runner how many viewers watch, so that it sends only what somebody sees."""
    count = sum(
        1 for c in ports.store.connections(session_id) if c.role is Role.VIEWER and c.is_open
    )
    tell_runner(ports, session_id, [channel.Viewers(count=count)])


def say_bad_frame(ports: Ports, connection: Connection, reason: str) -> None:
    """Answer a frame that can't be read; nothing of it was done."""
    frame = {"type": "error", "code": "BadFrame", "message": reason}
    post(ports, connection, [json.dumps(frame)])


def _say_error(
    ports: Ports, connection: Connection, error: TicketRefused | SessionNotFound
) -> None:
    frame = {"type": "error", "code": error.code, "message": error.reason}
    post(ports, connection, [json.dumps(frame)])
