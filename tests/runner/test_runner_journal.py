"""What the journal lets happen once only, and a disk that has no room for it."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from fake_cloud import FakeCloud
from runner_kit import Sandbox

from headstart_runner.journal import Delivery, DeliveryState, Journal


@pytest.mark.parametrize("state", ["minted", "posting", "shown", "ended"])
def test_only_a_turn_that_has_begun_ends_and_only_once(
    tmp_path: Path, state: DeliveryState
) -> None:
    journal = Journal(tmp_path)
    try:
        journal.put_delivery(Delivery("msg_1", "a", "turn_1", "c", state))
        ended = [journal.end_turn("turn_1", {"event": {"turnId": "turn_1"}}) for _ in range(2)]
        assert [place is not None for place in ended] == [state == "shown", False]
        assert len(journal.spooled()) == (state == "shown")
    finally:
        journal.close()


FULL = sqlite3.OperationalError("database or disk is full")
DISK = {"minFreeBytes": 1}


async def on_a_full_disk(cloud: FakeCloud, what: str) -> None:
    """Have the disk step done while one thing can't be written, until that was tried."""
    tried = asyncio.Event()

    def full(*_: Any) -> None:
        tried.set()
        raise FULL

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Journal, what, full)
        await cloud.start("disk", DISK)
        async with asyncio.timeout(20):
            await tried.wait()


@pytest.mark.anyio
@pytest.mark.parametrize("what", ["begin_batch", "end_batch"])
async def test_what_could_not_be_kept_on_a_full_disk_is_told_when_there_is_room(
    cloud: FakeCloud, sandbox: Sandbox, what: str
) -> None:
    first = await cloud.connected()
    await on_a_full_disk(cloud, what)
    await cloud.connected_anew(first)
    assert (await cloud.result("1.disk.1"))["status"] == "completed"
    assert (await cloud.do("disk", DISK, name="1.disk.2"))["status"] == "completed"


@pytest.mark.anyio
@pytest.mark.parametrize("what", ["begin_command", "finish_command"])
async def test_a_command_that_could_not_be_kept_on_a_full_disk_is_done_when_it_comes_again(
    cloud: FakeCloud, sandbox: Sandbox, what: str
) -> None:
    first = await cloud.connected()
    await on_a_full_disk(cloud, what)
    if what == "begin_command":
        await cloud.connected_anew(first)
    assert (await cloud.do("disk", DISK))["status"] == "completed"
