"""Time as the runner lives it: a sandbox may be frozen in the middle of anything.

A frozen second is nobody's fault, so limits count only time in which we could have worked: each
wait is cut into slices, and a slice counts for no more than its own length and a little.
"""

import asyncio
import time

_SLICE = 1.0
_FROZEN_SECONDS = 30.0


async def awake_sleep(seconds: float) -> None:
    """Sleep for `seconds` of time awake."""
    loop = asyncio.get_running_loop()
    remaining = seconds
    while remaining > 0:
        planned = min(_SLICE, remaining)
        began = loop.time()
        await asyncio.sleep(planned)
        remaining -= min(loop.time() - began, planned * 2)


async def until_frozen() -> None:
    """Return when the sandbox was frozen and is awake again (CLOCK_BOOTTIME goes on meanwhile)."""
    while True:
        began = time.clock_gettime(time.CLOCK_BOOTTIME)
        await asyncio.sleep(_SLICE)
        if time.clock_gettime(time.CLOCK_BOOTTIME) - began > _FROZEN_SECONDS:
            return
