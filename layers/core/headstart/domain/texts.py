"""Texts of callers: made sure of, and found in settings."""

from collections.abc import Iterator
from typing import Any

from pydantic import BeforeValidator


def sound(value: object) -> object:
    """Refuse a text that nothing after us could store or pass on."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("must be valid Unicode") from None
        if "\0" in value:
            raise ValueError("must not contain NUL characters")
    return value


SOUND = BeforeValidator(sound)
"""For every text, after its limits: only on `str` itself are those told in characters."""


Place = tuple[str | int, ...]
"""Where something is, field by field."""

_DEEPEST = 100


def strings_in(value: Any, name: str = "", place: Place = ()) -> Iterator[tuple[Place, str, str]]:
    """Yield every string of settings, however nested: where it is, by what name, and itself.

    In a list the option before a string is its name. Raises RecursionError for what is nested more
    than 100 deep, which nobody means.
    """
    if len(place) > _DEEPEST:
        raise RecursionError
    if isinstance(value, str):
        yield place, name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings_in(item, str(key), (*place, str(key)))
    elif isinstance(value, list):
        option = ""
        for number, item in enumerate(value):
            yield from strings_in(item, option or name, (*place, number))
            option = item.lstrip("-") if isinstance(item, str) and item[:1] == "-" else ""
