"""JSON as it goes up: UTF-8, compact, and never larger than a limit."""

import json
from collections.abc import Iterator
from math import isfinite
from typing import Any

_MIN_STRING = 64
_MOST_STRINGS = 16
MARK = "…"
"""Stands where a text was cut; whoever redacts it later sees that a secret may have been, too."""

DEPTH = 32
"""How deep what goes up may be nested: pydantic gives up at 255, and a frame adds to it."""
_FLOAT_BITS = 1023


def dumps(value: Any) -> str:
    """Return compact JSON; half of a surrogate pair, which UTF-8 can't hold, becomes `?`."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace").decode()


def readable(value: Any, depth: int = DEPTH) -> Any:
    """Return a JSON value that every reader takes, whatever an agent sent.

    Half of a surrogate pair becomes `?`, what no float can hold null, what is too deep a mark.
    """
    match value:
        case str():
            value = value.encode("utf-8", "replace").decode()
        case float() if not isfinite(value):
            value = None
        case int() if value.bit_length() > _FLOAT_BITS:
            value = None
        case dict() | list() if depth == 0:
            value = MARK
        case dict():
            value = {readable(key): readable(item, depth - 1) for key, item in value.items()}
        case list():
            value = [readable(item, depth - 1) for item in value]
    return value


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
        if size(text[:middle] + MARK) - 2 <= limit:
            low = middle
        else:
            high = middle - 1
    return text[:low] + MARK


def head(text: str, most: int) -> str:
    """Return at most so many characters of a text, marked when it was cut."""
    return text if len(text) <= most else (text[: most - 1] + MARK)[:most]


def pieces(text: str, limit: int) -> Iterator[str]:
    """Return a text in pieces of at most `limit` bytes of JSON; a character may take 6."""
    start = 0
    while piece := text[start : start + limit]:
        while (taken := size(piece) - 2) > limit:
            piece = piece[: len(piece) * limit // taken]
        yield piece
        start += len(piece)


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


def _shorten(root: dict[str, Any], limit: int) -> None:
    """Keep only the first members of the object or list that most of a value is made of."""
    place: Any = root
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        heaviest = max(keys, key=lambda key: size(place[key]))
        inner = place[heaviest]
        if not isinstance(inner, dict | list) or size(inner) * 2 < size(place):
            break
        place = inner
    members = list(place.items()) if isinstance(place, dict) else list(place)

    def keep(count: int) -> None:
        place.clear()
        place.update(members[:count]) if isinstance(place, dict) else place.extend(members[:count])

    low, high = 0, len(members) - 1
    while low < high:
        middle = (low + high + 1) // 2
        keep(middle)
        low, high = (middle, high) if size(root) <= limit else (low, middle - 1)
    keep(low)


def fit(value: dict[str, Any], limit: int) -> tuple[dict[str, Any], bool]:
    """Return a JSON object in at most `limit` bytes and whether it had to be cut.

    The longest strings are shortened first; what is large by its many members loses the last ones.
    """
    if size(value) <= limit:
        return value, False
    cut: dict[str, Any] = json.loads(json.dumps(value))
    strings_cut = 0
    while (excess := size(cut) - limit) > 0:
        longest = _longest(cut)
        if longest and len(longest[2]) > _MIN_STRING and strings_cut < _MOST_STRINGS:
            holder, key, text = longest
            holder[key] = cut_text(text, max(size(text) - 2 - excess, _MIN_STRING // 2))
            strings_cut += 1
        else:
            _shorten(cut, limit)
    return cut, True
