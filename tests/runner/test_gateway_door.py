"""The door against those who only connect: they need not know its word."""

import asyncio
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
