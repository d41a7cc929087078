"""What the agents that work with a model must do: tools, permissions, keys, failing providers."""

import re
import time

import pytest
from agent_kit import PATIENCE, AgentBox
from fake_cloud import RESUME_KEY
from model_stub import KEY, MODEL
from runner_kit import prompt_args

from headstart_runner.conversation import courier, turn

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("with_model")]


async def test_a_file_is_written_by_a_tool_and_shown_as_it_begins_and_ends(
    prepared: AgentBox,
) -> None:
    ended = await prepared.prompt(1, "write notes.txt: the lamp is lit")

    assert ended["error"] is None
    assert (prepared.sandbox.repository / "notes.txt").read_text() == "the lamp is lit"
    tools = prepared.parts(1, "tool")
    assert [(tool["tool"], tool["status"]) for tool in tools] == [
        ("write", "running"),
        ("write", "completed"),
    ]
    assert tools[1]["input"]["content"] == "the lamp is lit"
    assert "Done:" in prepared.said(1)


async def test_the_model_gets_the_deployments_key_and_the_sessions_system_prompt(
    box: AgentBox, sample: str
) -> None:
    await box.prepare(sample, appendSystemPrompt="Mind the rocks.")
    await box.prompt(1, "Where is the lamp?")

    [call] = box.model.calls
    assert call.authorization == f"Bearer {KEY}"
    assert "Mind the rocks." in call.system
    assert len(call.system) > 1000, "the agent's own system prompt is still there"


@pytest.mark.long
async def test_the_key_is_in_no_report(prepared: AgentBox) -> None:
    await prepared.prompt(1, "run: printenv STUB_MODEL_KEY; echo the end")
    await prepared.prompt(2, f"Is it {KEY}?")

    [result] = [tool for tool in prepared.parts(1, "tool") if tool["status"] == "completed"]
    assert re.fullmatch(r"headstart-[\w-]{32}\nthe end\n", result["output"])
    assert KEY not in prepared.cloud.everything()
    assert RESUME_KEY not in prepared.cloud.everything()


@pytest.mark.long
async def test_a_refused_key_fails_the_turn_at_once(prepared: AgentBox) -> None:
    ended = await prepared.prompt(1, "fail 401")

    assert ended["error"]["code"] == "ProviderUnavailable"
    assert not ended["interrupted"]
    assert len(prepared.model.calls) == 1
    second = await prepared.prompt(2, "Where is the lamp?")
    assert second["error"] is None


@pytest.mark.long
async def test_a_provider_that_keeps_failing_is_given_up(
    prepared: AgentBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turn, "RETRYING_SECONDS", 4.0)
    began = time.monotonic()

    ended = await prepared.prompt(1, "fail 500")

    assert ended["error"]["code"] == "ProviderUnavailable"
    assert "kept failing" in ended["error"]["reason"]
    assert time.monotonic() - began < PATIENCE / 2
    assert prepared.cloud.of("turn.retrying", turnId="trn_1")
    calls = len(prepared.model.calls)
    assert calls > 1
    second = await prepared.prompt(2, "Where is the lamp?")
    assert second["error"] is None
    assert len(prepared.model.calls) == calls + 1, "the given up prompt is not tried any more"


@pytest.mark.long
async def test_an_agent_whose_configuration_makes_no_sense_says_so(
    box: AgentBox, sample: str
) -> None:
    if box.agent == "kilo":
        pytest.skip("Kilo leaves out what makes no sense")
    await box.prepare(sample)

    broken = box.agent_args(mcpServers={"lamp": {"type": "semaphore"}})
    result = await box.begin("agent", broken, "1.agent.2")

    assert result["error"]["code"] == "AgentStartFailed"
    assert "can't open the session" in result["error"]["reason"]


@pytest.mark.long
async def test_a_session_can_name_another_mode_and_model(prepared: AgentBox) -> None:
    args = prompt_args(1, "Where is the lamp?") | {"mode": "plan", "model": MODEL}
    await prepared.succeed("prompt", args, "msg_1.prompt")
    assert (await prepared.ended(1))["error"] is None

    [user] = [m["info"] for m in prepared.export()["messages"] if m["info"]["role"] == "user"]
    assert user["agent"] == "plan"


@pytest.mark.long
async def test_a_mode_that_the_agent_does_not_have_is_a_failure_in_words(
    box: AgentBox, sample: str
) -> None:
    await box.prepare(sample)

    result = await box.begin("agent", box.agent_args(mode="semaphore"), "1.agent.2")

    assert result["error"]["code"] == "AgentUnavailable"
    assert "no mode semaphore here: there are " in result["error"]["reason"]
    assert "plan" in result["error"]["reason"]


@pytest.mark.long
async def test_a_model_that_is_not_there_fails_the_turn(prepared: AgentBox) -> None:
    args = prompt_args(1, "Where is the lamp?") | {"model": "stub/none"}
    await prepared.succeed("prompt", args, "msg_1.prompt")
    ended = await prepared.ended(1)

    assert ended["error"]["code"] == "AgentRefused"
    assert "stub/none" in ended["error"]["reason"]


@pytest.mark.long
@pytest.mark.parametrize("seconds", [-60, 3600])
async def test_a_turn_with_a_tool_ends_whatever_the_clock_says(
    prepared: AgentBox, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    # A woken session brings ids of another machine's clock. Earlier versions of opencode compared
    # them with its own ids: no reply to an older one, no end after a newer one (opencode's issues
    # 24476 and 28618).
    await prepared.prompt(1, "Where is the lamp?")
    ticks = int((time.time() + seconds) * 1000) * 4096 & 0xFFFFFFFFFFFF
    monkeypatch.setattr(courier, "mint_message_id", lambda _: f"msg_{ticks:012x}{'A' * 14}")
    ended = await prepared.prompt(2, "write notes.txt: lit")

    assert ended["error"] is None
    assert (prepared.sandbox.repository / "notes.txt").read_text() == "lit"
    assert len(prepared.model.calls) == 3
