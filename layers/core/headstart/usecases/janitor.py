"""Everything time-based: what nobody came back for, found through the due index, never a scan."""

import logging
from datetime import timedelta

from headstart.domain import lifecycle
from headstart.domain.errors import (
    HeadstartError,
    NotStarted,
    SandboxUnresponsive,
    SessionNotFound,
    StepError,
    StepTimedOut,
)
from headstart.domain.policy import DUE_SHARDS
from headstart.domain.session import AttemptStatus, SandboxStatus, Session, Status
from headstart.domain.steps import StepName, StepStatus
from headstart.domain.work import Work
from headstart.usecases.change import change
from headstart.usecases.deletion import clear
from headstart.usecases.ports import ExecutionStatus, Ports
from headstart.usecases.preparation import fail_preparation
from headstart.usecases.sandbox import sandbox_stopped
from headstart.usecases.start import start_attempt

_log = logging.getLogger(__name__)

_PER_SHARD = 50


def sweep(ports: Ports) -> int:
    """Look at every session whose time has come, at most 50 a shard; returns how many.

    One session that can't be handled is logged and counted, and holds up no other.
    """
    seen = 0
    for shard in range(DUE_SHARDS):
        for session_id in ports.store.due(shard, ports.clock(), _PER_SHARD):
            seen += 1
            try:
                look_after(ports, session_id)
            except SessionNotFound:
                _log.info("a due session is gone")
            except HeadstartError:
                _log.exception("could not look after a session", extra={"session_id": session_id})
                ports.metrics.count("JanitorErrors")
    return seen


def look_after(ports: Ports, session_id: str) -> None:
    """Do what is due for one session; the index is a hint, the row read here is the truth."""
    session = ports.store.session(session_id)
    now = ports.clock()
    if session.due_at is None or session.due_at > now:
        return
    match session.status:
        case Status.PREPARING:
            _preparing(ports, session)
        case Status.FAILED:
            _retry_window_over(ports, session)
        case Status.DELETING:
            clear(ports, session_id)
        case _:
            _postpone(ports, session_id, None)


def _preparing(ports: Ports, session: Session) -> None:
    now = ports.clock()
    attempt = ports.store.attempt(session.session_id, session.attempt_number)
    number = session.attempt_number
    if attempt.status is not AttemptStatus.RUNNING:
        _postpone(ports, session.session_id, None)
        return
    if attempt.step(StepName.SANDBOX).status is StepStatus.PENDING:
        if now - attempt.started_at > ports.policy.start_patience:
            _give_up(
                ports, session, NotStarted("The preparation could not be started for ten minutes")
            )
            return
        start_attempt(ports, session)
        _postpone(ports, session.session_id, lifecycle.START_CHECK)
        return
    execution = ports.machine.status(session.session_id, number)
    if execution is not ExecutionStatus.RUNNING:
        _give_up(ports, session, SandboxUnresponsive("The preparation ended without saying how"))
        return
    if _sandbox_died(ports, session):
        return
    patience = ports.policy.progress_patience
    if now - attempt.progress_at > patience:
        minutes = patience // timedelta(minutes=1)
        _give_up(ports, session, StepTimedOut(f"No progress for {minutes} minutes"))
        return
    _postpone(ports, session.session_id, lifecycle.PROGRESS_CHECK)


def _give_up(ports: Ports, session: Session, error: StepError) -> None:
    ports.machine.stop(session.session_id, session.attempt_number, error.reason)
    fail_preparation(ports, session.session_id, session.attempt_number, error)


def _sandbox_died(ports: Ports, session: Session) -> bool:
    """Notice a task whose end no event told us of."""
    sandbox = ports.store.sandbox(session.session_id)
    if sandbox is None or sandbox.task_arn is None or sandbox.status is SandboxStatus.STOPPED:
        return False
    if ports.sandboxes.is_alive(sandbox.task_arn):
        return False
    reason = "The sandbox stopped and no event said why"
    sandbox_stopped(ports, sandbox.name(session.session_id), sandbox.task_arn, reason)
    return True


def _retry_window_over(ports: Ports, session: Session) -> None:
    sandbox = ports.store.sandbox(session.session_id)
    if sandbox and sandbox.task_arn and sandbox.status is not SandboxStatus.STOPPED:
        ports.sandboxes.stop(sandbox.task_arn, "the attempt failed and was not retried in time")
    _postpone(ports, session.session_id, None)


def _postpone(ports: Ports, session_id: str, delay: timedelta | None) -> None:
    def decide(work: Work) -> None:
        if work.session.due_at and work.session.due_at <= work.now:
            work.session.due_at = work.now + delay if delay else None

    change(ports, session_id, decide)
