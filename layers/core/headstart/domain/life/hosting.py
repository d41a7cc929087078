"""The session's one sandbox: recorded, kept, let in, told from its forerunners, and given up."""

from dataclasses import dataclass
from datetime import timedelta

from headstart.domain import events
from headstart.domain.archive import Tree
from headstart.domain.change import Change, QuotaChange
from headstart.domain.channel import Hello, Leave, Viewers, Welcome
from headstart.domain.command_kinds import CommandKind
from headstart.domain.connections import Connection, Role, Standing, standing
from headstart.domain.errands import (
    AnswerTask,
    CloseConnections,
    Errand,
    SendOrder,
    SendPrompt,
    SendPublish,
    SendStep,
    SendUpload,
    StopSandbox,
    Tell,
)
from headstart.domain.errors import AttemptSuperseded, NotTheRunner, SessionNotFound
from headstart.domain.ids import derived_secret, hash_secret
from headstart.domain.life.progress import begin_step, end_step, is_done, require_attempt
from headstart.domain.sandbox import Command, Sandbox, SandboxStatus
from headstart.domain.session import Status
from headstart.domain.steps import StepName, StepStatus

KEPT_STEPS = (StepName.CLONE, StepName.BRANCH, StepName.RESTORE)
"""What need not be done again in the same sandbox; the runner itself knows of the others."""

SEEN_INTERVAL = timedelta(minutes=1)
"""How often a living runner is written down, at most."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """What a new sandbox would be: made before the decision, which may be made again."""

    sandbox_id: str
    key: str
    expected: dict[str, int]
    living: str | None = None
    """The handle that was just seen to be alive, should an earlier attempt's be kept."""
    recipe: str | None = None
    """What the two that follow were found by."""
    tree_key: str | None = None
    """The key of the tree that the session would make in it."""
    tree: Tree | None = None
    """The prepared tree that there is for it."""


def acquire(change: Change, attempt_number: int, token: str, newcomer: Newcomer) -> None:
    """Keep the session's living sandbox, go on waiting for the one begun, or record a new one."""
    require_attempt(change.session, attempt_number)
    sandbox = change.sandbox
    change.attempt.expected = change.attempt.expected or newcomer.expected
    if sandbox and sandbox.attempt_number != attempt_number:
        if sandbox.task_arn and sandbox.task_arn == newcomer.living and may_be_kept(change):
            _keep(change, sandbox, attempt_number, token)
            change.then(AnswerTask((token,)))
            return
        if sandbox.task_arn:
            change.then(StopSandbox(sandbox.task_arn, "replaced by a new attempt's sandbox"))
    if sandbox is None or sandbox.attempt_number != attempt_number or _is_stopped(sandbox):
        sandbox = _record(change, attempt_number, newcomer)
    sandbox.wait_with(token)
    change.save(sandbox)
    if sandbox.status is SandboxStatus.CONNECTED:
        change.then(AnswerTask((token,)))
    if not is_done(change.attempt.step(StepName.SANDBOX)):
        begin_step(change, StepName.SANDBOX)


def may_be_kept(change: Change) -> bool:
    """Say whether a sandbox is worth asking about: connected, heard of just now, and to stay."""
    sandbox = change.sandbox
    return (
        sandbox is not None
        and sandbox.status is SandboxStatus.CONNECTED
        and not sandbox.is_leaving
        and not is_silent(change, change.policy.sandbox_patience)
    )


def _keep(change: Change, sandbox: Sandbox, attempt_number: int, token: str) -> None:
    sandbox.attempt_number = attempt_number
    sandbox.try_number = 0
    # Those of its own attempt wait no more.
    sandbox.task_token, sandbox.earlier_tokens = token, []
    change.save(sandbox)
    end_step(change, StepName.SANDBOX, StepStatus.SKIPPED, "The sandbox was still there")
    for name in KEPT_STEPS:
        if name in change.attempt.done_before:
            note = f"Done in attempt {attempt_number - 1}"
            end_step(change, name, StepStatus.SKIPPED, note)


def _record(change: Change, attempt_number: int, newcomer: Newcomer) -> Sandbox:
    old = change.sandbox
    again = old is not None and old.attempt_number == attempt_number
    if again:
        # What was done, or skipped as done, was done in the sandbox that is gone.
        for record in change.attempt.steps:
            if record.status is not StepStatus.PENDING:
                record.status, record.message = StepStatus.PENDING, None
                record.started_at = record.ended_at = record.percent = None
    change.session.runner_seq = 0
    # By what was asked for then: since then it may have been changed.
    fits = newcomer.recipe == change.session.recipe
    change.attempt.tree_key = newcomer.tree_key if fits else None
    change.attempt.tree = newcomer.tree if fits else None
    change.attempt.commit = None
    return Sandbox(
        sandbox_id=newcomer.sandbox_id,
        attempt_number=attempt_number,
        try_number=old.try_number + 1 if old and again else 1,
        status=SandboxStatus.STARTING,
        bootstrap_key=newcomer.key,
        created_at=change.now,
    )


