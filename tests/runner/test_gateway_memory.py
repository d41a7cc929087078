"""However much passes through the gateway, little of it is there at a time."""

import asyncio
from collections.abc import AsyncIterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import httpx
import pytest
from gateway_kit import Mint, gate, posting
from runner_kit import BRANCH
from test_runner_git_servers import serving

from headstart_local.git_server import GitServer

pytestmark = pytest.mark.anyio

PIECE = bytes(64 * 1024)
PIECES = 4800
SIZE = PIECES * len(PIECE)
MOST_MORE = 64 * 1024 * 1024
"""Both ends are in this process as well; what is kept would be 300 MB."""


class Sink(BaseHTTPRequestHandler):
    """A server that counts what it gets, and gives as much."""

    protocol_version = "HTTP/1.1"
    received: ClassVar[list[int]] = []

    def do_POST(self) -> None:
        count = 0
        while size := int(self.rfile.readline(), 16):
            count += len(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        self.received.append(count)
        self.send_response(200)
        self.send_header("Content-Length", str(SIZE))
        self.end_headers()
        for _ in range(PIECES):
            self.wfile.write(PIECE)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


async def body(service: str) -> AsyncIterator[bytes]:
    line = b"%s %s refs/heads/%s\0report-status" % (b"1" * 40, b"2" * 40, BRANCH.encode())
    if service == "upload":
        line = b"want " + b"1" * 40
    yield b"%04x%s0000" % (len(line) + 4, line)
    for _ in range(PIECES):
        yield PIECE


def memory(name: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) * 1024


@pytest.mark.parametrize("service", ["receive", "upload"])
async def test_hundreds_of_megabytes_each_way_take_little_memory(
    tmp_path: Path, git_server: GitServer, service: str
) -> None:
    with serving(Sink) as address:
        async with gate(tmp_path, git_server, Mint(), f"{address}/org/large.git") as box:
            door = f"{box.door}org/large.git/git-{service}-pack"
            # The highest it ever was begins anew (proc(5)).
            await asyncio.to_thread(Path("/proc/self/clear_refs").write_text, "5")
            before, got = memory("VmRSS"), 0
            async with (
                httpx.AsyncClient(trust_env=False, timeout=60) as client,
                client.stream(
                    "POST", door, content=body(service), headers=posting(service)
                ) as answer,
            ):
                async for piece in answer.aiter_raw():
                    got += len(piece)
            grown = memory("VmHWM") - before

    assert got == SIZE
    assert Sink.received[-1] > SIZE
    assert grown < MOST_MORE
