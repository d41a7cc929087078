"""What arrives over a WebSocket: told apart by who sent it."""

import re
from typing import Any

from pydantic import ValidationError

from headstart.domain import channel, intake
from headstart.domain.connections import Connection, Role
from headstart.domain.errors import BadFrame
from headstart.domain.ids import SESSION_ID_PATTERN
from headstart.usecases import credential, runner, watch
from headstart.usecases.ports import Ports

_OF_THE_RUNNER = {"report", "heartbeat", "leaving", "credential"}
_AFTER_LIMIT = 10**12
_NO_FRAME = "not a frame of the runner's channel"


def receive(ports: Ports, connection_id: str, text: str) -> None:
    """Handle one message of a connection; a frame that can't be read is answered and dropped.

    A first one too, which then opens nothing and burns no ticket. A connection that we do not know
    is closed. A runner's frame that names its session needs no look at whose the connection is: the
    session knows its own, and any other is closed.
    """
    frame = intake.parse(text)
    session_id = _named_session(frame)
    if session_id is not None:
        ports.identify(session_id)
        if _frame_of_accepted(ports, session_id, connection_id, frame):
            return
    connection = ports.store.connection(connection_id)
    if connection is None:
        ports.sockets.close(connection_id)
        return
    ports.identify(connection.session_id)
    if connection.role is Role.VIEWER:
        _viewer_frame(ports, connection, frame)
    else:
        _runner_frame(ports, connection, frame)


def _is_of_the_runner(frame: Any) -> bool:
    action = frame.get("action") if isinstance(frame, dict) else None
    return isinstance(action, str) and action in _OF_THE_RUNNER


def _named_session(frame: Any) -> str | None:
    if not _is_of_the_runner(frame):
        return None
    named = frame.get("sessionId")
    known = isinstance(named, str) and re.fullmatch(SESSION_ID_PATTERN, named)
    return named if known else None


def _viewer_frame(ports: Ports, connection: Connection, frame: Any) -> None:
    match frame:
        case {"action": "subscribe"}:
            after = frame.get("after", 0)
            if type(after) is int and 0 <= after < _AFTER_LIMIT:
                watch.subscribe(ports, connection, after)
            else:
                _bad_frame(ports, connection, "after must be the number of an event, from 0")
        case {"action": "ping"}:
            watch.ping(ports, connection)
        case {"action": _}:
            _bad_frame(ports, connection, "the action must be subscribe or ping")
        case dict():
            _bad_frame(ports, connection, "the frame has no action: subscribe or ping")
        case _:
            _bad_frame(ports, connection, "the frame must be a JSON object")


def _runner_frame(ports: Ports, connection: Connection, frame: Any) -> None:
    if _is_of_the_runner(frame):
        session_id, connection_id = connection.session_id, connection.connection_id
        if _frame_of_accepted(ports, session_id, connection_id, frame):
            return
    else:
        try:
            hello = channel.Hello.model_validate(frame)
        except ValidationError:
            pass
        else:
            runner.hello(ports, connection, hello)
            return
    _bad_frame(ports, connection, _NO_FRAME)


def _frame_of_accepted(
    ports: Ports, session_id: str, connection_id: str, frame: dict[str, Any]
) -> bool:
    """Handle what only an accepted runner says; False for what can't be read."""
    if frame.get("action") == "report":
        return _report(ports, session_id, connection_id, frame)
    try:
        known = channel.UP_FRAME.validate_python(frame)
    except ValidationError:
        return False
    match known:
        case channel.Heartbeat():
            runner.heartbeat(ports, session_id, connection_id, known)
        case channel.Leaving():
            runner.leaving(ports, session_id, connection_id, known)
        case channel.CredentialRequest():
            credential.give_credential(ports, session_id, connection_id, known)
    return True


def _report(ports: Ports, session_id: str, connection_id: str, frame: dict[str, Any]) -> bool:
    """Take what is understood of a report: it would be repeated until it is acknowledged."""
    read = intake.read_report(frame)
    seq = frame.get("seq")
    if read:
        report, lost = read
        if lost:
            ports.metrics.count("EventsDropped", lost)
        runner.report(ports, session_id, connection_id, report)
    elif type(seq) is int:
        runner.drop_report(ports, session_id, connection_id, seq)
    else:
        return False
    return True


def _bad_frame(ports: Ports, connection: Connection, reason: str) -> None:
    watch.say_error(ports, connection, BadFrame(reason))
