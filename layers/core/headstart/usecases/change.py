"""How every use case changes a session: read, decide, commit on condition, tell the viewers."""

import logging
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from headstart.domain.channel import BATCH_BYTES, Viewers, encode
from headstart.domain.connections import Connection, Role
from headstart.domain.errors import Conflict, ConnectionGone, ServiceUnavailable
from headstart.domain.events import Event
from headstart.domain.fitting import dumps, fitting
from headstart.domain.model import OpenModel
from headstart.domain.work import Work
from headstart.usecases.ports import Ports
from headstart.usecases.retry import CONFLICT_TRIES, backoff

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

MESSAGE_BYTES = 128 * 1024
"""A whole WebSocket message ("Amazon API Gateway endpoints and quotas")."""

_ENVELOPE = 1024
"""What an event and its frame add to an event's data, and more."""


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
        with best_effort(ports, "publishing"):
            publish(ports, session_id, work.events)
        return work, result
    raise Conflict(f"session {session_id} kept changing; try again")


@contextmanager
def best_effort(ports: Ports, what: str) -> Iterator[None]:
    """Let nothing that fails after a commit make it look as if the change had not been made.

    What a viewer was not told it misses and asks for; what was not done the next heartbeat, hello
    or the janitor does.
    """
    try:
        yield
    except Exception as error:
        log_defect(f"{what} failed after a commit", error)
        ports.metrics.count("FollowUpsFailed")


def log_defect(message: str, error: Exception) -> None:
    """Log where something went wrong, and its words only where they are a service's.

    Those of a defect may hold what an agent or a person said.
    """
    told = error.reason if isinstance(error, ServiceUnavailable) else None
    place = traceback.format_tb(error.__traceback__)
    _log.error(message, extra={"error": type(error).__name__, "reason": told, "place": place})


def publish(ports: Ports, session_id: str, events: list[Event]) -> None:
    """Send events to every open viewer; a gone one is forgotten and nobody else's problem."""
    if not events:
        return
    frames = list(event_frames(events))
    for connection in ports.store.connections(session_id):
        if connection.expires_at <= ports.clock():
            forget(ports, connection)
        elif connection.role is Role.VIEWER and connection.is_open:
            post(ports, connection, frames)


def event_frames(events: Iterable[Event]) -> Iterator[str]:
    """Return the fewest `events` frames within BATCH_BYTES that carry the events in order.

    An event too large for any frame is cut, and says so in its data: so every frame can be sent.
    """
    batch: list[str] = []
    taken = 0
    for event in events:
        text = dumps(event.to_json())
        length = len(text.encode())
        if length > MESSAGE_BYTES - _ENVELOPE:
            cut = fitting(event.data, MESSAGE_BYTES - _ENVELOPE)
            text = dumps(event.model_copy(update={"data": {**cut, "truncated": True}}).to_json())
            length = len(text.encode())
        if batch and taken + length > BATCH_BYTES:
            yield _events_frame(batch)
            batch, taken = [], 0
        batch.append(text)
        taken += length + 1
    if batch:
        yield _events_frame(batch)


def _events_frame(batch: list[str]) -> str:
    return '{"type":"events","events":[' + ",".join(batch) + "]}"


def post(ports: Ports, connection: Connection, messages: Iterable[str]) -> bool:
    """Send messages in order, each only after the one before; returns False where one failed.

    A connection that is gone is forgotten.
    """
    sent = 0
    try:
        for message in messages:
            ports.sockets.post(connection.connection_id, message)
            sent += 1
    except ConnectionGone:
        ports.metrics.count("GoneSockets", Role=connection.role.value)
        if connection.is_open:
            forget(ports, connection)
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


def forget(ports: Ports, connection: Connection) -> None:
    """Forget a connection; the runner is told of a viewer less, for whom it would stream on."""
    ports.store.remove_connection(connection)
    was_open, connection.is_open = connection.is_open, False
    if was_open and connection.role is Role.VIEWER:
        tell_viewer_count(ports, connection.session_id)


def hang_up(ports: Ports, connection: Connection) -> None:
    """Close a connection that was forgotten first: nobody asks who it was when it is closed."""
    forget(ports, connection)
    ports.sockets.close(connection.connection_id)


def viewer_count(ports: Ports, session_id: str) -> int:
    """Return how many viewers watch a session now."""
    now = ports.clock()
    return sum(
        connection.role is Role.VIEWER and connection.is_open and connection.expires_at > now
        for connection in ports.store.connections(session_id)
    )


def tell_viewer_count(ports: Ports, session_id: str) -> None:
    """Tell the runner how many viewers watch, so that it sends only what somebody sees.

    Counting and telling are two steps: what they miss the next heartbeat's answer corrects.
    """
    with best_effort(ports, "counting viewers"):
        tell_runner(ports, session_id, [Viewers(count=viewer_count(ports, session_id))])


def tell_runner(ports: Ports, session_id: str, frames: Iterable[OpenModel]) -> None:
    """Send frames to the session's runner if it is connected; its next hello asks for the rest."""
    with best_effort(ports, "telling the runner"):
        sandbox = ports.store.sandbox(session_id)
        if sandbox is None or sandbox.connection_id is None:
            return
        connection = ports.store.connection(sandbox.connection_id)
        if connection is None:
            return
        if not post(ports, connection, [text for frame in frames for text in encode(frame)]):
            _log.info("the runner's connection is gone; it will ask again when it reconnects")
