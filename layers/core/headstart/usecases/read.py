"""Reading sessions: nothing here writes but the ticket, and nothing wakes anything."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from headstart.domain import cursors
from headstart.domain.agents import MODES, agents_of, default_mode, models_of
from headstart.domain.archive import Archive
from headstart.domain.attempt import Output
from headstart.domain.change import (
    ARCHIVE,
    Change,
    RowKey,
    WorkingSet,
    input_key,
    message_key,
    output_key,
)
from headstart.domain.connections import new_ticket, stream_view
from headstart.domain.cursors import MessagePlace, SessionPlace
from headstart.domain.errors import ArchiveNotFound, SessionNotFound, ValidationFailed
from headstart.domain.message import Input, Message
from headstart.domain.requests import LIMITS
from headstart.domain.search import EVERY, Wanted
from headstart.domain.session import Session, Status
from headstart.domain.steps import StepStatus
from headstart.domain.views import (
    archive_view,
    changes_view,
    diff_view,
    is_waiting,
    message_view,
    session_view,
    summary_view,
)
from headstart.domain.work import CHANGES_BYTES, read_changes
from headstart.usecases.commit import read
from headstart.usecases.ports import Ports

PAGE_LIMIT = 100
SEARCHED = 300
"""How many sessions are looked at for one page of a search."""

WAIT_LIMIT_SECONDS = 25
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
_LATE_BY_AT_MOST = 0.1
"""What part of the time that was waited already an answer may come late: so short waits end soon,
and 25 s take no more reads than one each half second would."""


def owned_session(ports: Ports, owner: str, session_id: str) -> Session:
    """Return the owner's session; someone else's or a deleted one is SessionNotFound."""
    session = ports.store.session(session_id)
    require_owned(session, owner)
    return session


def require_owned(session: Session, owner: str) -> None:
    """Raise SessionNotFound for someone else's session, or one that is being deleted."""
    if session.owner != owner or session.status is Status.DELETING:
        raise SessionNotFound()


def get_session(ports: Ports, owner: str, session_id: str) -> dict[str, Any]:
    """Return one session as GET answers it."""
    found = read(ports, session_id, _shown)
    require_owned(found.session, owner)
    return view_of(ports, found)


def _shown(found: WorkingSet) -> list[RowKey]:
    """Name what is shown of a session beside its working set."""
    attempt = found.attempt
    failed = next((r.step for r in attempt.steps if r.status is StepStatus.FAILED), None)
    queue = map(message_key, found.session.waiting)
    names = [*queue, *map(input_key, found.session.pending_inputs)]
    return [*names, *([output_key(attempt.number, failed.value)] if failed else [])]


def view_of(ports: Ports, found: Change, *, snapshot: bool = False) -> dict[str, Any]:
    """Return a session, as it was read, with its queue and what a failed step printed."""
    session = found.session
    names = _shown(WorkingSet(session, found.attempt))
    missing = [name for name in names if not found.knows(name)]
    more = ports.store.named(session.session_id, missing) if missing else {}
    beside = [more[name] if name in more else found.get(name, name.model) for name in names]
    return session_view(
        session,
        found.attempt,
        [row for row in beside if isinstance(row, Message) and is_waiting(row)],
        next((row for row in beside if isinstance(row, Output)), None),
        inputs=[row for row in beside if isinstance(row, Input)],
        snapshot=snapshot,
    )


def get_archive(ports: Ports, owner: str, session_id: str) -> dict[str, Any]:
    """Return where a session's saved work can be had, for a quarter of an hour.

    Raises ArchiveNotFound where nothing is saved, SessionNotFound.
    """
    archive = _archive(ports, owner, session_id)
    return archive_view(archive, ports.objects.presign_get)


def _archive(ports: Ports, owner: str, session_id: str) -> Archive:
    session = owned_session(ports, owner, session_id)
    archive = ports.store.named(session_id, [ARCHIVE])[ARCHIVE]
    if not isinstance(archive, Archive):
        # `work.changed` is told before there is a copy: that may fail.
        raise ArchiveNotFound(_BEING_SAVED if session.saving else "")
    return archive


def get_changes(ports: Ports, owner: str, session_id: str) -> dict[str, Any]:
    """Return what a session had changed when its work was saved last, file by file.

    Raises ArchiveNotFound where nothing of the kind is saved, SessionNotFound.
    """
    archive = _archive(ports, owner, session_id)
    text = ports.objects.read(archive.changes.key, CHANGES_BYTES) if archive.changes else None
    changes = read_changes(text) if text is not None else None
    if changes is None:
        raise ArchiveNotFound(_NO_CHANGES)
    return changes_view(changes, archive)


