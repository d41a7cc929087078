"""A message that a person releases again in the same sandbox: another command, another turn."""

from typing import Any

import pytest
from fake_cloud import FakeCloud, Json
from runner_kit import Sandbox, prepare, prompt_args
from talk_kit import Posts, hold

from headstart_runner.agents.http import AgentClient, AgentSilent
from headstart_runner.conversation import courier, turn

pytestmark = pytest.mark.anyio


def again() -> Json:
    """Return the arguments with which message 1 is released again."""
    return {**prompt_args(), "turnId": "trn_again"}


def said(cloud: FakeCloud, turn_id: str) -> list[str]:
    """Return the texts that were told of a turn."""
    told = [event["data"] for event in cloud.of("agent.event", turnId=turn_id)]
    return [data["text"] for data in told if data["kind"] == "text"]


async def test_a_turn_that_was_over_ends_again_as_the_new_one(
    cloud: FakeCloud, prepared: Sandbox, posts: Posts
) -> None:
    first = await cloud.do("prompt", prompt_args(), name="msg_1.prompt.1")
    await cloud.turn_ended("trn_1")
    second = await cloud.do("prompt", again(), name="msg_1.prompt.2")
    ended = await cloud.turn_ended("trn_again")

    assert second["output"] == first["output"]
    assert (ended["error"], ended["interrupted"]) == (None, False)
    assert said(cloud, "trn_again") == said(cloud, "trn_1") != []
    assert ended["usage"] == (await cloud.turn_ended("trn_1"))["usage"]
    assert len(posts) == 1


async def test_a_turn_that_goes_on_ends_as_the_new_one(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch, posts: Posts
) -> None:
    monkeypatch.setattr(turn, "_SILENT_SECONDS", 0.2)  # the first turn would find out by itself
    await prepare(cloud, sample, DEMO_AGENT_SECONDS="2")
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt.1")
    await cloud.until(lambda: cloud.of("agent.delta"))
    await cloud.do("prompt", again(), name="msg_1.prompt.2")
    ended = await cloud.turn_ended("trn_again")

    await cloud.do("disk", {"minFreeBytes": 1})
    assert (ended["error"], ended["interrupted"]) == (None, False)
    assert len(said(cloud, "trn_again")) == 1
    assert said(cloud, "trn_1") == cloud.of("turn.ended", turnId="trn_1") == []
    assert len(posts) == 1


