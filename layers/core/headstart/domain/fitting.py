"""JSON that must fit somewhere: what is too large loses the ends of its texts."""

import json
from typing import Any

_LONGEST = tuple(2**bits for bits in range(13, 4, -1))
_MARK = "…"


def dumps(value: object) -> str:
    """Return compact JSON, as it goes to viewers."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def size(value: object) -> int:
    """Return the bytes that a value takes in a viewer's frame."""
    return len(dumps(value).encode())


def fitting(value: dict[str, Any], limit: int) -> dict[str, Any]:
    """Return an object in at most `limit` bytes: itself, or with shorter texts and lists.

    One that no cut makes small enough is empty.
    """
    if size(value) <= limit:
        return value
    for longest in _LONGEST:
        cut: dict[str, Any] = _cut(value, longest)
        if size(cut) <= limit:
            return cut
    return {}


def _cut(value: Any, longest: int) -> Any:
    match value:
        case str() if len(value) > longest:
            return value[:longest] + _MARK
        case dict():
            kept = list(value.items())[:longest]
            return {key: _cut(item, longest) for key, item in kept}
        case list():
            return [_cut(item, longest) for item in value[:longest]]
        case _:
            return value
