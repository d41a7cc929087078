"""The preparation: what Step Functions asks for, state by state, and how an attempt ends."""

import json
import logging
from typing import Any

from headstart.domain import lifecycle, turns
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errors import (
    AttemptSuperseded,
    InternalStepError,
    SandboxStopped,
    SandboxUnresponsive,
    SessionNotFound,
    StepError,
    StepTimedOut,
    TaskTokenGone,
    step_error,
)
from headstart.domain.model import Model
from headstart.domain.session import (
    AttemptStatus,
    Command,
    Sandbox,
    SandboxStatus,
    Session,
    Status,
)
from headstart.domain.steps import STEP_BY_NAME, StepName, StepStatus
from headstart.domain.work import Work
from headstart.usecases.change import change
from headstart.usecases.commands import send_prompt, send_step
from headstart.usecases.line import admit_next
from headstart.usecases.messages import claim, dispatch
from headstart.usecases.ports import Ports
from headstart.usecases.sandbox import acquire_sandbox, give_up, kept_for_retry, let_go

_log = logging.getLogger(__name__)


class StepTask(Model):
    """What a state passes to run_step: ids and the token, nothing else."""

    session_id: str
    attempt_number: int
    step: StepName
    task_token: str


def run_step(ports: Ports, task: StepTask) -> None:
    """Begin a step, or continue the try of it that an earlier invocation began.

    The step's end comes later, with the runner's report, through the task token. Raises
    AttemptSuperseded, SandboxStopped, SandboxStartFailed by name for the machine to catch.
    """
    if task.step is StepName.SANDBOX:
        acquire_sandbox(ports, task.session_id, task.attempt_number, task.task_token)
    elif task.step is StepName.DELIVER:
        _deliver(ports, task)
    else:
        _command(ports, task)


def _command(ports: Ports, task: StepTask) -> None:
    def decide(work: Work) -> Command | None:
        session = work.session
        lifecycle.require_attempt(session, task.attempt_number)
        attempt = ports.store.attempt(session.session_id, task.attempt_number)
        if lifecycle.is_done(attempt.step(task.step)):
            return None
        config = ports.store.config(session.session_id)
        if task.step is StepName.SETUP and not config.setup_commands:
            lifecycle.end_step(work, attempt, task.step, StepStatus.SKIPPED, "No setup commands")
            return None
        _require_sandbox(ports, session.session_id)
        tries: list[Command] = []
        if attempt.step(task.step).status is not StepStatus.PENDING:
            prefix = f"{task.attempt_number}.{task.step.value}."
            tries = ports.store.commands(session.session_id, prefix)
        latest = max(tries, key=lifecycle.try_number, default=None)
        if latest and latest.answered and latest.failure is None:
            return latest
        if latest is None or latest.answered:
            number = lifecycle.try_number(latest) + 1 if latest else 1
            latest = Command(
                command_id=lifecycle.step_command_id(task.attempt_number, task.step, number),
                kind=CommandKind(task.step),
                attempt_number=task.attempt_number,
                step=task.step,
                created_at=work.now,
            )
        latest.task_token = task.task_token
        work.save(latest)
        lifecycle.begin_step(work, attempt, task.step, STEP_BY_NAME[task.step].title)
        return latest

    work, row = change(ports, task.session_id, decide)
    if row is None or row.answered:
        succeed(ports, task.task_token)
    else:
        send_step(ports, work.session, row)


def _deliver(ports: Ports, task: StepTask) -> None:
    def decide(work: Work) -> Command | None:
        session = work.session
        lifecycle.require_attempt(session, task.attempt_number)
        attempt = ports.store.attempt(session.session_id, task.attempt_number)
        if lifecycle.is_done(attempt.step(StepName.DELIVER)):
            return None
        _require_sandbox(ports, session.session_id)
        if session.active_turn:
            message = ports.store.message(session.session_id, session.active_turn.message_number)
            row = ports.store.command(session.session_id, turns.prompt_command_id(message))
            if row and not row.answered:
                row.task_token = task.task_token
                work.save(row)
            return row
        if not session.can_deliver:
            note = "The message is held" if session.hold else "No message is waiting"
            lifecycle.end_step(work, attempt, StepName.DELIVER, StepStatus.SKIPPED, note)
            return None
        row = claim(ports, work, task.task_token)
        lifecycle.begin_step(work, attempt, StepName.DELIVER, STEP_BY_NAME[StepName.DELIVER].title)
        return row

    work, row = change(ports, task.session_id, decide)
    if row is None:
        succeed(ports, task.task_token)
    elif not row.answered:
        send_prompt(ports, work.session, row)


