"""One report of a runner: what its events and results change, and what must follow."""

from collections.abc import Iterator
from typing import Any

from headstart.domain import channel, events
from headstart.domain.archive import words
from headstart.domain.attempt import AttemptStatus, Output
from headstart.domain.change import Change, RowKey, WorkingSet, input_key, output_key, text_key
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errands import AnswerTask, LookForCopy, Measure
from headstart.domain.errors import ArchiveFailed, SandboxLeaving, StepError
from headstart.domain.failure import Failure
from headstart.domain.life import (
    asking,
    hosting,
    preparing,
    publishing,
    queueing,
    saving,
    sleeping,
    turns,
    workspace,
    writing,
)
from headstart.domain.life.progress import (
    begin_step,
    durations,
    end_step,
    is_done,
    progress_step,
    receipt,
)
from headstart.domain.long_texts import Piece, with_refs_alone
from headstart.domain.sandbox import Command
from headstart.domain.session import Status
from headstart.domain.steps import StepName, StepStatus

TurnEvent = (
    channel.AgentEvent
    | channel.AgentDelta
    | channel.AgentSnapshot
    | channel.TurnRetrying
    | channel.InputRequested
    | channel.InputResolved
    | channel.TurnEnded
)


def named_by(found: WorkingSet, report: channel.Report) -> Iterator[RowKey]:
    """Yield the rows outside of the working set that a report rests on."""
    for event in report.events:
        match event:
            case channel.Output() if step := _step_of(found.commands.get(event.command_id)):
                yield output_key(found.attempt.number, step.value)
            case Piece() | channel.AgentEvent() | channel.TurnEnded():
                yield from map(text_key, writing.refs_of(event))
            case channel.InputResolved():
                yield input_key(event.request_id)
    for result in report.results:
        command = found.commands.get(result.command_id)
        if command and command.kind is CommandKind.INPUT:
            yield input_key(str(command.args["requestId"]))


def _step_of(command: Command | None) -> StepName | None:
    return command.step if command and command.kind is not CommandKind.PROMPT else None


def take_report(change: Change, connection_id: str, report: channel.Report) -> None:
    """Apply a batch once, repeat its answers each time, and acknowledge it.

    Raises NotTheRunner for one that came over another connection than the current one.
    """
    hosting.require_runner(change, connection_id)
    hosting.is_welcomed(change)
    new = report.seq > change.session.runner_seq
    settled = [c for c in change.commands.values() if c.answered] if new else []
    for event in report.events if new else []:
        _take_event(change, event)
    for result in report.results:
        _take_result(change, result)
    if not change.is_empty:
        change.session.runner_seq = max(change.session.runner_seq, report.seq)
        for command in settled:
            # The runner has the ack of their batch, so their answers are asked for no more.
            saving.forget(change, command)
    change.reply(connection_id, channel.Ack(seq=report.seq, accepted=True))


def _take_event(change: Change, event: channel.RunnerEvent) -> None:
    """Apply one event; what belongs to another attempt or turn is dropped."""
    match event:
        case channel.Progress():
            if step := _current_step(change, event.command_id):
                progress_step(
                    change,
                    step,
                    message=event.message,
                    percent=event.percent,
                    output=event.output,
                    output_offset=event.output_offset,
                )
        case channel.Output():
            if step := _current_step(change, event.command_id):
                _keep_output(change, step, event)
        case Piece():
            writing.take_piece(change, event)
        case channel.WorkChanged():
            publishing.told_changes(change, event)
        case channel.WorkPushed():
            publishing.will_push(change, event)
        case _:
            turn = change.session.active_turn
            if turn and turn.turn_id == event.turn_id:
                _take_turn_event(change, event)


def _current_step(change: Change, command_id: str) -> StepName | None:
    """Return the step of an open command of the attempt that runs, None for anything stale."""
    command = change.commands.get(command_id)
    if command is None or command.attempt_number != change.session.attempt_number:
        return None
    return _step_of(command) if change.session.status is Status.PREPARING else None


