"""Messages and turns: queued, held, released, claimed, accepted or refused, and ended once."""

from datetime import timedelta
from typing import Any

from headstart.domain import events
from headstart.domain.calls import Call, Effect, require
from headstart.domain.change import (
    CONFIG,
    Change,
    IdempotencyKey,
    NoPlace,
    input_key,
    message_key,
    used_key,
)
from headstart.domain.channel import Cancel, Heartbeat
from headstart.domain.command_args import AbortArgs
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errands import Measure, SendOrder, SendPrompt, Tell
from headstart.domain.errors import (
    AlreadyInitiated,
    DeliveryUnknown,
    IdempotencyKeyReused,
    InputNotFound,
    QueueFull,
    SandboxStopped,
    SandboxUnresponsive,
    SessionBusy,
    StepError,
    TurnLost,
    ValidationFailed,
    WrongStatus,
)
from headstart.domain.requests import AnswerInput, PatchSession, RetrySession, SendMessage
from headstart.domain.session import (
    Command,
    Failure,
    Hold,
    Input,
    Message,
    MessageStatus,
    Session,
    SessionConfig,
    Status,
    Turn,
    title_of,
)
from headstart.domain.views import message_view

_SANDBOX_LOST = (SandboxStopped, SandboxUnresponsive, TurnLost)
"""What ends a turn through no fault of the agent's: another message may well succeed."""

MISSED_APART = timedelta(seconds=10)
"""How far apart two heartbeats must be that do not name a turn, before it is lost."""


# What people ask for.


def send(
    change: Change, *, owner: str, request: SendMessage, digest: str, key: str | None
) -> dict[str, Any] | None:
    """Queue a message and return how it looks; None where the key was used for one before."""
    session = change.session
    require(session, owner, Call.MESSAGE)
    used = change.get(used_key(owner, key), IdempotencyKey) if key else None
    if used and used.expires_at > change.now:
        if used.body_hash != digest or used.session_id != session.session_id:
            raise IdempotencyKeyReused()
        return None
    if request.if_busy == "reject" and session.active_turn:
        raise SessionBusy(f"turn {session.active_turn.turn_id} is active")
    if session.queue_length >= change.policy.queued_messages:
        raise QueueFull(f"{session.queue_length} messages are waiting")
    if session.hold is Hold.PAUSED:
        # Before the new message counts: it is no row yet that could be the head.
        release(change)
    session.message_count += 1
    message = Message(
        message_id=change.new_id("msg"),
        number=session.message_count,
        text=request.prompt,
        status=MessageStatus.QUEUED,
        created_at=change.now,
    )
    change.save(message)
    if key:
        change.key = IdempotencyKey(
            key=key,
            body_hash=digest,
            session_id=session.session_id,
            message_id=message.message_id,
            message_number=message.number,
            expires_at=change.now + change.policy.key_life,
        )
    session.updated_at = change.now
    change.emit(queued_event(message, session.queue_length))
    change.no_place = NoPlace.ASK
    return message_view(message)


def initiate(change: Change, *, owner: str) -> None:
    """Release the held queue; twice is harmless."""
    require(change.session, owner, Call.INITIATE)
    if change.session.hold is not None:
        release(change)
    change.no_place = NoPlace.ASK


def patch(change: Change, *, owner: str, request: PatchSession) -> None:
    """Change what was asked for, before the first message is on its way."""
    session, given = change.session, request.model_fields_set
    require(session, owner, Call.PATCH)
    if session.initiated_at or session.active_turn:
        raise AlreadyInitiated()
    message = head(change)
    if message.failure is not None and message.failure.code == DeliveryUnknown.__name__:
        raise AlreadyInitiated()
    if request.prompt is not None:
        message.text = request.prompt
        session.title = title_of(request.prompt)
        change.save(message)
    if "mode" in given:
        session.mode = request.mode or change.policy.default_mode
    if "model" in given:
        session.model = request.model or change.policy.default_model
    if "auto_initiate" in given and request.auto_initiate is not False:
        if session.hold is not None:
            release(change)
    elif "auto_initiate" in given:
        session.hold = Hold.INITIATE
        message.status = MessageStatus.HELD
        change.save(message)
    configure(change, request)
    session.updated_at = change.now
    change.no_place = NoPlace.ASK


