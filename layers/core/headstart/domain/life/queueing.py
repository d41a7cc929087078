"""The queue of messages and its head: held, released, and told of."""

from typing import Any

from headstart.domain import events
from headstart.domain.change import Change, message_key
from headstart.domain.message import Message, MessageStatus


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


def has_head(change: Change) -> bool:
    """Say whether the first message that is not delivered is at hand."""
    return _head(change) is not None


def _head(change: Change) -> Message | None:
    name = message_key(change.session.next_message)
    return change.get(name, Message) if change.knows(name) else None


def queued_event(message: Message, position: int) -> events.MessageQueued:
    """Return the event of a message that took its place, with the first 8 KB of its text."""
    return events.MessageQueued(
        message_id=message.message_id, position=position, **_beginning(message.text)
    )


def changed_event(message: Message) -> events.MessageChanged:
    """Return the event of a message whose text is another now."""
    return events.MessageChanged(message_id=message.message_id, **_beginning(message.text))


def _beginning(text: str) -> dict[str, Any]:
    whole = text.encode()
    return {
        "text": whole[: events.TEXT_LIMIT].decode(errors="ignore"),
        "text_bytes": len(whole) if len(whole) > events.TEXT_LIMIT else None,
    }


def tell_hold(change: Change) -> None:
    """Have the head of a queue that is held say so, unless it was held before or refused."""
    session = change.session
    rests = session.active_turn is None and session.queue_length > 0
    if session.hold is None or not rests or not has_head(change):
        return
    message = head(change)
    if message.status is MessageStatus.QUEUED:
        message.status = MessageStatus.HELD
        change.save(message)
        change.emit(events.MessageHeld(message_id=message.message_id))
