"""SIGTERM from outside: the work is saved before the runner goes, within ECS's two minutes."""

import asyncio
from pathlib import Path
from typing import Any

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
from talk_kit import Door, Posts, hold
from text_kit import texts_of
from work_kit import archive_args, begin, done, save

from headstart_runner import desk, runner
from headstart_runner.agents.http import AgentClient, AgentUnreachable
from headstart_runner.conversation.courier import Courier
from headstart_runner.journal import Entry
from headstart_runner.uplink.reporter import Reporter
from headstart_runner.uplink.texts import Pieces

pytestmark = pytest.mark.anyio


async def test_the_work_is_saved_before_it_goes(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore
) -> None:
    await begin(cloud, sample)
    cloud.on_leaving = lambda _: False
    (sandbox.repository / "new.txt").write_text("not saved yet")
    stopping = asyncio.create_task(sandbox.stop())
    await cloud.until(lambda: cloud.leavings)

    await save(cloud, store)
    assert not stopping.done()
    await cloud.let_go()

    assert await stopping == 0
    assert "work/difference" in store.objects


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
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(monkeypatch, "messages")  # nobody needs to ask the agent for that
    cloud.on_leaving = lambda _: False
    stopping = asyncio.create_task(prepared.stop())
    await cloud.until(lambda: cloud.leavings)

    refused = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    assert refused["error"]["code"] == "SandboxLeaving"
    assert refused["error"]["retryable"] is True
    assert cloud.of("agent.event") == []
    await cloud.let_go()
    assert await stopping == 0


@pytest.mark.parametrize("where", ["it looks at the agent", "it waits for an archive"])
async def test_a_message_that_the_agent_does_not_have_goes_back(
    cloud: FakeCloud,
    prepared: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    posts: Posts,
    where: str,
) -> None:
    looks = where == "it looks at the agent"
    door = hold(monkeypatch, "messages" if looks else "export")
    cloud.on_leaving = lambda _: False
    if not looks:
        await cloud.start("archive", archive_args())
        await door.reached.wait()
    await cloud.start("prompt", prompt_args(), name="msg_1.prompt")
    await cloud.start("disk", {"minFreeBytes": 1})
    await cloud.result("1.disk.1")
    if looks:
        await door.reached.wait()
    stopping = asyncio.create_task(prepared.stop())
    await cloud.until(lambda: cloud.leavings)

    back = cloud.results["msg_1.prompt"]
    assert back["error"]["code"] == "SandboxLeaving"
    assert cloud.delivering == [[]]
    door.opened.set()
    again = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    assert again == back
    await cloud.let_go()
    assert await stopping == 0
    assert posts == []


async def test_a_message_that_the_agent_may_have_is_named_until_the_end(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch, posts: Posts
) -> None:
    monkeypatch.setattr(desk, "_DELIVERY_SECONDS", 0.1)
    door = hold(monkeypatch, "prompt", answered=True)
    cloud.on_leaving = lambda _: False
    await cloud.start("prompt", prompt_args(), name="msg_1.prompt")
    await door.reached.wait()
    stopping = asyncio.create_task(prepared.stop())
    await cloud.until(lambda: cloud.leavings)
    assert "msg_1.prompt" not in cloud.results

    door.opened.set()
    late = await cloud.result("msg_1.prompt")
    ended = await cloud.turn_ended("trn_1")
    await cloud.drop()
    await cloud.until(lambda: cloud.leavings == 2)

    assert cloud.delivering == [["msg_1.prompt"], ["msg_1.prompt"]]
    assert late["status"] == "completed"
    assert ended["error"]["code"] == "SandboxStopped"
    await cloud.let_go()
    assert await stopping == 0
    assert len(posts) == 1


