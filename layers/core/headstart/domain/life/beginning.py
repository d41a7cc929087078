"""A new session from what was asked for: all its rows at once, before anything else happens."""

from datetime import datetime

from headstart.domain import events
from headstart.domain.agents import check_agent, mode_of
from headstart.domain.attempt import Attempt
from headstart.domain.change import Change, IdempotencyKey, QuotaChange, WorkingSet
from headstart.domain.errands import StartAttempt
from headstart.domain.ids import body_hash, new_id
from headstart.domain.life import calling, locating
from headstart.domain.life.queueing import queued_event
from headstart.domain.life.settling import START_CHECK
from headstart.domain.message import Message, MessageStatus, id_prefix
from headstart.domain.policy import Policy
from headstart.domain.requests import CreateSession
from headstart.domain.secrets import check_secrets
from headstart.domain.session import Cause, Hold, Session, SessionConfig, Status, title_of
from headstart.domain.tree import recipe


def new_session(
    request: CreateSession,
    policy: Policy,
    *,
    session_id: str,
    owner: str,
    now: datetime,
    key: str | None,
    groups: frozenset[str] = frozenset(),
) -> Change:
    """Return the change that makes a session; raises ValidationFailed, RepositoryForbidden.

    `groups` are its owner's, for the access rules.
    """
    agent = check_agent(policy, request.agent or policy.default_agent)
    git_url = locating.address(request, policy)
    config = SessionConfig.model_validate(
        request.model_dump(include=set(SessionConfig.model_fields))
    )
    config.access = locating.access(config, policy, git_url, groups)
    check_secrets(config, policy)
    session = Session(
        session_id=session_id,
        owner=owner,
        status=Status.PREPARING,
        title=title_of(request.prompt),
        created_at=now,
        updated_at=now,
        git_url=git_url,
        branch=f"session/{session_id}",
        agent=agent,
        mode=mode_of(policy, agent, request.mode),
        model=request.model or policy.default_model,
        prepared_tree=request.prepared_tree,
        message_count=1,
        hold=None if request.auto_initiate else Hold.INITIATE,
        due_at=now + START_CHECK,
        counts=config.counts(),
    )
    session.recipe = recipe(session, config)
    calling.set_target(session, config, policy)
    attempt = Attempt(number=1, cause=Cause.CREATED, started_at=now, progress_at=now)
    message = Message(
        message_id=new_id(id_prefix(1)),
        number=1,
        text=request.prompt,
        status=MessageStatus.QUEUED if request.auto_initiate else MessageStatus.HELD,
        created_at=now,
    )
    change = Change(WorkingSet(session=session, attempt=attempt), now, policy)
    change.quota = QuotaChange.JOIN
    for row in (config, attempt, message):
        change.save(row)
    change.emit(events.SessionPreparing(attempt_number=1, cause=Cause.CREATED))
    change.emit(queued_event(message, position=1))
    change.then(StartAttempt(1))
    if key is not None:
        change.key = IdempotencyKey(
            key=key,
            body_hash=body_hash(request),
            session_id=session_id,
            expires_at=now + policy.key_life,
        )
    return change
