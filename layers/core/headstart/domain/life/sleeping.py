"""Sleep and wake: the work is copied, the copy sent and kept, the sandbox gone; then back again."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from headstart.domain import events
from headstart.domain.change import SNAPSHOT, Change, QuotaChange, RowKey, WorkingSet
from headstart.domain.channel import Leave, Leaving
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errands import (
    AnswerTask,
    DropObject,
    LookForCopy,
    Measure,
    SendOrder,
    SendUpload,
)
from headstart.domain.errors import DeliveryUnknown, StepError
from headstart.domain.life import hosting, queueing, turns
from headstart.domain.life.progress import is_done
from headstart.domain.sandbox import Command, Sandbox, SandboxStatus
from headstart.domain.session import Snapshot, Status
from headstart.domain.steps import StepName

TURN_LIMIT = timedelta(hours=2, minutes=10)
"""How long a turn may last: the runner's own two hours, and time for its word to arrive."""

LOOK_AGAIN = timedelta(minutes=1)
"""When a copy that could not be looked for is looked for again."""

_MOST_WORDS = 300
_MOST_PATHS = 5

_IDLE = {Status.READY, Status.PREPARED}


def begin_sleep(change: Change) -> bool:
    """Begin to put an idle session to sleep; False where it is not idle any more."""
    session = change.session
    if session.status not in _IDLE or session.active_turn or session.can_deliver:
        return False
    session.move_to(Status.STOPPING, change.now)
    ask_for_copy(change)
    return True


def ask_for_copy(change: Change) -> None:
    """Ask for a copy of the work; the runner makes it before it takes the next prompt.

    It takes the place of a copy that was asked for before.
    """
    name = change.new_id("snap")
    change.session.saving = name
    command = Command(
        command_id=f"{name}.snapshot",
        kind=CommandKind.SNAPSHOT,
        snapshot=name,
        attempt_number=change.session.attempt_number,
        created_at=change.now,
    )
    change.save(command)
    change.then(SendOrder(command.command_id))


def ask_for_upload(change: Change, made: Command) -> bool:
    """Ask for the upload of a copy that was made; False where its answer makes no sense."""
    size, sha256 = made.output.get("bytes"), made.output.get("sha256")
    if type(size) is not int or size < 0 or not isinstance(sha256, str):
        return False
    command = Command(
        command_id=f"{made.snapshot}.upload",
        kind=CommandKind.UPLOAD,
        snapshot=made.snapshot,
        attempt_number=change.session.attempt_number,
        args={
            **made.output,
            "key": f"snapshots/{change.session.session_id}/{made.snapshot}",
            "askedAt": made.created_at.isoformat(),
        },
        created_at=change.now,
    )
    change.save(command)
    change.then(SendUpload(command.command_id))
    return True


def uploaded(change: Change, command: Command) -> None:
    """Have it looked for what was said to be sent: only what is seen there is kept."""
    change.then(LookForCopy(command.command_id))


def forget(change: Change, command: Command) -> None:
    """Forget a command that is over, unless it sends a copy: the object would have no name then.

    Such a one stays until it was looked for, and a deletion waits for it.
    """
    if command.kind is not CommandKind.UPLOAD:
        change.forget(command)


def drop(change: Change, command: Command) -> None:
    """Forget a copy that is not kept, and have its object deleted, should there be one."""
    change.forget(command)
    change.then(DropObject(str(command.args["key"])))


def look_for_copies(change: Change) -> None:
    """Have all copies looked for of which nobody could say any more whether they were sent."""
    for command in change.commands.values():
        if command.kind is CommandKind.UPLOAD:
            change.then(LookForCopy(command.command_id))


def keep(change: Change, command_id: str, *, is_there: bool) -> None:
    """Make an uploaded copy the session's snapshot, if it was seen there whole.

    The copy before is not needed any more; or this one, where a later one has been faster.
    """
    command = change.commands.get(command_id)
    if command is None:
        return
    if not is_there:
        # One that this attempt's sandbox sends may arrive a moment later.
        if command.answered or command.attempt_number != change.session.attempt_number:
            drop(change, command)
        said = "it was said to be sent and is not there"
        saved(change, command, said if command.answered else "it was not sent in time")
        return
    before = change.get(SNAPSHOT, Snapshot)
    try:
        copy = _snapshot(command.args)
    except ValidationError:
        drop(change, command)
        saved(change, command, "the copy makes no sense")
        return
    if before and before.created_at > copy.created_at:
        drop(change, command)
    else:
        change.forget(command)
        change.save(copy)
        if before and before.key != copy.key:
            change.then(DropObject(before.key))
    saved(change, command, None)


def _snapshot(args: dict[str, Any]) -> Snapshot:
    return Snapshot(
        key=str(args["key"]),
        bytes=int(args["bytes"]),
        sha256=str(args["sha256"]),
        base_commit=args.get("baseCommit"),
        head_commit=args.get("headCommit"),
        created_at=datetime.fromisoformat(str(args["askedAt"])),
    )


def beside_a_copy(_: WorkingSet) -> list[RowKey]:
    """Name what an uploaded copy is compared with."""
    return [SNAPSHOT]


def saved(change: Change, command: Command, problem: StepError | str | None) -> None:
    """The work was saved, or was not: either way a session that waits for it sleeps now."""
    if command.snapshot != change.session.saving:
        return  # another copy has taken its place
    if problem:
        change.then(Measure("SnapshotsFailed"))
    if change.session.status is Status.STOPPING:
        lacks = [] if problem else _lacks(command.args)
        without = f"; saved without {', '.join(lacks)}" if lacks else ""
        fall_asleep(change, _why_stopping(change) + without, problem)
    else:
        change.session.saving = None


