"""JSON as it goes up: UTF-8, compact, and never larger than a limit."""

import json
from typing import Any

_MIN_STRING = 64
_MARK = "…"


def dumps(value: Any) -> str:
    """Return compact JSON; half of a surrogate pair, which UTF-8 can't hold, becomes `?`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace").decode()


def size(value: Any) -> int:
    """Return the bytes a value takes on the wire."""
    return len(dumps(value).encode())


def cut_text(text: str, limit: int) -> str:
    """Return the head of a text in at most `limit` bytes of JSON, marked when it was cut."""
    if size(text) - 2 <= limit:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if size(text[:middle] + _MARK) - 2 <= limit:
            low = middle
        else:
            high = middle - 1
    return text[:low] + _MARK


def _longest(value: Any) -> tuple[dict[str, Any] | list[Any], Any, str] | None:
    """Return the holder, key and content of the longest string inside a value."""
    best: tuple[dict[str, Any] | list[Any], Any, str] | None = None
    items: Any = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        found = (
            (value, key, item)
            if isinstance(item, str)
            else _longest(item)
            if isinstance(item, dict | list)
            else None
        )
        if found and (best is None or len(found[2]) > len(best[2])):
            best = found
    return best


def _largest(value: dict[str, Any]) -> str:
    return max(value, key=lambda name: size(value[name]))


def fit(value: dict[str, Any], limit: int) -> tuple[dict[str, Any], bool]:
    """Return a JSON object in at most `limit` bytes and whether it had to be cut.

    The longest strings are shortened first; what is large without long strings loses its largest
    members.
    """
    if size(value) <= limit:
        return value, False
    cut: dict[str, Any] = json.loads(json.dumps(value))
    while (excess := size(cut) - limit) > 0:
        longest = _longest(cut)
        if longest and len(longest[2]) > _MIN_STRING:
            holder, key, text = longest
            holder[key] = cut_text(text, max(size(text) - 2 - excess, _MIN_STRING // 2))
        else:
            parent = cut
            while isinstance(parent[largest := _largest(parent)], dict):
                parent = parent[largest]
            parent[largest] = None
    return cut, True
