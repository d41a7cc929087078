"""What events and frames hold, as far as this client reads it: whatever came, of the right types.

What an agent says reaches viewers as the agent made it, and a sandbox runs untrusted code. So all
data is read through these shapes, that of events as `events` names them. web/shapes.js is the same;
the tests drive both with the same data.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeVar, overload

T = TypeVar("T")

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


@overload
def maybe(shape: Callable[[Any], T]) -> Callable[[Any], T | None]: ...
@overload
def maybe(shape: dict[str, Shape]) -> Callable[[Any], dict[str, Any] | None]: ...
def maybe(shape: Callable[[Any], Any] | dict[str, Shape]) -> Callable[[Any], Any]:
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


FAILURE: dict[str, Shape] = {
    "step": maybe(words),
    "code": words,
    "reason": words,
    "retryable": flag,
}
RECEIPT: dict[str, Shape] = {
    "attemptNumber": count,
    "totalMs": number,
    "steps": [{"step": words, "status": words, "elapsedMs": number}],
    "preparedTree": maybe({"age": number, "saved": number}),
}
PULL_REQUEST: dict[str, Shape] = {"number": count, "url": words}
STATE: dict[str, Shape] = {
    "step": words,
    "status": words,
    "message": maybe(words),
    "percent": maybe(percent),
    "output": words,
    "startedAt": moment,
    "endedAt": moment,
}
PUBLICATION: dict[str, Shape] = {
    "status": words,
    "commit": words,
    "url": words,
    "pullRequest": maybe(PULL_REQUEST),
    "note": words,
    "failure": maybe(FAILURE),
}
COUNTED: dict[str, Shape] = {"files": count, "additions": count, "deletions": count}
INPUT: dict[str, Shape] = {"requestId": words, "kind": words, "body": mapping}
PERMISSION: Shape = {"title": words, "patterns": many}
QUESTIONS: Shape = {
    "questions": [
        {
            "question": words,
            "options": [{"label": words, "description": words}],
            "multiple": flag,
        }
    ]
}
ANSWER: dict[str, Shape] = {"reply": words, "answers": [many]}
FRAMES: dict[str, Shape] = {
    "events": {"events": [anything]},
    "replayed": {"through": count, "more": flag},
    "pong": {"lastEventId": count},
}