async def test_the_new_turn_is_what_a_heartbeat_names_and_a_cancel_stops(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    await prepare(cloud, sample, DEMO_AGENT_SECONDS="30")
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt.1")
    await cloud.do("prompt", again(), name="msg_1.prompt.2")
    before = await cloud.connected()
    await cloud.drop()
    await cloud.connected_anew(before)
    await cloud.until(lambda: cloud.beats[-1] == ["msg_1.prompt.2"])
    assert cloud.turns[-1] == "trn_again"
    await cloud.cancel("msg_1.prompt.2")

    assert (await cloud.turn_ended("trn_again"))["interrupted"] is True
    assert cloud.of("turn.ended", turnId="trn_1") == []


async def test_what_the_first_turn_asked_is_asked_as_the_new_one(
    cloud: FakeCloud, prepared: Sandbox
) -> None:
    await cloud.do("prompt", prompt_args(1, "ask me"), name="msg_1.prompt.1")
    [asked] = await cloud.until(lambda: cloud.of("input.requested"))
    await cloud.do("prompt", again(), name="msg_1.prompt.2")
    [anew] = await cloud.until(lambda: cloud.of("input.requested", turnId="trn_again"))
    assert anew["requestId"] == asked["requestId"]
    answer = {"requestId": asked["requestId"], "answer": {"reply": "once"}}
    assert (await cloud.do("input", answer))["status"] == "completed"

    assert (await cloud.turn_ended("trn_again"))["error"] is None
    assert [event["turnId"] for event in cloud.of("input.resolved")] == ["trn_again"]


async def test_what_a_cancel_stopped_is_posted_when_a_person_says_so(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch, posts: Posts
) -> None:
    """The cloud gives up a delivery as unknown when it cancels the attempt in the middle of it."""
    await prepare(cloud, sample, DEMO_AGENT_SECONDS="0.5")
    with monkeypatch.context() as patch:
        door = hold(patch, "prompt", answered=True)
        await cloud.start("prompt", prompt_args(), name="msg_1.prompt.1")
        await door.reached.wait()
        await cloud.cancel("msg_1.prompt.1")
        await cloud.do("disk", {"minFreeBytes": 1})
        door.opened.set()
        stopped = await cloud.turn_ended("trn_1")
    first = await cloud.result("msg_1.prompt.1")
    second = await cloud.do("prompt", again(), name="msg_1.prompt.2")
    ended = await cloud.turn_ended("trn_again")

    assert stopped["interrupted"] is True
    assert (ended["error"], ended["interrupted"]) == (None, False)
    assert len(said(cloud, "trn_again")) == 1
    assert second["output"] != first["output"]
    assert len(posts) == 2


@pytest.mark.parametrize("how", ["cancel", "abort"])
async def test_what_is_just_being_stopped_is_waited_for(
    cloud: FakeCloud,
    sandbox: Sandbox,
    sample: str,
    monkeypatch: pytest.MonkeyPatch,
    posts: Posts,
    *,
    how: str,
) -> None:
    await prepare(cloud, sample, DEMO_AGENT_SECONDS="0.5")
    door = hold(monkeypatch, "abort")
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt.1")
    if how == "cancel":
        await cloud.cancel("msg_1.prompt.1")
    else:
        await cloud.do("abort", {"turnId": "trn_1"})
    await door.reached.wait()
    await cloud.start("prompt", again(), name="msg_1.prompt.2")
    await cloud.do("disk", {"minFreeBytes": 1})
    door.opened.set()
    ended = await cloud.turn_ended("trn_again")

    assert (await cloud.turn_ended("trn_1"))["interrupted"] is True
    assert (ended["error"], ended["interrupted"]) == (None, False)
    assert len(posts) == 2


async def test_what_the_agent_does_not_show_is_posted_when_a_person_says_so(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch, posts: Posts
) -> None:
    async def swallow(*_: Any) -> None:
        raise AgentSilent("the connection broke")

    monkeypatch.setattr(courier, "_LAST_LOOK_SECONDS", 0.2)
    with monkeypatch.context() as patch:
        patch.setattr(AgentClient, "prompt", swallow)
        unknown = await cloud.do("prompt", prompt_args(), name="msg_1.prompt.1")
    done = await cloud.do("prompt", again(), name="msg_1.prompt.2")

    assert unknown["error"]["code"] == "DeliveryUnknown"
    assert done["status"] == "completed"
    assert (await cloud.turn_ended("trn_again"))["error"] is None
    assert len(posts) == 1


async def test_what_the_agent_shows_after_all_is_not_posted_again(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch, posts: Posts
) -> None:
    late: list[tuple[Any, ...]] = []
    real = AgentClient.prompt

    async def keep(*arguments: Any) -> None:
        late.append(arguments)
        raise AgentSilent("the agent is busy with something")

    monkeypatch.setattr(courier, "_LAST_LOOK_SECONDS", 0.2)
    with monkeypatch.context() as patch:
        patch.setattr(AgentClient, "prompt", keep)
        unknown = await cloud.do("prompt", prompt_args(), name="msg_1.prompt.1")
    await real(*late[0])
    done = await cloud.do("prompt", again(), name="msg_1.prompt.2")

    assert unknown["error"]["code"] == "DeliveryUnknown"
    assert done["status"] == "completed"
    assert (await cloud.turn_ended("trn_again"))["error"] is None
    assert len(posts) == 1


async def test_an_agent_that_can_not_be_asked_leaves_everything_as_it_was(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch, posts: Posts
) -> None:
    async def silent(*_: Any) -> None:
        raise AgentSilent("no answer")

    await prepare(cloud, sample, DEMO_AGENT_SECONDS="2")
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt.1")
    with monkeypatch.context() as patch:
        patch.setattr(AgentClient, "messages", silent)
        unknown = await cloud.do("prompt", again(), name="msg_1.prompt.2")

    assert unknown["error"]["code"] == "DeliveryUnknown"
    assert (await cloud.turn_ended("trn_1"))["error"] is None
    assert len(posts) == 1
