"""The rules of a session's life, as changes of one Work: no reads, no writes, no clocks."""

from datetime import datetime, timedelta

from headstart.domain import events
from headstart.domain.errors import (
    AttemptSuperseded,
    Cancelled,
    StepError,
)
from headstart.domain.session import (
    Attempt,
    AttemptStatus,
    Cause,
    Command,
    Failure,
    Hold,
    Session,
    Status,
    StepRecord,
)
from headstart.domain.steps import StepName, StepStatus
from headstart.domain.work import QuotaChange, Work

PROGRESS_WRITE_INTERVAL = timedelta(seconds=2)
"""How often mere progress reaches the ATTEMPT row."""

OUTPUT_TAIL_CHARACTERS = 2000
"""How much of a running step's output the ATTEMPT row keeps."""

START_CHECK = timedelta(seconds=30)
"""When the janitor first looks whether a recorded attempt was started."""

LINE_CHECK_LIMIT = timedelta(minutes=5)
"""How seldom a session is told where in line it stands, at the most."""

PROGRESS_CHECK = timedelta(minutes=2)
"""How often the janitor looks at a preparing session."""

RETRY_WINDOW = timedelta(minutes=10)
"""How long the sandbox of a failed attempt is kept for a retry."""

_KEPT_STEPS = (StepName.CLONE, StepName.BRANCH, StepName.RESTORE)
"""What need not be done again in the same sandbox; the runner itself knows of the others."""

IDLE_LIMIT = timedelta(minutes=15)
"""How long a sandbox waits for the next message before its session is put to sleep."""

SLOW_FACTOR = 2
SLOW_MARGIN_MS = 2000
"""A step is slower than usual above this many times its usual time, and this much more."""

BLEND = 0.3
"""How much the newest duration weighs against those before it."""

DISPATCH_CHECK = timedelta(seconds=30)
"""When the janitor delivers a message that waits, should who was to do it have died."""

TURN_CHECK = timedelta(minutes=2)
"""How often the janitor looks whether the runner of an active turn lives."""

ASLEEP_CHECK = timedelta(minutes=1)
"""When the janitor makes sure that nothing runs on of a session that sleeps, or failed for good."""

SLEEP_LIMIT = timedelta(minutes=5)
"""How long saving the work may take before the sandbox is stopped all the same: making a copy and
sending it have two minutes each."""

_DONE = {StepStatus.COMPLETED, StepStatus.SKIPPED}


def milliseconds(start: datetime, end: datetime) -> int:
    """Return the whole milliseconds from start to end."""
    return max(0, round((end - start).total_seconds() * 1000))


def require_attempt(session: Session, attempt_number: int) -> None:
    """Raise AttemptSuperseded unless the session is preparing in exactly this attempt."""
    if session.attempt_number != attempt_number or session.status is not Status.PREPARING:
        raise AttemptSuperseded(
            f"attempt {attempt_number} is over: the session is {session.status} "
            f"in attempt {session.attempt_number}"
        )


def begin_attempt(work: Work, cause: Cause) -> Attempt:
    """Start attempt n+1; the caller starts the machine after the commit."""
    session = work.session
    session.attempt_number += 1
    session.attempt_cause = cause
    session.failure = None
    session.saving = None
    session.move_to(Status.PREPARING, work.now)
    session.waiting_since = None
    session.in_line = False
    session.due_at = work.now + START_CHECK
    attempt = Attempt(
        number=session.attempt_number, cause=cause, started_at=work.now, progress_at=work.now
    )
    work.quota = QuotaChange.JOIN
    work.save(attempt)
    work.emit(events.SessionPreparing(attempt_number=attempt.number, cause=cause))
    return attempt


def wait_in_line(work: Work) -> None:
    """Record the session, whose attempt this change begins, without a place: it waits for one."""
    session = work.session
    work.quota = None
    session.waiting_since = work.now
    session.in_line = True
    session.due_at = work.now + START_CHECK
    attempt = next(row for row in work.rows if isinstance(row, Attempt))
    record = attempt.step(StepName.SANDBOX)
    record.message = "Waiting for a free place"
    _show(work, attempt, record)


def leave_line(work: Work, attempt: Attempt) -> None:
    """Take a place and be started; the attempt's clock begins now."""
    work.quota = QuotaChange.JOIN
    work.session.waiting_since = None
    work.session.in_line = False
    work.session.due_at = work.now + START_CHECK
    attempt.started_at = attempt.progress_at = work.now
    attempt.step(StepName.SANDBOX).message = None
    work.save(attempt)


def show_position(work: Work, attempt: Attempt, position: int) -> None:
    """Show where in line the session stands, if that changed; who is far behind is seldom told."""
    work.session.due_at = work.now + min(START_CHECK * position, LINE_CHECK_LIMIT)
    record = attempt.step(StepName.SANDBOX)
    message = f"Waiting for a free place: position {position} in line"
    if record.message != message:
        record.message = message
        _show(work, attempt, record)


