"""A git that is killed in the middle, and what it leaves locked."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from object_store import ObjectStore
from publish_kit import Desk
from runner_kit import AGENT_UID, BRANCH, as_agent, eventually
from work_kit import another, save, wake

from headstart_runner.processes.launcher import Launcher, Tree

pytestmark = pytest.mark.anyio


def hold_up(desk: Desk) -> Path:
    """Have `git add` wait in a filter, which ends when somebody writes to the pipe returned."""
    go = desk.path.parent / "go"
    os.mkfifo(go)
    desk.write(".gitattributes", "big.bin filter=slow\n")
    desk.write("big.bin", "x\n")
    desk.git("config", "filter.slow.clean", f"read word < '{go}'; cat")
    return go


def gits_in(folder: Path) -> list[int]:
    """Return the pids of gits at work in a folder."""
    found = ("find", "/proc", "-maxdepth", "2", "-path", "/proc/[0-9]*/cwd", "-lname", folder)
    at_work = []
    for line in as_agent(*found, check=False).splitlines():
        process = Path(line).parent
        with suppress(OSError):
            if (process / "comm").read_text() == "git\n":
                at_work.append(int(process.name))
    return at_work


def lock(desk: Desk, name: str = "index.lock") -> Path:
    return desk.path / ".git" / name


@asynccontextmanager
async def of_the_agents(desk: Desk, *command: str) -> AsyncIterator[Tree]:
    """Run a command as the agent runs its own for the length of the block."""
    launcher = Launcher(uid=AGENT_UID, home=desk.path.parent, path=os.environ["PATH"])
    try:
        async with launcher.running(command, cwd=desk.path, env={}) as tree:
            yield tree
    finally:
        await launcher.kill_all()


async def begun(desk: Desk) -> None:
    """Begin a publication and wait until its git holds the index."""
    await desk.cloud.start("publish", desk.args(), name="pub_x.publish")
    await eventually(lambda: lock(desk).exists() and gits_in(desk.path))


async def test_what_a_killed_git_left_locked_keeps_nobody_from_publishing(desk: Desk) -> None:
    hold_up(desk)
    await begun(desk)
    for pid in gits_in(desk.path):
        os.kill(pid, signal.SIGKILL)
    assert (await desk.cloud.result("pub_x.publish"))["status"] == "failed"
    assert lock(desk).exists()
    desk.git("config", "filter.slow.clean", "cat")
    assert (await desk.publish()).commit == desk.there()


async def test_a_git_that_is_stopped_tidies_up(desk: Desk) -> None:
    hold_up(desk)
    await begun(desk)
    await desk.cloud.cancel("pub_x.publish")
    await eventually(lambda: not gits_in(desk.path))
    assert not lock(desk).exists()


@pytest.mark.parametrize(
    "name",
    [
        "HEAD.lock",
        *(
            pytest.param(name, marks=pytest.mark.long)
            for name in (f"refs/heads/{BRANCH}.lock", "packed-refs.lock", "config.lock")
        ),
    ],
)
async def test_no_other_lock_does_either(desk: Desk, name: str) -> None:
    lock(desk, name).touch()
    kept = lock(desk, "hooks/mine.lock")
    kept.parent.mkdir(exist_ok=True)
    kept.touch()
    desk.write("b", "b\n")
    assert (await desk.publish()).commit == desk.there()
    assert not lock(desk, name).exists()
    assert kept.exists()


async def test_what_somebody_has_open_stays_and_is_said_in_gits_words(desk: Desk) -> None:
    desk.write("b", "b\n")
    async with of_the_agents(desk, "bash", "-c", 'exec 9> "$0"; sleep 66.1', str(lock(desk))):
        await eventually(lock(desk).exists)
        code, reason = await desk.refused()
        assert (code, "index.lock" in reason) == ("PublishFailed", True)
        assert lock(desk).exists()


async def test_a_git_of_the_agents_that_waits_for_its_editor_keeps_its_lock(desk: Desk) -> None:
    go = desk.path.parent / "go"
    os.mkfifo(go)
    desk.write("b", "b\n")
    desk.git("add", "--all")
    editor = f"f() {{ read word < '{go}'; echo Mine > \"$1\"; }}; f"
    names = ("-c", "user.name=A", "-c", "user.email=a@b.c", "-c", f"core.editor={editor}")
    async with of_the_agents(desk, "git", *names, "commit", "--all") as commit:
        await eventually(lock(desk).exists)
        code, reason = await desk.refused()
        assert (code, "index.lock" in reason) == ("PublishFailed", True)
        await asyncio.to_thread(go.write_text, "go\n")
        assert await asyncio.wait_for(commit.finished(), 10) == 0
    assert (await desk.publish()).commit == desk.there() == desk.git("rev-parse", "HEAD")


async def test_a_lock_does_not_outlive_a_sleep(
    desk: Desk, store: ObjectStore, tmp_path: Path
) -> None:
    desk.write("b", "b\n")
    lock(desk).touch()
    saved = await save(desk.cloud, store)
    async with another(tmp_path / "other") as (cloud, sandbox):
        await wake(cloud, desk.url, saved)
        assert (sandbox.repository / "b").exists()
        assert not (sandbox.repository / ".git" / "index.lock").exists()
