"""What people say to a session: messages, changes, releases, interrupts, answers, retries."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from headstart.domain.change import (
    CONFIG,
    Change,
    IdempotencyKey,
    RowKey,
    WorkingSet,
    input_key,
    message_key,
    used_key,
)
from headstart.domain.errors import IdempotencyKeyReused, MessageNotFound
from headstart.domain.ids import body_hash
from headstart.domain.life import asking, preparing, requesting, talking
from headstart.domain.life.settling import head_of
from headstart.domain.message import Message, number_in
from headstart.domain.requests import (
    AnswerInput,
    PatchSession,
    PublishSession,
    RetrySession,
    SendMessage,
)
from headstart.domain.session import Session, Status
from headstart.domain.views import message_view
from headstart.domain.warnings import warnings_of
from headstart.usecases.change import change, follow
from headstart.usecases.commit import commit
from headstart.usecases.ports import Ports
from headstart.usecases.read import owned_session


def send_message(
    ports: Ports, owner: str, session_id: str, request: SendMessage, key: str | None
) -> dict[str, Any]:
    """Queue a message and deliver it as soon as it can be; returns it, with the warnings.

    It wakes a sleeping session.

    Raises SessionBusy (only when asked to), QueueFull, QuotaExceeded (a wake over the quota),
    IdempotencyKeyReused, SessionNotFound.
    """
    send = partial(talking.send, owner=owner, request=request, digest=body_hash(request), key=key)
    names = [used_key(owner, key)] if key else []
    work, queued = commit(ports, session_id, send, lambda _: names)
    follow(ports, work)
    sent = queued or message_view(_message_of(ports, work, names[0]))
    warnings = warnings_of(request)
    if work.session.status is Status.FAILED:
        warnings = [{"loc": ["prompt"], "msg": _FAILED}, *warnings]
    return {**sent, "warnings": warnings}


_FAILED = "waits until the session, which failed, is prepared again (POST …/retry)"


def _message_of(ports: Ports, work: Change, name: RowKey) -> Message:
    """Return the message that a key was used for; IdempotencyKeyReused where it made a session."""
    used = work.get(name, IdempotencyKey)
    if used and used.message_number and used.message_id:
        found = _messages(ports, work.session.session_id, [used.message_number])
        if used.message_id in found:
            return found[used.message_id]
    raise IdempotencyKeyReused()


def _messages(ports: Ports, session_id: str, numbers: Iterable[int]) -> dict[str, Message]:
    """Return messages by their ids."""
    found = ports.store.named(session_id, map(message_key, numbers)).values()
    return {row.message_id: row for row in found if isinstance(row, Message)}


def withdraw_message(ports: Ports, owner: str, session_id: str, message_id: str) -> None:
    """Take a message that waits out of the queue; twice is harmless.

    Raises MessageNotFound, AlreadyDelivered, WrongStatus, SessionNotFound.
    """
    number = _number_of(ports, owned_session(ports, owner, session_id), message_id)
    take_back = partial(talking.withdraw, owner=owner, number=number)

    def concerned(found: WorkingSet) -> list[RowKey]:
        """Name it, and what may become the head without it."""
        session = found.session
        behind = session.number_after(number)
        both = [number, *([behind] if behind <= session.message_count else [])]
        return [message_key(each) for each in both]

    change(ports, session_id, take_back, concerned)


def _number_of(ports: Ports, session: Session, message_id: str) -> int:
    """Return a message's number, which it keeps for good; raises MessageNotFound.

    An id of an earlier version, which does not say it, is looked for among those that wait.
    """
    said = number_in(message_id)
    found = _messages(ports, session.session_id, session.waiting if said is None else [said])
    if message_id not in found:
        raise MessageNotFound()
    return found[message_id].number


def initiate(ports: Ports, owner: str, session_id: str) -> None:
    """Release the held queue; twice is harmless. Raises WrongStatus, SessionNotFound."""
    change(ports, session_id, partial(talking.initiate, owner=owner), head_of)


def patch_session(
    ports: Ports,
    owner: str,
    session_id: str,
    request: PatchSession,
    groups: frozenset[str] = frozenset(),
) -> list[dict[str, Any]]:
    """Change what was asked for, before the first message is on its way; return the warnings.

    The title can be changed at any time. What a step already did is not undone. `groups` are the
    owner's, for the access rules of another repository. Raises AlreadyInitiated, SessionNotFound,
    for another repository WrongStatus and RepositoryForbidden, and where `autoInitiate` wakes the
    session QuotaExceeded.
    """
    warnings = warnings_of(request)
    patch = partial(talking.patch, owner=owner, request=request, groups=groups)

    def concerned(found: WorkingSet) -> list[RowKey]:
        return [] if request.only_renames else [CONFIG, *head_of(found)]

    change(ports, session_id, patch, concerned)
    return warnings


def interrupt(ports: Ports, owner: str, session_id: str) -> None:
    """Stop the active turn, or cancel the preparation; harmless where nothing is active.

    The queue then waits for the next message or for initiate. Raises SessionNotFound.
    """
    stop = partial(preparing.interrupt, owner=owner)
    change(ports, session_id, stop, head_of)


def publish(
    ports: Ports, owner: str, session_id: str, request: PublishSession
) -> list[dict[str, Any]]:
    """Have a session's work published; wakes a sleeping one. Returns the warnings.

    Raises ValidationFailed, SessionBusy, WrongStatus, QuotaExceeded, SessionNotFound.
    """
    names = [CONFIG] if "encrypted_secrets" in request.model_fields_set else []
    ask = partial(requesting.publish, owner=owner, request=request)
    change(ports, session_id, ask, lambda _: names)
    return warnings_of(request)


def retry(ports: Ports, owner: str, session_id: str, request: RetrySession) -> list[dict[str, Any]]:
    """Begin a new attempt of a failed session; what succeeded in a living sandbox is kept.

    Returns the warnings. Raises StaleAttempt, WrongStatus, QuotaExceeded, SessionNotFound.
    """
    warnings = warnings_of(request)
    again = partial(preparing.retry, owner=owner, request=request)
    change(ports, session_id, again, lambda _: [CONFIG])
    return warnings


def answer_input(
    ports: Ports, owner: str, session_id: str, request_id: str, request: AnswerInput
) -> dict[str, Any]:
    """Pass a person's answer to the agent; `input.resolved` tells when it has it.

    Raises InputNotFound, WrongStatus (also for another answer than the first), SessionNotFound.
    """
    answer = partial(asking.answer, owner=owner, request_id=request_id, request=request)

    def asked(found: WorkingSet) -> Iterable[RowKey]:
        return [input_key(request_id)] if request_id in found.session.pending_inputs else []

    change(ports, session_id, answer, asked)
    return {"requestId": request_id, "status": "sent"}
