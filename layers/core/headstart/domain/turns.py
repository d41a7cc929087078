"""The rules of a message's delivery and of the turn that it begins, as changes of one Work."""

from datetime import timedelta

from headstart.domain import events, lifecycle
from headstart.domain.channel import Heartbeat
from headstart.domain.errors import DeliveryUnknown, StepError, TurnLost
from headstart.domain.ids import new_id
from headstart.domain.session import (
    Failure,
    Hold,
    Message,
    MessageStatus,
    Session,
    Status,
    Turn,
)
from headstart.domain.work import Work

TURN_LIMIT = timedelta(hours=2, minutes=10)
"""How long a turn may go on, whatever its runner says, who should end it after two hours."""

_MISSING = timedelta(seconds=10)
"""How far apart two heartbeats are that both must miss a turn."""


def queued_event(message: Message, position: int) -> events.MessageQueued:
    """Return the event of a message that took its place, with the first 8 KB of its text."""
    text = message.text.encode()[: events.TEXT_LIMIT].decode(errors="ignore")
    return events.MessageQueued(message_id=message.message_id, position=position, text=text)


def claim_turn(work: Work, message: Message) -> Turn:
    """Take the head of the queue for delivery."""
    message.status = MessageStatus.DELIVERING
    message.tries += 1
    message.failure = None
    turn = Turn(
        turn_id=new_id("turn"),
        message_id=message.message_id,
        message_number=message.number,
        command_id=prompt_command_id(message),
        claimed_at=work.now,
    )
    if work.session.status is not Status.PREPARING:
        work.session.due_at = work.now + lifecycle.TURN_CHECK
    work.session.active_turn = turn
    work.save(message)
    return turn


def accept_message(work: Work, message: Message) -> None:
    """The agent shows the message: delivered, once and for all, and the turn has begun."""
    session = work.session
    turn = session.active_turn
    if turn is None or turn.message_id != message.message_id:
        return
    message.status = MessageStatus.DELIVERED
    message.delivered_at = work.now
    turn.started_at = work.now
    session.next_message = message.number + 1
    session.initiated_at = session.initiated_at or work.now
    work.save(message)
    work.emit(events.MessageDelivered(message_id=message.message_id), turn.turn_id)
    work.emit(events.TurnStarted(turn_id=turn.turn_id, message_id=message.message_id), turn.turn_id)


def unclaim_message(work: Work, message: Message) -> None:
    """Put a message that was certainly not delivered back to the head of the queue."""
    work.session.active_turn = None
    message.status = MessageStatus.QUEUED
    work.save(message)
    lifecycle.rest(work)


def refuse_message(work: Work, message: Message, error: StepError) -> None:
    """The message was not delivered, or it can't be known: it is held and the queue stops."""
    work.session.active_turn = None
    unknown = isinstance(error, DeliveryUnknown)
    work.session.hold = Hold.INITIATE if unknown else Hold.PAUSED
    lifecycle.rest(work)
    message.status = MessageStatus.HELD
    message.failure = Failure.of(error)
    work.save(message)
    work.emit(
        events.MessageFailed(message_id=message.message_id, code=error.code, reason=error.reason)
    )


def end_turn(
    work: Work,
    turn_id: str,
    usage: dict[str, object],
    error: StepError | None = None,
    *,
    interrupted: bool = False,
) -> bool:
    """End the active turn, once; after an error or interrupt the queue waits.

    Returns False for any turn but the active one.
    """
    session = work.session
    turn = session.active_turn
    if turn is None or turn.turn_id != turn_id or turn.started_at is None:
        return False
    session.active_turn = None
    for request_id in session.pending_inputs:
        work.emit(events.InputResolved(request_id=request_id, outcome="withdrawn"), turn_id)
    session.pending_inputs = []
    if (interrupted or error) and not turn.released:
        session.hold = session.hold or Hold.PAUSED
    if interrupted:
        work.emit(events.TurnInterrupted(turn_id=turn_id, message_id=turn.message_id), turn_id)
    elif error:
        work.emit(
            events.TurnFailed(
                turn_id=turn_id,
                message_id=turn.message_id,
                code=error.code,
                reason=error.reason,
            ),
            turn_id,
        )
    else:
        work.emit(
            events.TurnCompleted(turn_id=turn_id, message_id=turn.message_id, usage=usage), turn_id
        )
    if session.status is Status.RUNNING:
        session.move_to(Status.READY, work.now)
        lifecycle.rest(work)
    return True


def lose_turn(work: Work, message: Message | None, error: StepError) -> None:
    """The sandbox is gone: a started turn failed, a claimed message may or may not have arrived."""
    turn = work.session.active_turn
    if turn is None:
        return
    if turn.started_at:
        end_turn(work, turn.turn_id, {}, error)
    elif message is not None:
        refuse_message(
            work, message, DeliveryUnknown(f"{error.reason}, while the message was delivered")
        )


def is_missing(session: Session, beat: Heartbeat) -> bool:
    """Say whether a runner that has told us everything does not have the turn that should run.

    What it had told when the turn began makes sure that it says so of this turn, not of the time
    before: heartbeats, too, are served late. A runner that does not count says nothing.
    """
    turn = session.active_turn
    return (
        turn is not None
        and turn.started_at is not None
        and beat.last_seq is not None
        and beat.last_seq >= session.runner_seq
        and beat.backlog == 0
        and beat.turn != turn.turn_id
        and not any(turn.is_by(command_id) for command_id in beat.running)
    )


def check_turn(work: Work, beat: Heartbeat) -> bool:
    """End a turn that two heartbeats in a row miss; True where it was ended."""
    turn = work.session.active_turn
    if turn is None:
        return False
    if not is_missing(work.session, beat):
        turn.missing_since = None
        return False
    if turn.missing_since is None:
        turn.missing_since = work.now
    if work.now - turn.missing_since < _MISSING:
        return False
    return end_turn(work, turn.turn_id, {}, TurnLost("The sandbox has no such turn any more"))


def is_prompt(command_id: str) -> bool:
    """Say whether a command's id is one that delivers a message."""
    return ".prompt." in command_id


def prompt_command_id(message: Message) -> str:
    """Return the id of the command that delivers a message, `<message>.prompt.<try>`."""
    return f"{message.message_id}.prompt.{message.tries}"
