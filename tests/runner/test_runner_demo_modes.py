"""The demo agent has one mode, and refuses any other as real agents do."""

import pytest
from fake_cloud import FakeCloud
from runner_kit import Sandbox, agent_args, prepare, prompt_args

from headstart.domain.agents import MODES

pytestmark = pytest.mark.anyio


async def test_a_mode_that_the_demo_agent_lacks_fails_its_step_and_names_those_there_are(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    await prepare(cloud, sample)
    failed = await cloud.do("agent", {**agent_args(), "mode": "semaphore"}, name="2.agent")
    assert failed["error"]["code"] == "AgentUnavailable"
    known = ", ".join(MODES["demo"])
    assert f"demo has no mode semaphore here: there are {known}" in failed["error"]["reason"]


async def test_a_message_in_such_a_mode_is_refused_and_the_next_one_answered(
    cloud: FakeCloud, prepared: Sandbox
) -> None:
    refused = await cloud.do("prompt", {**prompt_args(1), "mode": "semaphore"}, name="1.prompt")
    assert refused["error"]["code"] == "DeliveryFailed"
    assert "no such agent: semaphore" in refused["error"]["reason"]
    taken = await cloud.do("prompt", prompt_args(2), name="2.prompt")
    assert taken["status"] == "completed"
