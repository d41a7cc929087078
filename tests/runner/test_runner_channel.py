"""The connection: keys, refusals, drops, acks, parts, viewers."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from fake_cloud import BOOTSTRAP_KEY, RESUME_KEY, FakeCloud
from runner_kit import Sandbox, eventually, processes, setup_args, started

from headstart.domain.channel import Ack, Part, Refused, Report, Viewers
from headstart_runner.uplink import channel, patience
from headstart_runner.uplink.channel import EXIT_KEY_REJECTED, EXIT_OFFLINE, EXIT_REFUSED
from headstart_runner.uplink.parts import MAX_BYTES, MAX_SETS, Parts

pytestmark = pytest.mark.anyio

DISK = {"minFreeBytes": 1}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait milliseconds where a real runner waits seconds."""
    monkeypatch.setattr(patience, "LEAST", 0.25)
    monkeypatch.setattr(channel, "_FIRST_BACKOFF", 0.02)
    monkeypatch.setattr(channel, "_LAST_BACKOFF", 0.05)


async def test_a_refused_runner_kills_everything_and_ends(
    cloud: FakeCloud, sandbox: Sandbox
) -> None:
    sandbox.make_repository()
    await cloud.start("setup", setup_args("sleep 63.1 & sleep 63.1"))
    await eventually(lambda: processes("sleep 63.1"))
    cloud.refusal = Refused(code="SandboxSuperseded", reason="Another sandbox was accepted")
    await cloud.drop()

    assert await sandbox.ended() == EXIT_REFUSED
    assert processes("sleep 63.1") == []


async def test_the_bootstrap_key_is_kept_until_the_resume_key_came(
    cloud: FakeCloud, tmp_path: Path, quick: None
) -> None:
    cloud.on_hello = lambda _, count: count > 2
    async with started(cloud, tmp_path):
        await cloud.connected()
        await cloud.drop()
        await cloud.until(lambda: len(cloud.hellos) == 4)

    assert cloud.keys_used == [BOOTSTRAP_KEY] * 3 + [RESUME_KEY]


