"""Everything time-based: what nobody came back for, found through the due index, never a scan."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from headstart.domain import lifecycle
from headstart.domain.errors import (
    NotStarted,
    RowUnreadable,
    SandboxUnresponsive,
    SessionNotFound,
    StepError,
    StepTimedOut,
)
from headstart.domain.policy import DUE_SHARDS
from headstart.domain.session import AttemptStatus, SandboxStatus, Session, Status, session_of
from headstart.domain.steps import StepName, StepStatus
from headstart.domain.work import Work
from headstart.usecases.change import change
from headstart.usecases.deletion import DELETION_CHECK, clear
from headstart.usecases.line import admit_next, line_up, show_position
from headstart.usecases.messages import dispatch
from headstart.usecases.ports import ExecutionStatus, Ports, StartedSandbox
from headstart.usecases.preparation import fail_preparation
from headstart.usecases.sandbox import sandbox_stopped, stop_sandbox
from headstart.usecases.sleep import begin_sleep, fall_asleep, wake_if_waiting
from headstart.usecases.start import start_attempt

SWEEP_TIME = timedelta(seconds=30)
ORPHANS_TIME = timedelta(seconds=10)
"""How long each half of a run may begin something new; the function's timeout leaves the rest."""

RETRY = timedelta(minutes=1)
"""When to look again at what could not be handled."""

ORPHAN_AGE = timedelta(minutes=5)
"""How old a task must be before it may be an orphan: younger ones may not be written down yet."""

_log = logging.getLogger(__name__)

_PER_SHARD = 50


@dataclass
class Run:
    """A sweep: until when it may begin something new, and the lines it has moved on, by owner."""

    until: datetime
    lines: dict[str, dict[str, int]] = field(default_factory=dict)


def run(ports: Ports) -> dict[str, int]:
    """Do what is due each minute: one half whatever becomes of the other."""
    try:
        stopped = stop_orphans(ports)
    finally:
        seen = sweep(ports)
    return {"orphansStopped": stopped, "lookedAt": seen}


def sweep(ports: Ports) -> int:
    """Look at the sessions whose time has come, for 30 seconds at most; returns how many.

    The shards take turns, 50 sessions each, and another one begins each time: where time runs out
    it is never the same ones that are left. One session that can't be handled is logged, counted
    and put off, and holds up no other. What keeps a shard from being read is raised in the end,
    so that somebody hears of it.
    """
    this_run = Run(until=ports.clock() + SWEEP_TIME)
    begin = random.randrange(DUE_SHARDS)  # noqa: S311  a turn is no secret
    shards = [(begin + index) % DUE_SHARDS for index in range(DUE_SHARDS)]
    seen: dict[int, set[str]] = {shard: set() for shard in shards}
    failure: Exception | None = None
    while shards and ports.clock() < this_run.until:
        for shard in tuple(shards):
            try:
                going_on = _sweep_shard(ports, shard, seen[shard], this_run)
            except Exception as error:
                failure, going_on = error, False
            if not going_on:
                shards.remove(shard)
    if failure:
        raise failure
    return sum(len(ids) for ids in seen.values())


def _sweep_shard(ports: Ports, shard: int, seen: set[str], this_run: Run) -> bool:
    """Look at a shard's next sessions; False when there are no more."""
    # The index may still name those that were looked at, and those that can't be put off.
    found = ports.store.due(shard, ports.clock(), _PER_SHARD + len(seen))
    due = [session_id for session_id in found if session_id not in seen]
    for session_id in due:
        if ports.clock() >= this_run.until:
            return False
        seen.add(session_id)
        with _guarded(ports, session_id):
            look_after(ports, session_id, this_run)
    return bool(due)


@contextmanager
def _guarded(ports: Ports, session_id: str | None = None) -> Iterator[None]:
    """Keep whatever goes wrong inside from all that comes after; a session is put off."""
    try:
        yield
        return
    except SessionNotFound:
        _log.info("a session is gone")
    except RowUnreadable:
        _log.warning("a session or a part of it can't be read", exc_info=True)
        ports.metrics.count("RowsUnreadable")
    except Exception:
        # Nobody else comes here: what one defect ended would end each minute again.
        _log.exception("could not look after a session or a task")
        ports.metrics.count("JanitorErrors")
    if session_id is not None:
        with _guarded(ports), suppress(RowUnreadable):
            _postpone(ports, session_id, RETRY)


