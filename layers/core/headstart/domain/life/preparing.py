"""Attempts and their steps: begun, continued, completed, failed, cancelled, and tried again."""

from headstart.domain import events
from headstart.domain.attempt import Attempt, AttemptStatus, StepRecord
from headstart.domain.calls import Call, Effect, require
from headstart.domain.change import Change, NoPlace, QuotaChange
from headstart.domain.channel import Cancel
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errands import (
    AdmitNext,
    AnswerTask,
    Measure,
    SendPrompt,
    SendStep,
    StartAttempt,
    StopAttempt,
    Tell,
)
from headstart.domain.errors import (
    Cancelled,
    InternalStepError,
    NotStarted,
    SandboxStartFailed,
    SandboxStopped,
    SandboxUnresponsive,
    StaleAttempt,
    StepError,
    StepTimedOut,
    WorkspaceGone,
)
from headstart.domain.failure import Failure
from headstart.domain.life import (
    hosting,
    publishing,
    queueing,
    saving,
    sleeping,
    talking,
    turns,
    workspace,
)
from headstart.domain.life.progress import (
    begin_step,
    end_step,
    is_done,
    is_over,
    milliseconds,
    receipt,
    require_attempt,
)
from headstart.domain.requests import RetrySession
from headstart.domain.sandbox import Command, SandboxStatus
from headstart.domain.session import Cause, Hold, Status
from headstart.domain.steps import StepName, StepStatus

INFRASTRUCTURE = (
    SandboxStartFailed,
    SandboxStopped,
    SandboxUnresponsive,
    NotStarted,
    StepTimedOut,
    InternalStepError,
)
"""What fails a preparation and is for who runs the deployment to look into, not for its user."""


def begin_attempt(change: Change, cause: Cause) -> None:
    """Start attempt n+1, which takes a place, or keeps the one the session has."""
    session = change.session
    session.attempt_number += 1
    session.attempt_cause = cause
    session.failure = None
    session.saving = None
    session.move_to(Status.PREPARING, change.now)
    session.waiting_since = None
    for command in list(change.commands.values()):
        saving.forget(change, command)
    change.begin(
        Attempt(
            number=session.attempt_number,
            cause=cause,
            started_at=change.now,
            progress_at=change.now,
            done_before=[record.step for record in change.attempt.steps if is_done(record)],
            # Until another clone says otherwise: the sandbox may be kept.
            adopted=change.attempt.adopted,
            likeness=change.attempt.likeness,
            tree=change.attempt.adopted_tree,
        )
    )
    change.quota = None if change.quota is QuotaChange.LEAVE else QuotaChange.JOIN
    change.emit(events.SessionPreparing(attempt_number=session.attempt_number, cause=cause))
    change.then(StartAttempt(session.attempt_number))


def take_step(change: Change, attempt_number: int, step: StepName, token: str) -> None:
    """Begin a step, or continue the try of it that an earlier invocation began."""
    require_attempt(change.session, attempt_number)
    record = change.attempt.step(step)
    if not is_done(record) and (why := workspace.why_skipped(change, step)):
        workspace.skipped(change, step)
        end_step(change, step, StepStatus.SKIPPED, why)
    if is_done(record):
        change.then(AnswerTask((token,)))
        return
    require_sandbox(change)
    command = next((c for c in change.commands.values() if c.step is step and not c.answered), None)
    if command is None:
        record.tries += 1
        command = Command(
            command_id=f"{attempt_number}.{step.value}.{record.tries}",
            kind=CommandKind(step),
            attempt_number=attempt_number,
            step=step,
            created_at=change.now,
        )
    command.wait_with(token)
    change.save(command)
    begin_step(change, step, workspace.begins_with(change, step))
    change.then(SendStep(command.command_id))


