"""One report of a runner applied to one session: what it changes, and what must follow."""

import logging
from dataclasses import dataclass, field

from pydantic import ValidationError

from headstart.domain import channel, events, lifecycle, turns
from headstart.domain.errors import (
    InputGone,
    SandboxLeaving,
    SnapshotFailed,
    StepError,
    step_error,
)
from headstart.domain.session import (
    Attempt,
    AttemptStatus,
    Command,
    Failure,
    Input,
    Output,
    Sandbox,
    Status,
)
from headstart.domain.steps import StepName, StepStatus
from headstart.domain.work import Work
from headstart.usecases.leaving import begin_leaving
from headstart.usecases.ports import Ports
from headstart.usecases.sleep import keep_snapshot, snapshot_of, snapshot_row, upload_row

MAX_PENDING_INPUTS = 20

_log = logging.getLogger(__name__)

_TurnEvent = (
    channel.AgentEvent
    | channel.AgentDelta
    | channel.AgentSnapshot
    | channel.TurnRetrying
    | channel.InputRequested
    | channel.InputResolved
    | channel.TurnEnded
)


@dataclass
class Taken:
    """What a report asks for after its commit."""

    settled: list[Command] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    times: list[tuple[str, int, dict[str, str]]] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)
    turn_ended: bool = False
    durations: dict[str, int] = field(default_factory=dict)
    asleep: tuple[str, bool] | None = None
    obsolete: str | None = None


