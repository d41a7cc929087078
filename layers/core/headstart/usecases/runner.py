"""What the sandbox's runner says: hello, reports in order, heartbeats, and that it must leave."""

import logging
from functools import partial

from headstart.domain import channel
from headstart.domain.connections import Connection, Role
from headstart.domain.errors import (
    AttemptSuperseded,
    BadFrame,
    NotTheRunner,
    ServiceUnavailable,
    SessionNotFound,
)
from headstart.domain.life import beating, hosting, reporting, sleeping
from headstart.usecases import outbox, watch
from headstart.usecases.change import change
from headstart.usecases.commit import read
from headstart.usecases.defects import log_defect
from headstart.usecases.ports import Ports

_log = logging.getLogger(__name__)


def hello(ports: Ports, connection: Connection, frame: channel.Hello) -> None:
    """Accept the session's one sandbox, or refuse it; then send what it has to do.

    The newest connection of the accepted process wins; an older one's hello, served late, is as if
    it had never come.
    """
    accept = partial(hosting.accept, connection=connection, frame=frame)
    try:
        change(ports, connection.session_id, accept)
    except NotTheRunner:
        hang_up(ports, connection.connection_id)
    except (AttemptSuperseded, SessionNotFound) as error:
        _log.warning("refused a sandbox", extra={"code": error.code})
        ports.metrics.count("SandboxesRefused")
        refusal = channel.Refused(code=error.code, reason=error.reason)
        outbox.post_frames(ports, connection.connection_id, connection.role, [refusal])
        hang_up(ports, connection.connection_id)


def hang_up(ports: Ports, connection_id: str) -> None:
    """Close a connection that was forgotten first: nobody asks who it was when it is closed."""
    ports.store.remove_connection(connection_id)
    ports.sockets.close(connection_id)


def turn_away(ports: Ports, connection_id: str) -> None:
    """Close what is not the session's runner; a viewer that speaks as one is only told so."""
    connection = ports.store.connection(connection_id)
    if connection and connection.role is Role.VIEWER:
        watch.say_error(ports, connection, BadFrame("a viewer says subscribe or ping"))
    else:
        hang_up(ports, connection_id)


def report(ports: Ports, session_id: str, connection_id: str, frame: channel.Report) -> None:
    """Take one batch, once: persist, tell viewers, answer Step Functions, acknowledge.

    What came over another connection than the runner's present one is not acknowledged: it comes
    again there. What can't be written as a whole loses events, half by half; the ends of turns and
    the results, which somebody waits for, stay to the last. A batch that nobody can make sense of
    is dropped, loudly, and acknowledged: repeated for ever it would hold up all that follows.
    """
    try:
        _take(ports, session_id, connection_id, frame)
    except (NotTheRunner, SessionNotFound):
        turn_away(ports, connection_id)
    except ServiceUnavailable:
        raise
    except Exception as error:
        _drop(ports, connection_id, frame.seq, error)


def _take(ports: Ports, session_id: str, connection_id: str, frame: channel.Report) -> None:
    while True:
        try:
            take = partial(reporting.take_report, connection_id=connection_id, report=frame)
            change(ports, session_id, take, partial(reporting.named_by, report=frame))
            return
        except (NotTheRunner, ServiceUnavailable, SessionNotFound):
            raise
        except Exception as error:
            fewer, lost = reporting.fewer(frame)
            if not lost:
                raise
            log_defect("a batch was written without some of its events", error)
            ports.metrics.count("EventsDropped", lost)
            frame = fewer


def drop_report(ports: Ports, session_id: str, connection_id: str, seq: int) -> None:
    """Let go of a batch that can't be read, loudly: repeated for ever it would hold up the rest."""
    try:
        hosting.require_runner(read(ports, session_id), connection_id)
    except (NotTheRunner, SessionNotFound):
        turn_away(ports, connection_id)
    else:
        _drop(ports, connection_id, seq, ValueError("a batch can't be read"))


def _drop(ports: Ports, connection_id: str, seq: int, error: Exception) -> None:
    log_defect("a batch was dropped", error)
    ports.metrics.count("BatchesDropped")
    ack = channel.Ack(seq=seq, accepted=False)
    outbox.post_frames(ports, connection_id, Role.RUNNER, [ack])


def heartbeat(ports: Ports, session_id: str, connection_id: str, frame: channel.Heartbeat) -> None:
    """Keep the waiting tasks alive, and mend what the runner and the cloud disagree on."""
    beat = partial(beating.take_heartbeat, connection_id=connection_id, frame=frame)
    _or_turn_away(ports, session_id, connection_id, beat)


def leaving(ports: Ports, session_id: str, connection_id: str, frame: channel.Leaving) -> None:
    """Have the work of a sandbox that must stop saved, its session asleep after that."""
    leave = partial(sleeping.leaving, connection_id=connection_id, frame=frame)
    _or_turn_away(ports, session_id, connection_id, leave)


def _or_turn_away(ports: Ports, session_id: str, connection_id: str, decide: partial[None]) -> None:
    try:
        change(ports, session_id, decide)
    except (NotTheRunner, SessionNotFound):
        turn_away(ports, connection_id)
