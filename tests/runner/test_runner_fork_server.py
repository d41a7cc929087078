"""The process that nannies are forked from: killed, stopped, full, and gone with the runner."""

import asyncio
import inspect
import os
import select
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from runner_kit import AGENT_UID, ended, eventually, nanny_of, processes

from headstart_runner.processes import fork_server, nanny
from headstart_runner.processes.launcher import CommandNotStarted, Launcher, Tree
from headstart_runner.processes.nanny import descendants

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(AGENT_UID is not None, reason="another uid's commands can't reach it"),
]


class Box:
    """A launcher, and what its commands printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.launcher = Launcher(uid=None, home=folder, path=os.environ["PATH"])
        self.printed = bytearray()

    async def start(self, *argv: str) -> Tree:
        return await self.launcher.start(
            argv, cwd=self.folder, env={}, stdout=self.printed.extend, stderr=self.printed.extend
        )

    async def run(self, *argv: str) -> int:
        return await (await self.start(*argv)).finished()

    async def server(self) -> int:
        """Return the pid of the fork server of a command that runs."""
        await self.run("true")
        process = self.launcher._forks._process
        assert process is not None
        return process.pid


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Box]:
    box = Box(tmp_path)
    yield box
    await box.launcher.kill_all()
    # One whose nanny was killed is killed by the kernel, whenever it comes to that.
    await eventually(lambda: not processes("sleep 62."))


async def test_an_order_that_meets_a_kill_is_given_to_nobody(box: Box) -> None:
    tree = await box.start("sleep", "62.9")
    killing = asyncio.create_task(tree.kill())
    await asyncio.sleep(0)
    tree.resume()
    tree.terminate()
    await killing
    assert await tree.wait() == -9


async def test_a_command_that_left_its_group_goes_on_where_it_was_stopped(box: Box) -> None:
    script = "import os; os.setpgid(0, os.getppid()); os.kill(os.getpid(), 19); print('goes on')"
    tree = await box.start(sys.executable, "-c", script)
    state = Path(f"/proc/{tree._nanny}/task/{tree._nanny}/children")
    await eventually(lambda: is_stopped(state.read_text()))
    tree.resume()
    assert await tree.finished() == 0
    assert box.printed == b"goes on\n"


def is_stopped(pid: str) -> bool:
    return bool(pid) and Path(f"/proc/{int(pid)}/stat").read_text().rpartition(")")[2][1] == "T"


async def test_one_serves_all_commands_however_many_at_once(box: Box) -> None:
    server = await box.server()
    trees = await asyncio.gather(*(box.start("sleep", "62.8") for _ in range(20)))

    nannies = {tree._nanny for tree in trees}
    assert len(nannies) == 20
    assert {nanny_of(pid) for pid in nannies} == {server}
    await asyncio.gather(*(tree.kill() for tree in trees))
    await eventually(lambda: descendants(server) == [])


async def test_it_is_there_before_the_first_command_once_it_was_asked_to_be(box: Box) -> None:
    await box.launcher.get_ready()
    ready = box.launcher._forks._process
    await box.launcher.get_ready()

    assert ready is not None
    assert await box.server() == ready.pid


async def test_a_command_finds_a_server_where_none_could_be_started_ahead(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as nothing_starts:
        nothing_starts.setattr(fork_server.sys, "executable", "/nowhere/python")
        await box.launcher.get_ready()

    assert await box.run("true") == 0


async def test_a_command_has_its_own_files_and_nothing_else_open(box: Box) -> None:
    await box.server()
    sleeping = await box.start("sleep", "62.9")
    assert await box.run("ls", "-l", "/proc/self/fd") == 0

    shown = box.printed.decode()
    opened = [line.partition(" -> ")[2] for line in shown.splitlines() if " -> " in line]
    # Those of `ls`: the folder that it reads is the fourth.
    assert len(opened) == 4
    assert opened[0] == "/dev/null"
    assert all(place.startswith("pipe:") for place in opened[1:3])
    assert not any(place.startswith("socket:") for place in opened)
    await sleeping.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_one_that_is_killed_or_stopped_is_replaced_and_takes_nothing_along(
    box: Box, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fork_server, "_SECONDS", 2)
    before = await box.server()
    sleeping = await box.start("sleep", "62.0")
    os.kill(before, number)

    assert await box.run("true") == 0
    assert await box.server() != before
    assert sleeping.alive
    assert ended(before)
    await sleeping.kill()


async def test_who_is_cancelled_while_it_forks_does_not_take_the_next_ones_nanny(box: Box) -> None:
    before = await box.server()
    os.kill(before, signal.SIGSTOP)
    waiting = asyncio.create_task(box.start("sleep", "62.1"))
    await eventually(box.launcher._forks._lock.locked)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    tree = await box.start("sleep", "62.2")
    command = Path(f"/proc/{tree._nanny}/task/{tree._nanny}/children")
    await eventually(lambda: b"62.2" in _command_line(command.read_text()))
    await tree.kill()


def _command_line(child: str) -> bytes:
    try:
        return Path(f"/proc/{child.strip()}/cmdline").read_bytes()
    except OSError:
        return b""


async def test_a_nanny_whose_pid_was_lost_shares_nothing_with_the_next(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, tries = fork_server._ask, []

    async def lose_the_first(orders: socket.socket, files: Sequence[int]) -> int:
        tries.append(await ask(orders, files))
        if len(tries) == 1:
            raise fork_server._Broken
        return tries[-1]

    monkeypatch.setattr(fork_server, "_ask", lose_the_first)
    tree = await box.start("sleep", "62.35")

    assert tree._nanny == tries[1]
    await eventually(lambda: ended(tries[0]))
    command = Path(f"/proc/{tree._nanny}/task/{tree._nanny}/children")
    await eventually(lambda: b"62.35" in _command_line(command.read_text()))
    tree.terminate()
    assert await asyncio.wait_for(tree.wait(), 10) == -signal.SIGTERM


async def test_one_that_is_left_with_its_answer_unread_ends_well(box: Box) -> None:
    await box.server()
    process, orders = box.launcher._forks._process, box.launcher._forks._orders
    assert process is not None
    assert orders is not None
    socket.send_fds(orders, [b"fork"], [0, 0, 1, 2])
    await eventually(lambda: select.select([orders], [], [], 0)[0] != [])
    orders.close()

    assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_what_can_not_be_forked_is_an_error_of_the_system(
    box: Box, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = inspect.getsource(nanny)
    full = tmp_path / "nanny.py"
    full.write_text(source.replace("answer = os.fork()", "raise BlockingIOError(11, 'full')"))
    monkeypatch.setattr(fork_server, "_NANNY", full)

    with pytest.raises(BlockingIOError):
        await box.start("true")


async def test_without_one_it_is_said_and_not_tried_for_ever(
    box: Box, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "nanny.py"
    broken.write_text("import sys; sys.exit(1)")
    monkeypatch.setattr(fork_server, "_NANNY", broken)

    with pytest.raises(OSError, match="no process can be started"):
        await box.start("true")


async def test_a_nanny_that_ends_well_says_so_and_one_that_is_killed_has_its_session_killed(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []
    monkeypatch.setattr("headstart_runner.processes.launcher.kill_session", killed.append)
    assert await box.run("true") == 0
    tree = await box.start("sleep", "62.3")
    await tree.kill()
    assert killed == []

    tree = await box.start("sleep", "62.4")
    os.kill(tree._nanny, signal.SIGKILL)
    assert await tree.wait() == -signal.SIGKILL
    assert killed == [tree._nanny]


async def test_a_nanny_that_could_not_kill_all_does_not_say_that_all_is_gone(
    box: Box, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    killed: list[int] = []
    monkeypatch.setattr("headstart_runner.processes.launcher.kill_session", killed.append)
    weak = tmp_path / "nanny.py"
    weak.write_text(inspect.getsource(nanny).replace("_KILL_SECONDS = 5.0", "_KILL_SECONDS = 0"))
    monkeypatch.setattr(fork_server, "_NANNY", weak)
    tree = await box.start("sleep", "62.6")
    await tree.kill()

    assert killed == [tree._nanny]


async def test_that_a_command_left_nothing_is_known_at_its_end(box: Box) -> None:
    alone = await box.start("true")
    assert await alone.wait() == 0
    assert alone.gone

    parent = await box.start("bash", "-c", "sleep 62.3 & disown")
    assert await parent.wait() == 0
    assert not parent.gone
    await parent.kill()
    assert parent.gone

    absent = await box.start("no-such-program")
    with pytest.raises(CommandNotStarted):
        await absent.wait()
    assert absent.gone


async def test_who_asks_a_command_to_end_that_has_ended_ends_nothing_that_it_left(box: Box) -> None:
    parent = await box.start("bash", "-c", "sleep 62.45 & disown")
    assert await parent.wait() == 0
    parent.terminate()
    parent.terminate()
    assert await box.run("true") == 0
    assert processes("sleep 62.45")
    assert not ended(parent._nanny)
    await parent.kill()


async def test_a_command_can_be_asked_to_end_before_it_has_begun_and_twice(box: Box) -> None:
    asked_for_it = "trap 'exit 7' TERM; echo ready; for i in 1 2 3 4 5 6 7 8 9; do sleep 1; done"
    tree = await box.start("sleep", "62.7")
    tree.terminate()
    assert await asyncio.wait_for(tree.wait(), 10) == -signal.SIGTERM

    tree = await box.start("bash", "-c", asked_for_it)
    await eventually(lambda: b"ready" in box.printed)
    tree.terminate()
    tree.terminate()
    assert await asyncio.wait_for(tree.wait(), 10) == 7


def test_it_ends_with_the_runner(tmp_path: Path) -> None:
    asyncio.run(_begin_and_forget(Launcher(uid=None, home=tmp_path, path=os.environ["PATH"])))


async def _begin_and_forget(launcher: Launcher) -> None:
    tree = await launcher.start(["sleep", "62.5"], cwd=Path("/"), env={})
    process, orders = launcher._forks._process, launcher._forks._orders
    assert process is not None
    assert orders is not None
    orders.close()  # as the kernel does when the runner dies
    assert await asyncio.wait_for(process.wait(), 10) == 0
    assert tree.alive
    await tree.kill()
