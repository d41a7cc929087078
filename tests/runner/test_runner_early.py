"""The agent's program gets ready beside the clone, and the agent's step takes it over."""

import asyncio
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from early_kit import answered, begin, folders, messages, own_temporary_files, ready, start
from fake_cloud import WAIT, FakeCloud
from runner_kit import SESSION_ID, Sandbox, agent_args, agents, ended, eventually, setup_args

from headstart.domain.errors import AgentStartFailed
from headstart_runner.agents import AGENTS, supervisor
from headstart_runner.agents.demo import DemoAgent
from headstart_runner.agents.early import EarlyServer
from headstart_runner.agents.http import AgentClient
from headstart_runner.agents.server import AgentServer

pytestmark = pytest.mark.anyio
__all__ = ["own_temporary_files"]


async def test_the_server_that_got_ready_is_the_one_that_answers(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    cloned = await begin(cloud, sample)
    early = await ready()
    restored = await cloud.do("restore", {**agent_args(), "title": "Health"})
    done = await start(cloud)

    assert [cloned["status"], done["status"]] == ["completed", "completed"]
    assert restored["output"] == {"imported": False, "missing": None}
    assert agents() == [early]
    assert await answered(cloud)
    # The repository is what was read, and not where it was started.
    text = [e["data"]["text"] for e in cloud.of("agent.event") if e["data"]["kind"] == "text"]
    assert "src/app.py" in "".join(text)


async def test_the_session_has_our_id_and_title(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    await begin(cloud, sample)
    await start(cloud)

    [info] = _sessions(sandbox.config.home)
    assert f'"{SESSION_ID}"' in info
    assert '"title": "Health"' in info
    assert str(sandbox.repository).rpartition("/")[2] in info


def _sessions(home: Path) -> list[str]:
    with sqlite3.connect(home / ".local/share/demo-agent/demo-agent.db") as database:
        found = [row[0] for row in database.execute("SELECT info FROM session")]
    database.close()
    return found


@pytest.mark.parametrize(
    "left",
    [
        ("true", True),
        ("echo lamp > notes.txt", True),
        ('echo LAMP=lit >> "$HEADSTART_ENV"', False),
        ("echo export HORN=loud >> ~/.bashrc", False),
        ("mkdir -p ~/.config/demo && echo 1 > ~/.config/demo/settings", False),
    ],
)
async def test_what_the_setup_leaves_replaces_the_server_and_nothing_else_does(
    cloud: FakeCloud,
    sandbox: Sandbox,
    sample: str,
    monkeypatch: pytest.MonkeyPatch,
    left: tuple[str, bool],
) -> None:
    command, stays = left
    monkeypatch.setattr(DemoAgent, "settings", ("config:demo",))
    await begin(cloud, sample)
    early = await ready()
    await cloud.do("setup", setup_args(command))
    done = await start(cloud)

    assert done["status"] == "completed"
    assert (agents() == [early]) is stays
    assert len(agents()) == 1
    assert await answered(cloud)


async def test_other_arguments_in_the_agents_step_replace_it(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    await begin(cloud, sample)
    early = await ready()
    await start(cloud, OTHER="1")

    assert len(agents()) == 1
    assert agents() != [early]
    await eventually(lambda: ended(early))
    assert len(folders()) == 1


async def test_one_that_died_beside_the_setup_is_started_again(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    await begin(cloud, sample)
    early = await ready()
    os.kill(early, signal.SIGKILL)
    await eventually(lambda: ended(early))
    done = await start(cloud)

    assert done["status"] == "completed"
    assert await answered(cloud)


async def test_one_that_can_not_open_the_session_is_started_again(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = AgentClient.create, []

    async def create(self: AgentClient, *args: Any, **more: Any) -> None:
        tries.append(agents())
        await real(self, *args, **more)
        if len(tries) == 1:
            os.kill(tries[0][0], signal.SIGKILL)
            await eventually(lambda: ended(tries[0][0]))

    monkeypatch.setattr(AgentClient, "create", create)
    await begin(cloud, sample)
    done = await start(cloud)

    assert done["status"] == "completed"
    assert len(tries) == 2
    assert await answered(cloud)


async def test_why_it_did_not_get_ready_is_the_agents_step_to_tell(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, caplog: pytest.LogCaptureFixture
) -> None:
    cloned = await begin(cloud, sample, DEMO_AGENT_SECONDS="x")
    await eventually(lambda: "did not get ready beside the clone" in caplog.text)
    failed = await start(cloud, DEMO_AGENT_SECONDS="x")
    done = await start(cloud, "2.agent")

    assert cloned["status"] == "completed"
    assert failed["error"]["code"] == "AgentStartFailed"
    assert "could not convert string to float" in failed["error"]["reason"]
    assert done["status"] == "completed"


async def test_it_has_a_limit(
    cloud: FakeCloud,
    sandbox: Sandbox,
    sample: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    never = asyncio.Event()
    real = AgentClient.health

    async def health(self: AgentClient, seconds: float = 1.0) -> str | None:
        if not never.is_set():
            await never.wait()
        return await real(self, seconds)

    monkeypatch.setattr(AgentClient, "health", health)
    monkeypatch.setattr(supervisor, "_EARLY_SECONDS", 0.5)
    await begin(cloud, sample)
    await eventually(lambda: "did not get ready beside the clone" in caplog.text)
    assert not agents()
    never.set()
    assert (await start(cloud))["status"] == "completed"


async def test_a_clone_that_fails_and_is_tried_again_has_one_server(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    failed = await begin(cloud, f"{sample}-nothing")
    again = await begin(cloud, sample, "2.clone")
    kept = await begin(cloud, sample, "3.clone")
    done = await start(cloud)

    assert failed["status"] == "failed"
    assert again["status"] == done["status"] == "completed"
    assert kept["output"]["cached"] is True
    assert len(agents()) == len(folders()) == 1


async def test_the_step_says_that_it_waits_and_what_is_left(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    may, real = asyncio.Event(), AgentServer.start

    async def slow(self: AgentServer, *args: Any, **more: Any) -> None:
        await may.wait()
        await real(self, *args, **more)

    monkeypatch.setattr(AgentServer, "start", slow)
    await begin(cloud, sample)
    waiting = asyncio.create_task(start(cloud))
    await cloud.until(lambda: "Waiting for demo, which is getting ready" in messages(cloud))
    may.set()
    assert (await waiting)["status"] == "completed"
    assert "Opening the session in demo" in messages(cloud)
    assert "Starting demo" not in messages(cloud)


async def test_nothing_is_left_of_one_that_nobody_took(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    await begin(cloud, sample)
    early = await ready()
    await sandbox.stop()

    await eventually(lambda: ended(early))
    assert folders() == []


async def test_an_agent_without_the_call_has_its_session_imported(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AGENTS["demo"], "creates", False)
    await begin(cloud, sample)
    early = await ready()
    restored = await cloud.do("restore", {**agent_args(), "title": "Health"})
    done = await start(cloud)

    assert restored["output"]["imported"] is True
    assert done["status"] == "completed"
    assert agents() == [early]
    assert await answered(cloud)


async def test_nothing_is_imported_while_a_server_may_be_making_its_database(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    may, asked, done = asyncio.Event(), asyncio.Event(), []
    real, imports, settled = AgentServer.start, supervisor.import_session, EarlyServer.settled

    async def slow(self: AgentServer, *args: Any, **more: Any) -> None:
        await may.wait()
        await real(self, *args, **more)
        done.append("ready")

    async def waiting(self: EarlyServer) -> None:
        asked.set()
        await settled(self)
        done.append("waited")

    async def importing(*args: Any, **more: Any) -> None:
        done.append("import")
        await imports(*args, **more)

    monkeypatch.setattr(AGENTS["demo"], "creates", False)
    monkeypatch.setattr(AgentServer, "start", slow)
    monkeypatch.setattr(EarlyServer, "settled", waiting)
    monkeypatch.setattr(supervisor, "import_session", importing)
    await begin(cloud, sample)
    restoring = asyncio.create_task(cloud.do("restore", {**agent_args(), "title": "Health"}))
    await asyncio.wait_for(asked.wait(), WAIT)
    may.set()

    assert (await restoring)["status"] == "completed"
    assert done == ["ready", "waited", "import"]
    assert (await start(cloud))["status"] == "completed"


async def test_a_session_that_was_made_once_is_not_made_again(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    await begin(cloud, sample)
    await start(cloud)
    [pid] = agents()
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: ended(pid))
    for file in (sandbox.config.home / ".local/share/demo-agent").iterdir():
        file.unlink()
    gone = await start(cloud, "2.agent", OTHER="1", DEMO_AGENT_SECONDS="0.05")

    # Other variables may mean another database, which is given the session.
    assert gone["status"] == "completed"
    for file in (sandbox.config.home / ".local/share/demo-agent").iterdir():
        file.unlink()
    [pid] = agents()
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: ended(pid))
    gone = await cloud.do("agent", {**agent_args(OTHER="1"), "mode": "ask"}, name="3.agent")
    assert gone["error"]["code"] == "WorkspaceGone"


async def test_one_that_was_never_started_leaves_no_folder_behind(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(self: AgentServer, *arguments: Any) -> Any:
        assert folders()
        raise AgentStartFailed("The repository's configuration can't be left out")

    monkeypatch.setattr(AgentServer, "_command", refuse)
    await begin(cloud, sample)
    failed = await cloud.do("agent", agent_args())

    assert failed["error"]["code"] == "AgentStartFailed"
    assert folders() == []