def look_after(ports: Ports, session_id: str, this_run: Run) -> None:
    """Do what is due for one session; the index is a hint, the row read here is the truth."""
    ports.identify(session_id)
    session = ports.store.session(session_id)
    now = ports.clock()
    if session.due_at is None or session.due_at > now:
        return
    match session.status:
        case Status.PREPARING if session.waiting_since:
            _in_line(ports, session, this_run)
        case Status.PREPARING:
            _preparing(ports, session)
        case Status.RUNNING:
            _in_turn(ports, session)
        case Status.READY | Status.PREPARED if session.active_turn:
            _in_turn(ports, session)
        case Status.READY | Status.PREPARED:
            _idle(ports, session)
        case Status.STOPPING:
            _end_stopping(ports, session)
        case Status.ASLEEP:
            # Waking comes first: what is done last here is what makes the session due no more.
            if not wake_if_waiting(ports, session_id):
                _nothing_runs_on(ports, session, "the session sleeps")
        case Status.FAILED:
            _nothing_runs_on(ports, session, "the attempt failed and was not retried in time")
        case Status.DELETING:
            if not clear(ports, session_id, this_run.until):
                _postpone(ports, session_id, DELETION_CHECK)


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


def _in_line(ports: Ports, session: Session, this_run: Run) -> None:
    """Move this owner's line on, once a run, and tell this session where it stands."""
    if not session.in_line:
        line_up(ports, session.session_id)
    if session.owner not in this_run.lines:
        left = admit_next(ports, session.owner)
        this_run.lines[session.owner] = {waits: place for place, waits in enumerate(left, start=1)}
    position = this_run.lines[session.owner].get(session.session_id)
    if position:
        show_position(ports, session.session_id, position)
    else:
        _postpone(ports, session.session_id, RETRY)


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


def _in_turn(ports: Ports, session: Session) -> None:
    """Notice a turn, or a delivery, whose runner is gone or silent."""
    if _sandbox_died(ports, session):
        return
    sandbox = ports.store.sandbox(session.session_id)
    seen = sandbox.seen_at if sandbox else None
    if sandbox and (seen is None or ports.clock() - seen > ports.policy.heartbeat_patience):
        reason = "The sandbox stopped answering"
        if sandbox.task_arn:
            ports.sandboxes.stop(sandbox.task_arn, reason)
        sandbox_stopped(ports, sandbox.name(session.session_id), sandbox.task_arn or "", reason)
        return
    _postpone(ports, session.session_id, lifecycle.TURN_CHECK)


def _idle(ports: Ports, session: Session) -> None:
    """Deliver what waits in the queue, else put the session to sleep."""
    if _sandbox_died(ports, session):
        return
    dispatch(ports, session.session_id)
    if not begin_sleep(ports, session.session_id):
        _postpone(ports, session.session_id, lifecycle.DISPATCH_CHECK)


def _end_stopping(ports: Ports, session: Session) -> None:
    """Wait for a copy no longer; who took it in may have died before the session could sleep."""
    saved = session.is_saved(ports.store.snapshot(session.session_id))
    reason = "Idle" if saved else "Idle; saving the work took too long"
    fall_asleep(ports, session.session_id, reason, saved=saved)


def _nothing_runs_on(ports: Ports, session: Session, reason: str) -> None:
    """Stop what a session that needs nothing may have left behind."""
    ports.machine.stop(session.session_id, session.attempt_number, reason)
    stop_sandbox(ports, session.session_id, reason)
    admit_next(ports, session.owner)
    _postpone(ports, session.session_id, None)


def stop_orphans(ports: Ports) -> int:
    """Stop tasks older than five minutes that no session calls its own; returns how many.

    It takes ten seconds at most; tasks come in another order each time, so that the same ones are
    not left.
    """
    stopped = 0
    until = ports.clock() + ORPHANS_TIME
    for task in ports.sandboxes.started():
        if ports.clock() >= until:
            break
        with _guarded(ports):
            stopped += _stop_orphan(ports, task)
    return stopped


def _stop_orphan(ports: Ports, task: StartedSandbox) -> bool:
    ports.identify(session_of(task.name))
    if _is_owned(ports, task) or ports.clock() - task.started_at <= ORPHAN_AGE:
        return False
    ports.sandboxes.stop(task.handle, "no session needs this task")
    ports.metrics.count("OrphansStopped")
    return True


def _is_owned(ports: Ports, task: StartedSandbox) -> bool:
    """Say whether a task is its session's own, which then knows its handle.

    Who started it may have died before writing that down, and the runner is accepted all the same.
    """
    session_id = session_of(task.name)

    def decide(work: Work) -> bool:
        sandbox = ports.store.sandbox(session_id)
        if (
            work.session.status is Status.DELETING
            or sandbox is None
            or sandbox.status is SandboxStatus.STOPPED
        ):
            return False
        if sandbox.task_arn is None and sandbox.name(session_id) == task.name:
            sandbox.task_arn = task.handle
            work.save(sandbox)
        return sandbox.task_arn == task.handle

    try:
        return change(ports, session_id, decide)[1]
    except SessionNotFound:
        return False


def _postpone(ports: Ports, session_id: str, delay: timedelta | None) -> None:
    def decide(work: Work) -> None:
        if work.session.due_at and work.session.due_at <= work.now:
            work.session.due_at = work.now + delay if delay else None

    change(ports, session_id, decide)
