"""How long the cloud may take to answer before its connection counts as dead."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LEAST = 10.0
"""Short enough that a dead path is noticed before a state of a step gives up on its runner."""

_TIMES = 4
"""How many times that it may become, by doubling: a cloud that is behind gets no second work."""


class Patience:
    """Seconds that grow with each answer that stays away, or is slow, and shrink with others.

    One for all that is asked of the cloud: whatever is late tells of the same cloud.
    """

    def __init__(self) -> None:
        self.seconds = LEAST

    @asynccontextmanager
    async def answer(self) -> AsyncIterator[None]:
        """Give what is awaited inside so many seconds; raises TimeoutError after them."""
        clock = asyncio.get_running_loop().time
        began, most = clock(), LEAST * _TIMES
        try:
            async with asyncio.timeout(self.seconds):
                yield
        except TimeoutError:
            self.seconds = min(most, self.seconds * 2)
            raise
        self.seconds = min(most, max(LEAST, self.seconds / 2, (clock() - began) * 2))
