"""The runner's side of the channel: hello, reports in order, heartbeats."""

import logging
from datetime import timedelta

from headstart.domain import channel, events, lifecycle
from headstart.domain.errors import (
    AttemptSuperseded,
    SessionNotFound,
    TaskTokenGone,
    step_error,
)
from headstart.domain.ids import new_secret
from headstart.domain.session import CommandRow, SandboxStatus, Status
from headstart.domain.steps import StepName, StepStatus
from headstart.domain.work import Work
from headstart.usecases.batch import Batch, Taken
from headstart.usecases.change import change, post
from headstart.usecases.commands import pending_frames, send_command
from headstart.usecases.create import hash_secret
from headstart.usecases.messages import dispatch
from headstart.usecases.ports import Connection, Ports, Role
from headstart.usecases.preparation import fail, succeed
from headstart.usecases.sleep import fall_asleep, snapshot_row

_log = logging.getLogger(__name__)

_BEATS = 10
"""How many commands one heartbeat may name; the runner works on two at most."""

_SEEN_INTERVAL = timedelta(minutes=1)
"""How often a heartbeat is written down."""


def hello(ports: Ports, connection: Connection, frame: channel.Hello) -> None:
    """Accept the session's one sandbox, or refuse it; then send what it has to do.

    The newest connection of the accepted process wins. The first hello ends the `sandbox` step.
    """
    session_id = connection.session_id
    resume_key = new_secret() if connection.credential == "bootstrap" else None
    ports.store.open_connection(connection)

    def decide(work: Work) -> tuple[str | None, str | None]:
        session = work.session
        sandbox = ports.store.sandbox(session_id)
        if session.status is Status.DELETING or sandbox is None:
            raise SessionNotFound()
        if sandbox.status is SandboxStatus.STOPPED or (
            sandbox.process is not None and sandbox.process != frame.process
        ):
            raise AttemptSuperseded("another sandbox serves this session")
        replaced = sandbox.connection_id
        first = sandbox.process is None
        sandbox.process = frame.process
        sandbox.connection_id = connection.connection_id
        sandbox.status = SandboxStatus.CONNECTED
        sandbox.seen_at = work.now
        if resume_key:
            sandbox.resume_key_hash = hash_secret(resume_key)
        else:
            sandbox.bootstrap_key = None
        work.save(sandbox)
        token = None
        if session.status is Status.PREPARING:
            attempt = ports.store.attempt(session_id, session.attempt_number)
            if not lifecycle.is_done(attempt.step(StepName.SANDBOX)):
                lifecycle.end_step(
                    work, attempt, StepName.SANDBOX, StepStatus.COMPLETED, "The sandbox is up"
                )
            token = sandbox.task_token if first else None
        if not first:
            work.emit(events.RunnerReconnected())
        return token, replaced

    try:
        work, (token, replaced) = change(ports, session_id, decide)
    except (AttemptSuperseded, SessionNotFound) as error:
        _refuse(ports, connection, error.code, error.reason)
        return
    if token:
        succeed(ports, token)
    viewers = sum(
        1 for c in ports.store.connections(session_id) if c.role is Role.VIEWER and c.is_open
    )
    frames = [
        channel.Welcome(resume_key=resume_key, viewers=viewers),
        *pending_frames(ports, work.session),
    ]
    post(ports, connection, [text for item in frames for text in channel.encode(item)])
    if replaced and replaced != connection.connection_id:
        ports.sockets.close(replaced)
    dispatch(ports, session_id)


def _refuse(ports: Ports, connection: Connection, code: str, reason: str) -> None:
    _log.warning("refused a sandbox", extra={"code": code})
    ports.metrics.count("SandboxesRefused")
    post(ports, connection, channel.encode(channel.Refused(code=code, reason=reason)))
    ports.sockets.close(connection.connection_id)


