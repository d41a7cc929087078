"""Waiting in line: a session over its owner's quota is recorded, and starts when a place frees."""

from headstart.domain.change import Change, QuotaChange
from headstart.domain.errands import StartAttempt
from headstart.domain.life import hosting
from headstart.domain.life.progress import show
from headstart.domain.session import Status
from headstart.domain.steps import StepName


def wait_in_line(change: Change) -> None:
    """Record the session without a place, and without a container."""
    change.quota = None
    change.session.waiting_since = change.now
    change.errands = [e for e in change.errands if not isinstance(e, StartAttempt)]
    hosting.give_up(change, "the session waits in line")


def is_waiting(change: Change) -> bool:
    """Say whether the session stands in line."""
    session = change.session
    return session.waiting_since is not None and session.status is Status.PREPARING


def leave_line(change: Change) -> bool:
    """Take a place and be started; the attempt's clock begins now. False for who does not wait."""
    if not is_waiting(change):
        return False
    change.quota = QuotaChange.JOIN
    change.session.waiting_since = None
    change.attempt.started_at = change.attempt.progress_at = change.now
    change.attempt.step(StepName.SANDBOX).message = None
    change.save(change.attempt)
    change.then(StartAttempt(change.session.attempt_number))
    return True


def show_position(change: Change, position: int) -> None:
    """Show where in line the session stands, if that changed."""
    if not is_waiting(change):
        return
    record = change.attempt.step(StepName.SANDBOX)
    message = f"Waiting for a free place: position {position} in line"
    if record.message != message:
        record.message = message
        show(change, record)
