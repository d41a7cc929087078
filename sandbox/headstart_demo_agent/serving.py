"""The demo agent's server as a process: from its environment to SIGTERM."""

import asyncio
import os
import signal
import sys

from headstart_demo_agent.server import Server
from headstart_demo_agent.store import Store

_DEFAULT_SECONDS = "1.5"


def serve(host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    asyncio.run(_serve(host, port))


async def _serve(host: str, port: int) -> None:
    server = Server(
        Store(),
        password=os.environ.pop("DEMO_AGENT_SERVER_PASSWORD", ""),
        answer_seconds=float(os.environ.get("DEMO_AGENT_SECONDS", _DEFAULT_SECONDS)),
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with await asyncio.start_server(server.connected, host, port):
        sys.stdout.write(f"demo agent listening on http://{host}:{port}\n")
        sys.stdout.flush()
        await stop.wait()
        server.stop()