def configure(change: Change, request: PatchSession | RetrySession) -> None:
    """Take over the given fields of what was asked for; null or empty clears one."""
    config = change.get(CONFIG, SessionConfig) or SessionConfig()
    given = request.model_fields_set & set(SessionConfig.model_fields)
    empty = SessionConfig()
    for name, value in request.model_dump(include=given).items():
        setattr(config, name, getattr(empty, name) if value is None else value)
    change.save(config)
    change.session.counts = config.counts()


def interrupt(change: Change, *, owner: str) -> Effect:
    """Stop the active turn; returns what else the call asks for."""
    session = change.session
    effect = require(session, owner, Call.INTERRUPT)
    turn = session.active_turn
    if effect is not Effect.ABORT or turn is None:
        return effect
    session.hold = session.hold or Hold.PAUSED
    session.updated_at = change.now
    turn.released = False
    waiting = next((c for c in change.commands.values() if _aborts(c, turn)), None)
    if waiting is None:
        waiting = Command(
            command_id=f"{change.new_id('abort')}.abort",
            kind=CommandKind.ABORT,
            attempt_number=session.attempt_number,
            args=AbortArgs(turn_id=turn.turn_id).to_json(),
            created_at=change.now,
        )
        change.save(waiting)
    change.then(SendOrder(waiting.command_id))
    return effect


def _aborts(command: Command, turn: Turn) -> bool:
    return (
        command.kind is CommandKind.ABORT
        and not command.answered
        and command.args.get("turnId") == turn.turn_id
    )


def answer(change: Change, *, owner: str, request_id: str, request: AnswerInput) -> None:
    """Pass a person's answer on to the agent; one that is on its way already is sent again.

    Raises WrongStatus for another answer than the one that was given.
    """
    require(change.session, owner, Call.ANSWER)
    # Looked for among the pending ones first: what a caller names may be too long for a key.
    pending = request_id in change.session.pending_inputs
    asked = change.get(input_key(request_id), Input) if pending else None
    if asked is None:
        raise InputNotFound()
    if (asked.kind == "question" and request.reply) or (
        asked.kind == "permission" and request.answers is not None
    ):
        raise ValidationFailed([{"loc": ["body"], "msg": f"does not answer a {asked.kind}"}])
    given = request.answer(asked.kind)
    command = answering(change, request_id)
    before = command.args.get("answer") if command else asked.answer
    if before is None:
        asked.answer = given
        change.save(asked)
        command = Command(
            command_id=f"{change.new_id('answer')}.input",
            kind=CommandKind.INPUT,
            attempt_number=change.session.attempt_number,
            args={"requestId": request_id, "answer": given},
            created_at=change.now,
        )
        change.save(command)
    elif before != given:
        raise WrongStatus("another answer was given before")
    if command:
        change.then(SendOrder(command.command_id))


def answering(change: Change, request_id: str) -> Command | None:
    """Return the command by which an answer is on its way to the agent."""
    on_their_way = (c for c in change.commands.values() if c.kind is CommandKind.INPUT)
    return next(
        (c for c in on_their_way if not c.answered and c.args.get("requestId") == request_id), None
    )


# The queue and its head.


def release(change: Change) -> None:
    """Lift what holds the queue; its head may have been refused or held before."""
    session = change.session
    session.hold = None
    session.updated_at = change.now
    if session.active_turn:
        session.active_turn.released = True
    elif session.queue_length:
        message = head(change)
        if message.status is MessageStatus.HELD:
            message.status = MessageStatus.QUEUED
            message.failure = None
            change.save(message)


