"""What a state does by itself, and when it is looked at again: one rule after every decision."""

from datetime import timedelta

from headstart.domain.change import Change, QuotaChange, RowKey, WorkingSet, message_key
from headstart.domain.errands import AdmitNext, StartAttempt, StopAttempt
from headstart.domain.life import (
    calling,
    hosting,
    preparing,
    publishing,
    queueing,
    saving,
    sleeping,
    turns,
)
from headstart.domain.sandbox import SandboxStatus, holds_a_place
from headstart.domain.session import Cause, Hold, Session, Status

START_CHECK = timedelta(seconds=30)
"""When the janitor first looks whether a recorded attempt was started."""

DISPATCH_CHECK = timedelta(seconds=30)
"""When the janitor delivers a message that waits, should who was to do it have died."""

IDLE_LIMIT = timedelta(minutes=15)
"""How long a sandbox waits for the next message before its session is put to sleep."""

PROGRESS_CHECK = timedelta(minutes=2)
"""How often the janitor looks at a preparing session."""

TURN_CHECK = timedelta(minutes=2)
"""How often the janitor looks whether the runner of an active turn lives."""

PUBLISH_CHECK = timedelta(minutes=2)
"""How often the janitor looks at a publication."""

SLEEP_LIMIT = timedelta(minutes=11)
"""How long saving the work may take before the sandbox is stopped all the same: making a copy and
sending it have five minutes each."""

ASLEEP_CHECK = timedelta(minutes=1)
"""When the janitor makes sure that nothing of a sleeping session runs on."""

RETRY_WINDOW = timedelta(minutes=10)
"""How long the sandbox of a failed attempt is kept for a retry."""

_IDLE = {Status.READY, Status.PREPARED}
_ONCE = {Status.STOPPING, Status.ASLEEP, Status.FAILED, Status.DELETING}
"""Statuses whose time runs from when they began, whatever happens in them."""

_GIVEN_UP = {Status.FAILED, Status.DELETING}
"""Statuses in which nothing is delivered, whether it is held or not."""

_LIMITS = {
    Status.PREPARING: START_CHECK,
    Status.PREPARED: TURN_CHECK,
    Status.READY: TURN_CHECK,
    Status.RUNNING: TURN_CHECK,
    Status.STOPPING: SLEEP_LIMIT,
    Status.ASLEEP: ASLEEP_CHECK,
    Status.FAILED: RETRY_WINDOW,
    Status.DELETING: timedelta(),
}


def head_of(found: WorkingSet) -> list[RowKey]:
    """Name the first message that is not delivered, if there is one."""
    session = found.session
    return [message_key(session.next_message)] if session.queue_length else []


def beside_all(found: WorkingSet) -> list[RowKey]:
    """Name what every change is given beside the working set: the head of a queue that may move.

    In a preparation without a turn, held from its beginning or not at all, nothing has to do with
    it but what names it itself.
    """
    session = found.session
    rests = session.active_turn is None and session.hold in {None, Hold.INITIATE}
    return [] if session.status is Status.PREPARING and rests else head_of(found)


def settle(change: Change) -> None:
    """Let the session do what its state does by itself, and make it due for the rest.

    A queue that may move claims its head, one that may not says so; a sleeping session with a
    message, or with work to be published, wakes; that is published before another message is
    delivered; who gave a place free lets the next one in; a receiver is called for all of it.
    """
    session = change.session
    publishing.go_on(change)
    if session.status is Status.ASLEEP and (session.can_deliver or publishing.is_awaited(change)):
        preparing.begin_attempt(change, Cause.WAKE)
    if session.status in _IDLE and session.can_deliver and _may_claim(change):
        publishing.go_first(change)
        turns.claim(change, offered=hosting.is_reachable(change))
    if session.status not in _GIVEN_UP:
        # However the hold came to be: nobody shall wait for what nobody delivers.
        queueing.tell_hold(change)
    if change.quota is QuotaChange.LEAVE:
        change.then(AdmitNext(session.owner))
    if _state(session) != _state(change.before):
        session.due_at = change.now + _limit(change)
    calling.call_back(change)


def _may_claim(change: Change) -> bool:
    sandbox = change.sandbox
    return (
        sandbox is not None
        and sandbox.status is SandboxStatus.CONNECTED
        and queueing.has_head(change)
    )


def _state(session: Session) -> tuple[object, ...]:
    """Return what the time until the next look depends on."""
    if session.status in _ONCE:
        return (session.status, session.attempt_number)
    turn, publication = session.active_turn, session.publication
    busy = (session.status, session.attempt_number, session.waiting_since)
    if turn is not None:
        return (*busy, turn.turn_id, turn.started_at)
    if session.status not in _IDLE:
        return busy
    # Only here: who goes on writing must not put off the look at a runner that may be dead.
    queue = (session.hold, session.queue_length)
    return (*busy, *queue, publication and publication.goes_on and publication.since)


def _limit(change: Change) -> timedelta:
    session = change.session
    if session.status in _IDLE and session.active_turn is None:
        if session.publication and session.publication.goes_on:
            return PUBLISH_CHECK
        return DISPATCH_CHECK if session.can_deliver else IDLE_LIMIT
    if session.status is Status.FAILED and not holds_a_place(session, change.sandbox):
        return ASLEEP_CHECK
    return _LIMITS[session.status]


# What the janitor finds due.


def postpone(change: Change, delay: timedelta | None) -> None:
    """Have a session that is due looked at again later, or not any more."""
    session = change.session
    if session.due_at and session.due_at <= change.now:
        session.due_at = change.now + delay if delay else None


def start_again(change: Change) -> None:
    """Have the present attempt's execution started, as was to be done at once."""
    change.then(StartAttempt(change.session.attempt_number))
    postpone(change, START_CHECK)


def rest_is_over(change: Change) -> None:
    """Put an idle session to sleep; one whose queue may move delivers instead."""
    if not publishing.give_up_overdue(change) and not sleeping.begin_sleep(change):
        postpone(change, DISPATCH_CHECK)


def nothing_runs_on(change: Change, reason: str) -> None:
    """Stop what a session that needs nothing may have left behind."""
    session = change.session
    if session.status not in {Status.ASLEEP, Status.FAILED}:
        return
    change.then(StopAttempt(session.attempt_number, reason))
    hosting.stop(change, reason)
    saving.look_for_copies(change)
    change.then(AdmitNext(session.owner))
    postpone(change, None)
