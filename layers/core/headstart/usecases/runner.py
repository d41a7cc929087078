"""The runner's side of the channel: hello, and reports in order."""

import logging

from headstart.domain import channel, events, lifecycle
from headstart.domain.connections import Connection, Standing, standing
from headstart.domain.errors import (
    AttemptSuperseded,
    ServiceUnavailable,
    SessionNotFound,
    step_error,
)
from headstart.domain.ids import derived_secret, hash_secret
from headstart.domain.session import Command, Sandbox, SandboxStatus, Session, Status
from headstart.domain.steps import StepName, StepStatus
from headstart.domain.work import Work
from headstart.usecases.batch import Batch, Taken
from headstart.usecases.change import (
    best_effort,
    change,
    hang_up,
    log_defect,
    post,
    viewer_count,
)
from headstart.usecases.commands import frames_of, send_command, waiting_commands
from headstart.usecases.messages import dispatch
from headstart.usecases.ports import Ports
from headstart.usecases.sleep import fall_asleep
from headstart.usecases.tasks import fail, succeed

_log = logging.getLogger(__name__)


def hello(ports: Ports, connection: Connection, frame: channel.Hello) -> None:
    """Accept the session's one sandbox, or refuse it; then send what it has to do.

    The newest connection of the accepted process wins; an older one's hello, served late, is as if
    it had never come. The first hello ends the `sandbox` step.
    """
    session_id = connection.session_id
    ports.store.open_connection(connection)

    def decide(work: Work) -> tuple[list[str], str | None, str | None] | None:
        session = work.session
        sandbox = ports.store.sandbox(session_id)
        if session.status is Status.DELETING or sandbox is None:
            raise SessionNotFound()
        place = standing(connection, sandbox, frame)
        if place is Standing.FOREIGN:
            raise AttemptSuperseded("another sandbox serves this session")
        if place is Standing.OUTDATED:
            return None
        replaced = sandbox.connection_id
        if sandbox.process is not None:
            work.emit(events.RunnerReconnected())
        sandbox.process = frame.process
        sandbox.connection_id = connection.connection_id
        sandbox.connection_number = frame.connection
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
        return _sandbox_step(ports, work, sandbox), replaced, resume_key

    try:
        work, accepted = change(ports, session_id, decide)
    except (AttemptSuperseded, SessionNotFound) as error:
        _refuse(ports, connection, error.code, error.reason)
        return
    if accepted is None:
        hang_up(ports, connection)
        return
    tokens, replaced, resume_key = accepted
    succeed(ports, tokens)
    welcome = channel.Welcome(
        resume_key=resume_key, viewers=viewer_count(ports, session_id), answers_heartbeats=True
    )
    rows = waiting_commands(ports, work.session)
    frames = [welcome, *frames_of(ports, work.session, rows)]
    post(ports, connection, [text for item in frames for text in channel.encode(item)])
    if replaced and replaced != connection.connection_id:
        with best_effort(ports, "closing an older connection"):
            ports.sockets.close(replaced)
    dispatch(ports, session_id)


def _sandbox_step(ports: Ports, work: Work, sandbox: Sandbox) -> list[str]:
    """End the step that waits for the sandbox; returns the tasks to tell.

    A sandbox that an attempt has not acquired yet, or that it may replace, ends nothing.
    """
    session = work.session
    if session.status is not Status.PREPARING or sandbox.attempt_number != session.attempt_number:
        return []
    attempt = ports.store.attempt(session.session_id, session.attempt_number)
    if not lifecycle.is_done(attempt.step(StepName.SANDBOX)):
        lifecycle.end_step(
            work, attempt, StepName.SANDBOX, StepStatus.COMPLETED, "The sandbox is up"
        )
    # At every hello, since who took the first may have died before it told the machine.
    return sandbox.tokens


def _refuse(ports: Ports, connection: Connection, code: str, reason: str) -> None:
    _log.warning("refused a sandbox", extra={"code": code})
    ports.metrics.count("SandboxesRefused")
    post(ports, connection, channel.encode(channel.Refused(code=code, reason=reason)))
    hang_up(ports, connection)


