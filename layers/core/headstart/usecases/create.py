"""The fast path: one transaction, one StartExecution, and the caller has an id."""

from datetime import datetime
from typing import Any

from headstart.domain import events, lifecycle
from headstart.domain.connections import Ticket, new_ticket, stream_view
from headstart.domain.errors import (
    IdempotencyKeyReused,
    QuotaExceeded,
    SessionDeleting,
    SessionNotFound,
    ValidationFailed,
)
from headstart.domain.ids import body_hash, new_id, new_session_id
from headstart.domain.lifecycle import START_CHECK, milliseconds
from headstart.domain.model import format_time
from headstart.domain.policy import Policy
from headstart.domain.repository import check_git_url, github_url
from headstart.domain.requests import CreateSession
from headstart.domain.session import (
    Attempt,
    Cause,
    Hold,
    Message,
    MessageStatus,
    Session,
    SessionConfig,
    Status,
    title_of,
)
from headstart.domain.turns import queued_event
from headstart.domain.work import IdempotencyKey, QuotaChange, Work
from headstart.usecases.line import free_leaked_places
from headstart.usecases.ports import Ports
from headstart.usecases.start import start_attempt


def create_session(
    ports: Ports, owner: str, request: CreateSession, key: str | None
) -> dict[str, Any]:
    """Record a session and start its preparation; answers the body of 202.

    Makes exactly two calls: TransactWriteItems and StartExecution. When the second fails the
    session exists all the same and the janitor starts it. Raises ValidationFailed, QuotaExceeded,
    IdempotencyKeyReused, SessionDeleting, ServiceUnavailable.
    """
    now, policy = ports.clock(), ports.policy
    session_id = new_session_id(now)
    ports.identify(session_id)
    secret, ticket = new_ticket(policy, session_id, owner, now)
    work = _new_session(request, policy, session_id=session_id, owner=owner, now=now)
    if key is not None:
        work.key = IdempotencyKey(
            key=key,
            body_hash=body_hash(request),
            session_id=session_id,
            expires_at=now + policy.key_life,
        )
    repeated = _write(ports, work, ticket, request)
    if repeated is not None:
        return repeated
    if work.session.waiting_since is None:
        start_attempt(ports, work.session)
    ports.metrics.count("SessionsCreated")
    ports.metrics.milliseconds("FastReturn", milliseconds(now, ports.clock()))
    return _answer(work.session, policy, secret, ticket)


def _write(
    ports: Ports, work: Work, ticket: Ticket, request: CreateSession
) -> dict[str, Any] | None:
    """Write the session, or return the answer of the one that its key stands for."""
    owner = work.session.owner
    used = _record(ports, work, ticket)
    if used is None:
        return None
    try:
        return _repeat(ports, owner, used, request)
    except SessionNotFound:
        # A key goes with its session. Should a rival take it now, this is a repeat of that one.
        ports.store.forget_key(owner, used)
    used = _record(ports, work, ticket)
    return _repeat(ports, owner, used, request) if used else None


def _record(ports: Ports, work: Work, ticket: Ticket) -> IdempotencyKey | None:
    """Write the session; over the quota without a place, where the deployment lets people wait."""
    try:
        return ports.store.create(work, ticket, ports.policy.active_sessions)
    except QuotaExceeded:
        if not free_leaked_places(ports, work.session.owner):
            if not ports.policy.wait_in_line:
                raise
            lifecycle.wait_in_line(work)
    return ports.store.create(work, ticket, ports.policy.active_sessions)


def _git_url(request: CreateSession, policy: Policy) -> str:
    try:
        if request.git_url is not None:
            return check_git_url(request.git_url, policy.allowed_git_sources, policy.github_url)
        return github_url(policy.github_url, request.github_repo or "")
    except ValueError as error:
        field = "gitUrl" if request.git_url is not None else "githubRepo"
        raise ValidationFailed([{"loc": [field], "msg": str(error)}]) from error


def _new_session(
    request: CreateSession, policy: Policy, *, session_id: str, owner: str, now: datetime
) -> Work:
    config = SessionConfig.model_validate(
        request.model_dump(include=set(SessionConfig.model_fields))
    )
    session = Session(
        session_id=session_id,
        owner=owner,
        status=Status.PREPARING,
        title=title_of(request.prompt),
        created_at=now,
        updated_at=now,
        git_url=_git_url(request, policy),
        branch=f"session/{session_id}",
        agent=request.agent or policy.default_agent,
        mode=request.mode or policy.default_mode,
        model=request.model or policy.default_model,
        message_count=1,
        hold=None if request.auto_initiate else Hold.INITIATE,
        due_at=now + START_CHECK,
        counts=config.counts(),
    )
    work = Work(session, now)
    work.quota = QuotaChange.JOIN
    work.save(config)
    work.save(Attempt(number=1, cause=Cause.CREATED, started_at=now, progress_at=now))
    message = Message(
        message_id=new_id("msg"),
        number=1,
        text=request.prompt,
        status=MessageStatus.QUEUED if request.auto_initiate else MessageStatus.HELD,
        created_at=now,
    )
    work.save(message)
    work.emit(events.SessionPreparing(attempt_number=1, cause=Cause.CREATED))
    work.emit(queued_event(message, position=1))
    return work


def _repeat(
    ports: Ports, owner: str, used: IdempotencyKey, request: CreateSession
) -> dict[str, Any]:
    if used.body_hash != body_hash(request):
        raise IdempotencyKeyReused()
    session = ports.store.session(used.session_id)
    if session.status is Status.DELETING:
        raise SessionDeleting()
    secret, ticket = new_ticket(ports.policy, session.session_id, owner, ports.clock())
    ports.store.put_ticket(ticket)
    return _answer(session, ports.policy, secret, ticket)


def _answer(session: Session, policy: Policy, secret: str, ticket: Ticket) -> dict[str, Any]:
    return {
        "sessionId": session.session_id,
        "status": session.status.value,
        "attemptNumber": session.attempt_number,
        "createdAt": format_time(session.created_at),
        "stream": stream_view(policy, secret, ticket),
    }
