"""A delivery and its turn: claimed with the head of the queue, accepted or refused, ended once."""

from datetime import timedelta
from typing import Any

from headstart.domain import events
from headstart.domain.change import Change
from headstart.domain.channel import Cancel, ErrorInfo, Heartbeat
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errands import Measure, SendPrompt, Tell
from headstart.domain.errors import (
    DeliveryUnknown,
    SandboxStopped,
    SandboxUnresponsive,
    StepError,
    TurnLost,
)
from headstart.domain.failure import Failure
from headstart.domain.life import queueing
from headstart.domain.long_texts import is_ref
from headstart.domain.message import Message, MessageStatus
from headstart.domain.sandbox import Command
from headstart.domain.session import Hold, Session, Status, Turn

_SANDBOX_LOST = (SandboxStopped, SandboxUnresponsive, TurnLost)
"""What ends a turn through no fault of the agent's: another message may well succeed."""

MISSED_APART = timedelta(seconds=10)
"""How far apart two heartbeats must be that do not name a turn, before it is lost."""


def claim(change: Change, *, offered: bool) -> Command:
    """Take the head of the queue for delivery and ask the runner to deliver it.

    A runner that is not connected is offered it by its next hello.
    """
    session, message = change.session, queueing.head(change)
    message.status = MessageStatus.DELIVERING
    message.tries += 1
    message.failure = None
    change.save(message)
    command = Command(
        command_id=f"{message.message_id}.prompt.{message.tries}",
        kind=CommandKind.PROMPT,
        attempt_number=session.attempt_number,
        message_number=message.number,
        created_at=change.now,
        offered=offered,
    )
    change.save(command)
    session.active_turn = Turn(
        turn_id=change.new_id("turn"),
        message_id=message.message_id,
        message_number=message.number,
        command_id=command.command_id,
        claimed_at=change.now,
    )
    if command.offered:
        change.then(SendPrompt(command.command_id))
    return command


def not_sent(change: Change, *, command_id: str, connection_id: str | None) -> None:
    """Take back that a delivery was offered, unless its runner has another connection by now."""
    command = change.commands.get(command_id)
    if command and change.sandbox and change.sandbox.connection_id == connection_id:
        command.offered = False
        change.save(command)


def accept(change: Change, message: Message) -> None:
    """The agent shows the message: delivered, once and for all, and the turn has begun."""
    session, turn = change.session, change.session.active_turn
    if turn is None or turn.message_id != message.message_id:
        return
    message.status = MessageStatus.DELIVERED
    message.delivered_at = change.now
    turn.started_at = change.now
    session.pass_head()
    session.initiated_at = session.initiated_at or change.now
    change.save(message)
    change.emit(events.MessageDelivered(message_id=message.message_id), turn.turn_id)
    change.emit(
        events.TurnStarted(turn_id=turn.turn_id, message_id=message.message_id), turn.turn_id
    )


def unclaim(change: Change) -> None:
    """Put a message that was certainly not delivered back to the head of the queue."""
    message = queueing.head(change)
    if command := delivery(change):
        change.forget(command)
    change.session.active_turn = None
    message.status = MessageStatus.QUEUED
    change.save(message)


def refuse(change: Change, message: Message, error: StepError) -> None:
    """The message was not delivered, or it can't be known: it is held and the queue stops."""
    change.session.active_turn = None
    unknown = isinstance(error, DeliveryUnknown)
    change.session.hold = Hold.INITIATE if unknown else Hold.PAUSED
    message.status = MessageStatus.HELD
    message.failure = Failure.of(error)
    change.save(message)
    change.emit(
        events.MessageFailed(message_id=message.message_id, code=error.code, reason=error.reason)
    )


def end_turn(
    change: Change,
    turn_id: str,
    usage: dict[str, Any],
    error: StepError | None = None,
    *,
    told: ErrorInfo | None = None,
    interrupted: bool = False,
) -> bool:
    """End the active turn, once; what is behind it goes on unless a person should look first.

    Who interrupted has something to say, and what the agent failed at the next message may fail
    at, too; a sandbox that was lost is replaced. `told` is the error as the runner told it. Returns
    False for any turn but the active one.
    """
    session, turn = change.session, change.session.active_turn
    if turn is None or turn.turn_id != turn_id or turn.started_at is None:
        return False
    session.active_turn = None
    for request_id in session.pending_inputs:
        change.emit(events.InputResolved(request_id=request_id, outcome="withdrawn"), turn_id)
    session.pending_inputs = []
    failed = error is not None and not isinstance(error, _SANDBOX_LOST)
    if (interrupted or failed) and not turn.released:
        session.hold = session.hold or Hold.PAUSED
    of_turn = {"turn_id": turn_id, "message_id": turn.message_id}
    if interrupted:
        change.emit(events.TurnInterrupted(**of_turn), turn_id)
    elif error:
        failed_as: dict[str, Any] = {"code": error.code, "reason": error.reason}
        if told and is_ref(told.text_ref):
            failed_as |= {"text_ref": told.text_ref, "text_bytes": told.text_bytes}
        change.emit(events.TurnFailed(**of_turn, **failed_as), turn_id)
    else:
        change.emit(events.TurnCompleted(**of_turn, usage=usage), turn_id)
    if session.status is Status.RUNNING:
        session.move_to(Status.READY, change.now)
    return True


def delivery(change: Change) -> Command | None:
    """Return the command by which the active turn's message is delivered."""
    turn = change.session.active_turn
    ours = (c for c in change.commands.values() if turn and turn.is_by(c.command_id))
    return next(ours, None)


def lose_turn(change: Change, error: StepError) -> None:
    """Give up the active turn: a started one failed, a message that was offered may be there.

    Should its sandbox live, it is told to stop what it does for it.
    """
    turn = change.session.active_turn
    if turn is None:
        return
    command = delivery(change)
    if command_id := turn.command_id or (command and command.command_id):
        change.then(Tell(Cancel(id=command_id)))
    if turn.started_at:
        end_turn(change, turn.turn_id, {}, error)
    elif command and not command.offered:
        unclaim(change)
    else:
        unknown = DeliveryUnknown(f"{error.reason}, while the message was delivered")
        refuse(change, queueing.head(change), unknown)


def check_turn(change: Change, beat: Heartbeat) -> bool:
    """End a turn that two heartbeats in a row do not know; True where it was ended."""
    turn = change.session.active_turn
    if turn is None:
        return False
    if not _is_missing(change.session, turn, beat):
        turn.missing_since = None
        return False
    if turn.missing_since is None:
        turn.missing_since = change.now
    if change.now - turn.missing_since < MISSED_APART:
        return False
    change.then(Measure("TurnsLost"))
    return end_turn(change, turn.turn_id, {}, TurnLost("The sandbox has no such turn any more"))


def _is_missing(session: Session, turn: Turn, beat: Heartbeat) -> bool:
    """Say whether a runner that has told us everything does not have the turn that should run.

    What it had told when the turn began makes sure that it says so of this turn, not of the time
    before: heartbeats, too, are served late. A runner that does not count says nothing.
    """
    return (
        turn.started_at is not None
        and beat.last_seq is not None
        and beat.last_seq >= session.runner_seq
        and beat.backlog == 0
        and beat.turn != turn.turn_id
        and not any(turn.is_by(command_id) for command_id in beat.running)
    )