def words(said: object) -> str | None:
    """Return what a runner says that a copy is without, None where it says nothing."""
    return said[:_MOST_WORDS] if isinstance(said, str) and said else None


def _lacks(args: dict[str, Any]) -> list[str]:
    """Return what a copy is without, in words: a part of it, the first files that were left out."""
    skipped = args.get("skipped")
    paths = [path for path in map(words, skipped if isinstance(skipped, list) else []) if path]
    more = [f"{len(paths) - _MOST_PATHS} more files"] if len(paths) > _MOST_PATHS else []
    missing = words(args.get("missing"))
    return [*([missing] if missing else []), *paths[:_MOST_PATHS], *more]


def _why_stopping(change: Change) -> str:
    return (change.sandbox and change.sandbox.stopped_reason) or "Idle"


def fall_asleep(change: Change, reason: str, problem: StepError | str | None) -> None:
    """The container goes; the next message wakes the session.

    `problem` is why there is no copy of the work as it was last, None where there is one.
    """
    session = change.session
    hosting.give_up(change, "the session goes to sleep")
    session.move_to(Status.ASLEEP, change.now)
    session.saving = None
    change.quota = QuotaChange.LEAVE
    if problem:
        reason += f"; the work was not saved: {problem}"
    change.emit(events.SessionAsleep(reason=reason, saved=problem is None))


def leaving(change: Change, connection_id: str, frame: Leaving) -> None:
    """Have the work of a sandbox that must stop saved, its session asleep after that.

    A sandbox that has nothing to save, or whose work nobody would wait for, is let go at once. A
    message goes back into the queue only where the runner says that it does not have it.
    """
    hosting.require_runner(change, connection_id)
    session, sandbox = change.session, change.sandbox
    if sandbox is None or sandbox.status is SandboxStatus.STOPPED:
        change.reply(connection_id, Leave())
        return
    _judge_delivery(change, frame.delivering)
    if session.status in _IDLE:
        begin_leaving(change)
    if session.status is not Status.STOPPING or session.saving is None:
        change.reply(connection_id, Leave())
        return
    change.then(Measure("SandboxesLeaving"))
    for command in hosting.open_commands(change):
        if command.snapshot == session.saving:
            change.then(hosting.errand_of(command))


def begin_leaving(change: Change) -> None:
    """Begin to stop: have the work saved as it is now, whatever copy was on its way."""
    session, sandbox = change.session, change.sandbox
    session.move_to(Status.STOPPING, change.now)
    if sandbox is not None:
        sandbox.stopped_reason = "The sandbox had to stop"
        change.save(sandbox)
    ask_for_copy(change)


def _judge_delivery(change: Change, delivering: Collection[str] | None) -> None:
    """Decide about a message on its way: back into the queue only where it certainly stayed out.

    In a preparation one that may have arrived waits for the sandbox's end, like all else of it.
    """
    turn = change.session.active_turn
    if turn is None or turn.started_at is not None:
        return
    if delivering is not None and not any(map(turn.is_by, delivering)):
        turns.unclaim(change)
    elif change.session.status in _IDLE:
        reason = "The sandbox had to stop while the message was delivered"
        turns.refuse(change, queueing.head(change), DeliveryUnknown(reason))


def stopped(change: Change, *, name: str, handle: str, error: StepError) -> bool:
    """Take note that a task ended: its waiting step fails at once, a turn ends, a session sleeps.

    A task that is not the session's accepted one is none of our business. True where the session
    knew of no end.
    """
    reason = error.reason
    session, sandbox = change.session, change.sandbox
    own = sandbox and (handle == sandbox.task_arn or name == sandbox.name(session.session_id))
    if sandbox is None or not own:
        return False
    known = sandbox.status is SandboxStatus.STOPPED
    if not known:
        sandbox.status = SandboxStatus.STOPPED
        sandbox.stopped_reason = reason
        sandbox.connection_id = None
        change.save(sandbox)
        hosting.leave_place_without_sandbox(change)
        change.then(Measure("SandboxesStopped"))
    if session.status is Status.PREPARING:
        # Also when it is known: who wrote it down may have died before it told the machine.
        if tokens := _waiting_tokens(change, sandbox):
            change.then(AnswerTask(tokens, error.code, error.title))
    elif session.status is Status.STOPPING and _look_for_copy(change):
        pass
    elif session.status in {*_IDLE, Status.RUNNING, Status.STOPPING}:
        turns.lose_turn(change, error)
        fall_asleep(change, reason, "the sandbox was gone before a new copy was made")
    return not known


def _waiting_tokens(change: Change, sandbox: Sandbox) -> tuple[str, ...]:
    tokens = [token for command in hosting.open_commands(change) for token in command.tokens]
    waits = not is_done(change.attempt.step(StepName.SANDBOX))
    return (*tokens, *(sandbox.tokens if waits else ()))


def is_overdue(change: Change) -> bool:
    """Say whether the active turn has lasted longer than any may."""
    turn = change.session.active_turn
    return turn is not None and change.now - (turn.started_at or turn.claimed_at) > TURN_LIMIT


def give_up_waiting(change: Change) -> None:
    """Wait for a copy no longer; one that was sent and not seen yet is looked for once more."""
    session = change.session
    if session.status is not Status.STOPPING:
        return
    if not _look_for_copy(change):
        fall_asleep(change, _why_stopping(change), "making a copy took too long")


def _look_for_copy(change: Change) -> bool:
    """Have the copy looked for that may have been sent, though nobody could say so any more."""
    for command in change.commands.values():
        if command.kind is CommandKind.UPLOAD and command.snapshot == change.session.saving:
            change.then(LookForCopy(command.command_id))
            change.session.due_at = change.now + LOOK_AGAIN
            return True
    return False
