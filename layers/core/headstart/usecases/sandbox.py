"""The container task of a session: acquired by name, so that no crash starts two."""

import logging

from headstart.domain import lifecycle, turns
from headstart.domain.channel import Leave
from headstart.domain.errors import (
    AttemptSuperseded,
    SandboxStartFailed,
    SandboxStopped,
    SecretsUnavailable,
    SessionNotFound,
    TaskTokenGone,
)
from headstart.domain.ids import new_secret
from headstart.domain.session import Sandbox, SandboxStatus, Session, Status
from headstart.domain.steps import STEP_BY_NAME, StepName, StepStatus
from headstart.domain.work import Work
from headstart.usecases.change import change, tell_runner
from headstart.usecases.ports import Ports, SandboxSpec

_log = logging.getLogger(__name__)

_WITHOUT_SANDBOX = {Status.STOPPING, Status.ASLEEP, Status.FAILED}


def acquire_sandbox(ports: Ports, session_id: str, attempt_number: int, task_token: str) -> None:
    """Keep the session's living sandbox or start one; done when the runner's hello is accepted.

    Raises SandboxStartFailed, SecretsUnavailable, AttemptSuperseded.
    """
    if ports.store.session(session_id).counts.get("encryptedSecrets"):
        reason = (
            "This deployment can't open encryptedSecrets: send none; envVars are kept encrypted"
        )
        raise SecretsUnavailable(reason)
    kept = _keep_living(ports, session_id, attempt_number)
    if kept:
        ports.machine.succeed(task_token)
        return
    sandbox = _record(ports, session_id, attempt_number, task_token)
    if sandbox.status is SandboxStatus.CONNECTED:
        ports.machine.succeed(task_token)
        return
    try:
        handle = ports.sandboxes.start(
            SandboxSpec(
                name=sandbox.name(session_id),
                session_id=session_id,
                attempt_number=attempt_number,
                try_number=sandbox.try_number,
                key=sandbox.bootstrap_key or "",
                stream_url=ports.policy.stream_url,
            )
        )
    except SandboxStartFailed as error:
        _mark_stopped(ports, session_id, sandbox, error.reason)
        raise
    try:
        _remember_handle(ports, session_id, sandbox, handle)
    except (AttemptSuperseded, SessionNotFound):
        ports.sandboxes.stop(handle, "the attempt is over")
        raise


def _keep_living(ports: Ports, session_id: str, attempt_number: int) -> bool:
    """Keep a connected sandbox of an earlier attempt, if it really lives."""
    old = ports.store.sandbox(session_id)
    if (
        old is None
        or old.attempt_number == attempt_number
        or old.status is SandboxStatus.STOPPED
        or old.task_arn is None
    ):
        return False
    if old.status is not SandboxStatus.CONNECTED or not ports.sandboxes.is_alive(old.task_arn):
        ports.sandboxes.stop(old.task_arn, "replaced by a new attempt's sandbox")
        return False

    def decide(work: Work) -> bool:
        lifecycle.require_attempt(work.session, attempt_number)
        sandbox = ports.store.sandbox(session_id)
        if sandbox is None or sandbox.status is not SandboxStatus.CONNECTED:
            return False
        sandbox.attempt_number = attempt_number
        sandbox.try_number = 0
        work.save(sandbox)
        attempt = ports.store.attempt(session_id, attempt_number)
        note = "The sandbox was still there"
        lifecycle.end_step(work, attempt, StepName.SANDBOX, StepStatus.SKIPPED, note)
        earlier = ports.store.attempt(session_id, attempt_number - 1)
        lifecycle.skip_done_steps(work, attempt, earlier)
        return True

    return change(ports, session_id, decide)[1]


def _record(ports: Ports, session_id: str, attempt_number: int, task_token: str) -> Sandbox:
    """Write the row of the try to begin, or take over the one an earlier invocation began."""

    def decide(work: Work) -> Sandbox:
        lifecycle.require_attempt(work.session, attempt_number)
        old = ports.store.sandbox(session_id)
        same_attempt = old is not None and old.attempt_number == attempt_number
        if old and same_attempt and old.status is not SandboxStatus.STOPPED:
            sandbox = old
        else:
            sandbox = Sandbox(
                attempt_number=attempt_number,
                try_number=old.try_number + 1 if old and same_attempt else 1,
                status=SandboxStatus.STARTING,
                bootstrap_key=new_secret(),
                created_at=work.now,
            )
            work.session.runner_seq = 0
        sandbox.task_token = task_token
        work.save(sandbox)
        attempt = ports.store.attempt(session_id, attempt_number)
        attempt.expected = attempt.expected or ports.store.durations(work.session.git_url)
        if not lifecycle.is_done(attempt.step(StepName.SANDBOX)):
            title = STEP_BY_NAME[StepName.SANDBOX].title
            lifecycle.begin_step(work, attempt, StepName.SANDBOX, title)
        return sandbox

    return change(ports, session_id, decide)[1]


