"""The runner's side of the channel: hello, reports in order, heartbeats."""

import logging
from datetime import timedelta

from headstart.domain import channel, events, lifecycle, turns
from headstart.domain.errors import (
    AttemptSuperseded,
    ChangeRefused,
    SessionNotFound,
    TaskTokenGone,
    step_error,
)
from headstart.domain.ids import derived_secret
from headstart.domain.session import CommandRow, SandboxStatus, Session, Status
from headstart.domain.steps import StepName, StepStatus
from headstart.domain.work import Work
from headstart.usecases.batch import Batch, Taken
from headstart.usecases.change import change, post
from headstart.usecases.commands import pending_frames, send_saving
from headstart.usecases.create import hash_secret
from headstart.usecases.messages import dispatch
from headstart.usecases.ports import Connection, Ports, Role
from headstart.usecases.preparation import fail, succeed
from headstart.usecases.sleep import fall_asleep, snapshot_row

_log = logging.getLogger(__name__)

_BEATS = 10
"""How many commands one heartbeat may name; the runner works on two at most."""

_FRAME_LIFE = timedelta(seconds=15)
"""How long a command may be on its way, to the runner and back, before it is taken for lost."""

_SEEN_INTERVAL = timedelta(minutes=1)
"""How often a heartbeat is written down."""


def hello(ports: Ports, connection: Connection, frame: channel.Hello) -> None:
    """Accept the session's one sandbox, or refuse it; then send what it has to do.

    The newest connection of the accepted process wins. The first hello ends the `sandbox` step.
    """
    session_id = connection.session_id
    ports.store.open_connection(connection)

    def decide(work: Work) -> tuple[str | None, str | None, str | None]:
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
        resume_key = None
        if connection.credential == "resume":
            sandbox.bootstrap_key = None
        elif sandbox.bootstrap_key:
            # The same at each hello of a process: they may be served late and in any order.
            resume_key = derived_secret(sandbox.bootstrap_key, frame.process)
            sandbox.resume_key_hash = hash_secret(resume_key)
        work.save(sandbox)
        token = None
        if session.status is Status.PREPARING:
            attempt = ports.store.attempt(session_id, session.attempt_number)
            if not lifecycle.is_done(attempt.step(StepName.SANDBOX)):
                lifecycle.end_step(
                    work, attempt, StepName.SANDBOX, StepStatus.COMPLETED, "The sandbox is up"
                )
            # At every hello, since who took the first may have died before it told the machine.
            token = sandbox.task_token
        if not first:
            work.emit(events.RunnerReconnected())
        return token, replaced, resume_key

    try:
        work, (token, replaced, resume_key) = change(ports, session_id, decide)
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

    A duplicate writes nothing, but repeats the answers, which are harmless twice. A batch that can
    never be written is dropped, loudly: repeated for ever it would hold up all that follows.
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

    try:
        work, taken = change(ports, session_id, decide)
    except ChangeRefused:
        _log.exception("a batch can't be written and is dropped")
        ports.metrics.count("BatchesDropped")
        post(ports, connection, channel.encode(channel.Ack(seq=frame.seq, accepted=False)))
        return
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
    for row in taken.commands:
        send_saving(ports, work.session, row)
    if taken.asleep:
        reason, saved = taken.asleep
        fall_asleep(ports, session_id, reason, saved=saved)
    elif taken.turn_ended or taken.settled:
        dispatch(ports, session_id)
    # Last, so that what was not done for this batch is done for its repetition.
    ack = channel.Ack(seq=frame.seq, accepted=taken.current)
    post(ports, connection, channel.encode(ack))


def _settle(ports: Ports, row: CommandRow) -> None:
    if row.task_token is None:
        return
    if row.failure:
        fail(ports, row.task_token, step_error(row.failure.code, row.failure.reason))
    else:
        succeed(ports, row.task_token)


def heartbeat(ports: Ports, connection: Connection, frame: channel.Heartbeat) -> None:
    """Keep the waiting tasks of the runner's commands alive, and note that the runner lives.

    Commands that should run and don't are sent again, and steps that run and shouldn't are
    cancelled: those frames were lost.
    """
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
    _repeat_lost(ports, connection, frame)
    now = ports.clock()
    if sandbox.seen_at is None or now - sandbox.seen_at >= _SEEN_INTERVAL:
        change(ports, connection.session_id, lambda work: _see(ports, work, connection))


def _repeat_lost(ports: Ports, connection: Connection, frame: channel.Heartbeat) -> None:
    session = ports.store.session(connection.session_id)
    late = ports.clock() - _FRAME_LIFE
    lost = [
        *(c for c in pending_frames(ports, session, before=late) if c.id not in frame.running),
        *(channel.Cancel(id=i) for i in frame.running if _is_over(session, i)),
    ]
    if lost:
        ports.metrics.count("FramesRepeated", len(lost))
        post(ports, connection, [text for item in lost for text in channel.encode(item)])


def _is_over(session: Session, command_id: str) -> bool:
    """Say whether a command is a step's of an attempt that is over."""
    step = lifecycle.parse_step_command(command_id)
    current = session.status is Status.PREPARING and step and step[0] == session.attempt_number
    return step is not None and not current


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

    def decide(work: Work) -> bool:
        session = work.session
        sandbox = ports.store.sandbox(session_id)
        if (
            sandbox is None
            or sandbox.status is SandboxStatus.STOPPED
            or sandbox.connection_id != connection.connection_id
        ):
            return False
        if session.status in {Status.READY, Status.PREPARED}:
            turn = session.active_turn
            if turn and turn.started_at is None:
                # It says so when every delivery is over, and takes none any more.
                turns.unclaim_message(work, ports.store.message(session_id, turn.message_number))
            lifecycle.begin_stopping(work)
            sandbox.stopped_reason = "The sandbox had to stop"
            work.save(sandbox)
            if session.saving is None:
                snapshot_row(work)
        return session.status is Status.STOPPING and session.saving is not None

    try:
        work, stays = change(ports, session_id, decide)
    except SessionNotFound:
        stays = False
    if not stays:
        post(ports, connection, channel.encode(channel.Leave()))
        return
    ports.metrics.count("SandboxesLeaving")
    saving = [f for f in pending_frames(ports, work.session) if f.kind in {"snapshot", "upload"}]
    post(ports, connection, [text for command in saving for text in channel.encode(command)])
