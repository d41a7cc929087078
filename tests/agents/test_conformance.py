"""What every agent must do, whatever it is: the contract of an adapter, with the real program."""

import asyncio
import os
import re
import signal
from pathlib import Path

import httpx
import pytest
from agent_kit import AgentBox
from fake_cloud import FakeCloud
from runner_kit import SESSION_ID, clone_args, eventually, processes, prompt_args, started

pytestmark = pytest.mark.anyio


async def test_a_prompt_is_answered_in_a_stream_and_its_turn_ends_once(prepared: AgentBox) -> None:
    await prepared.slow_down()
    # What is said in an instant may come in one piece, however it was streamed.
    ended = await prepared.prompt(1, "Where is the lamp? " + "Ahoy! " * 100)

    assert ended["error"] is None
    assert not ended["interrupted"]
    assert ended["usage"]["outputTokens"] > 0
    [answer] = prepared.parts(1, "text")
    assert "Where is the lamp?" in answer["text"]
    deltas = prepared.cloud.of("agent.delta", partId=answer["partId"])
    assert len(deltas) > 2
    shown = ""
    for delta in deltas:
        assert delta["offset"] == len(shown)
        shown += delta["text"]
    assert answer["text"].startswith(shown)
    await asyncio.sleep(1)
    assert len(prepared.cloud.of("turn.ended")) == 1


@pytest.mark.long
@pytest.mark.usefixtures("with_model")
async def test_a_command_that_fails_is_told_with_its_exit_code(box: AgentBox, sample: str) -> None:
    # Kilo asks before most commands, where nobody has allowed them.
    await box.prepare(sample, env={f"{box.agent.upper()}_PERMISSION": '{"bash": "allow"}'})
    await box.prompt(1, "run: echo so far; exit 7")
    await box.prompt(2, "run: echo fine")

    assert box.cloud.of("input.requested") == []
    for number, code in ((1, 7), (2, 0)):
        [done] = [part for part in box.parts(number, "tool") if part["status"] != "running"]
        assert (done["status"], done["exitCode"]) == ("completed", code)


async def test_the_agent_knows_the_session_by_our_id_and_a_follow_up_what_was_said(
    prepared: AgentBox,
) -> None:
    first = await prepared.deliver(1, "Where is the lamp?")
    await prepared.ended(1)
    second = await prepared.deliver(2, "And the horn?")
    await prepared.ended(2)

    assert "Where is the lamp?" in prepared.said(2)
    exported = prepared.export()
    assert exported["info"]["id"] == SESSION_ID
    asked = [m["info"]["id"] for m in exported["messages"] if m["info"]["role"] == "user"]
    assert asked == [first, second]
    assert prepared.leftovers() == []


async def test_an_aborted_turn_ends_once_and_nothing_of_it_ends_the_next(
    prepared: AgentBox,
) -> None:
    await prepared.slow_down()
    await prepared.deliver(1, "slow, please")
    await prepared.cloud.until(lambda: prepared.cloud.of("agent.delta", turnId="trn_1"))
    await prepared.succeed("abort", {"turnId": "trn_1"}, "trn_1.abort")
    ended = await prepared.ended(1)
    second = await prepared.prompt(2, "Where is the lamp?")

    assert (ended["interrupted"], ended["error"]) == (True, None)
    assert (second["interrupted"], second["error"]) == (False, None)
    assert "Where is the lamp?" in prepared.said(2)
    await asyncio.sleep(1)
    assert len(prepared.cloud.of("turn.ended")) == 2


@pytest.mark.long
async def test_a_turn_aborted_before_its_message_is_there_ends_once_and_does_nothing(
    prepared: AgentBox,
) -> None:
    await prepared.slow_down()
    await prepared.succeed("abort", {"turnId": "trn_1"}, "trn_1.abort")
    await prepared.deliver(1, "slow, please")
    ended = await prepared.ended(1)
    second = await prepared.prompt(2, "Where is the lamp?")

    assert (ended["interrupted"], ended["error"]) == (True, None)
    assert (second["interrupted"], second["error"]) == (False, None)
    assert "Where is the lamp?" in prepared.said(2)
    assert len(prepared.cloud.of("turn.ended")) == 2


