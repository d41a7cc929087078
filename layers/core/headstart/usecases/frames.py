"""What arrives over a WebSocket: told apart by who sent it."""

from typing import Any

from pydantic import ValidationError

from headstart.domain import channel, intake
from headstart.domain.connections import Connection, Role
from headstart.usecases import runner, viewers
from headstart.usecases.change import hang_up
from headstart.usecases.heartbeat import heartbeat
from headstart.usecases.leaving import leaving
from headstart.usecases.ports import Ports

_NO_FRAME = "not a frame of the runner's channel"


def receive(ports: Ports, connection_id: str, text: str) -> None:
    """Handle one message of a connection; a frame that can't be read is answered and dropped.

    A connection that we do not know, or whose first frame is wrong, is closed.
    """
    connection = ports.store.connection(connection_id)
    if connection is None:
        ports.sockets.close(connection_id)
        return
    ports.identify(connection.session_id)
    frame = intake.parse(text)
    if connection.role is Role.RUNNER:
        _runner_frame(ports, connection, frame)
    else:
        _viewer_frame(ports, connection, frame)


def _viewer_frame(ports: Ports, connection: Connection, frame: Any) -> None:
    action = frame.get("action") if isinstance(frame, dict) else None
    if action == "subscribe":
        after = frame.get("after", 0)
        if type(after) is int and 0 <= after < 10**12:
            viewers.subscribe(ports, connection, after)
            return
    elif action == "ping":
        viewers.ping(ports, connection)
        return
    _bad_frame(ports, connection, 'expected {"action":"subscribe","after":N} or {"action":"ping"}')


def _runner_frame(ports: Ports, connection: Connection, frame: Any) -> None:
    if isinstance(frame, dict) and frame.get("action") == "report":
        _report(ports, connection, frame)
        return
    try:
        known = channel.UP_FRAME.validate_python(frame)
    except ValidationError:
        _bad_frame(ports, connection, _NO_FRAME)
        return
    match known:
        case channel.Hello():
            runner.hello(ports, connection, known)
        case channel.Heartbeat():
            heartbeat(ports, connection, known)
        case channel.Leaving():
            leaving(ports, connection, known)


def _report(ports: Ports, connection: Connection, frame: dict[str, Any]) -> None:
    """Take what is understood of a report: it would be repeated until it is acknowledged."""
    read = intake.read_report(frame)
    if read:
        report, lost = read
        if lost:
            ports.metrics.count("EventsDropped", lost)
        runner.report(ports, connection, report)
    elif type(seq := frame.get("seq")) is int:
        runner.drop_report(ports, connection, seq)
    else:
        _bad_frame(ports, connection, _NO_FRAME)


def _bad_frame(ports: Ports, connection: Connection, reason: str) -> None:
    if connection.is_open:
        viewers.say_bad_frame(ports, connection, reason)
    else:
        hang_up(ports, connection)
