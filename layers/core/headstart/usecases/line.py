"""Waiting in line: a session over its owner's quota is recorded, and starts when a place frees.

Each owner has a line of their own, so nobody's sessions hold up another's.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from headstart.domain import lifecycle
from headstart.domain.errors import QuotaExceeded, SessionNotFound
from headstart.domain.session import ACTIVE, Session, Status
from headstart.domain.work import QuotaChange, Work
from headstart.usecases.change import change
from headstart.usecases.ports import Ports
from headstart.usecases.start import start_attempt

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_LINE_PAGES = 10
_PAGE = 100


def change_or_wait(ports: Ports, session_id: str, decide: Callable[[Work], _T]) -> tuple[Work, _T]:
    """Commit a change that takes a place, or without one where the deployment lets people wait.

    Raises QuotaExceeded where it does not.
    """
    try:
        return change(ports, session_id, decide)
    except QuotaExceeded:
        if not ports.policy.wait_in_line:
            raise

    def without_a_place(work: Work) -> _T:
        result = decide(work)
        if work.quota is QuotaChange.JOIN:
            lifecycle.wait_in_line(work)
        return result

    return change(ports, session_id, without_a_place)


def free_leaked_places(ports: Ports, owner: str) -> bool:
    """Free places that no active session holds any more; True when there were some.

    A place is taken and left together with the session's status, so none should ever leak; this
    is looked at only where someone is about to be refused.
    """
    leaked = {i for i in ports.store.places(owner) if not _holds_a_place(ports, i)}
    if leaked:
        _log.error("freed places that no session held", extra={"count": len(leaked)})
        ports.metrics.count("LeakedPlaces", len(leaked))
        ports.store.free_places(owner, leaked)
    return bool(leaked)


def _holds_a_place(ports: Ports, session_id: str) -> bool:
    try:
        return ports.store.session(session_id).status in ACTIVE
    except SessionNotFound:
        return False


def admit_next(ports: Ports, owner: str) -> None:
    """Start the first in an owner's line while there are places; the janitor does it again."""
    if not ports.policy.wait_in_line:
        return
    for session in line_of(ports, owner):
        if not admit(ports, session.session_id):
            return


def line_of(ports: Ports, owner: str) -> list[Session]:
    """Return an owner's waiting sessions, the first in line first."""
    waiting: list[Session] = []
    cursor: str | None = None
    for _ in range(_LINE_PAGES):
        page, cursor = ports.store.sessions_of(owner, cursor, _PAGE)
        waiting += [s for s in page if s.waiting_since and s.status is Status.PREPARING]
        if cursor is None:
            break
    return sorted(waiting, key=lambda session: (session.waiting_since, session.session_id))


def admit(ports: Ports, session_id: str) -> bool:
    """Take a waiting session out of the line and start it; False when there is no place."""

    def decide(work: Work) -> bool:
        session = work.session
        if session.waiting_since is None or session.status is not Status.PREPARING:
            return False
        lifecycle.leave_line(work, ports.store.attempt(session_id, session.attempt_number))
        return True

    try:
        work, admitted = change(ports, session_id, decide)
    except (QuotaExceeded, SessionNotFound):
        return False
    if admitted:
        start_attempt(ports, work.session)
    return True


def show_position(ports: Ports, session_id: str, position: int) -> None:
    """Tell viewers where in line a session stands, and look again in a while."""

    def decide(work: Work) -> None:
        if work.session.waiting_since is None or work.session.status is not Status.PREPARING:
            return
        attempt = ports.store.attempt(session_id, work.session.attempt_number)
        lifecycle.show_position(work, attempt, position)

    change(ports, session_id, decide)
