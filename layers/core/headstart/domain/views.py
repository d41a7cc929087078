"""How a session looks from outside: the body of GET and of `session.snapshot`."""

from collections.abc import Sequence
from typing import Any

from headstart.domain.fitting import fitting
from headstart.domain.model import format_time
from headstart.domain.session import (
    Attempt,
    Input,
    Message,
    MessageStatus,
    Output,
    Session,
    StepRecord,
)
from headstart.domain.steps import StepStatus

SNAPSHOT_OUTPUT_CHARACTERS = 4 * 1024
"""How much of an output a snapshot carries, so that it fits one frame; GET has all that is kept."""

SNAPSHOT_INPUT_BYTES = 8 * 1024
SNAPSHOT_INPUTS_BYTES = 64 * 1024
"""How much a snapshot carries of what the agent asks at once, and of all that together; GET has it
whole."""


def session_view(
    session: Session,
    attempt: Attempt,
    waiting: list[Message],
    output: Output | None = None,
    *,
    inputs: Sequence[Input] = (),
    snapshot: bool = False,
) -> dict[str, Any]:
    """Return the session as callers see it; a snapshot has a revision and shorter output."""
    turn = session.active_turn
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
        "attempt": _attempt_view(attempt, output, snapshot=snapshot),
        "failure": session.failure and session.failure.to_json(),
        "queue": [
            {
                "messageId": message.message_id,
                "status": message.status.value,
                "createdAt": format_time(message.created_at),
            }
            for message in waiting
        ],
        "activeTurn": turn
        and {
            "turnId": turn.turn_id,
            "messageId": turn.message_id,
            "startedAt": turn.started_at and format_time(turn.started_at),
        },
        "pendingInputs": _input_views(inputs, snapshot=snapshot),
        "counts": session.counts,
    }


def _input_views(inputs: Sequence[Input], *, snapshot: bool) -> list[dict[str, Any]]:
    limit = min(SNAPSHOT_INPUT_BYTES, SNAPSHOT_INPUTS_BYTES // max(1, len(inputs)))
    views = []
    for asked in inputs:
        body = fitting(asked.body, limit) if snapshot else asked.body
        view = {
            "requestId": asked.request_id,
            "turnId": asked.turn_id,
            "kind": asked.kind,
            "body": body,
            "createdAt": format_time(asked.created_at),
        }
        views.append(view if body is asked.body else {**view, "truncated": True})
    return views


def _attempt_view(attempt: Attempt, output: Output | None, *, snapshot: bool) -> dict[str, Any]:
    view: dict[str, Any] = {
        "number": attempt.number,
        "cause": attempt.cause.value,
        "status": attempt.status.value,
        "startedAt": format_time(attempt.started_at),
        "endedAt": attempt.ended_at and format_time(attempt.ended_at),
        "steps": [_step_view(record, output, snapshot=snapshot) for record in attempt.steps],
    }
    if snapshot:
        view["revision"] = attempt.revision
    return view


def _step_view(record: StepRecord, output: Output | None, *, snapshot: bool) -> dict[str, Any]:
    text = record.output
    if output is not None and output.step == record.step and record.status is StepStatus.FAILED:
        text = output.text
    if snapshot and text is not None:
        text = text[-SNAPSHOT_OUTPUT_CHARACTERS:]
    view = {**record.to_json(), "output": text, "outputEnd": None}
    return {key: value for key, value in view.items() if value is not None or key.endswith("At")}


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


def is_waiting(message: Message) -> bool:
    """Say whether a message still has its place in the queue."""
    return message.status is not MessageStatus.DELIVERED
