"""How the steps of an attempt are shown: begun, on their way, ended, and what they took."""

from datetime import datetime, timedelta

from headstart.domain import events
from headstart.domain.attempt import Attempt, StepRecord
from headstart.domain.change import Change
from headstart.domain.errors import AttemptSuperseded
from headstart.domain.receipt import Receipt, StepReceipt, TreeReceipt
from headstart.domain.session import Session, Status
from headstart.domain.steps import StepName, StepStatus

PROGRESS_WRITE_INTERVAL = timedelta(seconds=2)
"""How often mere progress reaches the ATTEMPT row."""

OUTPUT_TAIL_CHARACTERS = 2000
"""How much of a running step's output the ATTEMPT row keeps."""

SLOW_FACTOR = 2
SLOW_MARGIN_MS = 2000
"""A step is slower than usual above this many times its usual time, and this much more."""

BLEND = 0.3
"""How much the newest duration weighs against those before it."""

_DONE = {StepStatus.COMPLETED, StepStatus.SKIPPED}


def require_attempt(session: Session, attempt_number: int) -> None:
    """Raise AttemptSuperseded unless the session is preparing in exactly this attempt."""
    if is_over(session, attempt_number):
        raise AttemptSuperseded(
            f"attempt {attempt_number} is over: the session is {session.status} "
            f"in attempt {session.attempt_number}"
        )


def is_over(session: Session, attempt_number: int) -> bool:
    """Say whether an attempt has ended, however."""
    return session.attempt_number != attempt_number or session.status is not Status.PREPARING


def milliseconds(start: datetime, end: datetime) -> int:
    """Return the whole milliseconds from start to end."""
    return max(0, round((end - start).total_seconds() * 1000))


def is_done(record: StepRecord) -> bool:
    """Say whether a step needs no more work."""
    return record.status in _DONE


def begin_step(change: Change, name: StepName, message: str | None = None) -> StepRecord:
    """Show a step as running; a further try of it keeps the first one's start.

    The `message` is what its name does not say.
    """
    record = change.attempt.step(name)
    record.status = StepStatus.RUNNING
    record.started_at = record.started_at or change.now
    record.message = message
    show(change, record)
    return record


def progress_step(
    change: Change,
    name: StepName,
    *,
    message: str,
    percent: int | None,
    output: str | None,
    output_offset: int | None,
) -> None:
    """Show how a running step goes; reaches the row every PROGRESS_WRITE_INTERVAL at most."""
    record = change.attempt.step(name)
    if record.status is not StepStatus.RUNNING:
        return
    record.message = message
    if percent is not None:
        record.percent = max(percent, record.percent or 0)
    if output:
        _append_output(record, output, output_offset)
    write = change.now - change.attempt.progress_at >= PROGRESS_WRITE_INTERVAL
    show(change, record, output, output_offset, write=write)


def _append_output(record: StepRecord, output: str, offset: int | None) -> None:
    """Add a piece to the tail; what came between two writes of the row is missing in it."""
    gap = "" if offset in {None, record.output_end or 0} else "\n…\n"
    record.output = f"{record.output or ''}{gap}{output}"[-OUTPUT_TAIL_CHARACTERS:]
    record.output_end = None if offset is None else offset + len(output.encode())


def end_step(
    change: Change, name: StepName, status: StepStatus, message: str | None = None
) -> None:
    """Close a step; what it was at is no news of it any more."""
    record = change.attempt.step(name)
    record.started_at = record.started_at or change.now
    record.ended_at = change.now
    record.status = status
    record.message = message
    if status is StepStatus.COMPLETED and record.percent is not None:
        record.percent = 100
    show(change, record)


def show(
    change: Change,
    record: StepRecord,
    output: str | None = None,
    output_offset: int | None = None,
    *,
    write: bool = True,
) -> None:
    """Tell viewers how a step stands, and the ATTEMPT row unless it was told just now."""
    attempt = change.attempt
    if write:
        attempt.revision += 1
        attempt.progress_at = change.now
        change.save(attempt)
    elapsed = milliseconds(record.started_at or change.now, record.ended_at or change.now)
    expected = attempt.expected.get(record.step)
    running = record.status is StepStatus.RUNNING
    message = record.message
    if running and expected is not None and elapsed > SLOW_FACTOR * expected + SLOW_MARGIN_MS:
        message = f"{message or 'Working'} (slower than usual)"
    change.emit(
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


def receipt(attempt: Attempt, now: datetime, dollars_per_hour: float = 0.0) -> Receipt:
    """Return what the attempt took so far."""
    total = milliseconds(attempt.started_at, now)
    steps = [
        StepReceipt(
            step=record.step,
            status=record.status,
            elapsed_ms=milliseconds(record.started_at, record.ended_at or now),
        )
        for record in attempt.steps
        if record.started_at
    ]
    return Receipt(
        attempt_number=attempt.number,
        total_ms=total,
        between_ms=max(0, total - sum(step.elapsed_ms for step in steps)),
        cloned_bytes=attempt.cloned_bytes,
        cached=attempt.clone_cached,
        prepared_tree=_tree_receipt(attempt),
        estimated_dollars=round(total / 3_600_000 * dollars_per_hour, 6),
        steps=steps,
    )


def _tree_receipt(attempt: Attempt) -> TreeReceipt | None:
    tree = attempt.adopted_tree
    if tree is None:
        return None
    took = attempt.took(StepName.CLONE) + attempt.took(StepName.SETUP)
    return TreeReceipt(
        age=milliseconds(tree.created_at, attempt.started_at) // 1000,
        bytes=tree.file.bytes,
        saved=max(0, tree.made_ms - round(took / timedelta(milliseconds=1))),
    )


def durations(attempt: Attempt, recipe: str | None) -> dict[str, int]:
    """Return how long each step that was really done took, blended with what was known before.

    That of the setup is kept under its recipe: other commands take another time.
    """
    found = dict(attempt.expected)
    for record in attempt.steps:
        if record.status is StepStatus.COMPLETED and record.started_at and record.ended_at:
            took = milliseconds(record.started_at, record.ended_at)
            known = found.get(record.step, took)
            found[record.step.value] = round(known + BLEND * (took - known))
    setup = found.pop(StepName.SETUP, None)
    return found if setup is None or recipe is None else {**found, _setup_by(recipe): setup}


def expected(kept: dict[str, int], recipe: str | None) -> dict[str, int]:
    """Return how long each step may take, by what `durations` returned of an earlier session."""
    found = {step.value: kept[step] for step in StepName if step in kept}
    found.pop(StepName.SETUP, None)
    setup = kept.get(_setup_by(recipe)) if recipe else None
    return found if setup is None else {**found, StepName.SETUP.value: setup}


def _setup_by(recipe: str) -> str:
    return f"{StepName.SETUP}.{recipe[:16]}"
