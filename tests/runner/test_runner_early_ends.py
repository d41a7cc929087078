"""A clone or a runner that ends while the agent gets ready: what is left, what the next finds."""

import asyncio
import gc
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from early_kit import answered, begin, folders, locked, own_temporary_files, ready, start
from fake_cloud import WAIT, FakeCloud
from runner_kit import (
    Sandbox,
    agent_args,
    agents,
    behaving,
    clone_args,
    ended,
    environment_of,
    eventually,
)
from test_runner_restart import Process
from test_runner_vault import sealed

from headstart.domain.command_args import AgentArgs
from headstart_local.git_server import GitServer
from headstart_runner.agents import server
from headstart_runner.agents.early import EarlyServer
from headstart_runner.agents.server import AgentServer

pytestmark = pytest.mark.anyio
__all__ = ["own_temporary_files"]


async def test_a_cancelled_clone_has_the_agent_beside_it_stopped(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, git_server: GitServer
) -> None:
    with behaving(git_server, delay_seconds=60):
        await cloud.start("clone", clone_args(sample, agent=agent_args()), name="1.clone")
        early = await ready()
        await cloud.cancel("1.clone")
        await eventually(lambda: ended(early))

    assert agents() == []


async def test_a_cancelled_clone_leaves_the_next_one_a_server_of_its_own(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, git_server: GitServer
) -> None:
    with behaving(git_server, delay_seconds=60):
        args = clone_args(sample, agent=agent_args(OTHER="1"))
        await cloud.start("clone", args, name="1.clone")
        early = await ready()
        await cloud.cancel("1.clone")
    again = await begin(cloud, sample, "2.clone", OTHER="2")
    done = await start(cloud, "2.agent", OTHER="2")

    assert [again["status"], done["status"]] == ["completed", "completed"]
    assert ended(early)
    assert environment_of(await ready())["OTHER"] == "2"
    assert len(folders()) == 1


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.usefixtures("sandbox")
async def test_a_clone_that_is_cancelled_while_it_stops_a_server_leaves_nothing_of_that(
    cloud: FakeCloud, sample: str, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    stopping, real = asyncio.Event(), AgentServer._stop

    async def stop(self: AgentServer) -> None:
        stopping.set()
        await real(self)

    await begin(cloud, sample)
    before = await ready()
    if taken:
        await start(cloud)
    monkeypatch.setattr(server, "_STOP_SECONDS", 0.5)
    monkeypatch.setattr(AgentServer, "_stop", stop)
    os.kill(before, signal.SIGSTOP)
    await cloud.start("clone", clone_args(sample, depth=1), name="2.clone")
    await asyncio.wait_for(stopping.wait(), WAIT)
    await cloud.cancel("2.clone")
    await start(cloud, "3.agent")

    # The step that came next began when the cancelled one had ended, and that when all was over.
    assert ended(before)
    assert len(agents()) == len(folders()) == 1


async def test_who_is_cancelled_while_they_stop_one_goes_when_it_is_stopped() -> None:
    begun, may, stopped = asyncio.Event(), asyncio.Event(), []

    class Server:
        alive = True

        async def stop(self) -> None:
            begun.set()
            await may.wait()
            stopped.append(self)

    async def get_ready(_: AgentArgs) -> Any:
        return Server()

    early = EarlyServer(get_ready)
    early.begin(AgentArgs.model_validate(agent_args()), {})
    await early.settled()
    stopping = asyncio.create_task(early.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    async with asyncio.timeout(WAIT):
        await begun.wait()
        may.set()
        with pytest.raises(asyncio.CancelledError):
            await stopping

    assert len(stopped) == 1
    assert early.server is None


async def test_other_secrets_replace_a_server_before_any_other_step_of_the_retry(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    first, second = sealed({"NPM_TOKEN": "wood-chuck-1"}), sealed({"NPM_TOKEN": "wood-chuck-2"})
    args = clone_args(sample, agent=agent_args())
    await cloud.do("clone", {**args, "sealed": first}, name="1.clone")
    early = await ready()
    again = await cloud.do("clone", {**args, "sealed": second}, name="2.clone")
    await eventually(lambda: ended(early))
    other = await ready()
    kept = await cloud.do("clone", {**args, "sealed": second}, name="3.clone")
    done = await cloud.do("agent", {**agent_args(), "sealed": second})

    assert again["output"]["cached"] is kept["output"]["cached"] is True
    assert done["status"] == "completed"
    assert agents() == [other], "the same arguments and secrets are no reason for another"
    assert environment_of(other)["NPM_TOKEN"] == "wood-chuck-2"


def servers() -> list[AgentServer]:
    """Return what the runner, which is in this process, knows of the agent's servers."""
    return [found for found in gc.get_objects() if type(found) is AgentServer]


async def test_one_that_died_is_replaced_beside_the_next_clone(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, caplog: pytest.LogCaptureFixture
) -> None:
    await begin(cloud, sample)
    early = await ready()
    await eventually(lambda: "got ready after" in caplog.text)
    os.kill(early, signal.SIGKILL)
    await eventually(lambda: not any(server.alive for server in servers()))
    again = await begin(cloud, sample, "2.clone")
    next_one = await ready()
    await start(cloud)

    assert again["output"]["cached"] is True
    assert agents() == [next_one]
    assert len(folders()) == 1


async def test_a_clone_of_an_older_cloud_names_no_agent_and_one_of_a_newer_says_more(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    await cloud.do("clone", {**clone_args(sample), "agent": None}, name="1.clone")
    older = await start(cloud)
    started = agents()
    await sandbox.stop()
    agent = {**agent_args(), "lantern": {"lit": True}}
    await cloud.until(lambda: not agents())
    sandbox.start()
    await cloud.do("clone", clone_args(sample, agent=agent, depth=1), name="2.clone")
    early = await ready()
    newer = await cloud.do("agent", {**agent, "title": ""}, name="2.agent")

    assert [older["status"], newer["status"]] == ["completed", "completed"]
    assert len(started) == 1
    assert agents() == [early]


async def test_an_agent_that_the_runner_does_not_know_costs_no_clone(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    agent = {**agent_args(), "agent": "nobody"}
    cloned = await cloud.do("clone", clone_args(sample, agent=agent))
    failed = await cloud.do("agent", agent)

    assert cloned["status"] == "completed"
    assert "knows no such agent" in failed["error"]["reason"]


async def test_nothing_is_left_of_one_that_is_not_ready_when_the_runner_leaves(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, tmp_path: Path
) -> None:
    with locked(tmp_path / "data"):
        await begin(cloud, sample, XDG_DATA_HOME=str(tmp_path / "data"))
        early = await ready()
        assert await sandbox.stop() == 0

    assert ended(early)
    assert folders() == []


@contextmanager
def a_process(cloud: FakeCloud, folder: Path) -> Iterator[Process]:
    runner = Process(cloud, folder)
    runner.start(TMPDIR=str(folder / "tmp"))
    try:
        yield runner
    finally:
        runner.end()


async def test_a_runner_that_is_killed_meanwhile_leaves_its_server_to_nobody(
    cloud: FakeCloud, tmp_path: Path, sample: str
) -> None:
    data = str(tmp_path / "data")
    with a_process(cloud, tmp_path) as runner:
        with locked(tmp_path / "data"):
            await begin(cloud, sample, XDG_DATA_HOME=data)
            early = await ready()
            [left] = folders()
            before = await cloud.connected()
            await runner.kill()
            await eventually(lambda: ended(early))
        runner.start(TMPDIR=str(tmp_path / "tmp"))
        await cloud.connected_anew(before)
        again = await begin(cloud, sample, "2.clone", XDG_DATA_HOME=data)
        taken = await ready()
        done = await start(cloud, XDG_DATA_HOME=data)

        assert again["output"]["cached"] is True
        assert done["status"] == "completed"
        assert agents() == [taken]
        assert not left.exists()
        assert len(folders()) == 1
        assert await answered(cloud)
