"""What repositories name and how many there are of it, in sentences of ours."""

from collections.abc import Sequence

from headstart_runner.terminal import plain
from headstart_runner.wire import cut_text

_MOST = 5
_NAME_BYTES = 100


def some(names: Sequence[str], joint: str) -> str:
    """Return the first few names and how many more there are: `a, b and 7 more`."""
    more = len(names) - _MOST
    return ", ".join(map(shown, names[:_MOST])) + (f" {joint} {more} more" if more > 0 else "")


def counted(number: int, thing: str) -> str:
    """Return how many there are of what takes an s."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def shown(name: str) -> str:
    """Return a name as it can stand in a line."""
    return cut_text(" ".join(plain(name).split()), _NAME_BYTES)
