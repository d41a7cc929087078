"""The agent's server that gets ready beside the clone."""

import asyncio
from collections.abc import Awaitable, Callable

from headstart.domain.command_args import AgentArgs
from headstart.domain.errors import StepError
from headstart_runner.agents.server import AgentServer
from headstart_runner.log import logger

_SECONDS = 90.0
"""How long it may take: in the agent's step a server has as long."""


class EarlyServer:
    """At most one; whoever takes it over, or nobody, `stop` leaves nothing of it."""

    def __init__(self, get_ready: Callable[[AgentArgs], Awaitable[AgentServer]]) -> None:
        self._get_ready = get_ready
        self._task: asyncio.Task[AgentServer | None] | None = None

    def begin(self, args: AgentArgs) -> None:
        """Have one get ready, unless there is one, or one that may still become ready."""
        if self._task is None or (self._task.done() and self.server is None):
            self._task = asyncio.create_task(self._ready(args))

    @property
    def unsettled(self) -> bool:
        """Whether one is getting ready."""
        return self._task is not None and not self._task.done()

    async def settled(self) -> None:
        """Wait until none is getting ready, 90 s at most."""
        if self._task is not None:
            await asyncio.wait({self._task})

    @property
    def server(self) -> AgentServer | None:
        """The one that got ready and was not taken; it may have ended since."""
        if self._task is None or not self._task.done() or self._task.cancelled():
            return None
        return self._task.result()

    def taken(self) -> None:
        """Leave the server to whoever took it."""
        self._task = None

    async def stop(self) -> None:
        """Stop the one there is, ready or not."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        [server] = await asyncio.gather(task, return_exceptions=True)
        if isinstance(server, AgentServer):
            await server.stop()

    async def _ready(self, args: AgentArgs) -> AgentServer | None:
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(_SECONDS):
                server = await self._get_ready(args)
        except Exception as error:
            why = error.reason if isinstance(error, StepError) else repr(error)
            logger.warning("the agent did not get ready beside the clone: %s", why)
            return None
        took = (asyncio.get_running_loop().time() - began) * 1000
        logger.info("%s got ready after %d ms", args.agent, took)
        return server
