"""Delivering a message at most once."""

import asyncio
from typing import Any

import pytest
from fake_cloud import FakeCloud
from runner_kit import Sandbox, prompt_args
from talk_kit import Posts

from headstart_runner.agents.http import AgentClient, AgentRefused, AgentSilent, AgentUnreachable
from headstart_runner.conversation import courier
from headstart_runner.conversation.courier import mint_message_id

pytestmark = pytest.mark.anyio


async def test_a_refused_message_is_failed_and_may_be_tried_again(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch, posts: Posts
) -> None:
    async def refuse(*_: Any) -> None:
        raise AgentRefused("status 400: no")

    with monkeypatch.context() as patch:
        patch.setattr(AgentClient, "prompt", refuse)
        failed = await cloud.do("prompt", prompt_args(), name="msg_1.prompt.1")
    again = await cloud.do("prompt", prompt_args(), name="msg_1.prompt.2")

    assert failed["error"]["code"] == "DeliveryFailed"
    assert "status 400: no" in failed["error"]["reason"]
    assert again["status"] == "completed"
    assert (await cloud.turn_ended("trn_1"))["error"] is None
    assert len(posts) == 1


async def test_an_agent_that_is_out_of_reach_was_certainly_not_given_the_message(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    async def unreachable(*_: Any) -> None:
        tries.append(1)
        raise AgentUnreachable("connection refused")

    monkeypatch.setattr(AgentClient, "prompt", unreachable)
    failed = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")

    assert failed["error"]["code"] == "DeliveryFailed"
    assert len(tries) == 3


async def test_a_lost_answer_is_settled_by_looking(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = AgentClient.prompt

    async def forgetful(self: AgentClient, session_id: str, body: dict[str, Any]) -> None:
        await real(self, session_id, body)
        raise AgentSilent("the answer was lost")

    monkeypatch.setattr(AgentClient, "prompt", forgetful)
    done = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")

    assert done["status"] == "completed"
    assert (await cloud.turn_ended("trn_1"))["error"] is None


async def test_an_accepted_message_is_waited_for_longer_than_one_without_an_answer(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = asyncio.Event()
    real_prompt, real_messages = AgentClient.prompt, AgentClient.messages
    later: list[asyncio.Task[None]] = []

    async def starved(self: AgentClient, session_id: str, body: dict[str, Any]) -> None:
        async def work() -> None:
            await looked.wait()
            await real_prompt(self, session_id, body)

        later.append(asyncio.create_task(work()))

    async def messages(self: AgentClient, session_id: str) -> list[dict[str, Any]]:
        found = await real_messages(self, session_id)
        if later:
            looked.set()
        return found

    monkeypatch.setattr(courier, "_LAST_LOOK_SECONDS", 0.0)
    monkeypatch.setattr(AgentClient, "prompt", starved)
    monkeypatch.setattr(AgentClient, "messages", messages)
    done = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")

    assert done["status"] == "completed"
    assert (await cloud.turn_ended("trn_1"))["error"] is None


async def test_what_can_not_be_known_is_unknown_and_not_posted_again_by_itself(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch, posts: Posts
) -> None:
    async def swallow(*_: Any) -> None:
        raise AgentSilent("the connection broke")

    monkeypatch.setattr(courier, "_LAST_LOOK_SECONDS", 0.3)
    with monkeypatch.context() as patch:
        patch.setattr(AgentClient, "prompt", swallow)
        unknown = await cloud.do("prompt", prompt_args(), name="msg_1.prompt.1")
    cloud.results.clear()
    again = await cloud.do("prompt", prompt_args(), name="msg_1.prompt.1")

    assert again == unknown
    assert unknown["error"]["code"] == "DeliveryUnknown"
    assert unknown["error"]["retryable"] is False
    assert posts == []
    assert cloud.of("turn.ended") == []


def test_minted_ids_are_above_all_of_the_session() -> None:
    future = "msg_" + "f" * 11 + "0" + "x" * 14
    minted = mint_message_id([{"info": {"id": future}}, {"info": {"id": "msg_odd"}}])

    assert minted > future
    assert minted[:16] == "msg_" + "f" * 11 + "1"
