"""What an agent's server says, read whatever it is: they are a stranger's words."""

import json
import math
import re
from collections.abc import AsyncIterator
from typing import Any

LINE_BYTES = 16 * 1024 * 1024
"""A longer line is passed over: it is no event that anybody could be shown."""

_ESCAPES = re.compile(
    r"\\\\"  # a backslash that escapes nothing behind it
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_EXACT_DIGITS = 18


class Unreadable(ValueError):
    """It is no JSON, or nested more deeply than anybody means it."""


class OddEvent(ValueError):
    """An event that is meant for us and makes no sense; its text is the kind of oddity."""


def read(text: bytes) -> Any:
    """Return a JSON value that all who come after can take, or raise Unreadable.

    Half a surrogate pair becomes the replacement character, a number without a finite value null.
    """
    decoded = text.decode("utf-8", "replace")
    if "\\u" in decoded:
        decoded = _ESCAPES.sub(lambda found: r"\ufffd" if found[1] else found[0], decoded)
    try:
        return json.loads(
            decoded, parse_float=_finite, parse_int=_integer, parse_constant=lambda _: None
        )
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"it is no JSON: {error}") from error


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _integer(digits: str) -> int | float | None:
    return int(digits) if len(digits) <= _EXACT_DIGITS else _finite(digits)


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes | None]:
    """Yield what line feeds end, and None for a line over LINE_BYTES.

    Line feeds alone: a text may hold any other line separator as it is.
    """
    held, too_long = bytearray(), False
    async for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        for begins, piece in enumerate([first, *rest]):
            if begins:
                yield None if too_long else bytes(held)
                held, too_long = bytearray(), False
            too_long = too_long or len(held) + len(piece) > LINE_BYTES
            if too_long:
                held.clear()
            else:
                held += piece
