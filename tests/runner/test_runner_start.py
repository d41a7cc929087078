"""A runner is connected before it can do anything, and starts nothing before it may."""

import asyncio
import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from fake_cloud import FakeCloud
from runner_kit import Sandbox, clone_args, eventually, nanny_of, processes, setup_args

from headstart.domain.channel import Command
from headstart_runner import runner
from headstart_runner.journal import Journal
from headstart_runner.lobby import Lobby
from headstart_runner.runner import run
from headstart_runner.trust import Mistrusted
from headstart_runner.workshop import Workshop

pytestmark = pytest.mark.anyio

SECONDS = 20.0


def fork_servers() -> set[int]:
    """Return those of this process; a cloud that it runs has others below it."""
    found = set()
    for pid in processes("nanny.py"):
        with contextlib.suppress(OSError):  # Of another test run, and ended while one looked.
            if nanny_of(pid) == os.getpid():
                found.add(pid)
    return found


class Gate:
    """What a thread of the runner waits at."""

    def __init__(self, *, error: Exception | None = None) -> None:
        self._event = threading.Event()
        self._error = error

    def open(self) -> None:
        self._event.set()

    def pass_(self) -> None:
        assert self._event.wait(SECONDS)
        if self._error:
            raise self._error


async def test_what_is_asked_for_while_the_workshop_is_imported_is_done_then(
    cloud: FakeCloud, sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, stop = Gate(), asyncio.Event()

    def imported() -> type[Workshop]:
        gate.pass_()
        return Workshop

    monkeypatch.setattr(runner, "_imported", imported)
    task = asyncio.create_task(run(Sandbox(cloud, tmp_path).config, stop))
    try:
        await cloud.connected()
        await cloud.start("setup", setup_args("echo over"), name="given.up")
        await cloud.cancel("given.up")
        await cloud.start("clone", clone_args(sample))
        # A command has its own heartbeat when it takes longer than a moment: it is known already.
        await cloud.until(lambda: ["1.clone.1", "given.up"] in cloud.beats)
        gate.open()
        assert (await cloud.result("1.clone.1"))["status"] == "completed"
    finally:
        gate.open()
        stop.set()
        assert await task == 0
    assert "given.up" not in cloud.results


async def test_no_process_is_started_before_it_is_sure_what_the_runner_stands_on(
    cloud: FakeCloud, sample: str, tmp_path: Path
) -> None:
    gate, stop, box = Gate(), asyncio.Event(), Sandbox(cloud, tmp_path)
    task = asyncio.create_task(run(box.config, stop, gate.pass_))
    try:
        await cloud.connected()
        # Looking at the disk starts nothing.
        assert (await cloud.do("disk", {"minFreeBytes": 1}))["status"] == "completed"
        await cloud.start("clone", clone_args(sample))
        await cloud.until(lambda: ["1.clone.1"] in cloud.beats)
        assert not box.repository.exists()
        gate.open()
        assert (await cloud.result("1.clone.1"))["status"] == "completed"
        assert box.repository.exists()
    finally:
        gate.open()
        stop.set()
        assert await task == 0


async def test_what_commands_are_forked_from_is_there_before_the_first_one(
    cloud: FakeCloud, tmp_path: Path
) -> None:
    gate, stop = Gate(), asyncio.Event()
    task = asyncio.create_task(run(Sandbox(cloud, tmp_path).config, stop, gate.pass_))
    try:
        await cloud.connected()
        assert fork_servers() == set()
        gate.open()
        await eventually(lambda: len(fork_servers()) == 1)
    finally:
        gate.open()
        stop.set()
        assert await task == 0
    assert fork_servers() == set()


async def test_a_runner_that_stands_on_what_the_agent_may_change_ends_and_has_started_nothing(
    cloud: FakeCloud, sample: str, tmp_path: Path
) -> None:
    gate, box = Gate(error=Mistrusted("theirs")), Sandbox(cloud, tmp_path)
    task = asyncio.create_task(run(box.config, asyncio.Event(), gate.pass_))
    await cloud.connected()
    await cloud.start("clone", clone_args(sample))
    await cloud.until(lambda: ["1.clone.1"] in cloud.beats)
    gate.open()
    with pytest.raises(Mistrusted, match="theirs"):
        async with asyncio.timeout(SECONDS):
            await task
    assert not box.repository.exists()


class Asked:
    """A desk that notes what it is asked for."""

    def __init__(self) -> None:
        self.notes: list[Any] = []

    def start(self, command: Command) -> None:
        self.notes.append(command.id)

    def cancel(self, command_id: str) -> None:
        self.notes.append(f"not {command_id}")

    def running(self) -> list[str]:
        return []

    def turn(self) -> str | None:
        return None

    def delivering(self) -> list[str]:
        return []

    def viewers_changed(self, before: int, now: int) -> None:
        self.notes.append((before, now))


def command(name: str) -> Command:
    return Command(id=name, kind="disk", timeout=1, args={})


def test_a_lobby_hands_over_in_order_and_holds_so_much_at_most(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    try:
        journal.begin_command("left", "{}")
        lobby, desk = Lobby(journal), Asked()
        lobby.start(command("a"))
        lobby.cancel("a")
        assert lobby.running() == ["a", "left"]
        for number in range(1000):
            lobby.start(command(f"more-{number}"))
        assert lobby.hand_over(desk, 2) is desk
    finally:
        journal.close()
    assert desk.notes[:4] == [(0, 2), "a", "not a", "more-0"]
    assert len(desk.notes) == 257
