"""SIGTERM from outside: the work is saved before the runner goes, within ECS's two minutes."""

import asyncio
from pathlib import Path

import pytest
from fake_cloud import FakeCloud
from object_store import ObjectStore
from runner_kit import (
    SESSION_ID,
    Sandbox,
    clone_args,
    prepare,
    prompt_args,
    setup_args,
    started,
)
from work_kit import begin, done, save

from headstart_runner import runner

pytestmark = pytest.mark.anyio


async def test_the_work_is_saved_before_it_goes(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore
) -> None:
    await begin(cloud, store, sample)
    cloud.on_leaving = lambda _: False
    (sandbox.repository / "new.txt").write_text("not saved yet")
    stopping = asyncio.create_task(sandbox.stop())
    await cloud.until(lambda: cloud.leavings)

    await save(cloud, store)
    assert not stopping.done()
    await cloud.let_go()

    assert await stopping == 0
    assert "work" in store.objects


async def test_whatever_an_accepted_runner_says_names_its_session(
    cloud: FakeCloud, tmp_path: Path
) -> None:
    async with started(cloud, tmp_path, heartbeat_seconds=0.05) as box:
        box.make_repository()
        await cloud.do("disk", {"minFreeBytes": 1})
        await cloud.until(lambda: cloud.heartbeats)
        assert await box.stop() == 0
    actions = {action for action, _ in cloud.named}
    assert actions == {"report", "heartbeat", "leaving"}
    assert cloud.named == {(action, SESSION_ID) for action in actions}


async def test_a_turn_ends_first_and_says_why(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    await prepare(cloud, sample, DEMO_AGENT_SECONDS="30")
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    await cloud.until(lambda: cloud.of("agent.delta"))
    ended_by: list[bool] = []
    cloud.on_leaving = lambda _: ended_by.append(bool(cloud.of("turn.ended"))) or True

    assert await sandbox.stop() == 0

    ended = await cloud.turn_ended("trn_1")
    assert ended["error"] == {
        "code": "SandboxStopped",
        "reason": "The sandbox had to stop",
        "retryable": True,
    }
    assert ended_by == [True]


async def test_a_message_is_refused_when_it_is_about_to_go(
    cloud: FakeCloud, prepared: Sandbox
) -> None:
    cloud.on_leaving = lambda _: False
    stopping = asyncio.create_task(prepared.stop())
    await cloud.until(lambda: cloud.leavings)

    refused = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    assert refused["error"]["code"] == "DeliveryFailed"
    assert cloud.of("agent.event") == []
    await cloud.let_go()
    assert await stopping == 0


async def test_it_asks_again_on_a_new_connection(cloud: FakeCloud, prepared: Sandbox) -> None:
    cloud.on_leaving = lambda count: count == 2
    stopping = asyncio.create_task(prepared.stop())
    await cloud.until(lambda: cloud.leavings == 1)
    await cloud.drop()
    assert await stopping == 0
    assert cloud.leavings == 2


async def test_a_cloud_that_does_not_answer_is_not_waited_for_in_vain(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_SAVE_SECONDS", 0.2)
    cloud.on_leaving = lambda _: False
    assert await prepared.stop() == 0
    assert cloud.leavings == 1


async def test_the_cloud_can_let_it_go_without_a_signal(
    cloud: FakeCloud, prepared: Sandbox
) -> None:
    await cloud.let_go()
    assert await prepared.ended() == 0
    assert cloud.leavings == 0


async def test_with_no_work_there_is_nothing_to_wait_for(
    cloud: FakeCloud, sandbox: Sandbox
) -> None:
    cloud.on_leaving = lambda _: False
    await cloud.connected()
    assert await sandbox.stop() == 0


async def test_a_step_that_runs_does_not_hold_it_up(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    await done(cloud, "clone", clone_args(sample))
    await cloud.start("setup", setup_args("sleep 63"))
    await cloud.until(lambda: cloud.of("progress"))
    assert await sandbox.stop() == 0
