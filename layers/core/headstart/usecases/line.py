"""Places and the line for them: who is over the quota waits, and starts when a place frees.

Each owner has a line of their own, so nobody's sessions hold up another's. A session has a place
for as long as it has, or is to get, a container.
"""

import logging
from functools import partial

from headstart.domain.errors import QuotaExceeded, RowUnreadable, SessionNotFound
from headstart.domain.life import waiting
from headstart.domain.sandbox import holds_a_place
from headstart.domain.session import Session, Status, Waiting
from headstart.usecases.change import change
from headstart.usecases.ports import Ports

_log = logging.getLogger(__name__)


def admit_next(ports: Ports, owner: str) -> list[str]:
    """Start the first in an owner's line while there are places; returns who waits on, in order.

    Run whenever a place frees, and by the janitor.
    """
    line = ports.store.line(owner)
    for index, place in enumerate(line):
        if not _admit(ports, owner, place):
            return [behind.session_id for behind in line[index:]]
    return []


def _admit(ports: Ports, owner: str, place: Waiting) -> bool:
    """Take a session out of the line and start it; False when there is no place.

    One that is gone, or that waits no more, is taken out all the same; one that can't be read
    keeps its place in line and holds up nobody.
    """
    try:
        admitted = change(ports, place.session_id, partial(waiting.leave_line, place=place))
    except QuotaExceeded:
        return False
    except RowUnreadable:
        _log.exception("a session that waits in line can't be read")
        ports.metrics.count("RowsUnreadable")
        return True
    except SessionNotFound:
        admitted = False
    if not admitted:
        ports.store.forget_waiting(owner, place)
    return True


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
    leaked = len(gone)
    leaked += sum(change(ports, s.session_id, waiting.leave_leaked_place) for s in idle)
    if leaked:
        _log.error("freed places that no session held", extra={"count": leaked})
        ports.metrics.count("LeakedPlaces", leaked)
        return True
    idle.sort(key=lambda session: session.updated_at)
    return any(change(ports, session.session_id, waiting.yield_place) for session in idle)