async def test_a_delivery_that_is_nearly_done_is_waited_for(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    door = hold(monkeypatch, "prompt", answered=True)
    told: list[list[str]] = []
    cloud.on_leaving = lambda _: told.append([*cloud.results]) or True
    real = Courier.close

    def close(self: Courier) -> None:
        real(self)
        door.opened.set()

    monkeypatch.setattr(Courier, "close", close)
    await cloud.start("prompt", prompt_args(), name="msg_1.prompt")
    await door.reached.wait()
    stopping = asyncio.create_task(prepared.stop())

    assert await stopping == 0
    assert "msg_1.prompt" in told[0]
    assert cloud.delivering == [[]]
    assert (await cloud.turn_ended("trn_1"))["error"]["code"] == "SandboxStopped"


async def test_nothing_is_posted_once_it_leaves(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message could not be handed over before the signal, and would be tried again after it."""
    monkeypatch.setattr(desk, "_DELIVERY_SECONDS", 0.1)
    tries = []

    async def unreachable(*_: Any) -> None:
        tries.append(1)
        raise AgentUnreachable("connection refused")

    monkeypatch.setattr(AgentClient, "prompt", unreachable)
    door = hold(monkeypatch, "prompt")
    cloud.on_leaving = lambda _: False
    await cloud.start("prompt", prompt_args(), name="msg_1.prompt")
    await door.reached.wait()
    stopping = asyncio.create_task(prepared.stop())
    await cloud.until(lambda: cloud.leavings)
    door.opened.set()

    assert (await cloud.result("msg_1.prompt"))["error"]["code"] == "SandboxLeaving"
    assert tries == [1]
    await cloud.let_go()
    assert await stopping == 0


async def test_an_agent_that_does_not_answer_does_not_hold_up_the_end(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "_DELIVERY_SECONDS", 0.1)
    door = hold(monkeypatch, "prompt")
    await cloud.start("prompt", prompt_args(), name="msg_1.prompt")
    await door.reached.wait()

    assert await prepared.stop() == 0
    assert cloud.delivering == [["msg_1.prompt"]]
    assert "msg_1.prompt" not in cloud.results


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


def hold_back(monkeypatch: pytest.MonkeyPatch, *, for_good: bool = False) -> None:
    """Have no piece of a text leave before somebody waits for them all."""
    awaited: list[bool] = []
    take, drained = Pieces.take, Reporter.drained

    def nothing_yet(self: Pieces, room: int) -> tuple[list[Entry], list[int], int]:
        return take(self, room) if awaited and not for_good else ([], [], room)

    async def note(self: Reporter, *, texts: bool = False) -> None:
        if texts:
            awaited.append(True)
        await drained(self, texts=texts)

    monkeypatch.setattr(Pieces, "take", nothing_yet)
    monkeypatch.setattr(Reporter, "drained", note)


def log_is_whole(cloud: FakeCloud) -> bool:
    said = texts_of(cloud.events).get("log.1.setup")
    return said is not None and said.ended and said.text.endswith("20000\n")


async def test_long_texts_have_arrived_when_it_says_that_it_leaves(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await done(cloud, "clone", clone_args(sample))
    whole: list[bool] = []
    cloud.on_leaving = lambda _: whole.append(log_is_whole(cloud)) or True
    hold_back(monkeypatch)
    await done(cloud, "setup", setup_args("seq 20000"))

    assert await sandbox.stop() == 0
    assert whole == [True]


async def test_long_texts_have_arrived_when_the_work_is_saved_before_it_says_so(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cloud asks for the work when it hears that a message was refused."""
    await begin(cloud, sample)
    ending = Door()

    async def slow(*_: object) -> None:
        await ending.passed()

    monkeypatch.setattr(Courier, "finish_turn", slow)
    hold_back(monkeypatch)
    await done(cloud, "setup", setup_args("seq 20000"))
    stopping = asyncio.create_task(sandbox.stop())
    await ending.reached.wait()
    refused = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    assert refused["error"]["code"] == "SandboxLeaving"

    await done(cloud, "archive", archive_args())
    assert log_is_whole(cloud)
    ending.opened.set()
    assert await stopping == 0


async def test_long_texts_that_do_not_arrive_keep_no_work_from_being_saved(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "_SAYING_SECONDS", 0.2)
    monkeypatch.setattr(runner, "_FLUSH_SECONDS", 0.2)
    await begin(cloud, sample)
    hold_back(monkeypatch, for_good=True)
    await done(cloud, "setup", setup_args("seq 20000"))
    assert await sandbox.stop() == 0
    assert cloud.leavings == 1
    assert not log_is_whole(cloud)