def head(change: Change) -> Message:
    """Return the first message that is not delivered; LookupError where it was not read."""
    found = _head(change)
    if found is None:
        raise LookupError(f"message {change.session.next_message} was not read")
    return found


def tell_hold(change: Change) -> None:
    """Have the head of a queue that is held say so, unless it was held by a person or refused."""
    session = change.session
    rests = session.active_turn is None and session.queue_length > 0
    if session.hold is None or not rests or not has_head(change):
        return
    message = head(change)
    if message.status is MessageStatus.QUEUED:
        message.status = MessageStatus.HELD
        change.save(message)
        change.emit(events.MessageHeld(message_id=message.message_id))


def has_head(change: Change) -> bool:
    """Say whether the first message that is not delivered is at hand."""
    return _head(change) is not None


def _head(change: Change) -> Message | None:
    number = change.session.next_message
    written = (row for row in change.rows if isinstance(row, Message))
    found = next((row for row in written if row.number == number), None)
    if found is None and change.knows(message_key(number)):
        found = change.get(message_key(number), Message)
    return found


def queued_event(message: Message, position: int) -> events.MessageQueued:
    """Return the event of a message that took its place, with the first 8 KB of its text."""
    text = message.text.encode()[: events.TEXT_LIMIT].decode(errors="ignore")
    return events.MessageQueued(message_id=message.message_id, position=position, text=text)


def claim(change: Change) -> Command:
    """Take the head of the queue for delivery and ask the runner to deliver it."""
    session, message = change.session, head(change)
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
    )
    change.save(command)
    session.active_turn = Turn(
        turn_id=change.new_id("turn"),
        message_id=message.message_id,
        message_number=message.number,
        command_id=command.command_id,
        claimed_at=change.now,
    )
    change.then(SendPrompt(command.command_id))
    return command


# What becomes of a delivery and its turn.


def accept(change: Change, message: Message) -> None:
    """The agent shows the message: delivered, once and for all, and the turn has begun."""
    session, turn = change.session, change.session.active_turn
    if turn is None or turn.message_id != message.message_id:
        return
    message.status = MessageStatus.DELIVERED
    message.delivered_at = change.now
    turn.started_at = change.now
    session.next_message = message.number + 1
    session.initiated_at = session.initiated_at or change.now
    change.save(message)
    change.emit(events.MessageDelivered(message_id=message.message_id), turn.turn_id)
    change.emit(
        events.TurnStarted(turn_id=turn.turn_id, message_id=message.message_id), turn.turn_id
    )


def unclaim(change: Change) -> None:
    """Put a message that was certainly not delivered back to the head of the queue."""
    message = head(change)
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
    interrupted: bool = False,
) -> bool:
    """End the active turn, once; what is behind it goes on unless a person should look first.

    Who interrupted has something to say, and what the agent failed at the next message may fail
    at, too; a sandbox that was lost is replaced. Returns False for any turn but the active one.
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
        change.emit(events.TurnFailed(**of_turn, code=error.code, reason=error.reason), turn_id)
    else:
        change.emit(events.TurnCompleted(**of_turn, usage=usage), turn_id)
    if session.status is Status.RUNNING:
        session.move_to(Status.READY, change.now)
    return True


def lose_turn(change: Change, error: StepError) -> None:
    """Give up the active turn: a started one failed, a claimed message may or may not be there.

    Should its sandbox live, it is told to stop what it does for it.
    """
    turn = change.session.active_turn
    if turn is None:
        return
    command_id = turn.command_id or next(filter(turn.is_by, change.commands), None)
    if command_id:
        change.then(Tell(Cancel(id=command_id)))
    if turn.started_at:
        end_turn(change, turn.turn_id, {}, error)
    else:
        unknown = DeliveryUnknown(f"{error.reason}, while the message was delivered")
        refuse(change, head(change), unknown)


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
