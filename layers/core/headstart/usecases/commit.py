"""How every change of a session is made: load, decide, settle, commit on condition, or again."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from headstart.domain.change import Change, QuotaChange, RowKey, WorkingSet, message_key
from headstart.domain.errors import Conflict, QuotaExceeded
from headstart.domain.life.settling import settle
from headstart.domain.life.waiting import wait_in_line
from headstart.usecases.ports import Ports
from headstart.usecases.retry import CONFLICT_TRIES, backoff

T = TypeVar("T")
Decide = Callable[[Change], T]
Also = Callable[[WorkingSet], Iterable[RowKey]]


def nothing(_: WorkingSet) -> Iterable[RowKey]:
    """Name no row beside the working set and the head of the queue."""
    return ()


def commit(
    ports: Ports, session_id: str, decide: Decide[T], also: Also = nothing
) -> tuple[Change, T]:
    """Run a decision on a fresh read until its change commits; a rival's makes it decide again.

    Who finds no place waits in line where the deployment has one; else a wake that nobody asked
    for is left for later. Raises what the decision raises, SessionNotFound, QuotaExceeded where a
    caller insists, and Conflict after CONFLICT_TRIES.
    """
    may_wake, in_line = True, False
    for attempt in range(CONFLICT_TRIES):
        change = read(ports, session_id, also)
        result = decide(change)
        settle(change, may_wake=may_wake)
        if in_line and change.quota is QuotaChange.JOIN:
            wait_in_line(change)
        if change.is_empty:
            return change, result
        try:
            ports.store.commit(change)
        except Conflict:
            backoff(attempt)
        except QuotaExceeded:
            if ports.policy.wait_in_line:
                in_line = True
            elif change.insists:
                raise
            else:
                may_wake = False
        else:
            return change, result
    raise Conflict(f"session {session_id} kept changing; try again")


def read(ports: Ports, session_id: str, also: Also = nothing) -> Change:
    """Return a change that nothing was decided on yet: a consistent read, and what it is called by.

    Rows beside the working set are read after it: should they have changed since, so has the
    session, and nothing that rests on them commits.
    """
    found = ports.store.load(session_id)
    names = [*_head(found), *also(found)]
    found.more = ports.store.rows(session_id, names) if names else {}
    return Change(found, ports.clock(), ports.policy)


def _head(found: WorkingSet) -> Iterable[RowKey]:
    session = found.session
    return [message_key(session.next_message)] if session.queue_length else []
