"""What a state does by itself, and when it is looked at again: one rule after every decision."""

from datetime import timedelta

from headstart.domain.change import Change, QuotaChange
from headstart.domain.errands import AdmitNext
from headstart.domain.life import preparing, talking
from headstart.domain.session import Cause, SandboxStatus, Session, Status

START_CHECK = timedelta(seconds=30)
"""When the janitor first looks whether a recorded attempt was started."""

DISPATCH_CHECK = timedelta(seconds=30)
"""When the janitor delivers a message that waits, should who was to do it have died."""

IDLE_LIMIT = timedelta(minutes=15)
"""How long a sandbox waits for the next message before its session is put to sleep."""

TURN_CHECK = timedelta(minutes=2)
"""How often the janitor looks whether the runner of an active turn lives."""

SLEEP_LIMIT = timedelta(minutes=5)
"""How long saving the work may take before the sandbox is stopped all the same: making a copy and
sending it have two minutes each."""

ASLEEP_CHECK = timedelta(minutes=1)
"""When the janitor makes sure that nothing of a sleeping session runs on."""

RETRY_WINDOW = timedelta(minutes=10)
"""How long the sandbox of a failed attempt is kept for a retry."""

_IDLE = {Status.READY, Status.PREPARED}
_ONCE = {Status.STOPPING, Status.ASLEEP, Status.FAILED, Status.DELETING}
"""Statuses whose time runs from when they began, whatever happens in them."""


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


def settle(change: Change, *, may_wake: bool = True) -> None:
    """Let the session do what its state does by itself, and make it due for the rest.

    A queue that may move claims its head; a sleeping session with a message wakes; who gave a
    place free lets the next one in.
    """
    session = change.session
    if may_wake and session.status is Status.ASLEEP and session.can_deliver:
        preparing.begin_attempt(change, Cause.WAKE)
    if session.status in _IDLE and session.can_deliver and _may_claim(change):
        talking.claim(change)
    if change.quota is QuotaChange.LEAVE:
        change.then(AdmitNext(session.owner))
    if _state(session) != _state(change.before):
        session.due_at = change.now + _limit(session)


def _may_claim(change: Change) -> bool:
    sandbox = change.sandbox
    return (
        sandbox is not None
        and sandbox.status is SandboxStatus.CONNECTED
        and talking.has_head(change)
    )


def _state(session: Session) -> tuple[object, ...]:
    """Return what the time until the next look depends on."""
    if session.status in _ONCE:
        return (session.status, session.attempt_number)
    turn = session.active_turn
    return (
        session.status,
        session.attempt_number,
        session.waiting_since,
        turn and (turn.turn_id, turn.started_at),
        session.hold,
        session.queue_length,
    )


def _limit(session: Session) -> timedelta:
    if session.status in _IDLE and session.active_turn is None:
        return DISPATCH_CHECK if session.can_deliver else IDLE_LIMIT
    return _LIMITS[session.status]
