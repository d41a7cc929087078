"""An HTTP server on loopback, under a random word, that hands each request to a handler by name."""

from __future__ import annotations

import asyncio
import importlib
import re
import secrets
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from headstart_runner.log import Oddities

if TYPE_CHECKING:
    from aiohttp import web
    from aiohttp.web_protocol import RequestHandler

    Handler = Callable[[web.Request, str], Awaitable[web.StreamResponse]]
    """Answers a request; its second argument is what follows the handler's name, query and all, as
    it was written."""

_WORD_BYTES = 24
_BACKLOG = 64
_MOST_CONNECTIONS = 256
"""Who may connect need not know the word, and the runner has but so many open files."""

_ASK_SECONDS = 10.0
"""How long a connection may be without a request: while it is, it has another's place."""

_CLOSE_SECONDS = 0.2
"""How long what is under way may still take; aiohttp takes 0 for no limit."""


class _Full(asyncio.Protocol):
    """Breaks a connection off."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it at once."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  (create_server's)
        transport.abort()


class Door:
    """Open from `open` to `close`; who does not know the word finds nothing behind it.

    aiohttp is imported when it is first opened: that takes longer than to connect to the cloud.
    """

    def __init__(self) -> None:
        self.word = secrets.token_urlsafe(_WORD_BYTES)
        """Random, the same for as long as the runner lives."""
        self._handlers: dict[str, Handler] = {}
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server
        self._nothing: Callable[[], web.StreamResponse]
        self._opening = asyncio.Lock()
        self._silent: set[RequestHandler] = set()
        self._oddities = Oddities()
        self._port = 0

    def serve(self, name: str, handler: Handler) -> str:
        """Have a handler answer what comes under a name; return the address of that."""
        self._handlers[name] = handler
        return f"{self.address}/{name}"

    @property
    def address(self) -> str:
        """Where the door is once it is open, its word included."""
        return f"http://127.0.0.1:{self._port}/{self.word}"

    async def open(self) -> None:
        """Begin to listen, on a port that the system chooses, unless it is open already."""
        async with self._opening:
            if self._runner is not None:
                return
            web = await asyncio.to_thread(importlib.import_module, "aiohttp.web")
            app = web.Application()
            app.router.add_route("*", "/{tail:.*}", self._answer)
            # Bodies pass as they are, and a handler whose client is gone has nobody to work for.
            runner = web.AppRunner(
                app,
                access_log=None,
                handler_cancellation=True,
                auto_decompress=False,
                shutdown_timeout=_CLOSE_SECONDS,
            )
            self._nothing = partial(web.Response, status=404)
            await runner.setup()
            listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
            self._port = listener.getsockname()[1]
            server = runner.server
            assert server is not None  # noqa: S101  (made by setup)

            def connected() -> asyncio.Protocol:
                if len(server.connections) >= _MOST_CONNECTIONS:
                    self._oddities.note("the gateway's door is full")
                    return _Full()
                visitor: RequestHandler = server()
                self._silent.add(visitor)
                asyncio.get_running_loop().call_later(_ASK_SECONDS, self._show_out, visitor)
                return visitor

            self._listener = await asyncio.get_running_loop().create_server(
                connected, sock=listener, backlog=_BACKLOG
            )
            self._runner = runner

    async def close(self) -> None:
        """Stop listening; what is under way is broken off."""
        if self._runner is not None:
            self._listener.close()
            await self._runner.cleanup()
            self._runner = None

    def _show_out(self, visitor: RequestHandler) -> None:
        if visitor in self._silent:
            self._silent.discard(visitor)
            if visitor.transport is not None:
                self._oddities.note("a connection to the gateway's door asked for nothing")
                visitor.transport.abort()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self._silent.discard(request.protocol)
        match = re.fullmatch(r"/([^/?]*)/([^/?]*)(/.*)?", request.raw_path, re.DOTALL)
        if match is not None and secrets.compare_digest(match[1].encode(), self.word.encode()):
            handler = self._handlers.get(match[2])
            if handler is not None:
                return await handler(request, match[3] or "/")
        nothing = self._nothing()
        nothing.force_close()
        return nothing
