"""Falling asleep: the work is saved, the sandbox goes; or it has gone, and nothing could be."""

from collections.abc import Collection, Sequence
from datetime import timedelta

from headstart.domain import events
from headstart.domain.archive import Copy
from headstart.domain.change import Change, QuotaChange
from headstart.domain.channel import Leave, Leaving
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errands import AnswerTask, LookForCopy, Measure
from headstart.domain.errors import DeliveryUnknown, StepError
from headstart.domain.life import hosting, queueing, saving, turns
from headstart.domain.life.progress import is_done
from headstart.domain.model import format_time
from headstart.domain.sandbox import Command, Sandbox, SandboxStatus
from headstart.domain.session import Status
from headstart.domain.steps import StepName

TURN_LIMIT = timedelta(hours=2, minutes=10)
"""How long a turn may last: the runner's own two hours, and time for its word to arrive."""

LOOK_AGAIN = timedelta(minutes=1)
"""When a copy that could not be looked for is looked for again."""

_IDLE = {Status.READY, Status.PREPARED}


def begin_sleep(change: Change) -> bool:
    """Begin to put an idle session to sleep; False where it is not idle any more."""
    session, publication = change.session, change.session.publication
    if session.status not in _IDLE or session.active_turn or session.can_deliver:
        return False
    if publication and publication.goes_on:
        return False
    session.move_to(Status.STOPPING, change.now)
    saving.ask_for_copy(change)
    return True


def looked_for(change: Change, command_id: str, *, is_there: bool, has_source: bool) -> None:
    """Keep a copy that was looked for, or say what became of it.

    Where the base is gone that it builds on, another is asked for at once, or at the turn's end.
    """
    session, command = change.session, change.commands.get(command_id)
    if command is None:
        return
    if has_source:
        problem = saving.keep(change, command, is_there=is_there)
    else:
        problem = saving.give_up_tree(change, command)
    is_needed = command.archive == session.saving and session.active_turn is None
    if problem == saving.BASE_GONE and is_needed and hosting.is_reachable(change):
        saving.ask_for_copy(change)
    else:
        saved(change, command, problem)


def saved(change: Change, command: Command, problem: StepError | str | None) -> None:
    """The work was saved, or was not: either way a session that waits for it sleeps now."""
    if command.archive != change.session.saving:
        return  # another copy has taken its place
    if problem:
        change.then(Measure("ArchivesFailed"))
    if change.session.status is not Status.STOPPING:
        change.session.saving = None
    elif problem:
        fall_asleep(change, _why_stopping(change), problem)
    else:
        copy = Copy.model_validate(command.args)
        without = f"; saved without {copy.missing}" if copy.missing else ""
        fall_asleep(change, _why_stopping(change) + without, None, copy.left_out.named())


def _why_stopping(change: Change) -> str:
    return (change.sandbox and change.sandbox.stopped_reason) or "Idle"


def fall_asleep(
    change: Change, reason: str, problem: StepError | str | None, left_out: Sequence[str] = ()
) -> None:
    """The container goes; the next message wakes the session.

    `problem` is why there is no copy of the work as it was last, None where there is one, which is
    without `left_out`.
    """
    session = change.session
    hosting.give_up(change, "the session goes to sleep")
    session.move_to(Status.ASLEEP, change.now)
    session.saving = None
    change.quota = QuotaChange.LEAVE
    if problem:
        kept = session.put_back
        since = f" since {format_time(kept.as_of)}" if kept else ""
        reason += f"; the work{since} was not saved: {problem}"
    asleep = events.SessionAsleep(reason=reason, saved=problem is None, left_out=list(left_out))
    change.emit(asleep)


def leaving(change: Change, connection_id: str, frame: Leaving) -> None:
    """Have the work of a sandbox that must stop saved, its session asleep after that.

    What is saved is what is there now: a copy in the making began before the agent's end. A sandbox
    that has nothing to save, or whose work nobody would wait for, is let go at once. A message goes
    back into the queue only where the runner says that it does not have it.
    """
    hosting.require_runner(change, connection_id)
    session, sandbox = change.session, change.sandbox
    if sandbox is None or sandbox.status is SandboxStatus.STOPPED:
        change.reply(connection_id, Leave())
        return
    _judge_delivery(change, frame.delivering)
    is_asked = session.status is Status.STOPPING and sandbox.is_leaving
    hosting.has_to_leave(change)
    if session.status in {*_IDLE, Status.STOPPING} and not is_asked:
        begin_leaving(change)
    if session.status is not Status.STOPPING or session.saving is None:
        change.reply(connection_id, Leave())
        return
    change.then(Measure("SandboxesLeaving"))
    for command in hosting.open_commands(change):
        if command.archive == session.saving:
            change.then(hosting.errand_of(command))


def begin_leaving(change: Change) -> None:
    """Begin to stop: have the work saved as it is now, whatever copy was on its way."""
    session, sandbox = change.session, change.sandbox
    session.move_to(Status.STOPPING, change.now)
    hosting.has_to_leave(change)
    if sandbox is not None:
        sandbox.stopped_reason = "The sandbox had to stop"
        change.save(sandbox)
    saving.ask_for_copy(change)


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
        if command.kind is CommandKind.UPLOAD and command.archive == change.session.saving:
            change.then(LookForCopy(command.command_id))
            change.session.due_at = change.now + LOOK_AGAIN
            return True
    return False
