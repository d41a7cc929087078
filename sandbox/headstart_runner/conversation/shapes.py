"""What an agent says, brought into the shapes that viewers are promised.

An agent is a stranger: whatever is missing or of another kind is left out, and nothing is larger
than anybody could be shown.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from headstart.domain.long_texts import TEXT_BYTES
from headstart_runner.wire import head

Json = dict[str, Any]

ID_BYTES = 128
"""The longest id that we and the cloud pass on, in bytes: it becomes a key and part of a path."""

LINE_CHARACTERS = 2_000
TEXT_CHARACTERS = 1_000_000
LONG_CHARACTERS = TEXT_BYTES + 1
"""Of what goes in pieces: one more than is kept, which says that it is not all."""

_ID = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.~:-]{{0,{ID_BYTES - 1}}}")
LEVELS = 24
_MEMBERS = 2_000
_LONG_MEMBERS = 20_000
_FREE_CHARACTERS = 200_000
_LARGEST = 10**15
_LAST_EXIT_CODE = 2**32 - 1


def record(value: Any) -> Json:
    """Return an object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def records(value: Any, most: int | None = None) -> list[Json]:
    """Return the objects of a list, the first so many, and none of anything else."""
    found = value if isinstance(value, list) else []
    return [item for item in found if isinstance(item, dict)][:most]


def text(value: Any, most: int = TEXT_CHARACTERS) -> str:
    """Return the head of a text, an empty one for anything else."""
    return head(value, most) if isinstance(value, str) else ""


def texts(value: Any, most: int = _MEMBERS) -> list[str]:
    """Return the texts of a list, the first so many, and none of anything else."""
    found = value if isinstance(value, list) else []
    return [text(item, LINE_CHARACTERS) for item in found if isinstance(item, str)][:most]


def prose(value: Any) -> str:
    """Return a text as it is, nothing as an empty one, and any other value as JSON."""
    if isinstance(value, str):
        return text(value, LONG_CHARACTERS)
    return "" if value is None else json.dumps(free(value), ensure_ascii=False)


def number(value: Any) -> int | float:
    """Return a number that can be added up, 0 for anything else."""
    countable = isinstance(value, int | float) and not isinstance(value, bool)
    return value if countable and 0 <= value <= _LARGEST else 0


def exit_code(value: Any) -> int | None:
    """Return how a process ended, None for what says nothing of it."""
    return value if type(value) is int and 0 <= value <= _LAST_EXIT_CODE else None


def identifier(value: Any) -> str:
    """Return an id as it is passed on, empty for what is none.

    One that is too long, or could not be part of a path, is known by its hash.
    """
    if not isinstance(value, str) or not value or _ID.fullmatch(value):
        return text(value)
    return "id-" + hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:40]


def free(value: Any) -> Any:
    """Return any JSON value in bounds: 24 levels, 2 000 members, 200 000 characters.

    What is beyond them is null, or left out where it is a member.
    """
    return _bounded(value, LEVELS, _Room(_MEMBERS, _FREE_CHARACTERS))


def long(value: Any) -> tuple[Any, bool]:
    """Return any JSON value that goes in pieces, in bounds, and whether it was beyond them.

    24 levels, 20 000 members, and as many characters as are kept of a text.
    """
    bounded = _bounded(value, LEVELS, _Room(_LONG_MEMBERS, LONG_CHARACTERS))
    return bounded, bounded != value


@dataclass(slots=True)
class _Room:
    members: int
    characters: int

    def cut(self, value: str) -> str:
        kept = head(value, self.characters)
        self.characters -= len(kept)
        return kept


def _bounded(value: Any, levels: int, room: _Room) -> Any:
    if isinstance(value, str):
        return room.cut(value)
    if not isinstance(value, dict | list):
        return value
    if levels == 0:
        return None
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    kept = {}
    for key, item in pairs:
        if room.members == 0:
            break
        room.members -= 1
        name = room.cut(str(key)) if isinstance(value, dict) else key
        kept[name] = _bounded(item, levels - 1, room)
    return kept if isinstance(value, dict) else list(kept.values())
