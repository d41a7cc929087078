"""The container task of a session: acquired by name, so that no crash starts two."""

import logging

from headstart.domain import lifecycle, turns
from headstart.domain.channel import Leave
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errors import (
    AttemptSuperseded,
    SandboxStartFailed,
    SandboxStopped,
    SandboxUnresponsive,
    SecretsUnavailable,
    SessionNotFound,
    StepError,
    TaskTokenGone,
    WorkspaceGone,
)
from headstart.domain.ids import new_secret
from headstart.domain.session import (
    Failure,
    Sandbox,
    SandboxStatus,
    Session,
    Status,
    session_of,
)
from headstart.domain.steps import STEP_BY_NAME, StepName, StepStatus
from headstart.domain.work import QuotaChange, Work
from headstart.usecases.change import change, tell_runner
from headstart.usecases.ports import Ports, SandboxSpec

_log = logging.getLogger(__name__)

_CLOSED_AT_ONCE = 30
"""Open commands that one transaction closes; each takes two of its hundred writes."""

_WITHOUT_SANDBOX = {Status.ASLEEP, Status.FAILED}


def acquire_sandbox(ports: Ports, session_id: str, attempt_number: int, task_token: str) -> None:
    """Keep the session's living sandbox or start one; done when the runner's hello is accepted.

    Raises SandboxStartFailed, SecretsUnavailable, AttemptSuperseded.
    """
    if ports.store.session(session_id).counts.get("encryptedSecrets"):
        reason = (
            "This deployment can't open encryptedSecrets: send none. envVars are no place for "
            "secrets: whoever may read the table reads them"
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
    """Keep a connected sandbox of an earlier attempt, if it lives and was heard of just now."""
    old = ports.store.sandbox(session_id)
    if (
        old is None
        or old.attempt_number == attempt_number
        or old.status is SandboxStatus.STOPPED
        or old.task_arn is None
    ):
        return False
    heard = old.seen_at and ports.clock() - old.seen_at <= ports.policy.sandbox_patience
    connected = old.status is SandboxStatus.CONNECTED
    if not (connected and heard and ports.sandboxes.is_alive(old.task_arn)):
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
        attempt = ports.store.attempt(session_id, attempt_number)
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
            lifecycle.start_over(work, attempt)
            _forget_orders(ports, work)
        sandbox.task_token = task_token
        work.save(sandbox)
        session = work.session
        attempt.expected = attempt.expected or ports.store.durations(session.owner, session.git_url)
        if not lifecycle.is_done(attempt.step(StepName.SANDBOX)):
            title = STEP_BY_NAME[StepName.SANDBOX].title
            lifecycle.begin_step(work, attempt, StepName.SANDBOX, title)
        return sandbox

    return change(ports, session_id, decide)[1]


def _forget_orders(ports: Ports, work: Work) -> None:
    """Close what an earlier sandbox was told to do and nobody answers any more.

    Not its upload: as long as that is open, a deletion waits for who may still be sending.
    """
    for row in ports.store.open_commands(work.session.session_id)[:_CLOSED_AT_ONCE]:
        if row.kind is not CommandKind.UPLOAD:
            row.answered = True
            row.failure = Failure.of(SandboxStopped("The sandbox is gone"), row.step)
            work.save(row)


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
    """Take note that a task could not be started, unless it was: the answer alone may be lost."""

    def decide(work: Work) -> None:
        sandbox = ports.store.sandbox(session_id)
        if (
            sandbox
            and sandbox.name(session_id) == started.name(session_id)
            and sandbox.status is SandboxStatus.STARTING
            and sandbox.task_arn is None
        ):
            give_up(work, sandbox, reason)

    change(ports, session_id, decide)


def kept_for_retry(sandbox: Sandbox | None, error: StepError) -> bool:
    """Say whether a retry can go on in the sandbox of an attempt that ends with this error."""
    usable = not isinstance(error, WorkspaceGone | SandboxUnresponsive)
    return usable and sandbox is not None and sandbox.status is SandboxStatus.CONNECTED


def give_up(work: Work, sandbox: Sandbox, reason: str) -> None:
    """Revoke a sandbox's key; a failed session leaves its place with it. Then comes `let_go`."""
    if sandbox.status is not SandboxStatus.STOPPED:
        sandbox.status = SandboxStatus.STOPPED
        sandbox.stopped_reason = reason
        work.save(sandbox)
    if work.session.status is Status.FAILED:
        work.quota = QuotaChange.LEAVE


def let_go(ports: Ports, session_id: str, sandbox: Sandbox, reason: str) -> None:
    """Stop the task of a sandbox that was given up.

    The runner is told to go, so that it doesn't ask for its work to be saved. What dies before this
    leaves an orphan, or is done again by the janitor.
    """
    if sandbox.task_arn:
        ports.sandboxes.stop(sandbox.task_arn, reason)
    tell_runner(ports, session_id, [Leave()])


def stop_sandbox(ports: Ports, session_id: str, reason: str) -> bool:
    """Give up the sandbox of a session that needs none, and let it go; True when that was done.

    Nothing is done where the session has begun to need one again.
    """

    def decide(work: Work) -> Sandbox | None:
        sandbox = ports.store.sandbox(session_id)
        if sandbox is None or work.session.status not in _WITHOUT_SANDBOX:
            return None
        give_up(work, sandbox, reason)
        return sandbox

    _, sandbox = change(ports, session_id, decide)
    if sandbox is None:
        return False
    let_go(ports, session_id, sandbox, reason)
    return True


def sandbox_stopped(ports: Ports, name: str, handle: str, reason: str) -> None:
    """Take note that a task ended: its waiting step fails at once, a turn ends, a session sleeps.

    `name` is what the task was started with. A task that is not the
    session's accepted one, or a session that is gone, is none of our business.
    """
    session_id = session_of(name)
    ports.identify(session_id)
    error = SandboxStopped(reason)

    def decide(work: Work) -> str | None:
        session = work.session
        sandbox = ports.store.sandbox(session_id)
        if sandbox is None or (handle != sandbox.task_arn and name != sandbox.name(session_id)):
            return None
        if sandbox.status is not SandboxStatus.STOPPED:
            sandbox.connection_id = None
            give_up(work, sandbox, reason)
        if session.status is Status.PREPARING:
            # Also when it is known: who wrote it down may have died before it told the machine.
            return _waiting_token(ports, session, sandbox)
        if session.status in {
            Status.READY,
            Status.RUNNING,
            Status.PREPARED,
            Status.STOPPING,
        }:
            turn = session.active_turn
            message = ports.store.message(session_id, turn.message_number) if turn else None
            turns.lose_turn(work, message, error)
            saved = session.status is Status.STOPPING and session.is_saved(
                ports.store.snapshot(session_id)
            )
            lifecycle.fall_asleep(work, reason, saved=saved)
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
    for row in ports.store.open_commands(session.session_id):
        if row.attempt_number == session.attempt_number and row.task_token:
            return row.task_token
    attempt = ports.store.attempt(session.session_id, session.attempt_number)
    waiting = not lifecycle.is_done(attempt.step(StepName.SANDBOX))
    return sandbox.task_token if waiting else None
