"""Everything time-based: what nobody came back for, found through the due index, never a scan."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from headstart.domain.attempt import AttemptStatus
from headstart.domain.change import Change
from headstart.domain.errors import (
    NotStarted,
    RowUnreadable,
    SandboxStopped,
    SandboxUnresponsive,
    SessionNotFound,
    StepError,
    StepTimedOut,
    TurnLost,
)
from headstart.domain.life import hosting, preparing, settling, sleeping, waiting
from headstart.domain.policy import DUE_SHARDS
from headstart.domain.sandbox import SandboxStatus, session_of
from headstart.domain.session import Status
from headstart.usecases.callbacks import send_due
from headstart.usecases.change import change
from headstart.usecases.commit import read
from headstart.usecases.delete import DELETION_CHECK, clear
from headstart.usecases.line import admit_next
from headstart.usecases.ports import ExecutionStatus, Ports, StartedSandbox
from headstart.usecases.prepare import fail_preparation
from headstart.usecases.sandbox import note_end

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
    told = stopped = 0
    with _guarded(ports):
        told = send_due(ports) if ports.policy.callbacks else 0
    try:
        stopped = stop_orphans(ports)
    finally:
        seen = sweep(ports)
    return {"orphansStopped": stopped, "lookedAt": seen, "sentCallbacks": told}


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
    """Do what is due for one session; the index is a hint, what is read here is the truth."""
    ports.identify(session_id)
    seen = read(ports, session_id)
    session = seen.session
    if session.due_at is None or session.due_at > seen.now:
        return
    match session.status:
        case Status.PREPARING if session.waiting_since:
            _in_line(ports, seen, this_run)
        case Status.PREPARING:
            _preparing(ports, seen)
        case Status.RUNNING:
            _in_turn(ports, seen)
        case Status.READY | Status.PREPARED if session.active_turn:
            _in_turn(ports, seen)
        case Status.READY | Status.PREPARED:
            if not _sandbox_died(ports, seen):
                change(ports, session_id, settling.rest_is_over)
        case Status.STOPPING:
            change(ports, session_id, sleeping.give_up_waiting)
        case Status.ASLEEP:
            change(
                ports, session_id, partial(settling.nothing_runs_on, reason="the session sleeps")
            )
        case Status.FAILED:
            reason = "the attempt failed and was not retried in time"
            change(ports, session_id, partial(settling.nothing_runs_on, reason=reason))
        case Status.DELETING:
            if not clear(ports, session_id, this_run.until):
                _postpone(ports, session_id, DELETION_CHECK)


def _preparing(ports: Ports, seen: Change) -> None:
    session, attempt = seen.session, seen.attempt
    session_id, number = session.session_id, session.attempt_number
    if attempt.status is not AttemptStatus.RUNNING:
        _postpone(ports, session_id, None)
        return
    begun = not preparing.never_started(seen)
    status = ports.machine.status(session_id, number) if begun else ExecutionStatus.MISSING
    if status is ExecutionStatus.MISSING:
        if seen.now - attempt.started_at > ports.policy.start_patience:
            _give_up(
                ports, seen, NotStarted("The preparation could not be started for ten minutes")
            )
        else:
            change(ports, session_id, settling.start_again)
    elif status is not ExecutionStatus.RUNNING:
        _give_up(ports, seen, SandboxUnresponsive("The preparation ended without saying how"))
    elif not _sandbox_died(ports, seen):
        patience = ports.policy.progress_patience
        if seen.now - attempt.progress_at > patience:
            minutes = patience // timedelta(minutes=1)
            _give_up(ports, seen, StepTimedOut(f"No progress for {minutes} minutes"))
        else:
            _postpone(ports, session_id, settling.PROGRESS_CHECK)


def _in_line(ports: Ports, seen: Change, this_run: Run) -> None:
    """Move this owner's line on, once a run, and tell this session where it stands."""
    session_id, owner = seen.session.session_id, seen.session.owner
    if not seen.session.in_line:
        change(ports, session_id, waiting.line_up)
    if owner not in this_run.lines:
        left = admit_next(ports, owner)
        this_run.lines[owner] = {waits: place for place, waits in enumerate(left, start=1)}
    position = this_run.lines[owner].get(session_id)
    if position:
        change(ports, session_id, partial(waiting.show_position, position=position))
    else:
        _postpone(ports, session_id, RETRY)


def _give_up(ports: Ports, seen: Change, error: StepError) -> None:
    session = seen.session
    ports.machine.stop(session.session_id, session.attempt_number, error.reason)
    fail_preparation(ports, session.session_id, session.attempt_number, error)


def _sandbox_died(ports: Ports, seen: Change) -> bool:
    """Notice a task whose end no event told us of."""
    sandbox = seen.sandbox
    if sandbox is None or sandbox.task_arn is None or sandbox.status is SandboxStatus.STOPPED:
        return False
    if ports.sandboxes.is_alive(sandbox.task_arn):
        return False
    _stopped(ports, seen, SandboxStopped("The sandbox stopped and no event said why"))
    return True


def _stopped(ports: Ports, seen: Change, error: StepError) -> None:
    sandbox = seen.sandbox
    if sandbox is not None:
        note_end(ports, sandbox.name(seen.session.session_id), sandbox.task_arn or "", error)


def _in_turn(ports: Ports, seen: Change) -> None:
    """Notice a turn, or a delivery, whose runner is gone or silent, or that never ends."""
    if _sandbox_died(ports, seen):
        return
    error: StepError | None = None
    if hosting.is_silent(seen, ports.policy.heartbeat_patience):
        error = SandboxStopped("The sandbox stopped answering")
    elif sleeping.is_overdue(seen):
        error = TurnLost("The turn did not end within 2 hours and 10 minutes")
    if error is None:
        _postpone(ports, seen.session.session_id, settling.TURN_CHECK)
        return
    if seen.sandbox and seen.sandbox.task_arn:
        ports.sandboxes.stop(seen.sandbox.task_arn, error.reason)
    _stopped(ports, seen, error)


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
    session_id = session_of(task.name)
    ports.identify(session_id)
    adopt = partial(hosting.adopt, name=task.name, handle=task.handle)
    try:
        owned = change(ports, session_id, adopt)
    except SessionNotFound:
        owned = False
    if owned or ports.clock() - task.started_at <= ORPHAN_AGE:
        return False
    ports.sandboxes.stop(task.handle, "no session needs this task")
    ports.metrics.count("OrphansStopped")
    return True


def _postpone(ports: Ports, session_id: str, delay: timedelta | None) -> None:
    change(ports, session_id, partial(settling.postpone, delay=delay))
