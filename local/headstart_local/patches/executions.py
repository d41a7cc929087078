"""Step Functions: how executions start, wait, time out and are stopped."""

import contextvars
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from headstart_local.patches.context import PatchContext

# ministack sleeps this long before the first state of every execution.
_STOCK_START_DELAY_SECONDS = 0.15


class Stopped(BaseException):
    """The execution is over; not an Exception, so that no Retry or Catch of the ASL sees it."""


class Run:
    """A running execution, waited on through one condition."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.stopped = False

    def stop(self) -> None:
        """Wake whatever the execution waits for and end it."""
        with self.condition:
            self.stopped = True
            self.condition.notify_all()

    def sleep(self, seconds: float) -> None:
        """Wait, or raise Stopped as soon as the execution is stopped."""
        with self.condition:
            if self.condition.wait_for(lambda: self.stopped, seconds):
                raise Stopped


class Runs:
    """The running executions; each runs on a thread of its own."""

    def __init__(self) -> None:
        self._current: contextvars.ContextVar[Run | None] = contextvars.ContextVar(
            "run", default=None
        )
        self._by_arn: dict[str, Run] = {}

    def current(self) -> Run:
        """Return the run of this thread."""
        return self._current.get() or Run()

    def stop(self, arn: str) -> None:
        """Stop an execution if it runs."""
        if run := self._by_arn.get(arn):
            run.stop()

    @contextmanager
    def entered(self, arn: str) -> Iterator[Run]:
        """Make a run the current one; ends quietly when it is stopped."""
        run = self._by_arn[arn] = Run()
        token = self._current.set(run)
        try:
            yield run
        except Stopped:
            pass
        finally:
            self._current.reset(token)
            self._by_arn.pop(arn, None)


RUNS = Runs()


def no_start_delay(context: PatchContext) -> None:
    """Start executions at once.

    Not a rule of AWS so much as an honest figure: nothing waits before the first state there.
    """
    stock = context.emulator.stepfunctions.time

    class Clock:
        """The time module without the one sleep that is ministack's start delay."""

        def __getattr__(self, name: str) -> Any:
            return getattr(stock, name)

        def sleep(self, seconds: float) -> None:
            if seconds != _STOCK_START_DELAY_SECONDS:
                time.sleep(seconds)

    context.emulator.stepfunctions.time = Clock()


def stop_ends_waits(context: PatchContext) -> None:
    """Let StopExecution end a waiting state at once, without running its Retry or Catch.

    A stopped execution stays ABORTED whatever its tasks do later ("StopExecution", API reference).
    """
    sfn = context.emulator.stepfunctions
    stock_run, stock_stop, stock_fail = sfn._run_execution, sfn._stop_execution, sfn._fail_execution

    def run(arn: str) -> None:
        with RUNS.entered(arn):
            stock_run(arn)

    def stop(data: dict[str, Any]) -> Any:
        response = stock_stop(data)
        RUNS.stop(data.get("executionArn", ""))
        return response

    def fail(execution: dict[str, Any], error: str, cause: str) -> None:
        if execution["status"] == "RUNNING":
            stock_fail(execution, error, cause)

    def sleep(seconds: float) -> None:
        RUNS.current().sleep(seconds)

    sfn._run_execution, sfn._stop_execution, sfn._fail_execution = run, stop, fail
    sfn._scaled_sleep = sleep


def machine_timeout(context: PatchContext) -> None:
    """End an execution with TIMED_OUT after the machine's TimeoutSeconds.

    "If the execution runs longer than the specified time, it fails with States.Timeout"
    ("State machine structure in Amazon States Language").
    """
    sfn = context.emulator.stepfunctions
    stock = sfn._run_execution

    def run(arn: str) -> None:
        execution = sfn._executions[arn]
        machine = sfn._state_machines[execution["stateMachineArn"]]
        seconds = json.loads(machine["definition"]).get("TimeoutSeconds")

        def time_out() -> None:
            if execution["status"] != "RUNNING":
                return
            execution.update(
                status="TIMED_OUT",
                error="States.Timeout",
                stopDate=context.emulator.responses.now_iso(),
            )
            sfn._add_event(execution, "ExecutionTimedOut", {})
            with context.emulator.scope():
                sfn._emit_execution_status_event(execution)
            RUNS.stop(arn)

        if not seconds:
            stock(arn)
            return
        timer = threading.Timer(seconds, time_out)
        timer.daemon = True
        timer.start()
        try:
            stock(arn)
        finally:
            timer.cancel()

    sfn._run_execution = run


def stop_of_the_closed(context: PatchContext) -> None:
    """Answer StopExecution of an execution that is over with its stopDate, and change nothing.

    Of the documented errors none is for a closed execution ("StopExecution", API reference).
    """
    sfn = context.emulator.stepfunctions
    stock = sfn._stop_execution

    def stop(data: dict[str, Any]) -> Any:
        execution = sfn._executions.get(data.get("executionArn"))
        if execution and execution["status"] != "RUNNING":
            return context.emulator.responses.json_response({"stopDate": execution["stopDate"]})
        return stock(data)

    sfn._stop_execution = stop


def start_is_idempotent(context: PatchContext) -> None:
    """Answer a repeated StartExecution with the running execution.

    "If StartExecution is called with the same name and input as a running execution, the call
    succeeds and returns the same response as the original request. If the execution is closed or
    if the input is different, it returns a 400 ExecutionAlreadyExists error" (API reference).
    """
    sfn = context.emulator.stepfunctions
    stock = sfn._start_execution

    def start(data: dict[str, Any]) -> Any:
        arn = sfn._resolve_state_machine_arn(data.get("stateMachineArn", ""))
        if arn and data.get("name"):
            execution_arn = f"{arn.replace(':stateMachine:', ':execution:')}:{data['name']}"
            execution = sfn._executions.get(execution_arn)
            same = execution and execution["input"] == data.get("input", "{}")
            if execution and same and execution["status"] == "RUNNING":
                started = {"executionArn": execution_arn, "startDate": execution["startDate"]}
                return context.emulator.responses.json_response(started)
        return stock(data)

    sfn._start_execution = start
