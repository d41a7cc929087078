"""What the tests of the agent that gets ready beside the clone share."""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_cloud import FakeCloud, Json
from runner_kit import AGENT_UID, agent_args, agents, clone_args, eventually, prompt_args


@pytest.fixture(autouse=True)
def own_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let servers be started in folders that are not among other tests'; return where."""
    folder = tmp_path / "tmp"
    folder.mkdir(mode=0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


async def begin(cloud: FakeCloud, url: str, name: str = "1.clone", **env: str) -> Json:
    """Clone with an agent that gets ready meanwhile."""
    return await cloud.do("clone", clone_args(url, agent=agent_args(**env)), name=name)


async def ready() -> int:
    """Wait for the one server, and return its process id."""
    await eventually(lambda: len(agents()) == 1)
    [pid] = agents()
    return pid


async def start(cloud: FakeCloud, name: str = "1.agent", limit: int = 60, **env: str) -> Json:
    """Do the agent's step."""
    args = {**agent_args(**env), "title": "Health"}
    return await cloud.do("agent", args, name=name, limit=limit)


async def answered(cloud: FakeCloud) -> bool:
    """Deliver a message, and say whether its turn ended well."""
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    return (await cloud.turn_ended("trn_1"))["error"] is None


def folders() -> list[Path]:
    """Return the folders that servers were started in."""
    return list(Path(tempfile.gettempdir()).glob("headstart-agent-*"))


def messages(cloud: FakeCloud) -> list[str]:
    """Return what the steps said of how it is going."""
    return [event["message"] for event in cloud.of("progress") if "message" in event]


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Hold the demo agent's database below an XDG_DATA_HOME for the length of the block.

    Who opens it meanwhile waits, up to SQLite's 5 s.
    """
    folder = data / "demo-agent"
    folder.mkdir(parents=True)
    database = sqlite3.connect(folder / "demo-agent.db", isolation_level=None)
    if AGENT_UID is not None:
        for path in (data, folder, folder / "demo-agent.db"):
            os.chown(path, AGENT_UID, AGENT_UID)
    database.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        database.close()