async def test_an_agent_that_dies_fails_its_turn_and_comes_back_with_its_memory(
    prepared: AgentBox,
) -> None:
    await prepared.slow_down()
    await prepared.deliver(1, "slow, please")
    await prepared.cloud.until(lambda: prepared.cloud.of("agent.delta", turnId="trn_1"))
    os.kill(_server(prepared), signal.SIGKILL)
    ended = await prepared.ended(1)
    await prepared.prompt(2, "And the horn?")

    assert ended["error"]["code"] == "AgentCrashed"
    assert "slow, please" in prepared.said(2)


async def test_the_server_wants_its_password_and_leaves_with_the_runner(
    prepared: AgentBox,
) -> None:
    server = _server(prepared)
    async with httpx.AsyncClient() as stranger:
        answer = await stranger.get(f"http://127.0.0.1:{_port(server)}/session/{SESSION_ID}")
    assert answer.status_code == 401

    await prepared.sandbox.stop()

    await eventually(lambda: not Path(f"/proc/{server}").exists())


@pytest.mark.long
async def test_a_running_agent_stays_and_another_environment_starts_it_anew(
    prepared: AgentBox, caplog: pytest.LogCaptureFixture
) -> None:
    # What got ready beside the clone is what was taken: nothing that agents do by themselves at
    # their start looks as if somebody else had changed their settings.
    assert "is replaced" not in caplog.text
    first = _server(prepared)
    await prepared.succeed("agent", prepared.agent_args(), "1.agent.2")
    assert _server(prepared) == first
    changed = prepared.agent_args(env={"CI": "1", "DEMO_AGENT_SECONDS": "0.2"})
    await prepared.succeed("agent", changed, "1.agent.3")
    assert _server(prepared) != first


@pytest.mark.long
async def test_a_session_that_the_agent_does_not_have_is_a_failure_in_words(
    box: AgentBox, sample: str
) -> None:
    await box.prepare(sample)
    unknown = SESSION_ID[:-4] + "none"

    result = await box.begin("agent", box.agent_args(sessionId=unknown), "1.agent.2")

    assert result["error"]["code"] == "WorkspaceGone"
    assert "no longer has the session" in result["error"]["reason"]


async def test_an_agent_that_the_sandbox_does_not_have_is_a_failure_in_words(
    cloud: FakeCloud, tmp_path: Path, sample: str
) -> None:
    async with started(cloud, tmp_path, path="/usr/bin:/bin"):
        agent = {"agent": "kilo", "sessionId": SESSION_ID, "mode": "code"}
        await cloud.do("clone", clone_args(sample, agent=agent))
        result = await cloud.do("agent", agent)

    assert result["error"]["code"] == "AgentUnavailable"
    assert "This sandbox has no kilo" in result["error"]["reason"]


@pytest.mark.long
async def test_delivering_one_message_again_does_not_reach_the_agent_twice(
    prepared: AgentBox,
) -> None:
    await prepared.prompt(1, "Where is the lamp?")
    again = await prepared.cloud.do("prompt", prompt_args(1), name="msg_1.prompt.2")
    await prepared.prompt(2, "And the horn?")

    assert again["status"] == "completed"
    users = [m for m in prepared.export()["messages"] if m["info"]["role"] == "user"]
    assert len(users) == 2


def _port(server: int) -> int:
    line = Path(f"/proc/{server}/cmdline").read_bytes().decode().replace("\0", " ")
    return int(re.findall(r"--port (\d+)", line)[0])


def _folder(pid: int) -> Path:
    """Return where a process is, the root for one that has just ended."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return Path("/")


def _server(box: AgentBox) -> int:
    """Return the process id of the agent's server in this sandbox, of Kilo's two the first."""
    workspace = str(box.sandbox.config.workspace.parent)
    servers = [
        pid
        for pid in processes("serve --hostname 127.0.0.1")
        if _folder(pid).is_relative_to(workspace)
    ]
    return min(servers)
