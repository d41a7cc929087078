"""How fast containers may be started one after the other."""

import os
import threading
import time
from collections.abc import Callable


class LaunchRate:
    """Some at once, then so many a second, first come first served."""

    def __init__(
        self, burst: int, a_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = 1 / a_second
        self._ahead = (burst - 1) * self._interval
        self._clock = clock
        self._lock = threading.Lock()
        self._next = clock()

    def reserve(self) -> float:
        """Take the next place in line; return the seconds until its turn."""
        with self._lock:
            now = self._clock()
            place = max(self._next, now)
            self._next = place + self._interval
            return max(0.0, place - self._ahead - now)


def of_this_machine() -> LaunchRate:
    """Return what it bears: on two cores ten at once, then six in seven seconds.

    Two hundred have then begun before the 240 s of the sandbox's step are over.
    """
    cores = os.cpu_count() or 1
    return LaunchRate(burst=5 * cores, a_second=cores * 3 / 7)
