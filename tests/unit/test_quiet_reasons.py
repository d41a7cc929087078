"""What a command printed is for the session's owner: not for executions, not for logs.

What ECS and the machine say of a sandbox is for logs too, where who runs the deployment reads it.
"""

import logging
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain import errors
from headstart.domain.failure import Failure
from headstart.domain.steps import StepName
from headstart.usecases import janitor
from headstart.usecases.delete import delete_session
from headstart.usecases.prepare import error_of, fail_preparation
from headstart.usecases.read import get_session
from headstart.usecases.sandbox import sandbox_stopped
from tests.unit.helpers import Runner, begin, created, prepared_up_to, running
from tests.unit.test_sleep import falling

SECRET = "https://pypi.test/hunter2hunter2"
S = StepName


class Told:
    """What the machine was told, in full."""

    def __init__(self, ports: MemoryPorts) -> None:
        self.failures: list[tuple[str, str]] = []
        self._fail = ports.machine.fail
        ports.machine.fail = self.fail  # type: ignore[method-assign]

    def fail(self, task_token: str, code: str, reason: str) -> None:
        self.failures.append((code, reason))
        self._fail(task_token, code, reason)

    def caught(self) -> dict[str, str]:
        """Return the newest failure as a Catch passes it on."""
        code, reason = self.failures[-1]
        return {"Error": code, "Cause": reason}


@pytest.fixture
def told(ports: MemoryPorts) -> Told:
    return Told(ports)


def at(ports: MemoryPorts, step: StepName) -> tuple[str, Runner]:
    session_id = created(ports, setupCommands=["pip install"])
    runner = prepared_up_to(ports, session_id, step)
    begin(ports, session_id, step)
    return session_id, runner


def failure(ports: MemoryPorts, session_id: str) -> Failure:
    found = ports.store.session(session_id).failure
    assert found
    return found


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (S.SETUP, "SetupCommandFailed"),
        (S.CLONE, "CloneFailed"),
        (S.CLONE, "StepTimedOut"),
        (S.AGENT, "Unheard"),
        (S.AGENT, "InternalStepError"),
    ],
)
def test_a_failure_is_told_by_name_and_its_reason_is_found_in_the_table(
    ports: MemoryPorts, told: Told, caplog: pytest.LogCaptureFixture, step: StepName, code: str
) -> None:
    session_id, runner = at(ports, step)
    with caplog.at_level(logging.DEBUG):
        runner.fail(f"1.{step}.1", code, f"could not reach {SECRET}")
        fail_preparation(ports, session_id, 1, error_of(told.caught()))
    [(name, sentence)] = told.failures
    assert sentence == getattr(errors, name).title
    assert failure(ports, session_id).code == name
    assert SECRET in failure(ports, session_id).reason
    assert get_session(ports, "alice", session_id)["failure"]["reason"].endswith(SECRET)
    assert SECRET not in str([record.__dict__ for record in caplog.records])


def warned(caplog: pytest.LogCaptureFixture, message: str) -> dict[str, Any]:
    """Return what the one warning of that text says beside it."""
    [found] = [
        record.__dict__
        for record in caplog.records
        if record.getMessage() == message and record.levelno == logging.WARNING
    ]
    return found


def infrastructure_failures(ports: MemoryPorts) -> int:
    return [name for name, *_ in ports.metrics.measured].count("InfrastructureFailures")


MISSING_IMAGE = "CannotPullContainerError: pull image manifest: not found"