def _remember_handle(ports: Ports, session_id: str, started: Sandbox, handle: str) -> None:
    def decide(work: Work) -> None:
        lifecycle.require_attempt(work.session, started.attempt_number)
        sandbox = ports.store.sandbox(session_id)
        if sandbox is None or sandbox.try_number != started.try_number:
            raise AttemptSuperseded("another try has begun")
        if sandbox.task_arn != handle:
            sandbox.task_arn = handle
            work.save(sandbox)

    change(ports, session_id, decide)


def _mark_stopped(ports: Ports, session_id: str, started: Sandbox, reason: str) -> None:
    def decide(work: Work) -> None:
        sandbox = ports.store.sandbox(session_id)
        if sandbox and sandbox.name(session_id) == started.name(session_id):
            sandbox.status = SandboxStatus.STOPPED
            sandbox.stopped_reason = reason
            work.save(sandbox)

    change(ports, session_id, decide)


def stop_sandbox(ports: Ports, session_id: str, reason: str) -> None:
    """Revoke the key of a sandbox that its session needs no more, and stop its task.

    Nothing is done where the session has begun to need one again. The runner is told to go, so that
    it doesn't ask for its work to be saved.
    """

    def decide(work: Work) -> Sandbox | None:
        sandbox = ports.store.sandbox(session_id)
        if sandbox is None or work.session.status not in _WITHOUT_SANDBOX:
            return None
        if sandbox.status is not SandboxStatus.STOPPED:
            sandbox.status = SandboxStatus.STOPPED
            sandbox.stopped_reason = reason
            work.save(sandbox)
        return sandbox

    _, sandbox = change(ports, session_id, decide)
    if sandbox is None:
        return
    # What dies before this leaves an orphan, or is done again by the janitor.
    if sandbox.task_arn:
        ports.sandboxes.stop(sandbox.task_arn, reason)
    tell_runner(ports, session_id, [Leave()])


def sandbox_stopped(ports: Ports, name: str, handle: str, reason: str) -> None:
    """Take note that a task ended: its waiting step fails at once, a turn ends, a session sleeps.

    `name` is what the task was started with, `<session>-<attempt>-<try>`. A task that is not the
    session's accepted one, or a session that is gone, is none of our business.
    """
    session_id = name.partition("-")[0]
    ports.identify(session_id)
    error = SandboxStopped(reason)

    def decide(work: Work) -> str | None:
        session = work.session
        sandbox = ports.store.sandbox(session_id)
        if sandbox is None or (handle != sandbox.task_arn and name != sandbox.name(session_id)):
            return None
        known = sandbox.status is SandboxStatus.STOPPED
        if not known:
            sandbox.status = SandboxStatus.STOPPED
            sandbox.stopped_reason = reason
            sandbox.connection_id = None
            work.save(sandbox)
        if session.status is Status.PREPARING:
            # Also when it is known: who wrote it down may have died before it told the machine.
            return _waiting_token(ports, session, sandbox)
        if not known and session.status in {
            Status.READY,
            Status.RUNNING,
            Status.PREPARED,
            Status.STOPPING,
        }:
            turn = session.active_turn
            message = ports.store.message(session_id, turn.message_number) if turn else None
            turns.lose_turn(work, message, error)
            lifecycle.fall_asleep(work, reason)
        return None

    try:
        _, token = change(ports, session_id, decide)
    except SessionNotFound:
        _log.info("a task of a session that is gone stopped")
        return
    ports.metrics.count("SandboxesStopped")
    if token:
        try:
            ports.machine.fail(token, error.code, error.reason)
        except TaskTokenGone:
            _log.info("the step had been answered before its sandbox stopped")


def _waiting_token(ports: Ports, session: Session, sandbox: Sandbox) -> str | None:
    for row in ports.store.commands(session.session_id):
        if row.attempt_number == session.attempt_number and not row.answered and row.task_token:
            return row.task_token
    attempt = ports.store.attempt(session.session_id, session.attempt_number)
    waiting = not lifecycle.is_done(attempt.step(StepName.SANDBOX))
    return sandbox.task_token if waiting else None
