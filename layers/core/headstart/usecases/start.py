"""Starting a recorded attempt, at once or by the janitor: any number of times, with one effect."""

import logging

from headstart.domain.errors import ServiceUnavailable
from headstart.domain.session import Session
from headstart.usecases.ports import Ports

_log = logging.getLogger(__name__)


def start_attempt(ports: Ports, session: Session) -> bool:
    """Start the session's present attempt; False, with a log line and a metric, if it can't be."""
    try:
        ports.machine.start(session.session_id, session.attempt_number)
    except ServiceUnavailable:
        _log.exception("recorded but not started; the janitor will start it")
        ports.metrics.count("StartFailed")
        return False
    return True
