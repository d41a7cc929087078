"""The door against those who only connect: they need not know its word."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web

from headstart_runner.gateway import door as module
from headstart_runner.gateway.door import Door

pytestmark = pytest.mark.anyio


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    door = Door()
    await door.open()
    yield door
    await door.close()


async def answer(request: web.Request, path: str) -> web.StreamResponse:
    return web.Response(text="here")


async def test_no_more_are_let_in_than_the_runner_has_files_for(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_CONNECTIONS", 3)
    address = door.serve("anything", answer)
    port = urlsplit(address).port
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]

    async with aiohttp.ClientSession() as client:
        with pytest.raises(aiohttp.ClientError):
            await client.get(address)
        for _, writer in idle:
            writer.close()
            await writer.wait_closed()
        async with asyncio.timeout(20):
            while True:
                try:
                    async with client.get(address) as answered:
                        assert await answered.text() == "here"
                    break
                except aiohttp.ClientError:  # the door has not heard of their end yet
                    await asyncio.sleep(0.01)


async def test_who_asks_for_nothing_gives_the_place_back(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_CONNECTIONS", 2)
    monkeypatch.setattr(module, "_ASK_SECONDS", 0.05)
    address = door.serve("anything", answer)
    port = urlsplit(address).port
    idle, asking = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    path = urlsplit(address).path.encode()
    asking[1].write(b"GET " + path + b" HTTP/1.1\r\nHost: door\r\n\r\n")
    assert (await asking[0].readline()).split()[1] == b"200"

    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            assert await idle[0].read() == b""
    asking[1].write(b"GET " + path + b" HTTP/1.1\r\nHost: door\r\n\r\n")
    async with asyncio.timeout(20):
        await asking[0].readuntil(b"HTTP/1.1 200")
    asking[1].close()
    idle[1].close()


async def test_who_does_not_know_the_word_keeps_no_place(door: Door) -> None:
    port = urlsplit(door.serve("anything", answer)).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /guess/anything HTTP/1.1\r\nHost: door\r\n\r\n")
    async with asyncio.timeout(20):
        told = await reader.read()
    assert told.startswith(b"HTTP/1.1 404")
    writer.close()
