"""What events and frames hold, as far as this client reads it: whatever came, of the right types.

What an agent says reaches viewers as the agent made it, and a sandbox runs untrusted code. So all
data is read through these tables. web/shapes.js is the same; the tests drive both with the same
data.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias

from headstart_client.models import Event

Shape: TypeAlias = Callable[[Any], Any] | dict[str, "Shape"] | list["Shape"]
"""A reader, an object of named shapes, or a list of one shape; what else there is is left out."""

_DEPTH = 8
"""How deep an object is told where a text is expected."""

_EXACT = 2**53
"""Whole numbers below it are the same in each language."""

_HALF_CHARACTERS = re.compile("[\ud800-\udfff]")


def shaped(shape: Shape, value: Any) -> Any:
    """Return a value in a shape, with what is missing or odd as empty as its reader has it."""
    if isinstance(shape, dict):
        given = value if isinstance(value, Mapping) else {}
        return {name: shaped(inner, given.get(name)) for name, inner in shape.items()}
    if isinstance(shape, list):
        items = value if isinstance(value, list) else []
        wanted = Mapping if isinstance(shape[0], dict) else object
        return [shaped(shape[0], one) for one in items if isinstance(one, wanted)]
    return shape(value)


def words(value: Any) -> str:
    """Read a text; anything else is told as JSON, nothing as an empty text."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else _json(value)
    return _HALF_CHARACTERS.sub("\ufffd", text)


