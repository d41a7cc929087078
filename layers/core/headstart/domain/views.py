"""How a session looks from outside: the body of GET and of `session.snapshot`.

What is shown of a session is bounded whatever its sandbox says, with every character escaped: an
answer of Lambda's has 6 MB at most, a WebSocket message 128 KB.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from headstart.domain.archive import Archive, StoredFile
from headstart.domain.attempt import Attempt, Output, StepRecord
from headstart.domain.failure import Failure
from headstart.domain.fitting import fitting
from headstart.domain.long_texts import Text, TextPiece
from headstart.domain.message import Input, Message, MessageStatus
from headstart.domain.model import format_time
from headstart.domain.session import Session
from headstart.domain.steps import StepStatus
from headstart.domain.work import Changes

SNAPSHOT_OUTPUT_CHARACTERS = 4 * 1024
"""How much of an output a snapshot carries, so that it fits one frame; GET has all that is kept."""


@dataclass(frozen=True, slots=True)
class _Room:
    """How much is shown of what a sandbox says: characters of texts, bytes of one input and all."""

    output: int
    message: int
    reason: int
    input: int = 0
    inputs: int = 0


_WHOLE = _Room(output=64 * 1024, message=4000, reason=8000, input=64 * 1024, inputs=1024 * 1024)
_SNAPSHOT = _Room(
    output=SNAPSHOT_OUTPUT_CHARACTERS, message=1000, reason=2000, input=8 * 1024, inputs=48 * 1024
)
_IN_LIST_REASON = 500

_COUNTS = ("envVars", "encryptedSecrets", "setupCommands", "mcpServers")


def session_view(
    session: Session,
    attempt: Attempt,
    waiting: list[Message],
    output: Output | None = None,
    *,
    inputs: Sequence[Input] = (),
    snapshot: bool = False,
) -> dict[str, Any]:
    """Return the session as callers see it; a snapshot has a revision and shorter texts."""
    room = _SNAPSHOT if snapshot else _WHOLE
    view = _view(session, attempt, room, output)
    if snapshot:
        view["attempt"]["revision"] = attempt.revision
    view["queue"] = [
        {
            "messageId": message.message_id,
            "status": message.status.value,
            "createdAt": format_time(message.created_at),
        }
        for message in waiting
    ]
    view["pendingInputs"] = _input_views(inputs, room)
    return view


def summary_view(session: Session) -> dict[str, Any]:
    """Return the session as the list has it: in a few hundred bytes."""
    return {
        "sessionId": session.session_id,
        "title": session.title,
        "status": session.status.value,
        "createdAt": format_time(session.created_at),
        "updatedAt": format_time(session.updated_at),
        "repository": {"gitUrl": session.git_url, "branch": session.branch},
        "agent": session.agent,
        # Clients of before can't do without.
        "mode": session.mode,
        "queueLength": session.queue_length,
        "pendingInputCount": len(session.pending_inputs),
        "failure": _failure_view(session.failure, _IN_LIST_REASON),
    }


def _view(
    session: Session, attempt: Attempt, room: _Room, output: Output | None = None
) -> dict[str, Any]:
    turn, callback = session.active_turn, session.callback
    return {
        "sessionId": session.session_id,
        "title": session.title,
        "status": session.status.value,
        "createdAt": format_time(session.created_at),
        "updatedAt": format_time(session.updated_at),
        "preparedAt": session.prepared_at and format_time(session.prepared_at),
        "initiatedAt": session.initiated_at and format_time(session.initiated_at),
        "lastEventId": session.last_event_id,
        "repository": {"gitUrl": session.git_url, "branch": session.branch},
        "agent": session.agent,
        "mode": session.mode,
        "model": session.model,
        "attempt": {
            "number": attempt.number,
            "cause": attempt.cause.value,
            "status": attempt.status.value,
            "startedAt": format_time(attempt.started_at),
            "endedAt": attempt.ended_at and format_time(attempt.ended_at),
            "steps": [_step_view(record, output, room) for record in attempt.steps],
        },
        "failure": _failure_view(session.failure, room.reason),
        "activeTurn": turn
        and {
            "turnId": turn.turn_id,
            "messageId": turn.message_id,
            "startedAt": turn.started_at and format_time(turn.started_at),
        },
        "callback": callback
        and {
            "status": callback.status.value,
            "failure": _failure_view(callback.failure, room.reason),
        },
        "leftOut": session.kept.left_out if session.kept else [],
        "changes": session.changed and session.changed.to_json(),
        "publication": _publication_view(session, room),
        "counts": {name: session.counts[name] for name in _COUNTS if name in session.counts},
    }


def _failure_view(failure: Failure | None, room: int) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {**failure.to_json(), "reason": failure.reason[:room]}


def _publication_view(session: Session, room: _Room) -> dict[str, Any] | None:
    publication = session.publication
    if publication is None:
        return None
    failure, opened = publication.failure, publication.pull_request
    return {
        "status": publication.status.value,
        "branch": session.branch,
        "commit": publication.commit,
        "url": publication.url,
        "pullRequest": opened and {"number": opened.number, "url": opened.url},
        "note": publication.note,
        "failure": _failure_view(failure, room.reason),
    }


def changes_view(changes: Changes, archive: Archive) -> dict[str, Any]:
    """Return what a session changed, as of the moment that it was saved."""
    return {"savedAt": format_time(archive.created_at), **changes.to_json()}


def diff_view(file: StoredFile, archive: Archive, address: str) -> dict[str, Any]:
    """Return where the unified diff can be had."""
    saved_at = format_time(archive.created_at)
    return {"savedAt": saved_at, "url": address, "bytes": file.bytes, "sha256": file.sha256}


def _step_view(record: StepRecord, output: Output | None, room: _Room) -> dict[str, Any]:
    text = record.output
    if output is not None and output.step == record.step and record.status is StepStatus.FAILED:
        text = output.text
    view = {
        "step": record.step.value,
        "status": record.status.value,
        "startedAt": record.started_at and format_time(record.started_at),
        "endedAt": record.ended_at and format_time(record.ended_at),
        "message": record.message and record.message[: room.message],
        "percent": record.percent,
        "output": text[-room.output :] if text and room.output else None,
    }
    return {key: value for key, value in view.items() if value is not None or key.endswith("At")}


def _input_views(inputs: Sequence[Input], room: _Room) -> list[dict[str, Any]]:
    limit = min(room.input, room.inputs // max(1, len(inputs)))
    views = []
    for asked in inputs:
        body = fitting(asked.body, limit)
        view = {
            "requestId": asked.request_id,
            "turnId": asked.turn_id,
            "kind": asked.kind,
            "body": body,
            "createdAt": format_time(asked.created_at),
        }
        views.append(view if body is asked.body else {**view, "truncated": True})
    return views


def archive_view(archive: Archive, address: Callable[[str], str]) -> dict[str, Any]:
    """Return an archive with the addresses of its files."""

    def file_view(file: StoredFile) -> dict[str, Any]:
        return {"url": address(file.key), "bytes": file.bytes, "sha256": file.sha256}

    return {
        "savedAt": format_time(archive.created_at),
        "base": file_view(archive.base),
        "difference": archive.difference and file_view(archive.difference),
        "leftOut": archive.left_out.named(),
        "missing": archive.missing,
    }


def message_view(message: Message) -> dict[str, Any]:
    """Return a message as GET …/messages lists it."""
    return {
        "messageId": message.message_id,
        "text": message.text,
        "status": message.status.value,
        "createdAt": format_time(message.created_at),
        "deliveredAt": message.delivered_at and format_time(message.delivered_at),
        "failure": message.failure and message.failure.to_json(),
    }


def text_view(text: Text, pieces: Sequence[TextPiece], following: str | None) -> dict[str, Any]:
    """Return a page of a long text; `following` is where to go on."""
    return {
        "items": [{"offset": piece.offset, "text": piece.text} for piece in pieces],
        **_text_state(text),
        "nextCursor": following,
    }


def log_view(text: Text, attempt_number: int, step: str) -> dict[str, Any]:
    """Return a step's log as GET …/logs lists it."""
    return {
        "attemptNumber": attempt_number,
        "step": step,
        "ref": text.ref,
        **_text_state(text),
    }


def _text_state(text: Text) -> dict[str, Any]:
    return {"bytes": text.bytes, "complete": text.ended, "truncated": text.truncated}


def is_waiting(message: Message) -> bool:
    """Say whether a message still has its place in the queue."""
    return message.status not in {MessageStatus.DELIVERED, MessageStatus.WITHDRAWN}