def report(ports: Ports, connection: Connection, frame: channel.Report) -> None:
    """Take one batch, once: persist, answer Step Functions, tell viewers, acknowledge.

    A duplicate writes nothing, but repeats the answers, which are harmless twice. What came over
    another connection than the runner's present one is not acknowledged: it comes again there.
    """
    try:
        session, taken = _take(ports, connection, frame)
    except SessionNotFound:
        hang_up(ports, connection)
        return
    except ServiceUnavailable:
        raise
    except Exception as error:
        _drop(ports, connection, frame.seq, error)
        return
    if taken is None:
        hang_up(ports, connection)
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
        ports.store.remember_durations(session.git_url, taken.durations)
    for row in taken.commands:
        send_command(ports, session, row)
    if taken.asleep:
        reason, saved = taken.asleep
        fall_asleep(ports, session.session_id, reason, saved=saved)
    elif taken.turn_ended or taken.settled:
        dispatch(ports, session.session_id)
    # Last, so that what was not done for this batch is done for its repetition.
    post(ports, connection, channel.encode(channel.Ack(seq=frame.seq, accepted=True)))


def _take(
    ports: Ports, connection: Connection, frame: channel.Report
) -> tuple[Session, Taken | None]:
    """Commit what a batch changes; what can't be written as a whole loses events, half by half.

    The ends of turns and the results, which somebody waits for, stay to the last. Raises whatever
    speaks against those.
    """
    kept = frame.events
    while True:
        try:
            return _commit(ports, connection, frame.seq, kept, frame.results)
        except (ServiceUnavailable, SessionNotFound):
            raise
        except Exception as error:
            fewer = _fewer(kept)
            if len(fewer) == len(kept):
                raise
            log_defect("a batch was written without some of its events", error)
            ports.metrics.count("EventsDropped", len(kept) - len(fewer))
            kept = fewer


def _fewer(kept: list[channel.RunnerEvent]) -> list[channel.RunnerEvent]:
    """Return the ends of turns and the first half of the other events."""
    others = sum(not isinstance(event, channel.TurnEnded) for event in kept)
    room = others // 2
    fewer: list[channel.RunnerEvent] = []
    for event in kept:
        if isinstance(event, channel.TurnEnded):
            fewer.append(event)
        elif room:
            room -= 1
            fewer.append(event)
    return fewer


def _commit(
    ports: Ports,
    connection: Connection,
    seq: int,
    happened: list[channel.RunnerEvent],
    results: list[channel.CommandResult],
) -> tuple[Session, Taken | None]:
    session_id = connection.session_id

    def decide(work: Work) -> Taken | None:
        sandbox = ports.store.sandbox(session_id)
        if work.session.status is Status.DELETING:
            raise SessionNotFound()
        if sandbox is None or standing(connection, sandbox) is not Standing.CURRENT:
            return None
        if sandbox.bootstrap_key is not None:
            # A report comes after the welcome, and with it the key that takes this one's place.
            sandbox.bootstrap_key = None
            work.save(sandbox)
        duplicate = seq <= work.session.runner_seq
        batch = Batch(ports, work, sandbox)
        for event in [] if duplicate else happened:
            batch.event(event)
        for result in results:
            batch.result(result)
        if not duplicate and not work.is_empty:
            work.session.runner_seq = seq
        return batch.taken

    work, taken = change(ports, session_id, decide)
    return work.session, taken


def drop_report(ports: Ports, connection: Connection, seq: int) -> None:
    """Let go of a batch that can't be read, loudly: repeated for ever it would hold up the rest."""
    current = standing(connection, ports.store.sandbox(connection.session_id))
    if current is Standing.CURRENT:
        _drop(ports, connection, seq, ValueError("a batch can't be read"))
    else:
        hang_up(ports, connection)


def _drop(ports: Ports, connection: Connection, seq: int, error: Exception) -> None:
    log_defect("a batch was dropped", error)
    ports.metrics.count("BatchesDropped")
    post(ports, connection, channel.encode(channel.Ack(seq=seq, accepted=False)))


def _settle(ports: Ports, row: Command) -> None:
    if row.failure:
        fail(ports, row.tokens, step_error(row.failure.code, row.failure.reason))
    else:
        succeed(ports, row.tokens)