def _take_turn_event(change: Change, event: TurnEvent) -> None:
    match event:
        case channel.TurnEnded():
            error = event.error.error() if event.error else None
            if turns.end_turn(
                change,
                event.turn_id,
                event.usage,
                error,
                told=event.error,
                interrupted=event.interrupted,
            ):
                writing.expect(change, event)
                if error is None and not event.interrupted:
                    publishing.after_turn(change)
                saving.ask_for_copy(change)
        case channel.InputRequested():
            if asking.ask(change, event):
                change.emit(_passed_on(event), event.turn_id)
        case channel.InputResolved():
            asking.resolve(change, event.request_id, event.outcome)
        case _:
            writing.expect(change, event)
            change.emit(_passed_on(event), event.turn_id)


def _keep_output(change: Change, step: StepName, event: channel.Output) -> None:
    attempt_number = change.session.attempt_number
    kept = change.get(output_key(attempt_number, step.value), Output)
    end = kept.offset + len(kept.text.encode()) if kept else None
    if kept is None or end != event.offset:
        kept = Output(attempt_number=attempt_number, step=step, offset=event.offset)
    text = (kept.text + event.text).encode()
    cut = max(0, len(text) - channel.OUTPUT_TAIL_BYTES)
    kept.offset += cut
    kept.text = text[cut:].decode(errors="ignore")
    change.save(kept)


def _take_result(change: Change, result: channel.CommandResult) -> None:
    """Apply one result; one that was applied before only has its answer repeated."""
    command = change.commands.get(result.command_id)
    if command is None:
        return
    if not command.answered:
        error = result.error.error() if result.error else None
        command.answered = True
        command.output = result.output
        command.failure = Failure.of(error, command.step) if error else None
        change.save(command)
        _apply(change, command, result, error)
    elif command.kind is CommandKind.UPLOAD:
        change.then(LookForCopy(command.command_id))
    if command.tokens:
        failure = command.failure and command.failure.error()
        told = (failure.code, failure.title) if failure else (None, "")
        change.then(AnswerTask(tuple(command.tokens), *told))


def _apply(
    change: Change, command: Command, result: channel.CommandResult, error: StepError | None
) -> None:
    match command.kind:
        case CommandKind.PROMPT:
            _prompt_result(change, command, error)
        case CommandKind.ARCHIVE:
            if error or not saving.ask_for_upload(change, command):
                sleeping.saved(change, command, error or ArchiveFailed("the copy makes no sense"))
            change.then(Measure("ArchiveTime", result.elapsed_ms, unit="milliseconds"))
        case CommandKind.PUBLISH:
            if publishing.answered(change, command, error):
                _save_what_was_published(change, command)
            change.then(Measure("PublishTime", result.elapsed_ms, unit="milliseconds"))
        case CommandKind.UPLOAD if error:
            saving.drop(change, command)
            sleeping.saved(change, command, error)
        case CommandKind.UPLOAD:
            saving.uploaded(change, command)
        case CommandKind.INPUT if error:
            asking.answer_failed(change, str(command.args["requestId"]), error)
        case _ if step := _current_step(change, command.command_id):
            _step_result(change, command, step, result, error)


def _save_what_was_published(change: Change, command: Command) -> None:
    """Ask for a copy that has the new commit, unless one is asked for that is made after it."""
    session = change.session
    copies = (c for c in change.commands.values() if c.kind is CommandKind.ARCHIVE)
    is_asked = any(not c.answered and c.created_at >= command.created_at for c in copies)
    rests = session.status in {Status.READY, Status.PREPARED} and not session.active_turn
    if rests and not is_asked:
        saving.ask_for_copy(change)