def remember(change: Change, started: Sandbox, handle: str) -> None:
    """Write down a started task; AttemptSuperseded if nobody waits for it any more."""
    require_attempt(change.session, started.attempt_number)
    sandbox = change.sandbox
    if sandbox is None or sandbox.sandbox_id != started.sandbox_id:
        raise AttemptSuperseded("another try has begun")
    if sandbox.task_arn != handle:
        sandbox.task_arn = handle
        change.save(sandbox)


def not_started(change: Change, started: Sandbox, reason: str) -> None:
    """Note that a task could not be started, unless its runner is here all the same."""
    sandbox = change.sandbox
    if (
        sandbox
        and sandbox.sandbox_id == started.sandbox_id
        and sandbox.status is SandboxStatus.STARTING
        and sandbox.task_arn is None
    ):
        sandbox.status = SandboxStatus.STOPPED
        sandbox.stopped_reason = reason
        change.save(sandbox)


def accept(change: Change, connection: Connection, frame: Hello) -> None:
    """Let in the session's one sandbox and send it what it has to do.

    The newest connection of the accepted process has the channel, by the process's own count.
    Raises AttemptSuperseded for another sandbox, SessionNotFound, and NotTheRunner for a hello that
    was overtaken.
    """
    session, sandbox = change.session, change.sandbox
    if session.status is Status.DELETING or sandbox is None:
        raise SessionNotFound()
    place = standing(connection, sandbox, frame)
    if place is Standing.FOREIGN:
        raise AttemptSuperseded("another sandbox serves this session")
    if place is Standing.OUTDATED:
        raise NotTheRunner("a newer connection of this process has the channel")
    replaced, reconnects = sandbox.connection_id, sandbox.process is not None
    sandbox.process = frame.process
    sandbox.connection_id = connection.connection_id
    sandbox.connection_number = frame.connection
    sandbox.status = SandboxStatus.CONNECTED
    sandbox.seen_at = change.now
    resume_key = None
    if connection.credential == "resume":
        sandbox.bootstrap_key = None
    elif sandbox.bootstrap_key:
        # The same at each hello of a process: they may be served late and in any order.
        resume_key = derived_secret(sandbox.bootstrap_key, frame.process)
        sandbox.resume_key_hash = hash_secret(resume_key)
    change.save(sandbox)
    connection.is_open = True
    change.save(connection)
    _is_up(change, sandbox)
    if reconnects:
        change.emit(events.RunnerReconnected())
    viewers = count_viewers(change)
    change.then(Tell(Welcome(resume_key=resume_key, viewers=viewers, answers_heartbeats=True)))
    for command in open_commands(change):
        offer(change, command)
    if replaced and replaced != connection.connection_id:
        if replaced in change.connections:
            change.forget(change.connections[replaced])
        change.then(CloseConnections((replaced,)))


def _is_up(change: Change, sandbox: Sandbox) -> None:
    """End the `sandbox` step of the attempt that this sandbox was started for.

    At every hello, since who took the first may have died before it told the machine. An attempt
    that is about to look whether it can keep this sandbox ends the step itself.
    """
    session = change.session
    if session.status is not Status.PREPARING or sandbox.attempt_number != session.attempt_number:
        return
    if not is_done(change.attempt.step(StepName.SANDBOX)):
        end_step(change, StepName.SANDBOX, StepStatus.COMPLETED, "The sandbox is up")
    if sandbox.tokens:
        change.then(AnswerTask(tuple(sandbox.tokens)))


def require_runner(change: Change, connection_id: str) -> Connection:
    """Return the connection that has the channel; NotTheRunner for any other."""
    sandbox, connection = change.sandbox, change.connections.get(connection_id)
    if (
        sandbox is None
        or connection is None
        or connection.role is not Role.RUNNER
        or change.session.status is Status.DELETING
        or standing(connection, sandbox) is not Standing.CURRENT
    ):
        raise NotTheRunner("another connection has the channel")
    return connection


def has_channel(change: Change, connection_id: str) -> bool:
    """Say whether a connection is the current one of a session that is not deleted."""
    try:
        require_runner(change, connection_id)
    except NotTheRunner:
        return False
    return True


