"""Commands that are cancelled before they could begin, or before they came."""

from typing import Any

import pytest
from fake_cloud import FakeCloud
from runner_kit import Sandbox, prompt_args
from talk_kit import Door, Posts, hold

from headstart_runner.agents.http import AgentClient, AgentSilent
from headstart_runner.agents.supervisor import Supervisor
from headstart_runner.conversation import courier
from headstart_runner.desk import Desk

pytestmark = pytest.mark.anyio


async def test_a_cancelled_message_does_not_reach_the_agent(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch, posts: Posts
) -> None:
    door = hold(monkeypatch, "messages")
    await cloud.start("prompt", prompt_args(), name="msg_1.prompt")
    await door.reached.wait()
    await cloud.cancel("msg_1.prompt")
    await cloud.do("disk", {"minFreeBytes": 1})
    door.opened.set()

    again = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    assert again["error"]["code"] == "Cancelled"
    await cloud.do("prompt", prompt_args(2), name="msg_2.prompt")
    await cloud.turn_ended("trn_2")
    assert len(posts) == 1


async def test_a_cancel_at_the_last_moment_keeps_the_message_from_the_agent(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch, posts: Posts
) -> None:
    """The delivery could go on in the very moment in which it is cancelled."""
    door = Door()
    client, cancel = Supervisor.client, Desk.cancel

    async def last(self: Supervisor) -> AgentClient:
        found = await client(self)
        if told.get("asked"):
            await door.passed()
        told["asked"] = True
        return found

    def cancelled(self: Desk, command_id: str) -> None:
        door.opened.set()
        cancel(self, command_id)

    told: dict[str, bool] = {}
    monkeypatch.setattr(Supervisor, "client", last)
    monkeypatch.setattr(Desk, "cancel", cancelled)
    await cloud.start("prompt", prompt_args(), name="msg_1.prompt")
    await door.reached.wait()
    await cloud.cancel("msg_1.prompt")
    await cloud.do("disk", {"minFreeBytes": 1})

    assert posts == []


async def test_a_message_that_is_cancelled_while_it_is_looked_for_is_not_posted_again(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch, posts: Posts
) -> None:
    async def swallow(*_: Any) -> None:
        raise AgentSilent("the connection broke")

    monkeypatch.setattr(courier, "_LAST_LOOK_SECONDS", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr(AgentClient, "prompt", swallow)
        await cloud.do("prompt", prompt_args(), name="msg_1.prompt.1")
    door = hold(monkeypatch, "messages")
    await cloud.start("prompt", {**prompt_args(), "turnId": "trn_2"}, name="msg_1.prompt.2")
    await door.reached.wait()
    await cloud.cancel("msg_1.prompt.2")
    await cloud.do("disk", {"minFreeBytes": 1})
    door.opened.set()

    assert (await cloud.result("msg_1.prompt.2"))["error"]["code"] == "Cancelled"
    assert posts == []


async def test_what_was_cancelled_before_it_came_does_not_begin(
    cloud: FakeCloud, prepared: Sandbox, posts: Posts
) -> None:
    for name in ("msg_1.prompt", "1.disk.1"):
        await cloud.cancel(name)
    prompt = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    step = await cloud.do("disk", {"minFreeBytes": 1})
    await cloud.cancel("msg_1.prompt")
    other = await cloud.do("prompt", prompt_args(), name="msg_1.prompt.2")

    assert prompt["error"]["code"] == step["error"]["code"] == "Cancelled"
    assert other["status"] == "completed"
    assert (await cloud.turn_ended("trn_1"))["interrupted"] is False
    assert len(posts) == 1


async def test_only_the_newest_of_what_was_cancelled_is_remembered(
    cloud: FakeCloud, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart_runner.desk._MOST_CANCELLED", 2)
    for number in (1, 2, 3):
        await cloud.cancel(f"1.disk.{number}")
    results = [
        await cloud.do("disk", {"minFreeBytes": 1}, name=f"1.disk.{number}") for number in (1, 2, 3)
    ]

    assert [result["status"] for result in results] == ["completed", "failed", "failed"]
