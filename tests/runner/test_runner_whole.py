"""Whole runs: from the first hello to the end of a turn, and what a follow-up knows."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from fake_cloud import BOOTSTRAP_KEY, RESUME_KEY, FakeCloud, Json
from runner_kit import (
    BRANCH,
    SESSION_ID,
    Repositories,
    Sandbox,
    agent_args,
    clone_args,
    prepare,
    prompt_args,
    setup_args,
    started,
)

from headstart.domain.command_kinds import CommandKind
from headstart_runner.agents.http import AgentClient
from headstart_runner.steps import STEP_KINDS

pytestmark = pytest.mark.anyio


async def test_a_session_is_prepared_and_its_prompt_answered(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    disk = await cloud.do("disk", {"minFreeBytes": 1})
    assert disk["output"]["totalBytes"] >= disk["output"]["freeBytes"] > 0
    cloned = await cloud.do("clone", clone_args(sample))
    assert cloned["output"] | {"bytes": 0, "commit": ""} == {
        "commit": "",
        "defaultBranch": "main",
        "bytes": 0,
        "empty": False,
        "notes": [],
        "adopted": None,
        "setup": None,
        "fetched": None,
    }
    branched = await cloud.do("branch", {"branch": BRANCH})
    commit = cloned["output"]["commit"]
    assert branched["output"] == {"branch": BRANCH, "commit": commit, "notes": []}
    restore = {"agent": "demo", "sessionId": SESSION_ID, "title": "Health"}
    assert (await cloud.do("restore", restore))["output"]["imported"] is False
    setup = await cloud.do("setup", setup_args("echo $CI > out.txt", CI="1"))
    assert [(c["command"], c["exitCode"]) for c in setup["output"]["commands"]] == [
        ("echo $CI > out.txt", 0)
    ]
    assert (sandbox.repository / "out.txt").read_text() == "1\n"
    agent = await cloud.do("agent", agent_args())
    assert agent["output"] == {"agent": "demo", "version": "1.0.0"}

    delivered = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")

    assert delivered["output"]["agentMessageId"].startswith("msg_")
    ended = await cloud.turn_ended("trn_1")
    assert ended["error"] is None
    assert ended["messageId"] == "msg_1"
    assert ended["usage"]["outputTokens"] > 0
    data = [event["data"] for event in cloud.of("agent.event", turnId="trn_1")]
    [said] = [item for item in data if item["kind"] == "text"]
    assert "keeps ships off the rocks" in said["text"]
    assert "`src/app.py:1`" in said["text"]
    assert "out.txt" in said["text"]
    tools = [item for item in data if item["kind"] == "tool"]
    assert [tool["status"] for tool in tools] == ["running", "completed"] * 3
    assert tools[1]["output"]
    deltas = cloud.of("agent.delta", partId=said["partId"])
    shown = ""
    for delta in deltas:
        assert delta["offset"] == len(shown)
        shown += delta["text"]
    assert said["text"].startswith(shown)
    assert len(shown) > 100


async def test_nothing_of_a_turn_comes_before_its_delivery(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = AgentClient.prompt

    async def slow(self: AgentClient, session_id: str, body: Json) -> None:
        await real(self, session_id, body)
        await cloud_sees_nothing(cloud)

    monkeypatch.setattr(AgentClient, "prompt", slow)
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    await cloud.turn_ended("trn_1")

    of_turn = [
        item
        for item in cloud.order
        if item.get("turnId") == "trn_1" or item.get("commandId") == "msg_1.prompt"
    ]
    assert of_turn[0]["commandId"] == "msg_1.prompt"
    assert of_turn[-1]["type"] == "turn.ended"


async def cloud_sees_nothing(cloud: FakeCloud) -> None:
    """Give the agent the time to answer, and the runner the time to tell too early."""
    await asyncio.sleep(0.5)
    assert cloud.of("agent.event") == []


async def test_a_follow_up_knows_the_earlier_prompt(cloud: FakeCloud, prepared: Sandbox) -> None:
    await cloud.do("prompt", prompt_args(1, "Where is the lamp?"), name="msg_1.prompt")
    await cloud.turn_ended("trn_1")
    await cloud.do("prompt", prompt_args(2, "And the horn?"), name="msg_2.prompt")
    ended = await cloud.turn_ended("trn_2")

    assert ended["error"] is None
    [said] = [
        event["data"]["text"]
        for event in cloud.of("agent.event", turnId="trn_2")
        if event["data"]["kind"] == "text"
    ]
    assert "Where is the lamp?" in said


async def test_an_empty_repository_is_answered_too(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    url = repositories.make("empty")
    restore = {"agent": "demo", "sessionId": SESSION_ID, "title": "Health"}
    cloned = await cloud.do("clone", clone_args(url))
    assert cloned["output"]["empty"] is True
    assert cloned["output"]["commit"] is None
    branched = await cloud.do("branch", {"branch": BRANCH})
    assert branched["output"] == {"branch": BRANCH, "commit": None, "notes": []}
    await cloud.do("restore", restore)
    await cloud.do("agent", agent_args())
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")

    assert (await cloud.turn_ended("trn_1"))["error"] is None
    said = [e["data"].get("text", "") for e in cloud.of("agent.event")]
    assert any("An empty repository" in text for text in said)


@pytest.mark.parametrize("kind", ["restore", "agent"])
async def test_an_agent_whose_program_is_not_here_is_a_failure_in_words(
    cloud: FakeCloud, tmp_path: Path, kind: str
) -> None:
    async with started(cloud, tmp_path, path="/nonexistent") as box:
        box.make_repository()
        await cloud.connected()
        saved = {"info": {"id": SESSION_ID}, "messages": []}
        (box.config.state_dir / "session.json").write_text(json.dumps(saved))
        failed = await cloud.do(kind, {**agent_args(), "agent": "opencode", "title": ""})

    assert failed["error"] == {
        "code": "AgentUnavailable",
        "reason": "This sandbox has no opencode, only demo: there is no program opencode on PATH. "
        "Start a session with one of these, or have the deployment's image hold it",
        "retryable": False,
    }


async def test_heartbeats_name_the_running_commands_and_the_turn(
    cloud: FakeCloud, tmp_path: Path, sample: str
) -> None:
    async with started(cloud, tmp_path, heartbeat_seconds=0.05):
        await prepare(cloud, sample, DEMO_AGENT_SECONDS="0.2")
        await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
        await cloud.until(lambda: (["msg_1.prompt"], "trn_1") in beats(cloud))
        await cloud.turn_ended("trn_1")
        seen = len(cloud.beats)
        await cloud.until(lambda: ([], None) in beats(cloud)[seen + 1 :])


def beats(cloud: FakeCloud) -> list[tuple[list[str], str | None]]:
    return list(zip(cloud.beats, cloud.turns, strict=True))


async def test_the_resume_key_replaces_the_bootstrap_key(
    cloud: FakeCloud, sandbox: Sandbox
) -> None:
    await cloud.connected()
    await cloud.drop()
    await cloud.until(lambda: len(cloud.hellos) == 2)

    assert cloud.keys_used == [BOOTSTRAP_KEY, RESUME_KEY]
    first, second = cloud.hellos
    assert (first.process, first.attempt_number) == (second.process, 1)


def test_every_kind_of_command_has_its_step() -> None:
    assert set(STEP_KINDS) == set(CommandKind)


def test_the_demo_agent_exports_what_it_imported(tmp_path: Path) -> None:
    document = {
        "info": {"id": SESSION_ID, "title": "Health"},
        "messages": [
            {
                "info": {"id": "msg_1", "sessionID": SESSION_ID, "role": "user"},
                "parts": [{"id": "prt_1", "messageID": "msg_1", "type": "text", "text": "hi"}],
            }
        ],
    }
    file = tmp_path / "session.json"
    file.write_text(json.dumps(document))

    def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "headstart_demo_agent", *arguments],
            env={"XDG_DATA_HOME": str(tmp_path)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    for _ in range(2):
        assert demo("import", str(file)).stdout == f"Imported session: {SESSION_ID}\n"
    exported = json.loads(demo("export", SESSION_ID).stdout)
    assert exported["messages"] == document["messages"]
    assert exported["info"]["title"] == "Health"
    assert demo("export", "ses_unknown").returncode == 1
