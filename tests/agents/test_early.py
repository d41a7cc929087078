"""The real programs, while they get ready beside the clone."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from agent_kit import PATIENCE, AgentBox
from runner_kit import SESSION_ID, clone_args, eventually

from headstart_runner.agents import AGENTS
from headstart_runner.agents.environment import folder_of
from headstart_runner.agents.http import AgentClient

pytestmark = pytest.mark.anyio


def database_of(box: AgentBox) -> Path:
    folder = folder_of(AGENTS[box.agent], {}, box.sandbox.config.home)
    return folder / f"{folder.name}.db"


def sessions(box: AgentBox) -> list[str]:
    """Return the ids of all sessions that the agent knows, in whatever folder."""
    with closing(sqlite3.connect(database_of(box))) as database:
        return [name for (name,) in database.execute("SELECT id FROM session ORDER BY id")]


@contextmanager
def holding_the_database(box: AgentBox) -> Iterator[None]:
    """Keep the agent from writing into its database for the length of the block."""
    database = sqlite3.connect(database_of(box), isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        database.close()


@pytest.mark.long
async def test_a_database_that_somebody_holds_is_the_agents_step_to_tell(
    box: AgentBox, sample: str, caplog: pytest.LogCaptureFixture
) -> None:
    agent = box.agent_args()
    await box.succeed("clone", clone_args(sample, agent=agent))
    await eventually(lambda: "got ready after" in caplog.text, PATIENCE)
    with holding_the_database(box):
        failed = await box.begin("agent", agent, "1.agent.1")
    await box.succeed("agent", agent, "1.agent.2")

    assert failed["error"]["code"] == "AgentStartFailed"
    assert "the agent that got ready is replaced" in caplog.text
    ended = await box.prompt(1, "Where is the lamp?")
    assert ended["error"] is None


@pytest.mark.long
async def test_the_session_that_is_opened_beside_the_clone_is_gone_before_ours_is_there(
    box: AgentBox, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not AGENTS[box.agent].warms:
        pytest.skip("what it does for the first time is no slower")
    forgotten = asyncio.Event()
    forget = AgentClient.forget

    async def noted(client: AgentClient, session_id: str, directory: Path) -> None:
        assert session_id in sessions(box)
        await forget(client, session_id, directory)
        forgotten.set()

    monkeypatch.setattr(AgentClient, "forget", noted)
    agent = box.agent_args()
    await box.succeed("clone", clone_args(sample, agent=agent))
    async with asyncio.timeout(PATIENCE):
        await forgotten.wait()
    assert sessions(box) == []
    await box.succeed("restore", box.restore_args(agent))
    await box.succeed("agent", agent, "1.agent.1")

    assert sessions(box) == [SESSION_ID]
    ended = await box.prompt(1, "Where is the lamp?")
    assert ended["error"] is None
