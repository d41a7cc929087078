"""WebSocket connections: let in by a ticket or a key, opened by their first frame, forgotten."""

import hmac
import json
import re
from collections.abc import Iterable
from functools import partial

from headstart.domain import events
from headstart.domain.change import Change
from headstart.domain.connections import Connection, Role
from headstart.domain.errors import (
    HeadstartError,
    SessionNotFound,
    TicketRefused,
    TooManyViewers,
)
from headstart.domain.ids import SESSION_ID_PATTERN, hash_secret
from headstart.domain.life import watching
from headstart.domain.sandbox import Sandbox, SandboxStatus
from headstart.domain.session import Status
from headstart.usecases import outbox
from headstart.usecases.change import follow
from headstart.usecases.commit import commit
from headstart.usecases.ports import Ports
from headstart.usecases.read import view_of

PAGE_EVENTS = 200
"""How many persisted events one subscribe replays, about; clients ask again for more."""


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
    # Looked at afterwards: a deletion that begins later finds the ticket's session gone, too.
    if not _is_there(ports, ticket.session_id):
        ports.store.remove_connection(connection_id)
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
    try:
        sandbox = ports.store.load(session_id).sandbox if sensible else None
    except SessionNotFound:
        sandbox = None
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
    try:
        work = _watch(ports, connection)
        view = view_of(ports, work, snapshot=True)
    except SessionNotFound:
        gone = events.SessionDeleted().event(connection.session_id, ports.clock(), None)
        _send(ports, connection, outbox.event_frames([gone]))
        hang_up(ports, connection)
        return
    except (TicketRefused, TooManyViewers) as error:
        _say_error(ports, connection, error)
        hang_up(ports, connection)
        return
    session = work.session
    snapshot = events.SessionSnapshot(payload=view).event(session.session_id, ports.clock(), None)
    page, more = ports.store.events_after(session.session_id, after, PAGE_EVENTS)
    through = page[-1].event_id if page else min(after, session.last_event_id)
    replayed = json.dumps({"type": "replayed", "through": through, "more": more})
    # Apart, since the replay does not depend on the snapshot.
    _send(ports, connection, outbox.event_frames([snapshot]))
    outbox.post(
        ports, connection.connection_id, connection.role, [*outbox.event_frames(page), replayed]
    )


def _watch(ports: Ports, connection: Connection) -> Change:
    work, _ = commit(ports, connection.session_id, partial(watching.watch, connection=connection))
    follow(ports, work)
    return work


def ping(ports: Ports, connection: Connection) -> None:
    """Answer with the last event id, so that a viewer notices what it missed."""
    try:
        last = _watch(ports, connection).session.last_event_id
    except (SessionNotFound, TicketRefused, TooManyViewers) as error:
        _say_error(ports, connection, error)
        hang_up(ports, connection)
        return
    outbox.post(
        ports,
        connection.connection_id,
        connection.role,
        [json.dumps({"type": "pong", "lastEventId": last})],
    )


def disconnect(ports: Ports, connection_id: str) -> None:
    """Forget a connection that is gone, and tell the other side."""
    connection = ports.store.connection(connection_id)
    if connection is None:
        return
    try:
        work, _ = commit(
            ports,
            connection.session_id,
            partial(watching.leave, connection_id=connection_id),
        )
        follow(ports, work)
    except SessionNotFound:
        pass
    ports.store.remove_connection(connection_id)


def is_open(ports: Ports, connection: Connection) -> bool:
    """Say whether a connection has said its first word, and so is known to its session."""
    try:
        return connection.connection_id in ports.store.load(connection.session_id).connections
    except SessionNotFound:
        return False


def hang_up(ports: Ports, connection: Connection) -> None:
    """Close a connection that was forgotten first: nobody asks who it was when it is closed."""
    disconnect(ports, connection.connection_id)
    ports.sockets.close(connection.connection_id)


def say_bad_frame(ports: Ports, connection: Connection, reason: str) -> None:
    """Answer a frame that can't be read; nothing of it was done."""
    frame = {"type": "error", "code": "BadFrame", "message": reason}
    _send(ports, connection, [json.dumps(frame)])


def _say_error(ports: Ports, connection: Connection, error: HeadstartError) -> None:
    frame = {"type": "error", "code": error.code, "message": error.reason}
    _send(ports, connection, [json.dumps(frame)])


def _send(ports: Ports, connection: Connection, frames: Iterable[str]) -> None:
    if not outbox.post(ports, connection.connection_id, connection.role, frames):
        disconnect(ports, connection.connection_id)
