"""How every use case changes a session: read, decide, commit on condition, tell the viewers."""

import json
import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

from headstart.domain.channel import BATCH_BYTES, encode
from headstart.domain.connections import Connection, Role
from headstart.domain.errors import Conflict, ConnectionGone, ServiceUnavailable
from headstart.domain.events import Event
from headstart.domain.model import OpenModel
from headstart.domain.work import Work
from headstart.usecases.ports import Ports
from headstart.usecases.retry import CONFLICT_TRIES, backoff

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


def change(ports: Ports, session_id: str, decide: Callable[[Work], _T]) -> tuple[Work, _T]:
    """Run `decide` on a fresh read until its change commits; then tell the viewers.

    `decide` may run several times, so it must only read and change the Work. Raises what `decide`
    raises, SessionNotFound, QuotaExceeded, and Conflict after CONFLICT_TRIES.
    """
    for attempt in range(CONFLICT_TRIES):
        work = Work(ports.store.session(session_id), ports.clock())
        result = decide(work)
        if not work.is_empty:
            try:
                ports.store.commit(work, ports.policy.active_sessions)
            except Conflict:
                backoff(attempt)
                continue
        publish(ports, session_id, work.events)
        return work, result
    raise Conflict(f"session {session_id} kept changing; try again")


def publish(ports: Ports, session_id: str, events: list[Event]) -> None:
    """Send events to every open viewer; a gone one is forgotten and nobody else's problem."""
    if not events:
        return
    frames = list(event_frames(events))
    for connection in ports.store.connections(session_id):
        if connection.expires_at <= ports.clock():
            ports.store.remove_connection(connection)
        elif connection.role is Role.VIEWER and connection.is_open:
            post(ports, connection, frames)


def event_frames(events: Iterable[Event]) -> Iterable[str]:
    """Return the fewest `events` frames within BATCH_BYTES that carry the events in order."""
    batch: list[str] = []
    size = 0
    for event in events:
        text = json.dumps(event.to_json(), separators=(",", ":"), ensure_ascii=False)
        length = len(text.encode())
        if batch and size + length > BATCH_BYTES:
            yield _events_frame(batch)
            batch, size = [], 0
        batch.append(text)
        size += length + 1
    if batch:
        yield _events_frame(batch)


def _events_frame(batch: list[str]) -> str:
    return '{"type":"events","events":[' + ",".join(batch) + "]}"


def post(ports: Ports, connection: Connection, messages: Iterable[str]) -> bool:
    """Send messages in order; returns False, and forgets the connection, if it is gone."""
    sent = 0
    try:
        for message in messages:
            ports.sockets.post(connection.connection_id, message)
            sent += 1
    except ConnectionGone:
        ports.metrics.count("GoneSockets", Role=connection.role.value)
        if connection.is_open:
            ports.store.remove_connection(connection)
        return False
    except ServiceUnavailable:
        # A viewer notices the gap and asks again; a runner sends its batch again.
        _log.warning("could not post to a connection", exc_info=True)
        ports.metrics.count("PostsFailed", Role=connection.role.value)
        return False
    finally:
        if sent:
            ports.metrics.count("Frames", sent, Role=connection.role.value)
    return True


def tell_runner(ports: Ports, session_id: str, frames: Iterable[OpenModel]) -> bool:
    """Send frames to the session's runner if it is connected; its next hello asks for the rest."""
    sandbox = ports.store.sandbox(session_id)
    if sandbox is None or sandbox.connection_id is None:
        return False
    connection = ports.store.connection(sandbox.connection_id)
    if connection is None:
        return False
    sent = post(ports, connection, [text for frame in frames for text in encode(frame)])
    if not sent:
        _log.info("the runner's connection is gone; it will ask again when it reconnects")
    return sent
