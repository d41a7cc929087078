"""An agent's server that says what a test wants it to say, sense or none."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from headstart_runner.agents.http import AgentClient
from headstart_runner.log import Oddities


@dataclass
class AgentStub:
    """What is answered by path, and what was asked."""

    answers: Mapping[str, bytes | tuple[int, bytes]]
    oddities: Oddities = field(default_factory=Oddities)
    asked: list[str] = field(default_factory=list)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ", 2)[1].partition("?")[0]
            self.asked.append(path)
            answer = self.answers.get(path, (404, b"no such path"))
            status, body = answer if isinstance(answer, tuple) else (200, answer)
            writer.write(b"HTTP/1.1 %d OK\r\nconnection: close\r\n\r\n" % status + body)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def agent_stub(
    answers: Mapping[str, bytes | tuple[int, bytes]],
) -> AsyncIterator[tuple[AgentClient, AgentStub]]:
    """Serve these answers, and hand out the client of the server."""
    stub = AgentStub(answers)
    server = await asyncio.start_server(stub.connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = AgentClient(port, "agent", "secret", stub.oddities, Path("/repo"))
    try:
        yield client, stub
    finally:
        await client.close()
        server.close()
