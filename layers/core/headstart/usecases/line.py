"""Places and the line for them: who is over the quota waits, and starts when a place frees.

Each owner has a line of their own, so nobody's sessions hold up another's. A session has a place
for as long as it has, or is to get, a container.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from headstart.domain import lifecycle
from headstart.domain.errors import (
    QuotaExceeded,
    RowUnreadable,
    ServiceUnavailable,
    SessionNotFound,
)
from headstart.domain.session import Sandbox, SandboxStatus, Session, Status, holds_a_place
from headstart.domain.work import QuotaChange, Waiting, Work
from headstart.usecases.change import change
from headstart.usecases.ports import Ports
from headstart.usecases.sandbox import give_up, let_go, stop_sandbox
from headstart.usecases.start import start_attempt

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_NO_PLACE = "the session waits for a place"


def change_or_wait(
    ports: Ports, session_id: str, decide: Callable[[Work], _T], *, always: bool = False
) -> tuple[Work, _T]:
    """Commit a change that takes a place, or without one where the deployment lets people wait.

    `always` is for what was accepted before: nobody is there to be refused, so it waits everywhere.
    Who waits keeps no sandbox. Raises QuotaExceeded.
    """
    try:
        return _change_with_room(ports, session_id, decide)
    except QuotaExceeded:
        if not (always or ports.policy.wait_in_line):
            raise

    def without_a_place(work: Work) -> tuple[_T, Sandbox | None]:
        result = decide(work)
        if work.quota is not QuotaChange.JOIN:
            return result, None
        lifecycle.wait_in_line(work)
        sandbox = ports.store.sandbox(session_id)
        if sandbox is None or sandbox.status is SandboxStatus.STOPPED:
            return result, None
        give_up(work, sandbox, _NO_PLACE)
        return result, sandbox

    work, (result, sandbox) = change(ports, session_id, without_a_place)
    if sandbox:
        try:
            let_go(ports, session_id, sandbox, _NO_PLACE)
        except ServiceUnavailable:
            _log.warning("could not stop a sandbox; the janitor will", exc_info=True)
    return work, result


def _change_with_room(
    ports: Ports, session_id: str, decide: Callable[[Work], _T]
) -> tuple[Work, _T]:
    try:
        return change(ports, session_id, decide)
    except QuotaExceeded:
        if not make_room(ports, ports.store.session(session_id).owner):
            raise
    return change(ports, session_id, decide)


def make_room(ports: Ports, owner: str) -> bool:
    """Free a place that no session needs; True when there was one.

    A failed session keeps its sandbox, and so its place, only until somebody needs it: the one that
    failed first gives it up. A place is otherwise taken and left together with the status, so none
    should ever leak; all this is looked at only where someone is about to be refused.
    """
    places = ports.store.places(owner)
    if len(places) < ports.policy.active_sessions:
        return False
    gone: set[str] = set()
    idle: list[Session] = []
    for session_id in sorted(places):
        try:
            session = ports.store.session(session_id)
        except SessionNotFound:
            gone.add(session_id)
        except RowUnreadable:
            _log.exception("a session that has a place can't be read")
        else:
            if session.status is Status.FAILED or not holds_a_place(session, None):
                idle.append(session)
    if gone:
        ports.store.free_places(owner, gone)
    leaked = len(gone) + sum(_leave_leaked(ports, session.session_id) for session in idle)
    if leaked:
        _log.error("freed places that no session held", extra={"count": leaked})
        ports.metrics.count("LeakedPlaces", leaked)
        return True
    idle.sort(key=lambda session: session.updated_at)
    reason = "another session needs the place"
    return any(stop_sandbox(ports, session.session_id, reason) for session in idle)


def _leave_leaked(ports: Ports, session_id: str) -> bool:
    """Free a session's place unless it needs one, or has begun to since somebody looked."""

    def decide(work: Work) -> bool:
        if holds_a_place(work.session, ports.store.sandbox(session_id)):
            return False
        work.quota = QuotaChange.LEAVE
        return True

    return change(ports, session_id, decide)[1]


def admit_next(ports: Ports, owner: str) -> list[str]:
    """Start the first in an owner's line while there are places; returns who waits on, in order.

    Run whenever a place frees, and by the janitor.
    """
    line = ports.store.line(owner)
    for index, waiting in enumerate(line):
        if not _admit(ports, owner, waiting):
            return [waiting.session_id for waiting in line[index:]]
    return []


def _admit(ports: Ports, owner: str, waiting: Waiting) -> bool:
    """Take a session out of the line and start it; False when there is no place.

    One that is gone, or that waits no more, is taken out all the same; one that can't be read
    keeps its place in line and holds up nobody.
    """

    def decide(work: Work) -> bool:
        session = work.session
        if Waiting.of(session) != waiting:
            return False
        lifecycle.leave_line(work, ports.store.attempt(session.session_id, session.attempt_number))
        return True

    try:
        work, admitted = _change_with_room(ports, waiting.session_id, decide)
    except QuotaExceeded:
        return False
    except RowUnreadable:
        _log.exception("a session that waits in line can't be read")
        ports.metrics.count("RowsUnreadable")
        return True
    except SessionNotFound:
        admitted = False
    if admitted:
        start_attempt(ports, work.session)
    else:
        ports.store.forget_waiting(owner, waiting)
    return True


def line_up(ports: Ports, session_id: str) -> None:
    """Have the line know a session that an earlier version let wait; it is where it always was."""

    def decide(work: Work) -> None:
        if work.session.waiting_since and work.session.status is Status.PREPARING:
            work.session.in_line = True

    change(ports, session_id, decide)


def show_position(ports: Ports, session_id: str, position: int) -> None:
    """Tell viewers where in line a session stands, and look again in a while."""

    def decide(work: Work) -> None:
        if work.session.waits_in_line:
            attempt = ports.store.attempt(session_id, work.session.attempt_number)
            lifecycle.show_position(work, attempt, position)

    change(ports, session_id, decide)