def _require_sandbox(ports: Ports, session_id: str) -> None:
    sandbox = ports.store.sandbox(session_id)
    if sandbox is None or sandbox.status is SandboxStatus.STOPPED:
        raise SandboxStopped((sandbox and sandbox.stopped_reason) or "The sandbox is gone")


def succeed(ports: Ports, task_token: str) -> None:
    """Tell the machine that a step is done; a task that no longer waits is fine."""
    try:
        ports.machine.succeed(task_token)
    except TaskTokenGone:
        _log.info("the task was answered before or is over")


def fail(ports: Ports, task_token: str, error: StepError) -> None:
    """Tell the machine that a step failed; a task that no longer waits is fine."""
    try:
        ports.machine.fail(task_token, error.code, error.reason)
    except TaskTokenGone:
        _log.info("the task was answered before or is over")


def finish_preparation(ports: Ports, session_id: str, attempt_number: int) -> None:
    """End an attempt whose steps are all done; harmless when it has ended already.

    Raises SandboxStopped for a sandbox that has died since its last step.
    """

    def decide(work: Work) -> bool:
        if _is_over(work.session, attempt_number):
            return False
        _require_sandbox(ports, session_id)
        attempt = ports.store.attempt(session_id, attempt_number)
        lifecycle.complete_attempt(work, attempt, ports.policy.sandbox_dollars_per_hour)
        return True

    _, ended = change(ports, session_id, decide)
    if ended:
        dispatch(ports, session_id)
        ports.metrics.count("SessionsPrepared")


def fail_preparation(ports: Ports, session_id: str, attempt_number: int, error: StepError) -> None:
    """End an attempt with an error and say why; harmless when it has ended already."""

    def decide(work: Work) -> tuple[bool, Sandbox | None]:
        session = work.session
        if _is_over(session, attempt_number):
            return False, None
        attempt = ports.store.attempt(session_id, attempt_number)
        if attempt.status is not AttemptStatus.RUNNING:
            return False, None
        if session.active_turn:
            message = ports.store.message(session_id, session.active_turn.message_number)
            turns.lose_turn(work, message, error)
        sandbox = ports.store.sandbox(session_id)
        kept = kept_for_retry(sandbox, error)
        lifecycle.fail_attempt(work, attempt, error, kept=kept)
        if kept or sandbox is None or sandbox.status is SandboxStatus.STOPPED:
            return True, None
        give_up(work, sandbox, error.reason)
        return True, sandbox

    try:
        work, (failed, given_up) = change(ports, session_id, decide)
    except SessionNotFound:
        _log.info("the session of a failed preparation is gone")
        return
    if given_up:
        let_go(ports, session_id, given_up, error.reason)
    if failed:
        admit_next(ports, work.session.owner)
        _log.warning("the preparation failed", extra={"code": error.code, "reason": error.reason})
        ports.metrics.count("PreparationsFailed", Code=error.code)


def _is_over(session: Session, attempt_number: int) -> bool:
    return session.attempt_number != attempt_number or session.status is not Status.PREPARING


def error_of(caught: dict[str, Any]) -> StepError:
    """Return our error for what a Catch caught: `{Error, Cause}` as Step Functions writes it."""
    name, cause = str(caught.get("Error", "")), str(caught.get("Cause", ""))
    if name == "States.HeartbeatTimeout":
        return SandboxUnresponsive("The sandbox sent no heartbeat for too long")
    if name in {"States.Timeout", "Sandbox.Timedout"}:
        return StepTimedOut("The step took longer than its limit")
    if name == AttemptSuperseded.__name__:
        return InternalStepError("The attempt was superseded")
    return step_error(name, _message(cause))


def _message(cause: str) -> str:
    """Return the sentence in a cause: Lambda wraps an exception's in JSON, SendTaskFailure not."""
    try:
        wrapped = json.loads(cause)
    except ValueError:
        return cause
    return str(wrapped.get("errorMessage", cause)) if isinstance(wrapped, dict) else cause