async def test_a_connection_without_a_welcome_is_given_up(
    cloud: FakeCloud, tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silence(*_: Any) -> None:
        cloud.hellos.append(_[1])

    monkeypatch.setattr(cloud, "_hello", silence)
    async with started(cloud, tmp_path):
        await cloud.until(lambda: len(cloud.hellos) >= 2)


async def test_a_key_that_is_rejected_three_times_ends_the_runner(
    cloud: FakeCloud, tmp_path: Path, quick: None
) -> None:
    async with started(cloud, tmp_path) as box:
        await cloud.connected()
        cloud.keys.clear()
        await cloud.drop()

        assert await box.ended() == EXIT_KEY_REJECTED
    assert cloud.rejected == 3


async def test_a_runner_that_is_offline_for_too_long_ends(
    cloud: FakeCloud, tmp_path: Path, quick: None
) -> None:
    async with started(cloud, tmp_path, offline_seconds=0.5) as box:
        await cloud.connected()
        assert cloud.server is not None
        cloud.server.close()
        began = time.monotonic()

        assert await box.ended() == EXIT_OFFLINE
        assert time.monotonic() - began < 20


async def test_a_batch_whose_ack_is_lost_is_sent_again_and_counted_once(
    cloud: FakeCloud, tmp_path: Path, quick: None
) -> None:
    cloud.on_report = lambda _, count: None if count == 1 else True
    async with started(cloud, tmp_path):
        await cloud.do("disk", DISK)
        await cloud.do("disk", DISK, name="1.disk.2")

    assert cloud.raw_reports[0] == cloud.raw_reports[1]
    assert len(cloud.hellos) == 1
    assert [json.loads(raw)["seq"] for raw in cloud.raw_reports] == [1, 1, 2]


async def test_a_connection_without_acks_is_replaced(
    cloud: FakeCloud, tmp_path: Path, quick: None
) -> None:
    cloud.on_report = lambda _, count: None if count <= 2 else True
    async with started(cloud, tmp_path):
        await cloud.do("disk", DISK)

    assert len(cloud.hellos) == 2
    assert len(set(cloud.raw_reports)) == 1


async def test_a_batch_whose_connection_is_closed_without_an_ack_comes_again_on_the_next(
    cloud: FakeCloud, tmp_path: Path, quick: None
) -> None:
    closing = []

    def close_first(_: Report, count: int) -> bool | None:
        if count == 1 and cloud._connection is not None:
            closing.append(asyncio.create_task(cloud._connection.close()))
            return None
        return True

    cloud.on_report = close_first
    async with started(cloud, tmp_path):
        await cloud.do("disk", DISK)

    assert [hello.connection for hello in cloud.hellos] == [1, 2]
    assert len(cloud.raw_reports) == 2
    assert len(set(cloud.raw_reports)) == 1


async def test_an_ack_of_another_batch_ends_nothing(cloud: FakeCloud, tmp_path: Path) -> None:
    cloud.on_report = lambda report, _: True if report.seq == 1 else None
    async with started(cloud, tmp_path, heartbeat_seconds=0.05):
        await cloud.do("disk", DISK)
        await cloud.start("disk", DISK, name="1.disk.2")
        await cloud.until(lambda: len(cloud.raw_reports) == 2)
        await cloud.send(Ack(seq=1, accepted=True))
        seen = len(cloud.heartbeats)
        await cloud.until(lambda: len(cloud.heartbeats) == seen + 3)
        assert len(cloud.raw_reports) == 2
        cloud.on_report = lambda *_: True
        await cloud.drop()
        await cloud.result("1.disk.2")

    assert [json.loads(raw)["seq"] for raw in cloud.raw_reports] == [1, 2, 2]


async def test_a_socket_dropped_in_the_middle_loses_and_repeats_nothing(
    cloud: FakeCloud, tmp_path: Path, quick: None
) -> None:
    lines = 400

    def drop_some(_: Report, count: int) -> bool | None:
        if count % 3 == 0 and cloud._connection is not None:
            cloud._connection.transport.abort()
            cloud._connection = None
            return None if count % 2 else True
        return True

    cloud.on_report = drop_some
    async with started(cloud, tmp_path) as box:
        box.make_repository()
        command = f"for i in $(seq {lines}); do echo line-$i-{'x' * 100}; done; exit 1"
        for number in range(3):
            await cloud.do("setup", setup_args(command), name=f"1.setup.{number}")

    assert len(cloud.hellos) > 3
    for number in range(3):
        pieces = cloud.of("output", commandId=f"1.setup.{number}")
        text = "".join(piece["text"] for piece in pieces)
        assert text.splitlines() == [f"line-{i}-{'x' * 100}" for i in range(1, lines + 1)]
    kept = [json.loads(raw)["seq"] for raw in cloud.raw_reports]
    assert kept == sorted(kept)


async def test_a_stale_batch_is_dropped_and_the_next_one_goes(
    cloud: FakeCloud, sandbox: Sandbox
) -> None:
    cloud.on_report = lambda _, count: count > 1
    await cloud.start("disk", DISK)
    await cloud.until(lambda: cloud.raw_reports)
    await cloud.do("disk", DISK, name="1.disk.2")

    assert "1.disk.1" not in cloud.results


async def test_a_command_in_parts_is_put_together(cloud: FakeCloud, sandbox: Sandbox) -> None:
    sandbox.make_repository()
    args = setup_args("printf %s ${#LARGE} > size", LARGE="ä" * 30_000)
    assert (await cloud.do("setup", args))["status"] == "completed"

    assert (sandbox.repository / "size").read_text() == "30000"


async def test_frames_without_sense_are_ignored(cloud: FakeCloud, sandbox: Sandbox) -> None:
    for text in [
        "no json",
        "[]",
        '{"type":"tomorrow","x":1}',
        '{"type":"command","id":"1.x.1","kind":"dance","timeout":1,"args":{}}',
        '{"type":"part","id":"p","index":9,"count":2,"data":"x"}',
        '{"type":"ack","seq":999,"accepted":true}',
        '{"type":"cancel","id":"unknown"}',
    ]:
        await cloud.send_raw(text)
    await cloud.send(Viewers(count=2))

    assert (await cloud.do("disk", DISK))["status"] == "completed"
    assert len(cloud.hellos) == 1


async def test_arguments_without_sense_fail_the_command(cloud: FakeCloud, sandbox: Sandbox) -> None:
    failed = await cloud.do("disk", {"minFreeBytes": "much"})
    full = await cloud.do("disk", {"minFreeBytes": 10**18}, name="1.disk.2")

    assert failed["error"]["code"] == "InternalStepError"
    assert "minFreeBytes" in failed["error"]["reason"]
    assert full["error"]["code"] == "DiskFull"


def test_parts_are_bounded() -> None:
    parts = Parts()
    for number in range(MAX_SETS + 1):
        assert parts.add(Part(id=f"p{number}", index=0, count=2, data="a")) is None
    assert parts.add(Part(id="p0", index=1, count=2, data="b")) is None
    assert parts.add(Part(id=f"p{MAX_SETS}", index=1, count=2, data="b")) == "ab"
    assert parts.add(Part(id="big", index=0, count=2, data="x" * (MAX_BYTES + 1))) is None
    assert parts.add(Part(id="big", index=1, count=2, data="y")) is None


async def test_without_viewers_there_is_only_slow_progress(
    cloud: FakeCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart_runner.uplink.spool.QUIET_PROGRESS_SECONDS", 0.2)
    cloud.viewers = 0
    async with started(cloud, tmp_path) as box:
        box.make_repository()
        command = "for i in $(seq 25); do echo $i; sleep 0.02; done"
        await cloud.do("setup", setup_args(command))
        quiet = cloud.of("progress", commandId="1.setup.1")
        assert 1 <= len(quiet) <= 6
        assert [event["output"] for event in quiet] == [None] * len(quiet)
        await cloud.watch(1)
        await cloud.do("setup", setup_args(f"{command} #"), name="1.setup.2")

    assert any(event["output"] for event in cloud.of("progress", commandId="1.setup.2"))


async def test_what_nobody_saw_is_shown_once_to_who_comes_back(
    cloud: FakeCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "_FIRST_BACKOFF", 0.6)
    async with started(cloud, tmp_path) as box:
        box.make_repository()
        command = "until [ -e off ]; do sleep 0.02; done; echo un''seen; touch said; sleep 61.4"
        await cloud.start("setup", setup_args(command))
        await cloud.until(lambda: cloud.of("progress"))
        cloud.viewers = 0
        await cloud.drop()
        (box.repository / "off").touch()
        await eventually((box.repository / "said").exists)
        seen = len(cloud.of("progress"))
        cloud.viewers = 1
        await cloud.until(lambda: len(cloud.of("progress")) > seen)

    shown = [event["output"] for event in cloud.of("progress") if event.get("output")]
    assert shown == ["unseen\n"]


async def test_a_stopped_runner_says_goodbye_and_leaves_nothing(
    cloud: FakeCloud, sandbox: Sandbox
) -> None:
    sandbox.make_repository()
    await cloud.do("setup", setup_args("setsid -f sleep 63.2"))
    await cloud.start("setup", setup_args("sleep 63.2"), name="1.setup.2")
    await eventually(lambda: len(processes("sleep 63.2")) == 2)

    assert await sandbox.stop() == 0
    assert processes("sleep 63.2") == []
    await asyncio.sleep(0)
