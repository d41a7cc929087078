"""Messages: queued in order, delivered one by one, by one dispatch for every occasion."""

from typing import Any

from headstart.domain import lifecycle, turns
from headstart.domain.calls import Call, Effect, effect_of
from headstart.domain.errors import (
    IdempotencyKeyReused,
    QueueFull,
    SessionBusy,
    SessionNotFound,
)
from headstart.domain.ids import body_hash, new_id
from headstart.domain.requests import SendMessage
from headstart.domain.session import (
    Cause,
    Command,
    Hold,
    Message,
    MessageStatus,
    SandboxStatus,
    Session,
    Status,
)
from headstart.domain.steps import StepName
from headstart.domain.turns import queued_event
from headstart.domain.views import message_view
from headstart.domain.work import IdempotencyKey, Work
from headstart.usecases.change import best_effort, change
from headstart.usecases.commands import send_prompt
from headstart.usecases.line import change_or_wait
from headstart.usecases.ports import Ports
from headstart.usecases.start import start_attempt

_DISPATCHABLE = {Status.READY, Status.PREPARED}


def require(session: Session, owner: str, call: Call) -> Effect:
    """Return what a call does to the owner's session; someone else's is SessionNotFound."""
    if session.owner != owner:
        raise SessionNotFound()
    return effect_of(call, session.status)


def send_message(
    ports: Ports, owner: str, session_id: str, request: SendMessage, key: str | None
) -> dict[str, Any]:
    """Queue a message and deliver it as soon as it can be; wakes a sleeping session.

    Raises SessionBusy (only when asked to), QueueFull, QuotaExceeded (a wake over the quota),
    IdempotencyKeyReused, SessionNotFound.
    """
    digest = body_hash(request)

    def decide(work: Work) -> tuple[Message, Effect | None]:
        session = work.session
        effect = require(session, owner, Call.MESSAGE)
        used = ports.store.key(owner, key, work.now) if key else None
        if used:
            if used.body_hash != digest or used.session_id != session_id:
                raise IdempotencyKeyReused()
            return _message_of(ports, used), None
        if request.if_busy == "reject" and session.active_turn:
            raise SessionBusy(f"turn {session.active_turn.turn_id} is active")
        if session.queue_length >= ports.policy.queued_messages:
            raise QueueFull(f"{session.queue_length} messages are waiting")
        if session.hold is Hold.PAUSED:
            # Before the new message counts: it is no row yet that could be read.
            release(ports, work)
        session.message_count += 1
        message = Message(
            message_id=new_id("msg"),
            number=session.message_count,
            text=request.prompt,
            status=MessageStatus.QUEUED,
            created_at=work.now,
        )
        work.save(message)
        if key:
            work.key = IdempotencyKey(
                key=key,
                body_hash=digest,
                session_id=session_id,
                message_id=message.message_id,
                expires_at=work.now + ports.policy.key_life,
            )
        session.updated_at = work.now
        lifecycle.rest(work)
        work.emit(queued_event(message, session.queue_length))
        if effect is Effect.WAKE:
            lifecycle.begin_attempt(work, Cause.WAKE)
        return message, effect

    work, (message, effect) = change_or_wait(ports, session_id, decide)
    if effect:
        go_on(ports, work.session, wakes=effect is Effect.WAKE)
    return message_view(message)


def initiate(ports: Ports, owner: str, session_id: str) -> None:
    """Release the held queue; twice is harmless. Raises WrongStatus, SessionNotFound."""

    def decide(work: Work) -> bool:
        require(work.session, owner, Call.INITIATE)
        return let_go_on(ports, work)

    work, wakes = change_or_wait(ports, session_id, decide)
    go_on(ports, work.session, wakes=wakes)


def let_go_on(ports: Ports, work: Work, head: Message | None = None) -> bool:
    """Release what is held; True where that wakes the session, whose attempt begins.

    `head` is the head of the queue where it was read already: its changes go along.
    """
    session = work.session
    if session.hold is not None:
        release(ports, work, head)
        lifecycle.rest(work)
    if session.status is not Status.ASLEEP or not session.queue_length:
        return False
    lifecycle.begin_attempt(work, Cause.WAKE)
    return True


def go_on(ports: Ports, session: Session, *, wakes: bool) -> None:
    """Do what must follow the release: start the wake-up, or deliver.

    The janitor does what fails here; the caller's change was made all the same.
    """
    if wakes:
        _start(ports, session)
    else:
        with best_effort(ports, "delivering"):
            dispatch(ports, session.session_id)


def _start(ports: Ports, session: Session) -> None:
    if session.waiting_since is None:
        start_attempt(ports, session)


def release(ports: Ports, work: Work, head: Message | None = None) -> None:
    """Let the queue go on; its head may have been refused or held before."""
    session = work.session
    session.hold = None
    session.updated_at = work.now
    if session.active_turn:
        session.active_turn.released = True
    elif session.message_count >= session.next_message:
        head = head or ports.store.message(session.session_id, session.next_message)
        if head.status is MessageStatus.HELD:
            head.status = MessageStatus.QUEUED
            head.failure = None
            work.save(head)


def dispatch(ports: Ports, session_id: str) -> None:
    """Deliver the head of the queue if nothing stands in its way.

    Run after every enqueue, turn end, preparation and hello, and by the janitor. The claim is one
    transaction, so however many run it at once, one message is claimed once.
    """

    def decide(work: Work) -> Command | None:
        session = work.session
        if session.status not in _DISPATCHABLE or not session.can_deliver:
            return None
        sandbox = ports.store.sandbox(session_id)
        if sandbox is None or sandbox.status is not SandboxStatus.CONNECTED:
            return None
        return claim(ports, work, None)

    _, row = change(ports, session_id, decide)
    if row:
        send_prompt(ports, session_id, row)


def claim(ports: Ports, work: Work, task_token: str | None) -> Command:
    """Claim the head of the queue and write its command; the caller sends the frame."""
    session = work.session
    message = ports.store.message(session.session_id, session.next_message)
    turns.claim_turn(work, message)
    row = Command(
        command_id=turns.prompt_command_id(message),
        kind="prompt",
        attempt_number=session.attempt_number,
        step=StepName.DELIVER if task_token else None,
        message_number=message.number,
        task_token=task_token,
        created_at=work.now,
    )
    work.save(row)
    return row


def _message_of(ports: Ports, used: IdempotencyKey) -> Message:
    for message in ports.store.messages(used.session_id):
        if message.message_id == used.message_id:
            return message
    raise IdempotencyKeyReused()
