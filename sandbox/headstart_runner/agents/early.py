"""The agent's server that gets ready beside the clone."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from headstart.domain.command_args import AgentArgs
from headstart.domain.errors import StepError
from headstart_runner.agents.server import AgentServer
from headstart_runner.ending import to_its_end
from headstart_runner.log import logger


class EarlyServer:
    """At most one; whoever takes it over, or nobody, `stop` leaves nothing of it."""

    def __init__(self, get_ready: Callable[[AgentArgs], Awaitable[AgentServer]]) -> None:
        self._get_ready = get_ready
        self._task: asyncio.Task[AgentServer | None] | None = None
        self._given: object = None

    def begin(self, args: AgentArgs, secrets: Mapping[str, str]) -> None:
        """Have one get ready with these arguments, unless one is, or may still become so.

        One with others is stopped first: it may have secrets that were taken back since.
        """
        given = (args, secrets)
        server = self.server
        if given == self._given and (self.unsettled or (server is not None and server.alive)):
            return
        self._given = given
        self._task = asyncio.create_task(self._ready(args, instead_of=self._task))

    @property
    def unsettled(self) -> bool:
        """Whether one is getting ready."""
        return self._task is not None and not self._task.done()

    async def settled(self) -> None:
        """Wait until none is getting ready."""
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
        await to_its_end(_ended(task))

    async def _ready(
        self, args: AgentArgs, instead_of: asyncio.Task[AgentServer | None] | None
    ) -> AgentServer | None:
        await to_its_end(_ended(instead_of))
        began = asyncio.get_running_loop().time()
        try:
            server = await self._get_ready(args)
        except Exception as error:
            why = error.reason if isinstance(error, StepError) else repr(error)
            logger.warning("the agent did not get ready beside the clone: %s", why)
            return None
        took = (asyncio.get_running_loop().time() - began) * 1000
        logger.info("%s got ready after %d ms", args.agent, took)
        return server


async def _ended(task: asyncio.Task[AgentServer | None] | None) -> None:
    """Stop what a task has made, or is making."""
    if task is None:
        return
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled() and (server := task.result()) is not None:
        await server.stop()
