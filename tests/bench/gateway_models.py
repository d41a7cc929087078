"""How much later each piece of a model's answer comes through the door, and how fast it can be."""

import asyncio
import multiprocessing
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from multiprocessing.connection import Connection

import aiohttp
from aiohttp import web

from headstart_runner.gateway.door import Door
from headstart_runner.gateway.models import Models
from headstart_runner.gateway.routes import Route
from tests.bench import report

_PIECES = 400
_PAUSE = 0.005
_LARGE = 200_000_000
_BLOCK = b"x" * 65536
_KEY, _PLACEHOLDER = "sk-real", "headstart-placeholder"


def run(rounds: int) -> None:
    """Ask a provider on loopback directly and through the door, by turns, a process each."""
    with _Process(_provide) as provider, _Process(_stand_between, provider.told) as door:
        asyncio.run(_measure({"directly": provider.told, "through the door": door.told}, rounds))


async def _measure(ways: dict[str, str], rounds: int) -> None:
    late: dict[str, list[float]] = {way: [] for way in ways}
    rates: dict[str, list[float]] = {way: [] for way in ways}
    first: dict[str, list[float]] = {way: [] for way in ways}
    async with aiohttp.ClientSession(headers={"x-api-key": _PLACEHOLDER}) as client:
        for _ in range(rounds):
            for way, url in ways.items():
                asked = time.monotonic_ns()
                lags = [lag async for lag in _lags(client, f"{url}/stream")]
                first[way].append((lags[0][1] - asked) / 1e3)
                late[way] += [lag / 1e3 for lag, _ in lags[1:]]
        for _ in range(min(3, rounds)):
            for way, url in ways.items():
                begun, size = time.perf_counter(), 0
                async with client.get(f"{url}/large") as answer:
                    async for piece in answer.content.iter_any():
                        size += len(piece)
                rates[way].append(size / (time.perf_counter() - begun) / 1e6)
    rows = [
        [
            way,
            report.median(first[way]),
            *(report.percentile(late[way], share) for share in (0.5, 0.99, 0.999)),
            f"{report.median(rates[way]):.0f} MB/s",
        ]
        for way in ways
    ]
    head = ["µs", "first piece", "piece p50", "p99", "p99.9", "throughput"]
    count = f"{rounds} answers of {_PIECES} pieces, one each {_PAUSE * 1000:.0f} ms"
    report.table(f"A model's answer: {count}", head, rows)


async def _lags(client: aiohttp.ClientSession, url: str) -> AsyncIterator[tuple[int, int]]:
    """Yield how long each piece was under way, and when it came, in ns."""
    async with client.get(url) as answer:
        async for line in answer.content:
            if line.startswith(b"data: "):
                now = time.monotonic_ns()
                yield now - int(line[6:]), now


class _Process:
    """A process of its own, and what it told first."""

    def __init__(self, serve: Callable[[str], Awaitable[str]], known: str = "") -> None:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        self._process = context.Process(target=_run, args=(serve, known, there), daemon=True)
        self._here = here

    def __enter__(self) -> "_Process":
        self._process.start()
        self.told = str(self._here.recv())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()


def _run(serve: Callable[[str], Awaitable[str]], known: str, there: Connection) -> None:
    async def main() -> None:
        there.send(await serve(known))
        await asyncio.Event().wait()

    asyncio.run(main())


async def _provide(_: str) -> str:
    app = web.Application()
    app.router.add_get("/stream", _stream)
    app.router.add_get("/large", _large)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


async def _stand_between(provider: str) -> str:
    door, models = Door(), Models()
    models.lead({"stub": Route(provider, {_PLACEHOLDER: _KEY}, named=True)})
    await door.open()
    return door.serve("model", models.answer) + "/stub"


async def _stream(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    for _ in range(_PIECES):
        await answer.write(f"data: {time.monotonic_ns()}\n\n".encode())
        await asyncio.sleep(_PAUSE)
    return answer


async def _large(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    for _ in range(_LARGE // len(_BLOCK)):
        await answer.write(_BLOCK)
    return answer
