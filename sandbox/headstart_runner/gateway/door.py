"""An HTTP server on loopback, under a random word, that hands each request to a handler by name."""

import asyncio
import re
import secrets
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

Handler = Callable[["web.Request", str], Awaitable["web.StreamResponse"]]
"""Answers a request; its second argument is what follows the handler's name, query and all, as it
was written."""

_WORD_BYTES = 24
_BACKLOG = 64
_CLOSE_SECONDS = 0.2
"""How long what is under way may still take; aiohttp takes 0 for no limit."""


class Door:
    """Open from `open` to `close`; who does not know the word finds nothing behind it."""

    def __init__(self) -> None:
        self._word = secrets.token_urlsafe(_WORD_BYTES)
        self._handlers: dict[str, Handler] = {}
        self._runner: web.AppRunner | None = None
        self._lock = asyncio.Lock()
        self._port = 0

    def serve(self, name: str, handler: Handler) -> str:
        """Have a handler answer what comes under a name; return the address of that."""
        self._handlers[name] = handler
        return f"{self.address}/{name}"

    @property
    def address(self) -> str:
        """Where the door is, its word included."""
        return f"http://127.0.0.1:{self._port}/{self._word}"

    async def open(self) -> None:
        """Begin to listen, on a port that the system chooses; one that is open stays as it is."""
        # Nobody needs it before the first connection to the cloud, and this takes 180 ms.
        from aiohttp import web  # noqa: PLC0415

        async with self._lock:
            if self._runner is not None:
                return
            app = web.Application()
            app.router.add_route("*", "/{tail:.*}", self._answer)
            runner = web.AppRunner(
                app,
                access_log=None,
                handler_cancellation=True,
                auto_decompress=False,
                shutdown_timeout=_CLOSE_SECONDS,
            )
            await runner.setup()
            listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
            self._port = listener.getsockname()[1]
            await web.SockSite(runner, listener).start()
            self._runner = runner

    async def close(self) -> None:
        """Stop listening; what is under way is broken off."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: "web.Request") -> "web.StreamResponse":
        from aiohttp import web  # noqa: PLC0415

        match = re.fullmatch(r"/([^/?]*)/([^/?]*)(/.*)?", request.raw_path, re.DOTALL)
        if match is None or not secrets.compare_digest(match[1].encode(), self._word.encode()):
            return web.Response(status=404)
        handler = self._handlers.get(match[2])
        return await handler(request, match[3] or "/") if handler else web.Response(status=404)
