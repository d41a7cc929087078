"""What arrives over a WebSocket: told apart by who sent it."""

import json
import logging
import re
from typing import Any

from pydantic import ValidationError

from headstart.domain import channel
from headstart.domain.connections import Connection, Role
from headstart.domain.ids import SESSION_ID_PATTERN
from headstart.usecases import runner, watch
from headstart.usecases.ports import Ports

_log = logging.getLogger(__name__)

_OF_THE_RUNNER = {"report", "heartbeat", "leaving"}
_SESSION_ID = re.compile(SESSION_ID_PATTERN)


def receive(ports: Ports, connection_id: str, text: str) -> None:
    """Handle one message of a connection; a frame that can't be read is answered and dropped.

    A connection that we do not know, or whose first frame is wrong, is closed. A runner's frame
    that names its session needs no look at who sent it: the session knows its connections.
    """
    frame = _parse(text)
    session_id = _named_session(frame)
    if session_id is not None:
        ports.identify(session_id)
        if _runner_frame(ports, session_id, connection_id, frame):
            return
    connection = ports.store.connection(connection_id)
    if connection is None:
        ports.sockets.close(connection_id)
        return
    ports.identify(connection.session_id)
    if connection.role is Role.VIEWER:
        _viewer_frame(ports, connection, frame)
    elif isinstance(frame, dict) and frame.get("action") == "hello":
        _hello(ports, connection, frame)
    elif not _runner_frame(ports, connection.session_id, connection_id, frame):
        _unreadable(ports, connection, frame)


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _named_session(frame: Any) -> str | None:
    if not isinstance(frame, dict) or frame.get("action") not in _OF_THE_RUNNER:
        return None
    named = frame.get("sessionId")
    return named if isinstance(named, str) and _SESSION_ID.match(named) else None


def _viewer_frame(ports: Ports, connection: Connection, frame: Any) -> None:
    action = frame.get("action") if isinstance(frame, dict) else None
    if action == "subscribe":
        after = frame.get("after", 0)
        if type(after) is int and 0 <= after < 10**12:
            watch.subscribe(ports, connection, after)
            return
    elif action == "ping":
        watch.ping(ports, connection)
        return
    _bad_frame(ports, connection, 'expected {"action":"subscribe","after":N} or {"action":"ping"}')


def _hello(ports: Ports, connection: Connection, frame: Any) -> None:
    try:
        hello = channel.Hello.model_validate(frame)
    except ValidationError:
        _unreadable(ports, connection, frame)
        return
    runner.hello(ports, connection, hello)


def _runner_frame(ports: Ports, session_id: str, connection_id: str, frame: Any) -> bool:
    """Handle a frame of an accepted runner; False for one that can't be read."""
    try:
        known = channel.read_up(frame)
    except (ValidationError, RecursionError):
        return False
    match known:
        case channel.Report():
            runner.report(ports, session_id, connection_id, known)
        case channel.Heartbeat():
            runner.heartbeat(ports, session_id, connection_id, known)
        case channel.Leaving():
            runner.leaving(ports, session_id, connection_id, known)
        case _:
            return False
    return True


def _unreadable(ports: Ports, connection: Connection, frame: Any) -> None:
    """Answer what a runner says and nobody can read; a report so that it is not said for ever."""
    seq = frame.get("seq") if isinstance(frame, dict) and frame.get("action") == "report" else None
    if type(seq) is int:
        _log.error("a report can't be read and is dropped")
        ports.metrics.count("BatchesDropped")
        runner.say(ports, connection, channel.Ack(seq=seq, accepted=False))
        return
    _bad_frame(ports, connection, "not a frame of the runner's channel")


def _bad_frame(ports: Ports, connection: Connection, reason: str) -> None:
    if connection.is_open:
        watch.say_bad_frame(ports, connection, reason)
    else:
        ports.sockets.close(connection.connection_id)
