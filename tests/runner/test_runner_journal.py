"""What the journal lets happen once only, and a disk that has no room for it."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from fake_cloud import FakeCloud
from runner_kit import Sandbox, eventually, setup_args
from text_kit import log_of

from headstart_runner import journal
from headstart_runner.journal import Delivery, DeliveryState, Journal


@pytest.mark.parametrize("state", ["minted", "posting", "shown", "ended"])
def test_only_a_turn_that_has_begun_ends_and_only_once(
    tmp_path: Path, state: DeliveryState
) -> None:
    kept = Journal(tmp_path)
    try:
        kept.put_delivery(Delivery("msg_1", "a", "turn_1", "c", state))
        ended = [kept.end_turn("turn_1", {"event": {"turnId": "turn_1"}}) for _ in range(2)]
        assert [place is not None for place in ended] == [state == "shown", False]
        assert len(kept.spooled()) == (state == "shown")
    finally:
        kept.close()


FULL = sqlite3.OperationalError("database or disk is full")
DISK = {"minFreeBytes": 1}


def full_disk(*_: Any) -> int:
    raise FULL


async def on_a_full_disk(
    cloud: FakeCloud, what: str, kind: str = "disk", args: dict[str, Any] = DISK
) -> None:
    """Have a step done while one thing can't be written, until that was tried."""
    tried = asyncio.Event()

    def full(*_: Any) -> None:
        tried.set()
        raise FULL

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Journal, what, full)
        await cloud.start(kind, args)
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


@pytest.mark.anyio
async def test_a_setup_whose_result_could_not_be_kept_fails_of_the_full_disk(
    cloud: FakeCloud, prepared: Sandbox
) -> None:
    await on_a_full_disk(cloud, "finish_command", "setup", setup_args("true"))
    failed = await cloud.do("setup", setup_args("true"))
    assert failed["error"]["code"] == "DiskFull"


@pytest.mark.anyio
async def test_what_a_command_prints_on_a_full_disk_is_read_on_and_told_when_there_is_room(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(journal, "_spool", full_disk)
        # More than a pipe holds: who is not read any more hangs.
        await cloud.start("setup", setup_args("seq 1 30000; touch there"))
        await eventually((prepared.repository / "there").exists)
    said = await log_of(cloud)
    assert (said.text.splitlines()[-1], said.truncated) == ("30000", False)


def test_a_transaction_that_the_disk_has_no_room_to_end_is_over_all_the_same(
    tmp_path: Path,
) -> None:
    kept = Journal(tmp_path)
    pages = kept._db.execute("PRAGMA page_count").fetchone()[0]
    kept._db.execute(f"PRAGMA max_page_count = {pages}")
    try:
        assert kept.spool_piece({"event": {"text": "x" * 100_000}}, "ref", None) is None
        kept._db.execute(f"PRAGMA max_page_count = {pages + 100}")
        assert kept.spool_piece({"event": {"text": "x" * 100_000}}, "ref", None) is not None
    finally:
        kept.close()
