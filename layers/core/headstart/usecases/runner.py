"""The runner's side of the channel: hello, reports in order, heartbeats."""

import logging
from dataclasses import dataclass, field

from headstart.domain import channel, events, lifecycle
from headstart.domain.errors import (
    AttemptSuperseded,
    SessionNotFound,
    StepError,
    TaskTokenGone,
    step_error,
)
from headstart.domain.ids import new_secret
from headstart.domain.session import (
    Attempt,
    AttemptStatus,
    CommandRow,
    Failure,
    Output,
    SandboxStatus,
    Status,
)
from headstart.domain.steps import StepName, StepStatus
from headstart.domain.work import Work
from headstart.usecases.change import change, post
from headstart.usecases.create import hash_secret
from headstart.usecases.messages import dispatch
from headstart.usecases.ports import Connection, Ports, Role
from headstart.usecases.preparation import fail, pending_commands, succeed

_log = logging.getLogger(__name__)


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
        *pending_commands(ports, work.session),
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


@dataclass
class _Taken:
    """What a report asks for after its commit."""

    settled: list[CommandRow] = field(default_factory=list)
    times: list[tuple[str, int, dict[str, str]]] = field(default_factory=list)
    turn_ended: bool = False
    current: bool = True


def report(ports: Ports, connection: Connection, frame: channel.Report) -> None:
    """Take one batch, once: persist, answer Step Functions, tell viewers, acknowledge.

    A duplicate writes nothing, but repeats the answers, which are harmless twice.
    """
    session_id = connection.session_id

    def decide(work: Work) -> _Taken:
        taken = _Taken()
        sandbox = ports.store.sandbox(session_id)
        if (
            work.session.status is Status.DELETING
            or sandbox is None
            or sandbox.connection_id != connection.connection_id
        ):
            taken.current = False
            return taken
        if sandbox.bootstrap_key is not None and connection.credential == "resume":
            sandbox.bootstrap_key = None
            work.save(sandbox)
        duplicate = frame.seq <= work.session.runner_seq
        batch = _Batch(ports, work)
        if not duplicate:
            for event in frame.events:
                taken.turn_ended |= batch.event(event)
        for result in frame.results:
            row = batch.result(result)
            if row:
                taken.settled.append(row)
        taken.times = batch.times
        if not duplicate and not work.is_empty:
            work.session.runner_seq = frame.seq
        return taken

    _, taken = change(ports, session_id, decide)
    for row in taken.settled:
        _settle(ports, row)
    for name, value, dimensions in taken.times:
        ports.metrics.milliseconds(name, value, **dimensions)
    ack = channel.Ack(seq=frame.seq, accepted=taken.current)
    post(ports, connection, channel.encode(ack))
    if taken.turn_ended or taken.settled:
        dispatch(ports, session_id)


