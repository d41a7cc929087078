"""The demo agent answers whatever becomes of what it stands on."""

import asyncio
import shutil
from pathlib import Path

import pytest

from headstart_demo_agent.server import Server
from headstart_demo_agent.store import Store
from headstart_runner.agents.http import AgentClient, AgentSilent
from headstart_runner.log import Oddities

pytestmark = pytest.mark.anyio


async def test_a_database_that_was_removed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    agent = Server(Store(), password="secret", answer_seconds=0)
    shutil.rmtree(tmp_path / "data")
    async with await asyncio.start_server(agent.connected, "127.0.0.1", 0) as serving:
        port = serving.sockets[0].getsockname()[1]
        client = AgentClient(port, "demo", "secret", Oddities(), tmp_path)
        with pytest.raises(AgentSilent, match="database"):
            await client.create("ses_1", "A title")
        assert await client.health()
        await client.close()
        agent.stop()
