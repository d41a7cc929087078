"""Waiting in line: a session over its owner's quota is recorded, and starts when a place frees."""

from datetime import timedelta

from headstart.domain.change import Change, NoPlace, QuotaChange
from headstart.domain.errands import StartAttempt
from headstart.domain.life import hosting
from headstart.domain.life.progress import show
from headstart.domain.sandbox import holds_a_place
from headstart.domain.session import Status, Waiting
from headstart.domain.steps import StepName

POSITION_CHECK = timedelta(seconds=30)
POSITION_CHECK_LIMIT = timedelta(minutes=5)
"""How soon a session is told again where in line it stands, for each who stands before it."""


def wait_in_line(change: Change) -> None:
    """Record the session, whose attempt this change begins, without a place or a container."""
    session = change.session
    change.quota = None
    session.waiting_since = change.now
    session.in_line = True
    change.errands = [e for e in change.errands if not isinstance(e, StartAttempt)]
    hosting.give_up(change, "the session waits for a place")
    record = change.attempt.step(StepName.SANDBOX)
    record.message = "Waiting for a free place"
    show(change, record)


def leave_line(change: Change, place: Waiting) -> bool:
    """Take a place and be started; the attempt's clock begins now. False for who does not wait."""
    if Waiting.of(change.session) != place:
        return False
    change.quota = QuotaChange.JOIN
    change.no_place = NoPlace.LEAVE_IT
    change.session.waiting_since = None
    change.session.in_line = False
    change.attempt.started_at = change.attempt.progress_at = change.now
    change.attempt.step(StepName.SANDBOX).message = None
    change.save(change.attempt)
    change.then(StartAttempt(change.session.attempt_number))
    return True


def line_up(change: Change) -> None:
    """Have the line know a session that an earlier version let wait; it is where it always was."""
    if change.session.waiting_since and change.session.status is Status.PREPARING:
        change.session.in_line = True


def show_position(change: Change, position: int) -> None:
    """Show where in line the session stands, if that changed; who is far behind is seldom told."""
    if not change.session.waits_in_line:
        return
    change.session.due_at = change.now + min(POSITION_CHECK * position, POSITION_CHECK_LIMIT)
    record = change.attempt.step(StepName.SANDBOX)
    message = f"Waiting for a free place: position {position} in line"
    if record.message != message:
        record.message = message
        show(change, record)


def leave_leaked_place(change: Change) -> bool:
    """Free a session's place unless it needs one, or has begun to since somebody looked."""
    if holds_a_place(change.session, change.sandbox):
        return False
    change.quota = QuotaChange.LEAVE
    return True


def yield_place(change: Change) -> bool:
    """Have a failed session give up its sandbox, and its place with it; False where it has none."""
    if change.session.status is not Status.FAILED or change.sandbox is None:
        return False
    hosting.give_up(change, "another session needs the place")
    return change.quota is QuotaChange.LEAVE
