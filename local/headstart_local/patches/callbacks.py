"""Step Functions: task tokens, the waits for them, heartbeats."""

import contextvars
import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import uuid4

from headstart_local.patches.context import PatchContext
from headstart_local.patches.executions import RUNS, Run, Stopped

_CALLBACK = ".waitForTaskToken"
# "Maximum time that a task can wait": a year ("Step Functions service quotas").
_LONGEST_TASK_SECONDS = 31_536_000
_REMEMBERED_TOKENS = 2_000


@dataclass
class _Wait:
    """A task waiting for its token; guarded by the condition of its run."""

    run: Run
    last_beat: float
    output: str | None = None
    failure: tuple[str, str] | None = None
    raised: BaseException | None = None

    @property
    def over(self) -> bool:
        ended = (self.output, self.failure, self.raised)
        return self.run.stopped or any(end is not None for end in ended)


class _Waits:
    """The waits by token, and the tokens that were once good."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, _Wait] = {}
        self._closed: OrderedDict[str, None] = OrderedDict()

    def add(self, token: str, wait: _Wait) -> None:
        with self._lock:
            self._open[token] = wait

    def close(self, token: str) -> None:
        with self._lock:
            self._open.pop(token, None)
            self._closed[token] = None
            while len(self._closed) > _REMEMBERED_TOKENS:
                self._closed.popitem(last=False)

    def find(self, token: str) -> _Wait | None:
        with self._lock:
            return self._open.get(token)

    def was_good(self, token: str) -> bool:
        with self._lock:
            return token in self._closed or token in self._open


_waits = _Waits()


def token_waits(context: PatchContext) -> None:
    """Wait for task tokens as Step Functions does.

    HeartbeatSeconds counts from the start and from each SendTaskHeartbeat and ends in
    States.HeartbeatTimeout, TimeoutSeconds in States.Timeout; an error of the invoked function
    fails the task at once under the error's name ("Task workflow state", "Handling errors in
    Step Functions workflows", "Wait for a Callback with Task Token").
    """
    sfn = context.emulator.stepfunctions

    def wait_for_token(resource: str, payload: Any, token: str, state: dict[str, Any]) -> Any:
        wait = _Wait(RUNS.current(), monotonic())
        _waits.add(token, wait)

        def call() -> None:
            try:
                sfn._invoke_resource(resource.replace(_CALLBACK, ""), payload)
            except Exception as error:
                with wait.run.condition:
                    wait.raised = error
                    wait.run.condition.notify_all()

        caller = contextvars.copy_context()
        threading.Thread(target=caller.run, args=(call,), daemon=True).start()
        try:
            _until_over(sfn, wait, state)
        finally:
            _waits.close(token)
        if wait.run.stopped:
            raise Stopped
        if wait.output is not None:
            return json.loads(wait.output)
        if wait.failure:
            raise sfn._ExecutionError(*wait.failure)
        raise wait.raised or Stopped

    sfn._invoke_with_callback = wait_for_token


def _until_over(sfn: Any, wait: _Wait, state: dict[str, Any]) -> None:
    deadline = monotonic() + state.get("TimeoutSeconds", _LONGEST_TASK_SECONDS)
    heartbeat = state.get("HeartbeatSeconds", _LONGEST_TASK_SECONDS)
    with wait.run.condition:
        while not wait.over:
            now = monotonic()
            if now >= deadline:
                raise sfn._ExecutionError("States.Timeout", "")
            if now >= wait.last_beat + heartbeat:
                raise sfn._ExecutionError("States.HeartbeatTimeout", "")
            wait.run.condition.wait(min(deadline, wait.last_beat + heartbeat) - now)


def token_calls(context: PatchContext) -> None:
    """Answer SendTaskSuccess, SendTaskFailure and SendTaskHeartbeat with AWS's errors.

    A token never issued is InvalidToken; one whose task is over, or that was answered already, is
    TaskTimedOut; an output that isn't JSON is InvalidOutput (API reference).
    """
    sfn, responses = context.emulator.stepfunctions, context.emulator.responses

    def closed(token: str) -> Any:
        if _waits.was_good(token):
            message = "Task Timed Out: 'Provided task does not exist anymore'"
            return responses.error_response_json("TaskTimedOut", message, 400)
        message = "Invalid Token: 'Invalid token'"
        return responses.error_response_json("InvalidToken", message, 400)

    def answered(data: dict[str, Any], **changes: Any) -> Any:
        token = data.get("taskToken", "")
        wait = _waits.find(token)
        if wait is None:
            return closed(token)
        with wait.run.condition:
            if wait.over:
                return closed(token)
            for name, value in changes.items():
                setattr(wait, name, value)
            wait.run.condition.notify_all()
        return responses.json_response({})

    def success(data: dict[str, Any]) -> Any:
        try:
            json.loads(data.get("output", ""))
        except ValueError:
            return responses.error_response_json("InvalidOutput", "Invalid JSON", 400)
        return answered(data, output=data["output"])

    def failure(data: dict[str, Any]) -> Any:
        return answered(data, failure=(data.get("error", ""), data.get("cause", "")))

    def heartbeat(data: dict[str, Any]) -> Any:
        return answered(data, last_beat=monotonic())

    sfn._send_task_success, sfn._send_task_failure = success, failure
    sfn._send_task_heartbeat = heartbeat


def token_for_each_try(context: PatchContext) -> None:
    """Issue a new task token for each try of a Retry, so that a late answer can't end a newer one.

    "Step Functions generates a task token for each task it schedules"; a retry schedules the task
    anew ("Wait for a Callback with Task Token", "Examples using Retry and using Catch").
    """
    sfn = context.emulator.stepfunctions

    def renewing(stock: Any) -> Any:
        def apply(state: dict[str, Any], data: Any, ctx: dict[str, Any] | None = None) -> Any:
            retried = ctx is not None and ctx.get("State", {}).get("RetryCount", 0) > 0
            if ctx is not None and retried and state.get("Resource", "").endswith(_CALLBACK):
                ctx["Task"] = {"Token": str(uuid4())}
            return stock(state, data, ctx)

        return apply

    sfn._apply_parameters = renewing(sfn._apply_parameters)
    sfn._apply_jsonata_arguments = renewing(sfn._apply_jsonata_arguments)