def not_made(change: Change, command_id: str, error: StepError) -> None:
    """Have a step fail whose command could not be made: no sandbox will say so."""
    command, session = change.commands.get(command_id), change.session
    if command is None or command.answered or command.step is None:
        return
    if command.attempt_number != session.attempt_number:
        return
    if session.status is not Status.PREPARING or is_done(change.attempt.step(command.step)):
        return
    command.answered, command.failure = True, Failure.of(error, command.step)
    change.save(command)
    change.attempt.step(command.step).failure = command.failure
    begin_step(change, command.step, error.reason)
    change.then(AnswerTask(tuple(command.tokens), error.code, error.title))


def take_delivery(change: Change, attempt_number: int, token: str) -> None:
    """Deliver the head of the queue, if it may be, or continue the delivery under way."""
    require_attempt(change.session, attempt_number)
    if is_done(change.attempt.step(StepName.DELIVER)):
        change.then(AnswerTask((token,)))
        return
    require_sandbox(change)
    turn = change.session.active_turn
    if turn is None and not change.session.can_deliver:
        note = "The message is held" if change.session.hold else "No message is waiting"
        end_step(change, StepName.DELIVER, StepStatus.SKIPPED, note)
        change.then(AnswerTask((token,)))
        return
    if turn is None:
        publishing.go_first(change)
        offered = hosting.is_reachable(change)
        command: Command | None = turns.claim(change, offered=offered)
    else:
        command = change.commands.get(turn.command_id or "")
    if command is None or command.answered:
        return
    command.step = StepName.DELIVER
    command.wait_with(token)
    change.save(command)
    if turn is None:
        begin_step(change, StepName.DELIVER)
    if command.offered:
        change.then(SendPrompt(command.command_id))


def require_sandbox(change: Change) -> None:
    """Raise SandboxStopped unless the session has a sandbox."""
    sandbox = change.sandbox
    if sandbox is None or sandbox.status is SandboxStatus.STOPPED:
        raise SandboxStopped((sandbox and sandbox.stopped_reason) or "The sandbox is gone")


def finish(change: Change, attempt_number: int) -> None:
    """End an attempt whose steps are all done; nothing where it has ended already."""
    if is_over(change.session, attempt_number):
        return
    require_sandbox(change)
    complete_attempt(change)
    change.then(Measure("SessionsPrepared"))


def complete_attempt(change: Change) -> None:
    """End the attempt well: `running` if a message was accepted, else `ready` or `prepared`."""
    session, attempt = change.session, change.attempt
    attempt.status = AttemptStatus.COMPLETED
    attempt.ended_at = change.now
    attempt.revision += 1
    change.save(attempt)
    paid = receipt(attempt, change.now, change.policy.sandbox_dollars_per_hour)
    session.prepared_at = change.now
    if session.active_turn:
        session.move_to(Status.RUNNING, change.now)
        change.emit(events.SessionReady(receipt=paid))
    elif session.initiated_at:
        session.move_to(Status.READY, change.now)
        change.emit(events.SessionReady(receipt=paid))
    else:
        session.move_to(Status.PREPARED, change.now)
        change.emit(events.SessionPrepared(receipt=paid))


def fail(change: Change, attempt_number: int, error: StepError) -> Failure | None:
    """End an attempt with an error and say why; None where it has ended already.

    What the failed step itself said is told, where it failed by the name that the machine names.
    What is returned is for logs: ECS's and the machine's words, never those of a step.
    """
    session, attempt = change.session, change.attempt
    if is_over(session, attempt_number) or attempt.status is not AttemptStatus.RUNNING:
        return None
    record = next((r for r in attempt.steps if not is_done(r)), attempt.steps[-1])
    public = _in_words_of_ecs(change, error)
    error = _in_words_of_step(record, public)
    turns.lose_turn(change, error)
    publishing.give_up(change, error)
    _drop_commands(change)
    end_step(change, record.step, StepStatus.FAILED, error.reason)
    attempt.status = AttemptStatus.FAILED
    attempt.ended_at = change.now
    _failed(change, error, record.step)
    change.then(Measure("PreparationsFailed", dimensions=(("Code", error.code),)))
    if not isinstance(public, INFRASTRUCTURE):
        return Failure.of(type(public)(), record.step)
    change.then(Measure("InfrastructureFailures"))
    return Failure.of(public, record.step)


