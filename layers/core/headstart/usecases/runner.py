"""What the sandbox's runner says: hello, reports in order, heartbeats, and that it must leave."""

import logging
from functools import partial

from headstart.domain import channel
from headstart.domain.channel import Ack, Refused
from headstart.domain.connections import Connection
from headstart.domain.errors import (
    AttemptSuperseded,
    ChangeRefused,
    HeadstartError,
    NotTheRunner,
    ServiceUnavailable,
    SessionNotFound,
)
from headstart.domain.life import hosting, reporting, sleeping
from headstart.usecases import outbox
from headstart.usecases.change import change
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
        refusal = Refused(code=error.code, reason=error.reason)
        outbox.post_frames(ports, connection, [refusal])
        hang_up(ports, connection.connection_id)


def hang_up(ports: Ports, connection_id: str) -> None:
    """Close a connection and forget it, whether or not we are ever told that it is closed."""
    ports.sockets.close(connection_id)
    ports.store.remove_connection(connection_id)


def report(ports: Ports, session_id: str, connection_id: str, frame: channel.Report) -> None:
    """Take one batch, once: persist, tell viewers, answer Step Functions, acknowledge.

    What came over another connection than the runner's present one is not acknowledged: it comes
    again there. A batch that can't be written loses what the agent said in it, and never a turn's
    end or a result; one that nobody can make sense of is dropped, loudly, and acknowledged: repeated
    for ever it would hold up all that follows.
    """
    try:
        try:
            _take(ports, session_id, connection_id, frame)
        except ChangeRefused:
            _log.exception("a batch can't be written; what the agent said in it is dropped")
            _take(ports, session_id, connection_id, reporting.without_talk(frame))
    except (NotTheRunner, SessionNotFound):
        hang_up(ports, connection_id)
    except ServiceUnavailable:
        raise
    except Exception as error:
        code = error.code if isinstance(error, HeadstartError) else type(error).__name__
        _log.exception("a batch makes no sense and is dropped", extra={"code": code})
        ports.metrics.count("BatchesDropped")
        _say(ports, connection_id, Ack(seq=frame.seq, accepted=False))


def _take(ports: Ports, session_id: str, connection_id: str, frame: channel.Report) -> None:
    take = partial(reporting.take_report, connection_id=connection_id, report=frame)
    change(ports, session_id, take, partial(reporting.named_by, report=frame))


def _say(ports: Ports, connection_id: str, frame: Ack) -> None:
    connection = ports.store.connection(connection_id)
    if connection is not None:
        outbox.post_frames(ports, connection, [frame])


def heartbeat(ports: Ports, session_id: str, connection_id: str, frame: channel.Heartbeat) -> None:
    """Keep the waiting tasks alive, and mend what the runner and the cloud disagree on."""
    beat = partial(hosting.take_heartbeat, connection_id=connection_id, frame=frame)
    _or_hang_up(ports, session_id, connection_id, beat)


def leaving(ports: Ports, session_id: str, connection_id: str, frame: channel.Leaving) -> None:
    """Have the work of a sandbox that must stop saved, its session asleep after that."""
    leave = partial(sleeping.leaving, connection_id=connection_id, frame=frame)
    _or_hang_up(ports, session_id, connection_id, leave)


def _or_hang_up(
    ports: Ports, session_id: str, connection_id: str, decide: partial[None]
) -> None:
    try:
        change(ports, session_id, decide)
    except (NotTheRunner, SessionNotFound):
        hang_up(ports, connection_id)
