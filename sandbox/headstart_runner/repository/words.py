"""Names in a sentence."""

from collections.abc import Sequence

_MOST = 5


def some(names: Sequence[str], joint: str) -> str:
    """Return the first few names and how many more there are: `a, b and 7 more`."""
    more = len(names) - _MOST
    return ", ".join(names[:_MOST]) + (f" {joint} {more} more" if more > 0 else "")