def test_why_a_sandbox_stopped_is_logged(
    ports: MemoryPorts, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    session_id = created(ports)
    begin(ports, session_id, S.SANDBOX)
    sandbox_stopped(ports, f"{session_id}-1-1", "task", MISSING_IMAGE)
    stopped = warned(caplog, "a sandbox stopped")
    assert (stopped["task"], stopped["reason"]) == (f"{session_id}-1-1", MISSING_IMAGE)
    fail_preparation(ports, session_id, 1, error_of(told.caught()))
    failed = warned(caplog, "the preparation failed")
    assert (failed["code"], failed["step"]) == ("SandboxStopped", "sandbox")
    assert failed["reason"] == MISSING_IMAGE
    assert infrastructure_failures(ports) == 1


def test_an_end_that_no_event_told_is_logged_as_well(
    ports: MemoryPorts, caplog: pytest.LogCaptureFixture
) -> None:
    session_id = created(ports)
    running(ports, session_id)
    ports.sandboxes.alive.clear()
    ports.clock.advance(minutes=5)
    janitor.run(ports)
    stopped = warned(caplog, "a sandbox stopped")
    assert stopped["reason"] == "The sandbox stopped and no event said why"


def test_an_end_that_nobody_needed_to_hear_of_is_no_warning(
    ports: MemoryPorts, caplog: pytest.LogCaptureFixture
) -> None:
    session_id = created(ports)
    prepared_up_to(ports, session_id, S.CLONE)
    delete_session(ports, "alice", session_id)
    with caplog.at_level(logging.INFO):
        sandbox_stopped(ports, f"{session_id}-1-1", "task", "the session is being deleted")
    [record] = [r for r in caplog.records if r.getMessage() == "a sandbox stopped"]
    assert record.levelno == logging.INFO
    assert record.__dict__["reason"] == "the session is being deleted"


@pytest.mark.parametrize(
    ("caught", "reason"),
    [
        (
            {"Error": "SandboxStartFailed", "Cause": '{"errorMessage":"ECS refused the task: X"}'},
            "ECS refused the task: X",
        ),
        ({"Error": "States.HeartbeatTimeout"}, "The sandbox sent no heartbeat for too long"),
        ({"Error": "States.Timeout"}, "The step took longer than its limit"),
        (
            {"Error": "Lambda.TooManyRequestsException", "Cause": "Rate Exceeded."},
            "A part of the cloud itself failed; it can be tried again"
            " (Lambda.TooManyRequestsException: Rate Exceeded.)",
        ),
    ],
    ids=["not started", "silent", "no way out", "no room for the function"],
)
def test_what_is_the_deployments_own_failure_is_counted_and_logged_with_its_reason(
    ports: MemoryPorts, caplog: pytest.LogCaptureFixture, caught: dict[str, Any], reason: str
) -> None:
    session_id = created(ports)
    begin(ports, session_id, S.SANDBOX)
    fail_preparation(ports, session_id, 1, error_of(caught))
    assert warned(caplog, "the preparation failed")["reason"] == reason
    assert infrastructure_failures(ports) == 1


@pytest.mark.parametrize("code", ["SetupCommandFailed", "SecretsUnavailable", "RepositoryNotFound"])
def test_what_a_user_asked_for_in_vain_is_neither(
    ports: MemoryPorts, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    session_id = created(ports)
    fail_preparation(ports, session_id, 1, error_of({"Error": code, "Cause": SECRET}))
    assert warned(caplog, "the preparation failed")["code"] == code
    assert SECRET not in str([record.__dict__ for record in caplog.records])
    assert infrastructure_failures(ports) == 0


def test_of_several_tries_the_last_ones_reason_is_told(ports: MemoryPorts, told: Told) -> None:
    session_id, runner = at(ports, S.CLONE)
    runner.fail("1.clone.1", "GitNetworkError", "the first")
    ports.clock.advance(seconds=1)
    begin(ports, session_id, S.CLONE, number=2)
    runner.fail("1.clone.2", "GitNetworkError", "the second")
    fail_preparation(ports, session_id, 1, error_of(told.caught()))
    assert failure(ports, session_id).reason == "the second"


def test_a_message_that_was_refused_has_its_own_reason(ports: MemoryPorts, told: Told) -> None:
    session_id, runner = at(ports, S.DELIVER)
    message = ports.store.message(session_id, 1)
    runner.fail(f"{message.message_id}.prompt.1", "DeliveryFailed", "no such model")
    fail_preparation(ports, session_id, 1, error_of(told.caught()))
    assert failure(ports, session_id).reason == "no such model"


def test_a_sandbox_that_died_has_ecs_reason(ports: MemoryPorts, told: Told) -> None:
    session_id, _ = at(ports, S.SETUP)
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "OutOfMemoryError")
    assert told.failures == [("SandboxStopped", "The sandbox stopped")]
    fail_preparation(ports, session_id, 1, error_of(told.caught()))
    assert failure(ports, session_id).reason == "OutOfMemoryError"


@pytest.mark.parametrize(
    ("caught", "reason"),
    [
        ({"Error": "SandboxStartFailed", "Cause": '{"errorMessage":"no capacity"}'}, "no capacity"),
        ({"Error": "States.Timeout", "Cause": ""}, "The step took longer than its limit"),
        ({"Error": "GitNetworkError", "Cause": "said before"}, "said before"),
        ({"Error": "CloneFailed", "Cause": "The clone failed"}, "The clone failed"),
    ],
    ids=["a function's", "the machine's", "of before", "no more known"],
)
def test_what_the_machine_says_in_its_own_words_stays(
    ports: MemoryPorts, caught: dict[str, Any], reason: str
) -> None:
    session_id, runner = at(ports, S.CLONE)
    runner.fail("1.clone.1", "GitNetworkError", "another")
    fail_preparation(ports, session_id, 1, error_of(caught))
    assert failure(ports, session_id).reason == reason


def test_a_sandbox_given_up_says_no_more_than_that(ports: MemoryPorts, told: Told) -> None:
    session_id, runner = at(ports, S.SETUP)
    runner.fail("1.setup.1", "WorkspaceGone", f"nothing in {SECRET}")
    fail_preparation(ports, session_id, 1, error_of(told.caught()))
    sandbox = ports.store.sandbox(session_id)
    assert sandbox
    assert sandbox.stopped_reason == "The workspace is gone"


def test_why_the_work_was_not_saved_is_not_logged(
    ports: MemoryPorts, caplog: pytest.LogCaptureFixture
) -> None:
    session_id, runner = falling(ports)
    snapshot = [f for f in runner.frames() if f.get("kind") == "archive"][-1]
    with caplog.at_level(logging.DEBUG):
        runner.fail(snapshot["id"], "ArchiveFailed", SECRET)
    assert SECRET not in str([record.__dict__ for record in caplog.records])
    asleep = [e for e in ports.store.event_log[session_id] if e.type == "session.asleep"]
    assert SECRET in asleep[-1].data["reason"]