class _Batch:
    """One report applied to one Work; rows are read once and changed together."""

    def __init__(self, ports: Ports, work: Work) -> None:
        self._ports = ports
        self._work = work
        self._session = work.session
        self._attempt: Attempt | None = None
        self._output: dict[StepName, Output] = {}
        self.times: list[tuple[str, int, dict[str, str]]] = []

    @property
    def attempt(self) -> Attempt:
        if self._attempt is None:
            self._attempt = self._ports.store.attempt(
                self._session.session_id, self._session.attempt_number
            )
        return self._attempt

    def _step(self, command_id: str) -> StepName | None:
        """Return the step of a command of the attempt that runs, None for anything stale."""
        parsed = lifecycle.parse_step_command(command_id)
        if (
            parsed is None
            or parsed[0] != self._session.attempt_number
            or self._session.status is not Status.PREPARING
        ):
            return None
        return parsed[1]

    def event(self, event: channel.RunnerEvent) -> bool:
        """Apply one event; returns whether it ended the active turn."""
        work = self._work
        match event:
            case channel.Progress():
                if step := self._step(event.command_id):
                    lifecycle.progress_step(
                        work,
                        self.attempt,
                        step,
                        message=event.message,
                        percent=event.percent,
                        output=event.output,
                        output_offset=event.output_offset,
                    )
            case channel.Output():
                if step := self._step(event.command_id):
                    self._keep_output(step, event)
            case channel.TurnEnded():
                error = _error_of(event.error)
                return lifecycle.end_turn(work, event.turn_id, event.usage, error)
            case channel.AgentEvent() | channel.AgentDelta() | channel.AgentSnapshot():
                turn = self._session.active_turn
                if turn and turn.turn_id == event.turn_id:
                    work.emit(_agent_event(event), event.turn_id)
        return False

    def _keep_output(self, step: StepName, event: channel.Output) -> None:
        kept = self._output.get(step) or self._ports.store.output(
            self._session.session_id, self._session.attempt_number, step.value
        )
        end = kept.offset + len(kept.text.encode()) if kept else None
        if kept is None or end != event.offset:
            kept = Output(
                attempt_number=self._session.attempt_number, step=step, offset=event.offset
            )
        text = (kept.text + event.text).encode()
        cut = max(0, len(text) - channel.OUTPUT_TAIL_BYTES)
        kept.offset += cut
        kept.text = text[cut:].decode(errors="ignore")
        self._output[step] = kept
        self._work.save(kept)

    def result(self, result: channel.CommandResult) -> CommandRow | None:
        """Apply one result; returns the row to settle, also when it was answered before."""
        row = self._ports.store.command(self._session.session_id, result.command_id)
        if row is None or row.attempt_number > self._session.attempt_number:
            return None
        if row.answered:
            return row
        error = _error_of(result.error)
        row.answered = True
        row.output = result.output
        row.failure = Failure.of(error, row.step) if error else None
        self._work.save(row)
        if row.message_number is not None:
            self._prompt_result(row.message_number, error)
        elif (step := self._step(row.command_id)) is not None:
            self._step_result(step, result, error)
        return row

    def _step_result(
        self, step: StepName, result: channel.CommandResult, error: StepError | None
    ) -> None:
        record = self.attempt.step(step)
        if lifecycle.is_done(record):
            return
        if error:
            # Whether it failed for good is the machine's to say: it may try again.
            lifecycle.begin_step(self._work, self.attempt, step, error.reason)
        else:
            status = StepStatus(result.status)
            lifecycle.end_step(
                self._work, self.attempt, step, status, _summary(step, result.output)
            )
            self.times.append(("StepTime", result.elapsed_ms, {"Step": step.value}))

    def _prompt_result(self, message_number: int, error: StepError | None) -> None:
        message = self._ports.store.message(self._session.session_id, message_number)
        turn = self._session.active_turn
        if turn is None or turn.message_id != message.message_id:
            return
        if error:
            lifecycle.refuse_message(self._work, message, error)
            return
        lifecycle.accept_message(self._work, message)
        if self._session.status is Status.PREPARING:
            lifecycle.end_step(
                self._work,
                self.attempt,
                StepName.DELIVER,
                StepStatus.COMPLETED,
                "The agent has the message",
            )
            lifecycle.complete_attempt(self._work, self.attempt)
            total = lifecycle.milliseconds(self.attempt.started_at, self._work.now)
            self.times.append(("TimeToReady", total, {}))
        elif self._session.status in {Status.READY, Status.PREPARED}:
            was_prepared = self._session.status is Status.PREPARED
            self._session.move_to(Status.RUNNING, self._work.now)
            if was_prepared and self.attempt.status is AttemptStatus.COMPLETED:
                receipt = lifecycle.receipt(self.attempt, self.attempt.ended_at or self._work.now)
                self._work.emit(events.SessionReady(receipt=receipt))


def _error_of(info: channel.ErrorInfo | None) -> StepError | None:
    return step_error(info.code, info.reason) if info else None


def _agent_event(
    event: channel.AgentEvent | channel.AgentDelta | channel.AgentSnapshot,
) -> events.EventData:
    match event:
        case channel.AgentEvent():
            return events.AgentEvent(payload=event.data)
        case channel.AgentDelta():
            return events.AgentDelta(
                payload={"partId": event.part_id, "offset": event.offset, "text": event.text}
            )
        case channel.AgentSnapshot():
            return events.AgentSnapshot(payload={"parts": event.parts})


def _summary(step: StepName, output: dict[str, object]) -> str | None:
    """Return a sentence about a finished step, where its answer tells something worth reading."""
    match step:
        case StepName.DISK if isinstance(free := output.get("freeBytes"), int):
            return f"{free / 1e9:.1f} GB free"
        case StepName.CLONE if output.get("empty"):
            return "The repository is empty"
        case StepName.CLONE | StepName.BRANCH if output.get("commit"):
            branch = output.get("defaultBranch") or output.get("branch")
            return f"{branch} at {str(output['commit'])[:12]}"
        case StepName.BRANCH if output.get("branch"):
            return f"{output['branch']}, no commits yet"
        case StepName.AGENT if output.get("version"):
            return f"{output.get('agent')} {output['version']} is healthy"
    return None


def _settle(ports: Ports, row: CommandRow) -> None:
    if row.task_token is None:
        return
    if row.failure:
        fail(ports, row.task_token, step_error(row.failure.code, row.failure.reason))
    else:
        succeed(ports, row.task_token)


def heartbeat(ports: Ports, connection: Connection, frame: channel.Heartbeat) -> None:
    """Keep the waiting tasks of the runner's commands alive."""
    sandbox = ports.store.sandbox(connection.session_id)
    if sandbox is None or sandbox.connection_id != connection.connection_id:
        return
    for command_id in frame.running[:10]:
        row = ports.store.command(connection.session_id, command_id)
        if row and row.task_token and not row.answered:
            try:
                ports.machine.beat(row.task_token)
            except TaskTokenGone:
                _log.info("a heartbeat came for a task that no longer waits")
