"""Step Functions: executions that a state's answer, its time or its heartbeats move on."""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from headstart.domain.errors import AttemptSuperseded, HeadstartError, SandboxStopped, TaskTokenGone
from headstart.domain.steps import STEPS
from headstart.usecases.ports import ExecutionStatus
from headstart.usecases.prepare import (
    StepTask,
    error_of,
    fail_preparation,
    finish_preparation,
    run_step,
)

if TYPE_CHECKING:
    from tests.property.world import World

_SERVICE_ERRORS = {"Crash", "Conflict", "ServiceUnavailable"}
_SERVICE_RETRIES = 5
_LAST_RETRIES = 8
"""How often FinishPreparation and FailPreparation are tried again."""


@dataclass
class Execution:
    """One execution: in a state while it has a token, between two without."""

    session_id: str
    number: int
    index: int = 0
    token: str | None = None
    entered: datetime | None = None
    beaten: datetime | None = None
    answer: tuple[str, str] | None = None
    retries: Counter[str] = field(default_factory=Counter)
    error: dict[str, str] | None = None
    is_busy: bool = False
    ended: bool = False


class Machine:
    """The Machine port over executions that the world moves on."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._tokens = itertools.count(1)
        self.executions: dict[tuple[str, int], Execution] = {}
        self.overlap: timedelta | None = None
        """How late the next run_step comes that the machine has given up, and repeated, before."""

    # The port.

    def start(self, session_id: str, attempt_number: int) -> str:
        """Start an execution once."""
        key = (session_id, attempt_number)
        self.executions.setdefault(key, Execution(session_id, attempt_number))
        return f"{session_id}-{attempt_number}"

    def stop(self, session_id: str, attempt_number: int, reason: str) -> None:
        """End an execution."""
        if execution := self.executions.get((session_id, attempt_number)):
            execution.ended = True

    def status(self, session_id: str, attempt_number: int) -> ExecutionStatus:
        """Say whether an execution runs."""
        execution = self.executions.get((session_id, attempt_number))
        if execution is None:
            return ExecutionStatus.MISSING
        return ExecutionStatus.ENDED if execution.ended else ExecutionStatus.RUNNING

    def _waiting(self, token: str) -> Execution:
        for execution in self.executions.values():
            if execution.token == token and not execution.answer and not execution.ended:
                return execution
        raise TaskTokenGone()

    def succeed(self, task_token: str) -> None:
        """End the waiting state well."""
        self._waiting(task_token).answer = ("ok", "")

    def fail(self, task_token: str, code: str, reason: str) -> None:
        """End the waiting state with an error."""
        self._waiting(task_token).answer = (code, reason)

    def beat(self, task_token: str) -> None:
        """Let the waiting state wait on."""
        self._waiting(task_token).beaten = self._world.now

    # What it does by itself.

    @property
    def running(self) -> list[Execution]:
        """The executions that go on."""
        return [execution for execution in self.executions.values() if not execution.ended]

    def tick(self) -> None:
        """Move every execution on, to the next wait or the end."""
        for execution in self.running:
            if execution.is_busy:
                continue
            self._notice_time(execution)
            if execution.answer:
                self._take_answer(execution)
            if execution.error is not None or execution.index == len(STEPS):
                self._finish(execution)
            elif execution.token is None:
                self._enter(execution)

    def _notice_time(self, execution: Execution) -> None:
        if execution.token is None or execution.answer or execution.entered is None:
            return
        step, now = STEPS[execution.index], self._world.now
        if now - execution.entered > timedelta(seconds=step.timeout):
            execution.answer = ("States.Timeout", "")
        elif step.heartbeat:
            silence = now - (execution.beaten or execution.entered)
            if silence > timedelta(seconds=step.heartbeat):
                execution.answer = ("States.HeartbeatTimeout", "")

    def _take_answer(self, execution: Execution) -> None:
        code, reason = execution.answer or ("", "")
        execution.answer = execution.token = None
        if code == "ok":
            execution.index += 1
            execution.retries.clear()
            return
        if code == AttemptSuperseded.__name__:
            execution.ended = True
            return
        allowed = dict(STEPS[execution.index].retries)
        allowed |= dict.fromkeys(_SERVICE_ERRORS, _SERVICE_RETRIES)
        execution.retries[code] += 1
        if execution.retries[code] > allowed.get(code, 0):
            execution.error = {"Error": code, "Cause": reason}
            execution.retries.clear()

    def _enter(self, execution: Execution) -> None:
        delay, self.overlap = self.overlap, None
        begin = self._new_task(execution)
        if delay is None:
            begin()
        elif delay:
            self._world.later(delay, begin)
            self._new_task(execution)()
        else:
            # It has read, and comes to its commit when the repeated one has done all it does.
            rival = self._new_task
            self._world.faults.arm_rival(
                lambda: rival(execution)() if execution.answer is None else None,
                "run_step",
                0,
            )
            begin()

    def _new_task(self, execution: Execution) -> Callable[[], None]:
        """Enter the state, or enter it again; return the invocation of run_step that begins it."""
        token = execution.token = f"token-{next(self._tokens)}"
        execution.entered, execution.beaten = self._world.now, None
        task = StepTask(
            session_id=execution.session_id,
            attempt_number=execution.number,
            step=STEPS[execution.index].name,
            task_token=token,
        )

        def invoke() -> None:
            failure = self._world.invoke("run_step", lambda: run_step(self._world.ports, task))
            if failure and token == execution.token:
                reason = failure.reason if isinstance(failure, HeadstartError) else ""
                execution.answer = (type(failure).__name__, reason)

        return invoke

    def _finish(self, execution: Execution) -> None:
        """End the attempt: Lambda is asked again when it fails, but not for ever."""
        session_id, number, caught = execution.session_id, execution.number, execution.error

        def function() -> None:
            if caught is None:
                finish_preparation(self._world.ports, session_id, number)
            else:
                fail_preparation(self._world.ports, session_id, number, error_of(caught))

        execution.is_busy = True
        failure = self._world.invoke("finish", function)
        execution.is_busy = False
        execution.retries["last"] += 1
        is_final = isinstance(failure, SandboxStopped)
        if failure and not is_final and execution.retries["last"] <= _LAST_RETRIES:
            return
        if failure and caught is None:
            execution.error = {"Error": type(failure).__name__, "Cause": str(failure)}
            execution.retries.clear()
        else:
            execution.ended = True
