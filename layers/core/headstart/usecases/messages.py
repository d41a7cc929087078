"""Messages: queued in order, delivered one by one, by one dispatch for every occasion."""

from typing import Any

from headstart.domain import lifecycle
from headstart.domain.channel import Command, PromptArgs
from headstart.domain.errors import (
    IdempotencyKeyReused,
    QueueFull,
    SessionBusy,
    SessionNotFound,
    WrongStatus,
)
from headstart.domain.ids import new_id
from headstart.domain.requests import SendMessage
from headstart.domain.session import (
    Cause,
    CommandRow,
    Message,
    MessageStatus,
    SandboxStatus,
    Session,
    Status,
)
from headstart.domain.steps import STEP_BY_NAME, StepName
from headstart.domain.views import message_view
from headstart.domain.work import IdempotencyKey, Work
from headstart.usecases.change import change, tell_runner
from headstart.usecases.create import body_hash, queued_event
from headstart.usecases.ports import Ports
from headstart.usecases.start import start_attempt

_DISPATCHABLE = {Status.READY, Status.PREPARED}
_INITIATED = {Status.PREPARING, Status.READY, Status.PREPARED, Status.RUNNING}


def send_message(
    ports: Ports, owner: str, session_id: str, request: SendMessage, key: str | None
) -> dict[str, Any]:
    """Queue a message and deliver it as soon as it can be; wakes a sleeping session.

    Raises SessionBusy (only when asked to), QueueFull, QuotaExceeded (a wake over the quota),
    IdempotencyKeyReused, SessionNotFound.
    """
    digest = body_hash(request)

    def decide(work: Work) -> tuple[Message, bool]:
        session = work.session
        _require_owner(session, owner)
        used = ports.store.key(owner, key, work.now) if key else None
        if used:
            if used.body_hash != digest or used.session_id != session_id:
                raise IdempotencyKeyReused()
            return _message_of(ports, used), False
        if request.if_busy == "reject" and session.active_turn:
            raise SessionBusy(f"turn {session.active_turn.turn_id} is active")
        if session.queue_length >= ports.policy.queued_messages:
            raise QueueFull(f"{session.queue_length} messages are waiting")
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
        session.queue_held = False
        session.updated_at = work.now
        work.emit(queued_event(message, session.queue_length))
        wakes = session.status is Status.ASLEEP
        if wakes:
            lifecycle.begin_attempt(work, Cause.WAKE)
        return message, wakes

    work, (message, wakes) = change(ports, session_id, decide)
    if wakes:
        start_attempt(ports, work.session)
    else:
        dispatch(ports, session_id)
    return message_view(message)


def initiate(ports: Ports, owner: str, session_id: str) -> None:
    """Release the held queue; twice is harmless. Raises WrongStatus, SessionNotFound."""

    def decide(work: Work) -> None:
        session = work.session
        _require_owner(session, owner)
        if session.status not in _INITIATED:
            raise WrongStatus(f"a session that is {session.status} can't be initiated")
        if session.queue_held:
            session.queue_held = False
            session.updated_at = work.now
            head = ports.store.message(session_id, session.next_message)
            head.status = MessageStatus.QUEUED
            head.failure = None
            work.save(head)

    change(ports, session_id, decide)
    dispatch(ports, session_id)


def dispatch(ports: Ports, session_id: str) -> None:
    """Deliver the head of the queue if nothing stands in its way.

    Run after every enqueue, turn end and hello. The claim is one transaction, so however many run
    it at once, one message is claimed once.
    """

    def decide(work: Work) -> Message | None:
        session = work.session
        if session.status not in _DISPATCHABLE or not can_deliver(session):
            return None
        sandbox = ports.store.sandbox(session_id)
        if sandbox is None or sandbox.status is not SandboxStatus.CONNECTED:
            return None
        return claim(ports, work, None)

    work, message = change(ports, session_id, decide)
    if message:
        tell_runner(ports, session_id, [prompt_command(work.session, message)])


def can_deliver(session: Session) -> bool:
    """Say whether the head of the queue may be claimed."""
    return session.active_turn is None and session.queue_length > 0 and not session.queue_held


def claim(ports: Ports, work: Work, task_token: str | None) -> Message:
    """Claim the head of the queue and write its command; the caller sends the frame."""
    session = work.session
    message = ports.store.message(session.session_id, session.next_message)
    lifecycle.claim_turn(work, message)
    work.save(
        CommandRow(
            command_id=lifecycle.prompt_command_id(message),
            kind="prompt",
            attempt_number=session.attempt_number,
            step=StepName.DELIVER if task_token else None,
            message_number=message.number,
            task_token=task_token,
            created_at=work.now,
        )
    )
    return message


def prompt_command(session: Session, message: Message) -> Command:
    """Return the frame that delivers the active turn's message."""
    turn = session.active_turn
    if turn is None:
        raise WrongStatus("no turn is active")
    return Command(
        id=lifecycle.prompt_command_id(message),
        kind="prompt",
        timeout=STEP_BY_NAME[StepName.DELIVER].timeout,
        args=PromptArgs(
            session_id=session.session_id,
            message_id=message.message_id,
            turn_id=turn.turn_id,
            text=message.text,
            mode=session.mode,
            model=session.model,
        ).to_json(),
    )


def _require_owner(session: Session, owner: str) -> None:
    if session.owner != owner or session.status is Status.DELETING:
        raise SessionNotFound()


def _message_of(ports: Ports, used: IdempotencyKey) -> Message:
    for message in ports.store.messages(used.session_id):
        if message.message_id == used.message_id:
            return message
    raise IdempotencyKeyReused()