def get_diff(ports: Ports, owner: str, session_id: str) -> dict[str, Any]:
    """Return where the same can be had as a unified diff, for a quarter of an hour.

    Raises as `get_changes` does.
    """
    archive = _archive(ports, owner, session_id)
    if archive.diff is None:
        raise ArchiveNotFound(_NO_CHANGES)
    return diff_view(archive.diff, archive, ports.objects.presign_get(archive.diff.key))


_BEING_SAVED = "The work is being saved for the first time: ask again in a moment"
_NO_CHANGES = "What the session changed is not saved yet"


def list_sessions(
    ports: Ports, owner: str, cursor: str | None, limit: int = 20, wanted: Wanted = EVERY
) -> dict[str, Any]:
    """Return a page of the owner's sessions, newest first: two reads, however long it is.

    Where not every one is wanted, SEARCHED of them are looked at, in up to three times two reads:
    the page may be short then, and those to come begin behind what was looked at.
    """
    after = cursors.decode(cursor, SessionPlace) if cursor else None
    limit = min(limit, PAGE_LIMIT)
    asked = limit if wanted == EVERY else PAGE_LIMIT
    found: list[Session] = []
    for _ in range(1 if wanted == EVERY else SEARCHED // PAGE_LIMIT):
        page, after = ports.store.sessions_of(owner, after, asked)
        found += [s for s in page if s.status is not Status.DELETING and wanted.is_met_by(s)]
        if after is None or len(found) >= limit:
            break
    if len(found) > limit:
        found = found[:limit]
        after = SessionPlace.of(found[-1])
    return {
        "items": [summary_view(session) for session in found],
        "nextCursor": cursors.encode(after) if after else None,
    }


def get_defaults(ports: Ports) -> dict[str, Any]:
    """Return what a session is where nothing is said, what can be said, and its limits."""
    policy = ports.policy
    return {
        "agent": policy.default_agent,
        "mode": default_mode(policy),
        "model": policy.default_model,
        "agents": [
            {"name": name, "modes": [*MODES[name]], "models": models_of(policy, name)}
            for name in agents_of(policy)
        ],
        "limits": {"activeSessions": policy.active_sessions, **LIMITS},
    }


def list_messages(
    ports: Ports, owner: str, session_id: str, cursor: str | None = None
) -> dict[str, Any]:
    """Return a page of messages with text and status, oldest first: 1 MB of text at most."""
    owned_session(ports, owner, session_id)
    after = cursors.decode(cursor, MessagePlace).number if cursor else 0
    page, more = ports.store.messages_page(session_id, after, PAGE_LIMIT)
    following = MessagePlace(number=page[-1].number) if more and page else None
    return {
        "items": [message_view(message) for message in page],
        "nextCursor": cursors.encode(following) if following else None,
    }


def list_events(
    ports: Ports, owner: str, session_id: str, after: int, limit: int = PAGE_LIMIT
) -> dict[str, Any]:
    """Return a page of persisted events above `after`; `nextCursor` is the next `after`."""
    owned_session(ports, owner, session_id)
    page, more = ports.store.events_after(session_id, after, min(limit, PAGE_LIMIT))
    return {
        "items": [event.to_json() for event in page],
        "nextCursor": str(page[-1].event_id) if more and page else None,
    }


def stream_ticket(ports: Ports, owner: str, session_id: str) -> dict[str, str]:
    """Return a fresh `stream` object for one connection."""
    owned_session(ports, owner, session_id)
    secret, ticket = new_ticket(ports.policy, session_id, owner, ports.clock())
    ports.store.put_ticket(ticket)
    return stream_view(ports.policy, secret, ticket)


def check_status(text: str) -> str:
    """Return the name of a status; raises ValidationFailed."""
    if text not in set(Status):
        known = ", ".join(Status)
        raise ValidationFailed([{"loc": ["query", "while"], "msg": f"must be one of {known}"}])
    return text


def wait_while(
    ports: Ports,
    owner: str,
    session_id: str,
    *,
    status: str,
    seconds: int,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """Return the session once its status is another than `status`, or after `seconds`."""
    began = ports.clock()
    end = began + timedelta(seconds=min(seconds, WAIT_LIMIT_SECONDS))
    session = owned_session(ports, owner, session_id)
    while session.status.value == status and (now := ports.clock()) < end:
        pause = (now - began).total_seconds() * _LATE_BY_AT_MOST
        sleep(min(max(pause, _SHORTEST_PAUSE), _LONGEST_PAUSE))
        session = owned_session(ports, owner, session_id)
    return view_of(ports, read(ports, session_id, _shown))
