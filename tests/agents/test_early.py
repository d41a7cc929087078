"""The real programs, while they get ready beside the clone."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from agent_kit import PATIENCE, AgentBox
from runner_kit import clone_args, eventually

from headstart_runner.agents import AGENTS
from headstart_runner.agents.environment import folder_of

pytestmark = pytest.mark.anyio


@contextmanager
def holding_the_database(box: AgentBox) -> Iterator[None]:
    """Keep the agent from writing into its database for the length of the block."""
    folder = folder_of(AGENTS[box.agent], {}, box.sandbox.config.home)
    database = sqlite3.connect(folder / f"{folder.name}.db", isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        database.close()


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