def begin_step(work: Work, attempt: Attempt, name: StepName, message: str) -> StepRecord:
    """Show a step as running; a further try of it keeps the first one's start."""
    record = attempt.step(name)
    record.status = StepStatus.RUNNING
    record.started_at = record.started_at or work.now
    record.message = message
    _show(work, attempt, record)
    return record


def progress_step(
    work: Work,
    attempt: Attempt,
    name: StepName,
    *,
    message: str,
    percent: int | None,
    output: str | None,
    output_offset: int | None,
) -> None:
    """Show how a running step goes; reaches the row every PROGRESS_WRITE_INTERVAL at most."""
    record = attempt.step(name)
    if record.status is not StepStatus.RUNNING:
        return
    record.message = message
    if percent is not None:
        record.percent = max(percent, record.percent or 0)
    if output:
        _append_output(record, output, output_offset)
    write = work.now - attempt.progress_at >= PROGRESS_WRITE_INTERVAL
    _show(work, attempt, record, output, output_offset, write=write)


def _append_output(record: StepRecord, output: str, offset: int | None) -> None:
    """Add a piece to the tail; what came between two writes of the row is missing in it."""
    gap = "" if offset in {None, record.output_end or 0} else "\n…\n"
    record.output = f"{record.output or ''}{gap}{output}"[-OUTPUT_TAIL_CHARACTERS:]
    record.output_end = None if offset is None else offset + len(output.encode())


def end_step(
    work: Work,
    attempt: Attempt,
    name: StepName,
    status: StepStatus,
    message: str | None = None,
) -> None:
    """Close a step."""
    record = attempt.step(name)
    record.started_at = record.started_at or work.now
    record.ended_at = work.now
    record.status = status
    record.message = message if message is not None else record.message
    if status is StepStatus.COMPLETED and record.percent is not None:
        record.percent = 100
    _show(work, attempt, record)


def is_done(record: StepRecord) -> bool:
    """Say whether a step needs no more work."""
    return record.status in _DONE


def _show(
    work: Work,
    attempt: Attempt,
    record: StepRecord,
    output: str | None = None,
    output_offset: int | None = None,
    *,
    write: bool = True,
) -> None:
    if write:
        attempt.revision += 1
        attempt.progress_at = work.now
        work.save(attempt)
    elapsed = milliseconds(record.started_at or work.now, record.ended_at or work.now)
    expected = attempt.expected.get(record.step)
    running = record.status is StepStatus.RUNNING
    message = record.message
    if running and expected is not None and elapsed > SLOW_FACTOR * expected + SLOW_MARGIN_MS:
        message = f"{message or 'Working'} (slower than usual)"
    work.emit(
        events.Preparing(
            attempt_number=attempt.number,
            revision=attempt.revision,
            step=record.step,
            status=record.status,
            message=message,
            percent=record.percent,
            elapsed_ms=elapsed,
            eta_ms=max(0, expected - elapsed) if running and expected is not None else None,
            output=output,
            output_offset=output_offset,
        )
    )


def receipt(attempt: Attempt, now: datetime, dollars_per_hour: float = 0.0) -> events.Receipt:
    """Return what the attempt took so far."""
    total = milliseconds(attempt.started_at, now)
    return events.Receipt(
        attempt_number=attempt.number,
        total_ms=total,
        cloned_bytes=attempt.cloned_bytes,
        cached=attempt.clone_cached,
        estimated_dollars=round(total / 3_600_000 * dollars_per_hour, 6),
        steps=[
            events.StepReceipt(
                step=record.step,
                status=record.status,
                elapsed_ms=milliseconds(record.started_at, record.ended_at or now),
            )
            for record in attempt.steps
            if record.started_at
        ],
    )


def durations(attempt: Attempt) -> dict[str, int]:
    """Return how long each step that was really done took, blended with what was known before."""
    found = dict(attempt.expected)
    for record in attempt.steps:
        if record.status is StepStatus.COMPLETED and record.started_at and record.ended_at:
            took = milliseconds(record.started_at, record.ended_at)
            known = found.get(record.step, took)
            found[record.step.value] = round(known + BLEND * (took - known))
    return found


