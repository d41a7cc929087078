"""The preparation: what Step Functions asks for, state by state, and how an attempt ends."""

import json
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from headstart.domain.errors import (
    AttemptSuperseded,
    InternalStepError,
    SandboxUnresponsive,
    SessionNotFound,
    StepError,
    StepTimedOut,
    TaskTokenGone,
)
from headstart.domain.life import preparing
from headstart.domain.life.settling import head_of
from headstart.domain.model import Model
from headstart.domain.naming import is_step_error, step_error
from headstart.domain.steps import StepName
from headstart.usecases.change import change
from headstart.usecases.ports import Ports
from headstart.usecases.sandbox import acquire_sandbox

_log = logging.getLogger(__name__)

_CLOUD_FAILED = "A part of the cloud itself failed; it can be tried again"


class StepTask(Model):
    """What a state passes to run_step: ids and the token, nothing else."""

    session_id: str
    attempt_number: int
    step: StepName
    task_token: str


def run_step(ports: Ports, task: StepTask) -> None:
    """Begin a step, or continue the try of it that an earlier invocation began.

    The step's end comes later, with the runner's report, through the task token. An attempt that
    was cancelled or deleted meanwhile is no error: the machine is told AttemptSuperseded. Raises
    SandboxStopped, SandboxStartFailed by name for the machine to catch.
    """
    try:
        _begin(ports, task)
    except (AttemptSuperseded, SessionNotFound) as error:
        _log.info("a step of an attempt that is over: %s", error.reason)
        ports.metrics.count("AttemptsSuperseded")
        with suppress(TaskTokenGone):
            ports.machine.fail(task.task_token, AttemptSuperseded.__name__, AttemptSuperseded.title)


def _begin(ports: Ports, task: StepTask) -> None:
    if task.step is StepName.SANDBOX:
        acquire_sandbox(ports, task.session_id, task.attempt_number, task.task_token)
    elif task.step is StepName.DELIVER:
        change(ports, task.session_id, _of(task, preparing.take_delivery), head_of)
    else:
        change(ports, task.session_id, partial(_of(task, preparing.take_step), step=task.step))


def _of(task: StepTask, decide: Callable[..., None]) -> partial[None]:
    return partial(decide, attempt_number=task.attempt_number, token=task.task_token)


def finish_preparation(ports: Ports, session_id: str, attempt_number: int) -> None:
    """End an attempt whose steps are all done; harmless when it has ended already.

    Raises SandboxStopped for a sandbox that has died since its last step.
    """
    finish = partial(preparing.finish, attempt_number=attempt_number)
    try:
        change(ports, session_id, finish, head_of)
    except SessionNotFound:
        _log.info("the session of a finished preparation is gone")


def fail_preparation(ports: Ports, session_id: str, attempt_number: int, error: StepError) -> None:
    """End an attempt with an error and say why; harmless when it has ended already."""
    fail = partial(preparing.fail, attempt_number=attempt_number, error=error)
    try:
        failed = change(ports, session_id, fail)
    except SessionNotFound:
        _log.info("the session of a failed preparation is gone")
        return
    if failed:
        told = {"code": failed.code, "step": failed.step, "reason": failed.reason}
        _log.warning("the preparation failed", extra=told)


def error_of(caught: dict[str, Any]) -> StepError:
    """Return our error for what a Catch caught: `{Error, Cause}` as Step Functions writes it.

    By a name that is not ours the cloud fails, not the step: a function died, or was refused.
    """
    name, cause = str(caught.get("Error", "")), str(caught.get("Cause", ""))
    if name == "States.HeartbeatTimeout":
        return SandboxUnresponsive("The sandbox sent no heartbeat for too long")
    if name in {"States.Timeout", "Sandbox.Timedout"}:
        return StepTimedOut("The step took longer than its limit")
    said = _message(cause)
    if is_step_error(name):
        return step_error(name, said)
    details = ": ".join(filter(None, (name, said))) or "it did not say why"
    return InternalStepError(f"{_CLOUD_FAILED} ({details})")


def _message(cause: str) -> str:
    """Return the sentence in a cause: Lambda wraps an exception's in JSON, SendTaskFailure not."""
    try:
        wrapped = json.loads(cause)
    except ValueError:
        return cause
    return str(wrapped.get("errorMessage", cause)) if isinstance(wrapped, dict) else cause