def report(ports: Ports, connection: Connection, frame: channel.Report) -> None:
    """Take one batch, once: persist, answer Step Functions, tell viewers, acknowledge.

    A duplicate writes nothing, but repeats the answers, which are harmless twice.
    """
    session_id = connection.session_id

    def decide(work: Work) -> Taken:
        sandbox = ports.store.sandbox(session_id)
        if (
            work.session.status is Status.DELETING
            or sandbox is None
            or sandbox.connection_id != connection.connection_id
        ):
            return Taken(current=False)
        if sandbox.bootstrap_key is not None and connection.credential == "resume":
            sandbox.bootstrap_key = None
            work.save(sandbox)
        duplicate = frame.seq <= work.session.runner_seq
        batch = Batch(ports, work)
        for event in [] if duplicate else frame.events:
            batch.event(event)
        for result in frame.results:
            batch.result(result)
        if not duplicate and not work.is_empty:
            work.session.runner_seq = frame.seq
        return batch.taken

    work, taken = change(ports, session_id, decide)
    for row in taken.settled:
        _settle(ports, row)
    for name, value, dimensions in taken.times:
        ports.metrics.milliseconds(name, value, **dimensions)
    for name in taken.counts:
        ports.metrics.count(name)
    if taken.obsolete:
        # What dies before this is removed with the session.
        ports.objects.delete(taken.obsolete)
    if taken.durations:
        ports.store.remember_durations(work.session.git_url, taken.durations)
    ack = channel.Ack(seq=frame.seq, accepted=taken.current)
    post(ports, connection, channel.encode(ack))
    for row in taken.commands:
        send_command(ports, work.session, row)
    if taken.asleep:
        reason, saved = taken.asleep
        fall_asleep(ports, session_id, reason, saved=saved)
    elif taken.turn_ended or taken.settled:
        dispatch(ports, session_id)


def _settle(ports: Ports, row: CommandRow) -> None:
    if row.task_token is None:
        return
    if row.failure:
        fail(ports, row.task_token, step_error(row.failure.code, row.failure.reason))
    else:
        succeed(ports, row.task_token)


def heartbeat(ports: Ports, connection: Connection, frame: channel.Heartbeat) -> None:
    """Keep the waiting tasks of the runner's commands alive, and note that the runner lives."""
    sandbox = ports.store.sandbox(connection.session_id)
    if sandbox is None or sandbox.connection_id != connection.connection_id:
        return
    for command_id in frame.running[:_BEATS]:
        row = ports.store.command(connection.session_id, command_id)
        if row and row.task_token and not row.answered:
            try:
                ports.machine.beat(row.task_token)
            except TaskTokenGone:
                _log.info("a heartbeat came for a task that no longer waits")
    now = ports.clock()
    if sandbox.seen_at is None or now - sandbox.seen_at >= _SEEN_INTERVAL:
        change(ports, connection.session_id, lambda work: _see(ports, work, connection))


def _see(ports: Ports, work: Work, connection: Connection) -> None:
    sandbox = ports.store.sandbox(connection.session_id)
    if sandbox and sandbox.connection_id == connection.connection_id:
        sandbox.seen_at = work.now
        work.save(sandbox)


def leaving(ports: Ports, connection: Connection) -> None:
    """Have the work of a sandbox that must stop saved, its session asleep after that.

    A sandbox that has nothing to save, or whose work nobody would wait for, is let go at once.
    """
    session_id = connection.session_id

    def decide(work: Work) -> tuple[bool, CommandRow | None]:
        session = work.session
        sandbox = ports.store.sandbox(session_id)
        if (
            sandbox is None
            or sandbox.status is SandboxStatus.STOPPED
            or sandbox.connection_id != connection.connection_id
        ):
            return False, None
        saving = any(
            row.kind in {"snapshot", "upload"} and not row.answered
            for row in ports.store.commands(session_id)
            if row.attempt_number == session.attempt_number
        )
        if session.status is Status.STOPPING:
            return saving, None
        if session.status not in {Status.READY, Status.PREPARED} or session.active_turn:
            return False, None
        lifecycle.begin_stopping(work)
        sandbox.stopped_reason = "The sandbox had to stop"
        work.save(sandbox)
        return True, None if saving else snapshot_row(work)

    try:
        work, (stays, row) = change(ports, session_id, decide)
    except SessionNotFound:
        stays, row = False, None
    if not stays:
        post(ports, connection, channel.encode(channel.Leave()))
    elif row:
        ports.metrics.count("SandboxesLeaving")
        send_command(ports, work.session, row)