def _in_words_of_ecs(change: Change, error: StepError) -> StepError:
    """Return how a sandbox stopped, where the machine knew no more than that it did."""
    reason = change.sandbox and change.sandbox.stopped_reason
    if not isinstance(error, SandboxStopped) or error.reason != error.title or not reason:
        return error
    return SandboxStopped(reason)


def _in_words_of_step(record: StepRecord, error: StepError) -> StepError:
    """Return an error with its own reason, where the machine knew no more than its name."""
    failure = record.failure
    if isinstance(error, SandboxStopped) or error.reason != error.title:
        return error
    return type(error)(failure.reason) if failure and failure.code == error.code else error


def interrupt(change: Change, *, owner: str) -> None:
    """Stop the active turn, or cancel the preparation; nothing where nothing is active."""
    if talking.interrupt(change, owner=owner) is Effect.CANCEL:
        cancel(change)


def retry(change: Change, *, owner: str, request: RetrySession) -> None:
    """Begin a new attempt of a failed session; raises StaleAttempt for another than the last."""
    session = change.session
    visible = session.owner == owner and session.status is not Status.DELETING
    if visible and session.attempt_number != request.attempt_number:
        raise StaleAttempt(f"the last attempt is {session.attempt_number}")
    require(session, owner, Call.RETRY)
    talking.configure(change, request)
    if request.without_archive:
        session.without_archive = True
        hosting.give_up(change, "it is prepared without its archive")
    if session.hold is Hold.PAUSED:
        queueing.release(change)
    begin_attempt(change, Cause.RETRY)
    change.no_place = NoPlace.ASK


def cancel(change: Change) -> None:
    """End the attempt because a person said so: a wake-up sleeps on, anything else has failed."""
    session, attempt = change.session, change.attempt
    change.then(StopAttempt(attempt.number, "the preparation was cancelled"))
    error = Cancelled("The preparation was cancelled")
    turns.lose_turn(change, error)
    publishing.give_up(change, Cancelled("The wake-up was cancelled"))
    _drop_commands(change)
    record = next((r for r in attempt.steps if not is_done(r)), attempt.steps[-1])
    end_step(change, record.step, StepStatus.CANCELLED)
    attempt.status = AttemptStatus.CANCELLED
    attempt.ended_at = change.now
    session.hold = session.hold or Hold.PAUSED
    if attempt.cause is Cause.WAKE:
        kept = session.put_back
        problem = None if kept else "there is no earlier copy"
        left_out = kept.left_out if kept else []
        sleeping.fall_asleep(change, "The wake-up was cancelled", problem, left_out)
    else:
        _failed(change, error, record.step)


def _drop_commands(change: Change) -> None:
    """Have what the attempt still runs killed; nobody waits for its results.

    Not what it sends: a retry may begin with it.
    """
    for command in list(change.commands.values()):
        if not command.answered and command.kind is not CommandKind.UPLOAD:
            change.then(Tell(Cancel(id=command.command_id)))
        saving.forget(change, command)


def _failed(change: Change, error: StepError, step: StepName) -> None:
    session = change.session
    session.failure = Failure.of(error, step)
    session.move_to(Status.FAILED, change.now)
    change.emit(events.SessionFailed(attempt_number=change.attempt.number, failure=session.failure))
    sandbox = change.sandbox
    usable = not isinstance(error, WorkspaceGone | SandboxUnresponsive)
    if not (usable and sandbox and sandbox.status is SandboxStatus.CONNECTED):
        hosting.give_up(change, error.title)
    hosting.leave_place_without_sandbox(change)
    # Whoever waits may have the place that a retry would have had.
    change.then(AdmitNext(session.owner))


def never_started(change: Change) -> bool:
    """Say whether nothing has come of the attempt's execution yet."""
    return change.attempt.step(StepName.SANDBOX).status is StepStatus.PENDING


def took(change: Change) -> int:
    """Return how many milliseconds the attempt has taken."""
    return milliseconds(change.attempt.started_at, change.now)