def count(value: Any) -> int:
    """Read a whole number from 0 on, else 0."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    return value if whole and 0 <= value < _EXACT else 0


def number(value: Any) -> float:
    """Read a number from 0 on, else 0."""
    return value if isinstance(value, float) and 0 <= value < _EXACT else count(value)


def flag(value: Any) -> bool:
    """Read a yes; anything else is a no."""
    return value is True


def percent(value: Any) -> int:
    """Read a whole number up to 100."""
    return min(count(value), 100)


def moment(value: Any) -> datetime | None:
    """Read a time, else None."""
    try:
        found = datetime.fromisoformat(value if isinstance(value, str) else "")
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def anything(value: Any) -> Any:
    """Read a value that is shaped later."""
    return value


def mapping(value: Any) -> dict[str, Any]:
    """Read an object that is shaped later, else an empty one."""
    return value if isinstance(value, dict) else {}


def many(value: Any) -> list[str]:
    """Read texts; a lone one counts as a list of it, for it must not go unseen."""
    if isinstance(value, list):
        return [words(one) for one in value]
    return [] if value is None else [words(value)]


def maybe(shape: Shape) -> Callable[[Any], Any]:
    """Read a value in a shape, or None where there is none."""
    return lambda value: None if value is None else shaped(shape, value)


def _json(value: Any) -> str:
    return json.dumps(_shallow(value, _DEPTH), ensure_ascii=False, separators=(",", ":"))


def _shallow(value: Any, depth: int) -> Any:
    if depth == 0 and isinstance(value, dict | list):
        return "…"
    if isinstance(value, dict):
        return {name: _shallow(inner, depth - 1) for name, inner in value.items()}
    return [_shallow(one, depth - 1) for one in value] if isinstance(value, list) else value


_FAILURE: Shape = {"step": maybe(words), "code": words, "reason": words, "retryable": flag}
_STEP: Shape = {"step": words, "status": words, "elapsedMs": number}
_RECEIPT: Shape = {
    "receipt": {
        "attemptNumber": count,
        "totalMs": number,
        "steps": [_STEP],
        "preparedTree": maybe({"age": number, "saved": number}),
    }
}
_PULL_REQUEST: Shape = {"number": count, "url": words}
_COUNTED: Shape = {"files": count, "additions": count, "deletions": count}
_INPUT: Shape = {"requestId": words, "kind": words, "body": mapping}

PERMISSION: Shape = {"title": words, "patterns": many}
QUESTIONS: Shape = {
    "questions": [{"question": words, "options": [{"label": words}], "multiple": flag}]
}
FRAMES: dict[str, Shape] = {
    "events": {"events": [anything]},
    "replayed": {"through": count, "more": flag},
    "pong": {"lastEventId": count},
}
_STATE: Shape = {
    "step": words,
    "status": words,
    "message": maybe(words),
    "percent": maybe(percent),
    "output": words,
    "startedAt": moment,
    "endedAt": moment,
}
DATA: dict[str, Shape] = {
    "session.snapshot": {
        "title": words,
        "status": words,
        "lastEventId": count,
        "repository": {"gitUrl": words, "branch": words},
        "counts": {"setupCommands": maybe(count)},
        "attempt": {"number": count, "revision": count, "steps": [_STATE]},
        "failure": maybe(_FAILURE),
        "queue": [{"messageId": words, "status": words}],
        "activeTurn": maybe({"turnId": words}),
        "pendingInputs": [_INPUT],
        "leftOut": many,
        "changes": maybe(_COUNTED),
        "publication": maybe(
            {
                "status": words,
                "commit": words,
                "url": words,
                "pullRequest": maybe(_PULL_REQUEST),
                "note": words,
                "failure": maybe(_FAILURE),
            }
        ),
    },
    "session.preparing": {"attemptNumber": count, "cause": words},
    "preparing": {
        "attemptNumber": count,
        "revision": count,
        "step": words,
        "status": words,
        "message": maybe(words),
        "percent": maybe(percent),
        "elapsedMs": number,
        "etaMs": maybe(number),
        "output": words,
    },
    "session.renamed": {"title": words},
    "session.prepared": _RECEIPT,
    "session.ready": _RECEIPT,
    "session.failed": {"attemptNumber": count, "failure": _FAILURE},
    "session.asleep": {"reason": words, "saved": maybe(flag), "leftOut": many},
    "message.queued": {
        "messageId": words,
        "position": count,
        "text": words,
        "textBytes": maybe(count),
    },
    "message.delivered": {"messageId": words},
    "message.failed": {"messageId": words, "code": words, "reason": words},
    "message.held": {"messageId": words},
    "message.withdrawn": {"messageId": words},
    "turn.started": {"turnId": words, "messageId": words},
    "turn.completed": {"messageId": words, "usage": mapping},
    "turn.failed": {
        "messageId": words,
        "code": words,
        "reason": words,
        "textBytes": maybe(count),
        "textRef": maybe(words),
    },
    "turn.interrupted": {"messageId": words},
    "turn.retrying": {"reason": words},
    "input.requested": _INPUT,
    "input.resolved": {"requestId": words, "outcome": words},
    "agent.event": {
        "partId": words,
        "messageId": words,
        "kind": maybe(words),
        "text": maybe(words),
        "tool": words,
        "title": words,
        "status": words,
        "input": mapping,
        "output": words,
        "files": many,
        "textBytes": maybe(count),
        "textRef": maybe(words),
        "inputBytes": maybe(count),
        "inputRef": maybe(words),
        "truncated": flag,
    },
    "agent.delta": {"partId": words, "kind": maybe(words), "offset": count, "text": words},
    "agent.snapshot": {"parts": [{"partId": words, "kind": maybe(words), "text": words}]},
    "work.changed": _COUNTED,
    "work.published": {
        "branch": words,
        "commit": words,
        "url": words,
        "pullRequest": maybe(_PULL_REQUEST),
        "note": words,
    },
    "work.unchanged": {"branch": words, "commit": words, "note": words},
    "work.publish_failed": {"code": words, "reason": words, "retryable": flag},
    "client.reconnecting": {"reason": words, "seconds": number},
}
"""By type of event; of any other there is nothing to read."""


def data_of(event: Event) -> dict[str, Any]:
    """Return what an event's data says, of the types that its type promises."""
    data: dict[str, Any] = shaped(DATA.get(event.type, {}), event.data)
    return data
