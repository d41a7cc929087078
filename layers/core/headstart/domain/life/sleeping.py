"""Sleep and wake: the work is copied, the copy sent and kept, the sandbox gone; then back again."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from headstart.domain import events
from headstart.domain.change import SNAPSHOT, Change, QuotaChange
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
from headstart.domain.errors import DeliveryUnknown, SandboxStopped, StepError, TurnLost
from headstart.domain.life import hosting, talking
from headstart.domain.life.progress import is_done
from headstart.domain.session import (
    Command,
    Sandbox,
    SandboxStatus,
    Snapshot,
    Status,
)
from headstart.domain.steps import StepName

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


def keep(change: Change, command_id: str, *, is_there: bool) -> None:
    """Make an uploaded copy the session's snapshot, if it was seen there whole.

    The copy before is not needed any more; or this one, where a later one has been faster.
    """
    command = change.commands.get(command_id)
    if command is None:
        return
    change.forget(command)
    args: dict[str, Any] = command.args
    error: StepError | None = command.failure.error() if command.failure else None
    if is_there and error is None:
        key, asked_at = str(args["key"]), datetime.fromisoformat(str(args["askedAt"]))
        before = change.get(SNAPSHOT, Snapshot)
        if before and before.created_at > asked_at:
            change.then(DropObject(key))
        else:
            skipped = args.get("skipped")
            change.save(
                Snapshot(
                    key=key,
                    bytes=int(args["bytes"]),
                    sha256=str(args["sha256"]),
                    base_commit=args.get("baseCommit"),
                    head_commit=args.get("headCommit"),
                    skipped=skipped[:50] if isinstance(skipped, list) else [],
                    created_at=asked_at,
                )
            )
            if before and before.key != key:
                change.then(DropObject(before.key))
        saved(change, command, None)
    else:
        saved(change, command, error or "it was said to be sent and is not there")


def saved(change: Change, command: Command, problem: StepError | str | None) -> None:
    """The work was saved, or was not: either way a session that waits for it sleeps now."""
    if command.snapshot != change.session.saving:
        return  # another copy has taken its place
    if problem:
        change.then(Measure("SnapshotsFailed"))
    if change.session.status is Status.STOPPING:
        reason = (change.sandbox and change.sandbox.stopped_reason) or "Idle"
        if problem:
            reason += f"; the work was not saved: {problem}"
        fall_asleep(change, reason, saved=problem is None)
    else:
        change.session.saving = None


def fall_asleep(change: Change, reason: str, *, saved: bool = False) -> None:
    """The container goes; the next message wakes the session."""
    session = change.session
    hosting.give_up(change, "the session goes to sleep")
    session.move_to(Status.ASLEEP, change.now)
    session.saving = None
    change.quota = QuotaChange.LEAVE
    change.emit(events.SessionAsleep(reason=reason, saved=saved))


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
    if session.status in _IDLE:
        _put_back(change, frame.delivering)
        session.move_to(Status.STOPPING, change.now)
        sandbox.stopped_reason = "The sandbox had to stop"
        change.save(sandbox)
        if session.saving is None:
            ask_for_copy(change)
    if session.status is not Status.STOPPING or session.saving is None:
        change.reply(connection_id, Leave())
        return
    change.then(Measure("SandboxesLeaving"))
    for command in hosting.open_commands(change):
        if command.snapshot:
            change.then(hosting.errand_of(command))


def _put_back(change: Change, delivering: Collection[str] | None) -> None:
    turn = change.session.active_turn
    if turn is None or turn.started_at is not None:
        return
    if delivering is None or turn.command_id is None or turn.command_id in delivering:
        reason = "The sandbox had to stop while the message was delivered"
        talking.refuse(change, talking.head(change), DeliveryUnknown(reason))
    else:
        talking.unclaim(change)


def stopped(change: Change, *, name: str, handle: str, reason: str) -> None:
    """Take note that a task ended: its waiting step fails at once, a turn ends, a session sleeps.

    A task that is not the session's accepted one is none of our business.
    """
    session, sandbox = change.session, change.sandbox
    own = sandbox and (handle == sandbox.task_arn or name == sandbox.name(session.session_id))
    if sandbox is None or not own:
        return
    error = SandboxStopped(reason)
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
            change.then(AnswerTask(tokens, error.code, error.reason))
    elif not known and session.status in {
        Status.READY,
        Status.RUNNING,
        Status.PREPARED,
        Status.STOPPING,
    }:
        talking.lose_turn(change, error)
        fall_asleep(change, reason)


def _waiting_tokens(change: Change, sandbox: Sandbox) -> tuple[str, ...]:
    for command in hosting.open_commands(change):
        if command.task_tokens:
            return tuple(command.task_tokens)
    waiting = not is_done(change.attempt.step(StepName.SANDBOX))
    return tuple(sandbox.task_tokens) if waiting else ()


def overdue(change: Change) -> None:
    """End a turn that has lasted too long: its sandbox is stopped, the session sleeps."""
    error = TurnLost("The turn lasted longer than two hours and ten minutes")
    talking.lose_turn(change, error)
    fall_asleep(change, error.reason)