def _step_result(
    change: Change,
    command: Command,
    step: StepName,
    result: channel.CommandResult,
    error: StepError | None,
) -> None:
    record = change.attempt.step(step)
    if is_done(record):
        return
    if error:
        # Whether it failed for good is the machine's to say: it may try again.
        error = workspace.in_words_of_cloud(change, step, error)
        record.failure = Failure.of(error, step)
        begin_step(change, step, error.reason)
        return
    workspace.done(change, command)
    end_step(change, step, StepStatus(result.status), _summary(change, step, result.output))
    change.then(
        Measure(
            "StepTime", result.elapsed_ms, unit="milliseconds", dimensions=(("Step", step.value),)
        )
    )


def _prompt_result(change: Change, command: Command, error: StepError | None) -> None:
    turn = change.session.active_turn
    if turn is None or not turn.is_by(command.command_id) or turn.started_at:
        return
    if isinstance(error, SandboxLeaving):
        turns.unclaim(change)
        hosting.has_to_leave(change)
        if change.session.status in {Status.READY, Status.PREPARED}:
            # It takes no messages any more: what is queued would come back for ever.
            sleeping.begin_leaving(change)
        return
    message = queueing.head(change)
    if error:
        turns.refuse(change, message, error)
        if change.session.status is Status.PREPARING:
            change.attempt.step(StepName.DELIVER).failure = Failure.of(error, StepName.DELIVER)
            change.save(change.attempt)
        return
    turns.accept(change, message)
    if change.session.status is Status.PREPARING:
        done = "The agent has the message"
        end_step(change, StepName.DELIVER, StepStatus.COMPLETED, done)
        preparing.complete_attempt(change)
        change.durations = durations(change.attempt, change.session.recipe)
        change.then(Measure("TimeToReady", preparing.took(change), unit="milliseconds"))
    elif change.session.status in {Status.READY, Status.PREPARED}:
        was_prepared = change.session.status is Status.PREPARED
        change.session.move_to(Status.RUNNING, change.now)
        if was_prepared and change.attempt.status is AttemptStatus.COMPLETED:
            paid = receipt(
                change.attempt,
                change.attempt.ended_at or change.now,
                change.policy.sandbox_dollars_per_hour,
            )
            change.emit(events.SessionReady(receipt=paid))


def _passed_on(event: TurnEvent) -> events.EventData:
    match event:
        case channel.AgentEvent():
            return events.AgentEvent(payload=with_refs_alone(event.data))
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


def _summary(change: Change, step: StepName, output: dict[str, Any]) -> str | None:
    """Return a sentence about a finished step, where its answer tells something worth reading."""
    match step:
        case StepName.DISK if isinstance(free := output.get("freeBytes"), int):
            return f"{free / 1e9:.1f} GB free"
        case StepName.CLONE | StepName.BRANCH | StepName.SETUP:
            return workspace.summary(change, step, output)
        case StepName.RESTORE if missing := words(output.get("missing")):
            return f"Put back without {missing}"
        case StepName.AGENT if output.get("version"):
            return f"{output.get('agent')} {output['version']} is healthy"
    return None


def fewer(report: channel.Report) -> tuple[channel.Report, int]:
    """Return a report without the second half of its events, and how many those are.

    The ends of turns stay; those of texts go when nothing else is left. A piece that goes leaves an
    end of its text, which nobody would wait for in vain.
    """
    losable = [e for e in report.events if not isinstance(e, channel.TurnEnded)]
    fewer_of = [e for e in losable if not _is_end_of_text(e)] or losable
    gone = {id(event) for event in fewer_of[len(fewer_of) // 2 :]}
    kept: list[channel.RunnerEvent] = []
    for event in report.events:
        if id(event) not in gone:
            kept.append(event)
        elif isinstance(event, Piece) and not event.is_end:
            kept.append(event.as_lost())
    return report.model_copy(update={"events": kept}), len(gone)


def _is_end_of_text(event: channel.RunnerEvent) -> bool:
    return isinstance(event, Piece) and event.is_end
