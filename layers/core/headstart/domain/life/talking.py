"""What people ask of a session: a message, to go on, to change, to stop."""

from collections.abc import Collection
from typing import Any

from headstart.domain import events
from headstart.domain.agents import mode_of
from headstart.domain.calls import Call, Effect, require
from headstart.domain.change import CONFIG, Change, IdempotencyKey, NoPlace, used_key
from headstart.domain.command_args import AbortArgs
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errands import SendOrder
from headstart.domain.errors import (
    AlreadyDelivered,
    AlreadyInitiated,
    DeliveryUnknown,
    IdempotencyKeyReused,
    MessageNotFound,
    QueueFull,
    SessionBusy,
    ValidationFailed,
    WrongStatus,
)
from headstart.domain.life import calling, locating, queueing
from headstart.domain.message import Message, MessageStatus, id_prefix
from headstart.domain.requests import PatchSession, PublishSession, RetrySession, SendMessage
from headstart.domain.sandbox import Command
from headstart.domain.secrets import check_secrets
from headstart.domain.session import CONFIG_BYTES, Hold, SessionConfig, Turn, title_of
from headstart.domain.tree import recipe
from headstart.domain.views import message_view


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
        queueing.release(change)
    session.message_count += 1
    message = Message(
        message_id=change.new_id(id_prefix(session.message_count)),
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
    change.emit(queueing.queued_event(message, session.queue_length))
    change.no_place = NoPlace.ASK
    return message_view(message)


def initiate(change: Change, *, owner: str) -> None:
    """Release the held queue; twice is harmless."""
    require(change.session, owner, Call.INITIATE)
    if change.session.hold is not None:
        queueing.release(change)
    change.no_place = NoPlace.ASK


def patch(
    change: Change, *, owner: str, request: PatchSession, groups: frozenset[str] = frozenset()
) -> None:
    """Change what was asked for, before the first message is on its way; the title at any time.

    `groups` are the owner's, for the access rules of another repository.
    """
    session, given = change.session, request.model_fields_set
    require(session, owner, Call.PATCH)
    if request.title is not None and request.only_renames:
        _rename(change, request.title)
        return
    if session.initiated_at or session.active_turn:
        raise AlreadyInitiated()
    message = queueing.head(change)
    if _is_unknown(message):
        raise AlreadyInitiated()
    if request.prompt is not None and request.prompt != message.text:
        # A title that a person gave stays.
        names = request.title is None and session.title == title_of(message.text)
        message.text = request.prompt
        change.save(message)
        change.emit(queueing.changed_event(message))
        if names:
            _rename(change, title_of(message.text))
    if "mode" in given:
        session.mode = mode_of(change.policy, session.agent, request.mode)
    if "model" in given:
        session.model = request.model or change.policy.default_model
    if "auto_initiate" in given and request.auto_initiate is not False:
        if session.hold is not None:
            queueing.release(change)
    elif "auto_initiate" in given:
        session.hold = Hold.INITIATE
    configure(change, request)
    if moved := locating.move(change, request, groups):
        _take_recipe(change, moved)
    session.updated_at = change.now
    change.no_place = NoPlace.ASK
    if request.title is not None:
        _rename(change, request.title)


def _rename(change: Change, title: str) -> None:
    session = change.session
    if session.title != title:
        session.title, session.updated_at = title, change.now
        change.emit(events.SessionRenamed(title=title))


def _is_unknown(message: Message) -> bool:
    """Say whether the agent may have a message."""
    return message.failure is not None and message.failure.code == DeliveryUnknown.__name__


_FIRST = (
    "The first message is what the session was made for: change its prompt (PATCH), or delete the "
    "session"
)
_FIRST_UNKNOWN = (
    "The agent may have the first message: initiate sends it again; or delete the session"
)


def withdraw(change: Change, *, owner: str, number: int) -> None:
    """Take a message that waits out of the queue; again is harmless.

    It keeps its number and its text. Raises MessageNotFound, AlreadyDelivered, and WrongStatus for
    what the session was made for.
    """
    session = change.session
    require(session, owner, Call.WITHDRAW)
    message = change.message(number)
    if message is None:
        raise MessageNotFound()
    if message.status is MessageStatus.WITHDRAWN:
        return
    if message.status is MessageStatus.DELIVERED:
        raise AlreadyDelivered("The agent has the message: interrupt stops what it does for it")
    if message.status is MessageStatus.DELIVERING:
        raise AlreadyDelivered(
            "The message is on its way to the agent: interrupt stops what it will do for it"
        )
    if number == 1:
        raise WrongStatus(_FIRST_UNKNOWN if _is_unknown(message) else _FIRST)
    if number == session.next_message and session.hold is Hold.INITIATE:
        # What nobody knows about it holds up nobody any more; those behind it wait as after a stop.
        session.hold = Hold.PAUSED
    message.status = MessageStatus.WITHDRAWN
    change.save(message)
    session.withdraw(number)
    session.updated_at = change.now
    change.emit(events.MessageWithdrawn(message_id=message.message_id))


_SET_UP_BY = ("setup_commands", "env_vars", "encrypted_secrets")
"""What the result of the setup rests on."""


def configure(
    change: Change,
    request: PatchSession | RetrySession | PublishSession,
    fields: Collection[str] = frozenset(SessionConfig.model_fields),
) -> None:
    """Take over the given ones of these fields of what was asked for; null or empty clears one.

    Raises ValidationFailed where all together is too much: it comes in several calls.
    """
    given = request.model_fields_set.intersection(fields)
    if not given:
        return
    config = change.get(CONFIG, SessionConfig) or SessionConfig()
    empty, before = SessionConfig(), config.model_copy()
    for name, value in request.model_dump(include=given).items():
        setattr(config, name, getattr(empty, name) if value is None else value)
    config = SessionConfig.model_validate(config.model_dump(warnings=False))
    check_secrets(config, change.policy)
    if config.size() > CONFIG_BYTES:
        said = f"everything that was asked for must be at most {CONFIG_BYTES} bytes together"
        raise ValidationFailed([{"loc": [], "msg": said}])
    if any(getattr(config, name) != getattr(before, name) for name in _SET_UP_BY):
        change.session.set_up = False
    if "callback_target" in given:
        calling.set_target(change.session, config, change.policy)
    change.save(config)
    change.session.counts = config.counts()
    _take_recipe(change, config)


def _take_recipe(change: Change, config: SessionConfig) -> None:
    """Have what is being prepared be nobody else's: it may be made by one recipe or the other."""
    session, attempt = change.session, change.attempt
    before, session.recipe = session.recipe, recipe(session, config)
    if session.recipe == before:
        return
    attempt.tree_key = None
    attempt.tree = attempt.adopted_tree
    change.save(attempt)


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
