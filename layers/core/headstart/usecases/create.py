"""The fast path: one transaction, one StartExecution, and the caller has an id."""

from typing import Any

from headstart.domain.change import Change, IdempotencyKey
from headstart.domain.connections import Ticket, new_ticket, stream_view
from headstart.domain.errands import Measure
from headstart.domain.errors import (
    IdempotencyKeyReused,
    QuotaExceeded,
    SessionDeleting,
    SessionNotFound,
)
from headstart.domain.ids import body_hash, new_session_id
from headstart.domain.life.beginning import new_session
from headstart.domain.life.progress import milliseconds
from headstart.domain.life.waiting import wait_in_line
from headstart.domain.model import format_time
from headstart.domain.policy import Policy
from headstart.domain.requests import CreateSession
from headstart.domain.session import Session, Status
from headstart.domain.warnings import warnings_of
from headstart.usecases.change import follow
from headstart.usecases.line import admit_next, make_room
from headstart.usecases.ports import Ports


def create_session(
    ports: Ports,
    owner: str,
    request: CreateSession,
    key: str | None,
    groups: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Record a session and start its preparation; answers the body of 202.

    Makes exactly two calls: TransactWriteItems and StartExecution. When the second fails the
    session exists all the same and the janitor starts it. `groups` are the owner's, for the access
    rules. Raises ValidationFailed, RepositoryForbidden, QuotaExceeded, IdempotencyKeyReused,
    SessionDeleting, ServiceUnavailable.
    """
    now, policy = ports.clock(), ports.policy
    session_id = new_session_id(now)
    ports.identify(session_id)
    secret, ticket = new_ticket(policy, session_id, owner, now)
    # Before anything is written: whoever gets no answer does not know the session's id.
    warnings = warnings_of(request)
    work = new_session(
        request, policy, session_id=session_id, owner=owner, now=now, key=key, groups=groups
    )
    repeated = _write(ports, work, ticket, request)
    if repeated is not None:
        return {**repeated, "warnings": warnings}
    work.then(Measure("SessionsCreated"))
    follow(ports, work)
    ports.metrics.milliseconds("FastReturn", milliseconds(now, ports.clock()))
    return {**_answer(work.session, policy, secret, ticket), "warnings": warnings}


def _write(
    ports: Ports, work: Change, ticket: Ticket, request: CreateSession
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


def _record(ports: Ports, work: Change, ticket: Ticket) -> IdempotencyKey | None:
    """Write the session; over the quota without a place, where the deployment lets people wait."""
    owner = work.session.owner
    try:
        return ports.store.create(work, ticket)
    except QuotaExceeded:
        has_room = make_room(ports, owner)
        if not has_room and not ports.policy.wait_in_line:
            raise
    if has_room:
        try:
            return ports.store.create(work, ticket)
        except QuotaExceeded:
            # Others have waited longer for that place.
            admit_next(ports, owner)
            if not ports.policy.wait_in_line:
                raise
    wait_in_line(work)
    return ports.store.create(work, ticket)


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
