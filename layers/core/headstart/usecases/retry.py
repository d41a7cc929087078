"""How often, and how far apart, a refused conditional write is tried again."""

import random
import time

CONFLICT_TRIES = 30
"""Enough for a hundred writers at once on one session, and 15 s of waiting at the very most: less
than any function may take."""

_BACKOFF_SECONDS = 0.02
_BACKOFF_LIMIT_SECONDS = 0.5


def backoff(attempt: int) -> None:
    """Wait a little, longer each time and never the same, so that rivals come apart."""
    limit = min(_BACKOFF_LIMIT_SECONDS, _BACKOFF_SECONDS * 2**attempt)
    time.sleep(random.uniform(0, limit))  # noqa: S311  jitter is no secret
