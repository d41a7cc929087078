"""The preparation machine on AWS Step Functions."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from headstart.adapters.aws import translated
from headstart.domain.errors import TaskTokenGone
from headstart.usecases.ports import ExecutionStatus

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

_CAUSE_CHARACTERS = 32_000
"""SendTaskFailure takes 32 768 characters of cause ("SendTaskFailure", API reference)."""


class StepFunctionsMachine:
    """The Machine port; an execution's name is `<session>-<attempt>`, unique for 90 days."""

    def __init__(self, client: "SFNClient", state_machine_arn: str) -> None:
        self._client = client
        self._arn = state_machine_arn

    def _execution_arn(self, session_id: str, attempt_number: int) -> str:
        machine = self._arn.replace(":stateMachine:", ":execution:")
        return f"{machine}:{session_id}-{attempt_number}"

    def start(self, session_id: str, attempt_number: int) -> str:
        """Start an attempt's execution; one that was started before counts as started."""
        body = {"sessionId": session_id, "attemptNumber": attempt_number}
        with translated():
            try:
                answer = self._client.start_execution(
                    stateMachineArn=self._arn,
                    name=f"{session_id}-{attempt_number}",
                    input=json.dumps(body),
                )
            except self._client.exceptions.ExecutionAlreadyExists:
                return self._execution_arn(session_id, attempt_number)
        return answer["executionArn"]

    def stop(self, session_id: str, attempt_number: int, reason: str) -> None:
        """Stop an attempt's execution; one that never was or is over is fine."""
        with translated():
            try:
                self._client.stop_execution(
                    executionArn=self._execution_arn(session_id, attempt_number), cause=reason
                )
            except self._client.exceptions.ExecutionDoesNotExist:
                return

    def status(self, session_id: str, attempt_number: int) -> ExecutionStatus:
        """Say whether an attempt's execution runs."""
        with translated():
            try:
                answer = self._client.describe_execution(
                    executionArn=self._execution_arn(session_id, attempt_number)
                )
            except self._client.exceptions.ExecutionDoesNotExist:
                return ExecutionStatus.MISSING
        running = answer["status"] in {"RUNNING", "PENDING_REDRIVE"}
        return ExecutionStatus.RUNNING if running else ExecutionStatus.ENDED

    @contextmanager
    def _token(self) -> Iterator[None]:
        gone = (
            self._client.exceptions.TaskTimedOut,
            self._client.exceptions.TaskDoesNotExist,
            self._client.exceptions.InvalidToken,
        )
        with translated():
            try:
                yield
            except gone as error:
                raise TaskTokenGone() from error

    def succeed(self, task_token: str) -> None:
        """End the waiting task well."""
        with self._token():
            self._client.send_task_success(taskToken=task_token, output="{}")

    def fail(self, task_token: str, code: str, reason: str) -> None:
        """End the waiting task with an error by name."""
        with self._token():
            self._client.send_task_failure(
                taskToken=task_token, error=code, cause=reason[:_CAUSE_CHARACTERS]
            )

    def beat(self, task_token: str) -> None:
        """Say the task is alive."""
        with self._token():
            self._client.send_task_heartbeat(taskToken=task_token)