def is_reachable(change: Change) -> bool:
    """Say whether the session's runner is connected, as far as we know."""
    current = change.sandbox.connection_id if change.sandbox else None
    return current is not None and has_channel(change, current)


def is_welcomed(change: Change) -> None:
    """Drop the bootstrap key: whoever reports or beats has had its welcome, and a key from it."""
    sandbox = change.sandbox
    if sandbox and sandbox.bootstrap_key is not None:
        sandbox.bootstrap_key = None
        change.save(sandbox)


def open_commands(change: Change) -> list[Command]:
    """Return what the runner was asked in this attempt and has not answered, oldest first."""
    number = change.session.attempt_number
    known = change.commands.values()
    waiting = [c for c in known if not c.answered and c.attempt_number == number]
    return sorted(waiting, key=lambda command: command.created_at)


def offer(change: Change, command: Command) -> None:
    """Have a command sent, which its runner may have from then on.

    What is to be published is not the half of what an agent is at: that waits for the turn's end.
    """
    if command.kind is CommandKind.PUBLISH and change.session.active_turn:
        return
    if not command.offered:
        command.offered = True
        change.save(command)
    change.then(errand_of(command))


def errand_of(command: Command) -> Errand:
    """Return the errand that sends a command."""
    match command.kind:
        case CommandKind.PROMPT:
            return SendPrompt(command.command_id)
        case CommandKind.UPLOAD:
            return SendUpload(command.command_id)
        case CommandKind.PUBLISH:
            return SendPublish(command.command_id)
        case CommandKind.ABORT | CommandKind.INPUT | CommandKind.ARCHIVE:
            return SendOrder(command.command_id)
        case _:
            return SendStep(command.command_id)


def count_viewers(change: Change) -> int:
    """Return how many viewers watch."""
    return sum(
        1
        for c in change.connections.values()
        if c.role is Role.VIEWER and c.is_open and c.expires_at > change.now
    )


def tell_viewer_count(change: Change) -> None:
    """Tell the runner how many viewers watch, so that it sends only what somebody sees."""
    change.then(Tell(Viewers(count=count_viewers(change))))


def _is_stopped(sandbox: Sandbox) -> bool:
    return sandbox.status is SandboxStatus.STOPPED


def stop(change: Change, reason: str) -> None:
    """Revoke the key of a sandbox that its session needs no more, and have its task stopped.

    The runner is told to go, so that it doesn't ask for its work to be saved.
    """
    sandbox = change.sandbox
    if sandbox is None:
        return
    if not _is_stopped(sandbox):
        give_up(change, reason)
    elif sandbox.task_arn:
        change.then(StopSandbox(sandbox.task_arn, reason))


def give_up(change: Change, reason: str) -> None:
    """Have whatever comes next begin with a new sandbox."""
    sandbox = change.sandbox
    if sandbox is None or _is_stopped(sandbox):
        return
    change.then(Tell(Leave()))
    sandbox.status = SandboxStatus.STOPPED
    sandbox.stopped_reason = reason
    change.save(sandbox)
    if sandbox.task_arn:
        change.then(StopSandbox(sandbox.task_arn, reason))
    leave_place_without_sandbox(change)


def has_to_leave(change: Change) -> None:
    """Know of the sandbox that it must stop: nothing new begins in it."""
    sandbox = change.sandbox
    if sandbox is not None and not sandbox.is_leaving:
        sandbox.is_leaving = True
        change.save(sandbox)


def leave_place_without_sandbox(change: Change) -> None:
    """Give a failed session's place free as soon as it has no container."""
    sandbox = change.sandbox
    if change.session.status is Status.FAILED and (sandbox is None or _is_stopped(sandbox)):
        change.quota = QuotaChange.LEAVE


def adopt(change: Change, name: str, handle: str) -> bool:
    """Say whether a listed task is the session's own, whose handle is then known.

    Who started it may have died before writing that down, and the runner is accepted all the same.
    """
    sandbox = change.sandbox
    if change.session.status is Status.DELETING or sandbox is None or _is_stopped(sandbox):
        return False
    if sandbox.task_arn is None and sandbox.name(change.session.session_id) == name:
        sandbox.task_arn = handle
        change.save(sandbox)
    return sandbox.task_arn == handle


def is_silent(change: Change, patience: timedelta) -> bool:
    """Say whether the runner has not been heard of for too long."""
    sandbox = change.sandbox
    return sandbox is not None and (
        sandbox.seen_at is None or change.now - sandbox.seen_at > patience
    )