class Batch:
    """One report applied to one Work; rows are read once and changed together."""

    def __init__(self, ports: Ports, work: Work, sandbox: Sandbox) -> None:
        self._ports = ports
        self._work = work
        self._sandbox = sandbox
        self._session = work.session
        self._attempt: Attempt | None = None
        self._output: dict[StepName, Output] = {}
        self._inputs: dict[str, Input] = {}
        self.taken = Taken()

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

    def event(self, event: channel.RunnerEvent) -> None:
        """Apply one event; what belongs to another attempt or turn is dropped."""
        match event:
            case channel.Progress():
                if step := self._step(event.command_id):
                    lifecycle.progress_step(
                        self._work,
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
            case _:
                turn = self._session.active_turn
                if turn and turn.turn_id == event.turn_id:
                    self._turn_event(event)

    def _turn_event(self, event: _TurnEvent) -> None:
        match event:
            case channel.TurnEnded():
                error = event.error.error() if event.error else None
                if turns.end_turn(
                    self._work,
                    event.turn_id,
                    event.usage,
                    error,
                    interrupted=event.interrupted,
                ):
                    self.taken.turn_ended = True
                    self.taken.commands.append(snapshot_row(self._work))
                return
            case channel.InputRequested():
                if not self._ask(event):
                    return
            case channel.InputResolved():
                self._resolve(event.request_id, event.outcome)
                return
        self._work.emit(_passed_on(event), event.turn_id)

    def _ask(self, event: channel.InputRequested) -> bool:
        """Keep what the agent asks; False for more than a person could ever answer."""
        pending = self._session.pending_inputs
        if event.request_id not in pending and len(pending) >= MAX_PENDING_INPUTS:
            return False
        asked = Input(
            request_id=event.request_id,
            turn_id=event.turn_id,
            kind=event.kind,
            body=event.body,
            created_at=self._work.now,
        )
        self._inputs[asked.request_id] = asked
        self._work.save(asked)
        if asked.request_id not in pending:
            pending.append(asked.request_id)
        return True

    def _resolve(self, request_id: str, outcome: str) -> None:
        asked = self._inputs.get(request_id) or self._ports.store.input(
            self._session.session_id, request_id
        )
        if asked is None or asked.outcome:
            return
        self._inputs[request_id] = asked
        asked.outcome = outcome
        self._work.save(asked)
        if request_id in self._session.pending_inputs:
            self._session.pending_inputs.remove(request_id)
        self._work.emit(events.InputResolved(request_id=request_id, outcome=outcome), asked.turn_id)

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

    def result(self, result: channel.CommandResult) -> None:
        """Apply one result; one that was applied before only has its answer repeated."""
        row = self._ports.store.command(self._session.session_id, result.command_id)
        if row is None or row.attempt_number > self._session.attempt_number:
            return
        if not row.answered:
            error = result.error.error() if result.error else None
            row.answered = True
            row.output = result.output
            row.failure = Failure.of(error, row.step) if error else None
            self._work.save(row)
            self._apply(row, result, error)
        elif row.kind == "upload" and self._session.status is Status.STOPPING:
            # Who took it in may have died before the session could sleep.
            self._saved(
                row, step_error(row.failure.code, row.failure.reason) if row.failure else None
            )
        self.taken.settled.append(row)

    def _apply(self, row: Command, result: channel.CommandResult, error: StepError | None) -> None:
        match row.kind:
            case "prompt":
                self._prompt_result(row, error)
            case "snapshot":
                upload = None if error else upload_row(self._work, row)
                if upload:
                    self.taken.commands.append(upload)
                else:
                    self._saved(row, error or SnapshotFailed("the copy makes no sense"))
            case "upload":
                try:
                    if error is None:
                        self.taken.obsolete = keep_snapshot(self._ports, self._work, row)
                except SnapshotFailed as missing:
                    error = missing
                except ValidationError:
                    error = SnapshotFailed("the copy makes no sense")
                self._saved(row, error)
            case "input" if isinstance(error, InputGone):
                self._resolve(str(row.args["requestId"]), "withdrawn")
            case _ if (step := self._step(row.command_id)) is not None:
                self._step_result(step, result, error)

    def _saved(self, row: Command, error: StepError | None) -> None:
        """The work was saved, or was not: either way a session that waits for it sleeps now."""
        if snapshot_of(row) != self._session.saving:
            return  # another copy has taken its place
        if error:
            self.taken.counts.append("SnapshotsFailed")
            _log.warning("the work was not saved", extra={"code": error.code})
        if self._session.status is Status.STOPPING:
            reason = self._sandbox.stopped_reason or "Idle"
            if error:
                reason += f"; the work was not saved: {error}"
            self.taken.asleep = (reason, error is None)
        else:
            self._session.saving = None

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
            if step is StepName.CLONE:
                cloned = result.output.get("bytes")
                self.attempt.cloned_bytes = cloned if isinstance(cloned, int) else None
                self.attempt.clone_cached = result.output.get("cached") is True
            status = StepStatus(result.status)
            lifecycle.end_step(
                self._work, self.attempt, step, status, _summary(step, result.output)
            )
            self.taken.times.append(("StepTime", result.elapsed_ms, {"Step": step.value}))

    def _prompt_result(self, row: Command, error: StepError | None) -> None:
        turn = self._session.active_turn
        if turn is None or not turn.is_by(row.command_id):
            return
        message = self._ports.store.message(self._session.session_id, turn.message_number)
        if isinstance(error, SandboxLeaving):
            turns.unclaim_message(self._work, message)
            self._leave()
            return
        if error:
            turns.refuse_message(self._work, message, error)
            return
        turns.accept_message(self._work, message)
        if self._session.status is Status.PREPARING:
            lifecycle.end_step(
                self._work,
                self.attempt,
                StepName.DELIVER,
                StepStatus.COMPLETED,
                "The agent has the message",
            )
            lifecycle.complete_attempt(
                self._work, self.attempt, self._ports.policy.sandbox_dollars_per_hour
            )
            self.taken.durations = lifecycle.durations(self.attempt)
            total = lifecycle.milliseconds(self.attempt.started_at, self._work.now)
            self.taken.times.append(("TimeToReady", total, {}))
        elif self._session.status in {Status.READY, Status.PREPARED}:
            was_prepared = self._session.status is Status.PREPARED
            self._session.move_to(Status.RUNNING, self._work.now)
            if was_prepared and self.attempt.status is AttemptStatus.COMPLETED:
                receipt = lifecycle.receipt(
                    self.attempt,
                    self.attempt.ended_at or self._work.now,
                    self._ports.policy.sandbox_dollars_per_hour,
                )
                self._work.emit(events.SessionReady(receipt=receipt))

    def _leave(self) -> None:
        """Stop using a sandbox that takes no messages: what is queued would come back for ever."""
        if self._session.status in {Status.READY, Status.PREPARED}:
            snapshot = begin_leaving(self._work, self._sandbox)
            if snapshot:
                self.taken.commands.append(snapshot)


def _passed_on(event: _TurnEvent) -> events.EventData:
    match event:
        case channel.AgentEvent():
            return events.AgentEvent(payload=event.data)
        case channel.AgentDelta():
            return events.AgentDelta(
                payload={"partId": event.part_id, "offset": event.offset, "text": event.text}
            )
        case channel.AgentSnapshot():
            return events.AgentSnapshot(payload={"parts": event.parts})
        case channel.TurnRetrying():
            return events.TurnRetrying(reason=event.reason)
        case channel.InputRequested():
            return events.InputRequested(
                request_id=event.request_id, kind=event.kind, body=event.body
            )
        case _:
            raise ValueError(f"{event.type} is not passed on")


def _summary(step: StepName, output: dict[str, object]) -> str | None:
    """Return a sentence about a finished step, where its answer tells something worth reading."""
    match step:
        case StepName.DISK if isinstance(free := output.get("freeBytes"), int):
            return f"{free / 1e9:.1f} GB free"
        case StepName.CLONE | StepName.BRANCH:
            return _where(output)
        case StepName.SETUP if isinstance(failed := output.get("warnings"), list) and failed:
            return f"Went on after {len(failed)} failed: {str(failed[-1])[:300]}"
        case StepName.AGENT if output.get("version"):
            return f"{output.get('agent')} {output['version']} is healthy"
    return None


def _where(output: dict[str, object]) -> str | None:
    if output.get("empty"):
        return "The repository is empty"
    branch = output.get("defaultBranch") or output.get("branch")
    if output.get("commit"):
        return f"{branch} at {str(output['commit'])[:12]}"
    return f"{branch}, no commits yet" if output.get("branch") else None
