"""Listens to a server of an agent, and looks after its health."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from headstart.domain.errors import AgentStartFailed
from headstart_runner.agents.said import OddEvent
from headstart_runner.agents.server import AgentServer
from headstart_runner.clock import awake_sleep
from headstart_runner.log import logger
from headstart_runner.wire import head

_RECONNECT_SECONDS = 0.2
_KIND_CHARACTERS = 40
_CHECK_SECONDS = 30.0
"""How often a server is asked how it is, and how long it may take to answer: it may be starved."""

_UNANSWERED_CHECKS = 10


class AgentListener(Protocol):
    """Who wants to know what the agent does."""

    def agent_event(self, event: dict[str, Any]) -> None:
        """Take one event of the agent's stream; OddEvent for one that makes no sense."""

    def agent_reconnected(self) -> None:
        """Take note that events may have been missed."""

    def agent_crashed(self, reason: str) -> None:
        """Take note that the server died by itself."""


class Monitor:
    """Passes on one server's events and kills it when it answers nothing, until it is stopped.

    `died` is called once, when the server ends and nobody stops it.
    """

    def __init__(
        self, server: AgentServer, listener: AgentListener | None, died: Callable[[], None]
    ) -> None:
        self._server = server
        self._listener = listener
        self._died = died
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self, agent: str, seconds: float) -> None:
        """Listen from now on; AgentStartFailed when the server ends first, or is silent so long.

        It is listened to before anybody says anything to it, so it has to begin to tell.
        """
        telling = asyncio.Event()
        self._tasks = [asyncio.create_task(self._listen(telling))]
        told, died = (
            asyncio.create_task(telling.wait()),
            asyncio.create_task(self._server.exited()),
        )
        try:
            await asyncio.wait({told, died}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if died.done():
                raise await self._server.not_started()
            if not told.done():
                why = f"{agent} opened the session and then told no event for {seconds:.0f} s"
                raise AgentStartFailed(why)
        finally:
            told.cancel()
            died.cancel()
        self._tasks.append(asyncio.create_task(self._watch()))
        self._tasks.append(asyncio.create_task(self._check()))

    def stop(self) -> None:
        """Listen no more and look after nothing; the server runs on."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()

    async def doubt(self) -> None:
        """Have the server go on if it was stopped; kill it if it does not even say how it is."""
        self._server.resume()
        if not await self._healthy():
            await self._server.give_up("it answered nothing and was killed")

    async def _check(self) -> None:
        """Kill a server that lives and answers nothing for minutes: nobody gets on with it.

        One that was only stopped goes on before that.
        """
        unanswered = 0
        while unanswered < _UNANSWERED_CHECKS:
            await awake_sleep(_CHECK_SECONDS)
            if await self._healthy():
                unanswered = 0
            else:
                unanswered += 1
                self._server.resume()
        await self._server.give_up("it answered nothing any more and was killed")

    async def _healthy(self) -> bool:
        return await self._server.client.health(_CHECK_SECONDS) is not None

    async def _watch(self) -> None:
        reason = await self._server.end()
        if not self._server.stopping:
            logger.warning("the agent died: %s", reason)
            self._died()

    async def _listen(self, telling: asyncio.Event) -> None:
        """Pass on the server's events; a stream that breaks off is opened again, whatever broke it.

        No event, and nothing that a listener makes of it, ends that before the server is stopped.
        """
        while not self._server.stopping:
            try:
                async for event in self._server.client.events():
                    self._pass_on(event, again=telling.is_set())
                    telling.set()
            except Exception as error:
                self._odd("the event stream", error)
            await asyncio.sleep(_RECONNECT_SECONDS)

    def _pass_on(self, event: dict[str, Any], *, again: bool) -> None:
        if self._listener is None:
            return
        kind = event.get("type")
        try:
            if again and kind == "server.connected":
                self._listener.agent_reconnected()
            self._listener.agent_event(event)
        except Exception as error:
            self._odd(f"an event {head(str(kind), _KIND_CHARACTERS)}", error)

    def _odd(self, where: str, error: Exception) -> None:
        if isinstance(error, OddEvent):
            self._server.oddities.note(f"{where}: {error}")
        else:
            self._server.oddities.note(f"{where}: {type(error).__name__}", error)
