"""What is read from a slow place now and then, and used on while it can't be read."""

import logging
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from headstart.domain.errors import ServiceUnavailable

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

KEPT_SECONDS = 300.0
_AGAIN_SECONDS = 30.0
"""When it is read again after that failed: not at each use, which would wait for it each time."""


class Kept(Generic[_T]):
    """A value that is read at most every five minutes; the last outlasts ServiceUnavailable.

    `read` raises that where somebody else has to see to it; all else it raises is passed on.
    """

    def __init__(
        self, read: Callable[[], _T], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._monotonic = monotonic
        self._had: list[_T] = []
        self._good_until = 0.0

    def get(self) -> _T:
        """Return the value; raises ServiceUnavailable only where there was none yet."""
        if not self._had or self._monotonic() >= self._good_until:
            try:
                self._had, seconds = [self._read()], KEPT_SECONDS
            except ServiceUnavailable as error:
                if not self._had:
                    raise
                _log.error("the one before is used on: %s", error.reason)
                seconds = _AGAIN_SECONDS
            self._good_until = self._monotonic() + seconds
        return self._had[0]