def complete_attempt(work: Work, attempt: Attempt, dollars_per_hour: float = 0.0) -> None:
    """End the attempt well: `running` if a message was accepted, else `prepared`."""
    attempt.status = AttemptStatus.COMPLETED
    attempt.ended_at = work.now
    attempt.revision += 1
    work.save(attempt)
    paid = receipt(attempt, work.now, dollars_per_hour)
    session = work.session
    session.prepared_at = work.now
    if session.active_turn:
        session.move_to(Status.RUNNING, work.now)
        session.due_at = work.now + TURN_CHECK
        work.emit(events.SessionReady(receipt=paid))
    elif session.initiated_at:
        session.move_to(Status.READY, work.now)
        work.emit(events.SessionReady(receipt=paid))
    else:
        session.move_to(Status.PREPARED, work.now)
        work.emit(events.SessionPrepared(receipt=paid))
    rest(work)


def rest(work: Work) -> None:
    """Make a session with no turn due: soon when a message waits, else to be put to sleep."""
    session = work.session
    if session.status in {Status.READY, Status.PREPARED} and not session.active_turn:
        limit = DISPATCH_CHECK if session.can_deliver else IDLE_LIMIT
        session.due_at = work.now + limit


def fail_attempt(work: Work, attempt: Attempt, error: StepError, *, kept: bool = False) -> None:
    """End the attempt badly, at the step it was in; the messages stay.

    `kept` tells whether the sandbox is kept for a retry, and the session's place with it.
    """
    record = next((r for r in attempt.steps if not is_done(r)), attempt.steps[-1])
    end_step(work, attempt, record.step, StepStatus.FAILED, error.reason)
    attempt.status = AttemptStatus.FAILED
    attempt.ended_at = work.now
    _fail(work, attempt, Failure.of(error, record.step), kept=kept)


def _fail(work: Work, attempt: Attempt, failure: Failure, *, kept: bool) -> None:
    session = work.session
    session.failure = failure
    session.move_to(Status.FAILED, work.now)
    session.due_at = work.now + (RETRY_WINDOW if kept else ASLEEP_CHECK)
    if not kept:
        work.quota = QuotaChange.LEAVE
    work.emit(events.SessionFailed(attempt_number=attempt.number, failure=failure))


def cancel_attempt(
    work: Work, attempt: Attempt, *, saved: bool = False, kept: bool = False
) -> None:
    """End the attempt because a person said so: a wake-up sleeps on, anything else has failed.

    `saved` tells whether there is a copy of the work to wake up with; `kept` as for a failure.
    """
    record = next((r for r in attempt.steps if not is_done(r)), attempt.steps[-1])
    end_step(work, attempt, record.step, StepStatus.CANCELLED, "Cancelled")
    attempt.status = AttemptStatus.CANCELLED
    attempt.ended_at = work.now
    session = work.session
    session.hold = session.hold or Hold.PAUSED
    if attempt.cause is Cause.WAKE:
        fall_asleep(work, "The wake-up was cancelled", saved=saved)
        return
    error = Cancelled("The preparation was cancelled")
    _fail(work, attempt, Failure.of(error, record.step), kept=kept)


def skip_done_steps(work: Work, attempt: Attempt, earlier: Attempt) -> None:
    """Show as skipped what an earlier attempt finished in the sandbox that was kept."""
    for name in _KEPT_STEPS:
        if is_done(earlier.step(name)):
            note = f"Done in attempt {earlier.number}"
            end_step(work, attempt, name, StepStatus.SKIPPED, note)


def start_over(work: Work, attempt: Attempt) -> None:
    """Take back what was said to be done: the sandbox that had it is gone, the next has nothing."""
    for record in [record for record in attempt.steps if is_done(record)]:
        fresh = StepRecord(step=record.step)
        attempt.steps[attempt.steps.index(record)] = fresh
        _show(work, attempt, fresh)


def begin_stopping(work: Work) -> None:
    """Have the work saved; what is not saved by the limit is given up."""
    work.session.move_to(Status.STOPPING, work.now)
    work.session.due_at = work.now + SLEEP_LIMIT


def fall_asleep(work: Work, reason: str, *, saved: bool = False) -> None:
    """The container is gone; the next message wakes the session."""
    work.session.move_to(Status.ASLEEP, work.now)
    work.session.saving = None
    work.session.due_at = work.now + ASLEEP_CHECK
    work.quota = QuotaChange.LEAVE
    work.emit(events.SessionAsleep(reason=reason, saved=saved))


def step_command_id(attempt_number: int, step: StepName, try_number: int) -> str:
    """Return the id of a step's command, `<attempt>.<step>.<try>`."""
    return f"{attempt_number}.{step}.{try_number}"


def parse_step_command(command_id: str) -> tuple[int, StepName] | None:
    """Return the attempt number and step of a step's command id, None for any other id."""
    parts = command_id.split(".")
    if len(parts) != 3 or not parts[0].isdigit() or parts[1] not in set(StepName):
        return None
    return int(parts[0]), StepName(parts[1])


def try_number(command: Command) -> int:
    """Return which try of its step a command is."""
    return int(command.command_id.rpartition(".")[2])
