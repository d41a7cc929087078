"""How every change of a session is made: load, decide, settle, commit on condition, or again."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from headstart.domain.change import Change, NoPlace, QuotaChange, RowKey, WorkingSet
from headstart.domain.errors import Conflict, QuotaExceeded
from headstart.domain.life.settling import beside_all, settle
from headstart.domain.life.waiting import wait_in_line
from headstart.usecases.ports import Ports
from headstart.usecases.retry import CONFLICT_TRIES, backoff

T = TypeVar("T")
Decide = Callable[[Change], T]
Also = Callable[[WorkingSet], Iterable[RowKey]]


def nothing(_: WorkingSet) -> Iterable[RowKey]:
    """Name no row beside those that every change is given."""
    return ()


def commit(
    ports: Ports,
    session_id: str,
    decide: Decide[T],
    also: Also = nothing,
    found: WorkingSet | None = None,
) -> tuple[Change, T]:
    """Run a decision on a fresh read until its change commits; a rival's makes it decide again.

    `found` is a set that was read or committed just now, which spares the first read. Who finds no
    place waits in line where the deployment lets people wait, and everywhere where nobody is there
    to be refused. Raises what the decision raises, SessionNotFound, QuotaExceeded, and Conflict
    after CONFLICT_TRIES.
    """
    has_looked = in_line = False
    for attempt in range(CONFLICT_TRIES):
        change = read(ports, session_id, also, found)
        found = None
        result = decided(change, decide)
        if in_line and change.quota is QuotaChange.JOIN:
            wait_in_line(change)
        if change.is_empty:
            return change, result
        try:
            ports.store.commit(change)
        except Conflict:
            backoff(attempt)
        except QuotaExceeded:
            if not has_looked:
                has_looked = True
                if _make_room(ports, change.session.owner):
                    continue
            asks = change.no_place is NoPlace.ASK and not ports.policy.wait_in_line
            if asks or change.no_place is NoPlace.LEAVE_IT:
                raise
            in_line = True
        else:
            return change, result
    raise Conflict(f"session {session_id} kept changing; try again")


def decided(change: Change, decide: Decide[T]) -> T:
    """Decide on what was read, and have the session do what it does by itself."""
    result = decide(change)
    settle(change)
    return result


def _make_room(ports: Ports, owner: str) -> bool:
    from headstart.usecases.line import make_room  # noqa: PLC0415  it changes other sessions

    return make_room(ports, owner)


def read(
    ports: Ports, session_id: str, also: Also = nothing, found: WorkingSet | None = None
) -> Change:
    """Return a change that nothing was decided on yet: a consistent read, and what it is called by.

    Rows beside the working set are read after it: should they have changed since, so has the
    session, and nothing that rests on them commits.
    """
    found = found or ports.store.load(session_id)
    names = [*beside_all(found), *also(found)]
    found.more = ports.store.named(session_id, names) if names else {}
    return Change(found, ports.clock(), ports.policy)
