"""Heartbeats: what they say, when they come, and what follows when nobody answers."""

import asyncio
from pathlib import Path

import pytest
from fake_cloud import FakeCloud
from runner_kit import eventually, prompt_args, setup_args, started

from headstart.domain.channel import Heard, Viewers
from headstart.domain.steps import HEARTBEAT_INTERVAL, STEPS
from headstart_runner.uplink import channel, patience

pytestmark = pytest.mark.anyio

NEVER = 3600.0
HANG = setup_args("sleep 64.7")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the cloud a moment to answer a heartbeat."""
    monkeypatch.setattr(patience, "LEAST", 0.3)


async def test_a_heartbeat_says_what_waits_and_who_watches(
    cloud: FakeCloud, tmp_path: Path
) -> None:
    cloud.on_report = lambda *_: None
    cloud.viewers = 3
    async with started(cloud, tmp_path, heartbeat_seconds=0.05) as box:
        box.make_repository()
        await cloud.until(lambda: cloud.heartbeats)
        await cloud.start("disk", {"minFreeBytes": 1})
        await cloud.until(lambda: cloud.heartbeats[-1].backlog == 1)
        await cloud.start("disk", {"minFreeBytes": 1}, name="1.disk.2")
        await cloud.until(lambda: cloud.heartbeats[-1].backlog == 2)
        under_way = cloud.heartbeats[-1]
        cloud.on_report = lambda *_: True
        await cloud.drop()
        await cloud.until(lambda: cloud.heartbeats[-1].backlog == 0)

    first, last = cloud.heartbeats[0], cloud.heartbeats[-1]
    assert (first.last_seq, first.backlog, first.viewers) == (0, 0, 3)
    assert (under_way.last_seq, under_way.viewers) == (1, 3)
    assert last.last_seq == 2


class Moments:
    """The moments that commands are given before a heartbeat of their own, each ended by a test."""

    def __init__(self) -> None:
        self.begun = 0
        self._over = asyncio.Semaphore(0)

    async def sleep(self, seconds: float) -> None:
        if seconds == channel._EARLY_SECONDS:
            self.begun += 1
            await self._over.acquire()

    def end(self) -> None:
        self._over.release()


async def test_only_what_takes_its_time_is_named_before_the_interval_is_over_and_all_in_one(
    cloud: FakeCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = Moments()
    monkeypatch.setattr(channel, "awake_sleep", moments.sleep)
    async with started(cloud, tmp_path, heartbeat_seconds=NEVER) as box:
        box.make_repository()
        await cloud.until(lambda: cloud.heartbeats)
        for number in range(5):
            await cloud.do("disk", {"minFreeBytes": 1}, name=f"1.disk.{number}")
        moments.end()
        await cloud.start("setup", HANG)
        await cloud.start("prompt", prompt_args(), name="msg_1.prompt")
        await eventually(lambda: moments.begun == 2)
        await cloud.result("msg_1.prompt")
        moments.end()
        await cloud.until(lambda: len(cloud.beats) == 2)

    assert cloud.beats == [[], ["1.setup.1"]]
    assert moments.begun == 2


async def test_a_connection_on_which_heartbeats_stay_unanswered_is_replaced(
    cloud: FakeCloud, tmp_path: Path, impatient: None
) -> None:
    cloud.on_heartbeat = lambda count: [] if count == 3 else cloud.heard()
    async with started(cloud, tmp_path, heartbeat_seconds=0.05):
        await cloud.until(lambda: len(cloud.heartbeats) >= 8)

    assert [hello.connection for hello in cloud.hellos] == [1, 2]


async def test_a_cloud_that_promises_no_answer_need_not_give_one(
    cloud: FakeCloud, tmp_path: Path, impatient: None
) -> None:
    cloud.answers_heartbeats = False
    async with started(cloud, tmp_path, heartbeat_seconds=0.1):
        await cloud.until(lambda: len(cloud.heartbeats) >= 8)

    assert [hello.connection for hello in cloud.hellos] == [1]


async def test_the_answer_corrects_how_many_watch(cloud: FakeCloud, tmp_path: Path) -> None:
    async with started(cloud, tmp_path, heartbeat_seconds=0.05):
        await cloud.until(lambda: cloud.heartbeats)
        cloud.viewers = 0
        await cloud.until(lambda: cloud.heartbeats[-1].viewers == 0)
        cloud.viewers = 2
        await cloud.until(lambda: cloud.heartbeats[-1].viewers == 2)

    assert len(cloud.hellos) == 1


async def test_a_count_told_meanwhile_is_newer_than_the_answer(
    cloud: FakeCloud, tmp_path: Path
) -> None:
    cloud.on_heartbeat = lambda count: [
        *([Viewers(count=5)] if count == 1 else []),
        Heard(viewers=1),
    ]
    async with started(cloud, tmp_path, heartbeat_seconds=0.05):
        await cloud.until(lambda: len(cloud.heartbeats) == 3)

    assert [beat.viewers for beat in cloud.heartbeats[:3]] == [1, 5, 1]


async def test_connections_are_counted_anew_by_each_process(
    cloud: FakeCloud, tmp_path: Path
) -> None:
    async with started(cloud, tmp_path):
        await cloud.drop()
        await cloud.until(lambda: len(cloud.hellos) == 2)
    async with started(cloud, tmp_path):
        await cloud.until(lambda: len(cloud.hellos) == 3)

    assert [hello.connection for hello in cloud.hellos] == [1, 2, 1]
    assert len({hello.process for hello in cloud.hellos}) == 2


def test_a_path_that_died_is_noticed_before_a_state_gives_up() -> None:
    unnoticed = max(patience.LEAST, channel._USER_TIMEOUT_MS / 1000)
    least = min(step.heartbeat for step in STEPS if step.heartbeat)

    assert HEARTBEAT_INTERVAL + unnoticed + patience.LEAST < least
