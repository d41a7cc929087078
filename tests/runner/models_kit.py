"""A stub of a model's API, and the door in front of it with an agent's client."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from headstart_runner.gateway.models import Models
from headstart_runner.gateway.routes import Route

KEY = "sk-real-1f0e9d8c7b6a"
PLACEHOLDER = "headstart-placeholder"
PATIENCE = 10.0
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def _ok(request: web.Request) -> web.StreamResponse:
    return web.json_response({"ok": True})


@dataclass
class Provider:
    """A stub of a model's API: what it was asked, and how it answers."""

    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    answer: Answer = _ok
    port: int = 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked.append((request.method, request.raw_path, dict(request.headers), body))
        return await self.answer(request)


@asynccontextmanager
async def serving(handler: Answer) -> AsyncIterator[int]:
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(
        app, handler_cancellation=True, auto_decompress=False, shutdown_timeout=0.1
    )
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    try:
        yield listener.getsockname()[1]
    finally:
        await runner.cleanup()


@dataclass
class Gateway:
    """The door with one provider behind it, and an agent's client in front."""

    models: Models
    address: str
    client: aiohttp.ClientSession
    provider: Provider

    def route(self, base: str | None = None, *, named: bool = True) -> None:
        route = Route(base or self.provider.base, {PLACEHOLDER: KEY}, named)
        self.models.lead({"stub": route})

    def ask(
        self, path: str = "/stub/chat", method: str = "POST", key: str = PLACEHOLDER, **more: object
    ) -> "aiohttp.client._RequestContextManager":
        headers = {"Authorization": f"Bearer {key}", **more.pop("headers", {})}  # type: ignore[dict-item]
        url = aiohttp.client.URL(self.address + path, encoded=True)
        return self.client.request(method, url, headers=headers, **more)  # type: ignore[arg-type]

    async def refused(self, status: int, **how: object) -> str:
        """Ask, and return the sentence of the refusal; nothing may have reached the provider."""
        before = len(self.provider.asked)
        async with self.ask(**how) as answer:  # type: ignore[arg-type]
            said = await answer.json()
        assert answer.status == status, said
        assert len(self.provider.asked) == before
        assert said["error"]["type"] == "headstart_gateway"
        return str(said["error"]["message"])
