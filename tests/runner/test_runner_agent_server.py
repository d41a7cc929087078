"""The agent's server: started, kept, started again, and in words when it is not."""

import asyncio
import os
import re
import signal
from typing import Any

import pytest
from fake_cloud import FakeCloud
from runner_kit import Sandbox, agent_args, agents, ended, eventually, prepare, prompt_args

from headstart.domain.command_args import AgentArgs
from headstart.domain.errors import AgentStartFailed
from headstart_runner.agents import monitor, supervisor
from headstart_runner.agents.http import AgentClient
from headstart_runner.agents.supervisor import Supervisor
from headstart_runner.processes.launcher import Tree

pytestmark = pytest.mark.anyio


def _nothing(_: Tree) -> None:
    """Leave one that is stopped as one that hangs by itself."""


async def test_an_agent_that_dies_in_a_turn_ends_it_and_is_started_again(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    await prepare(cloud, sample, DEMO_AGENT_SECONDS="30")
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    await cloud.until(lambda: cloud.of("agent.delta"))
    [pid] = agents()
    os.kill(pid, signal.SIGKILL)

    turn = await cloud.turn_ended("trn_1")
    assert turn["error"]["code"] == "AgentCrashed"
    how = r'signal 9; the last it printed was "demo agent listening on .*"'
    assert re.search(f"The agent crashed: {how}$", turn["error"]["reason"])
    await eventually(lambda: agents() not in ([], [pid]))
    await cloud.do("prompt", prompt_args(2), name="msg_2.prompt")
    await cloud.cancel("msg_2.prompt")
    interrupted = await cloud.turn_ended("trn_2")
    assert (interrupted["error"], interrupted["interrupted"]) == (None, True)


async def test_an_agent_that_hangs_in_a_turn_ends_it_and_is_started_again(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "_CHECK_SECONDS", 0.2)
    monkeypatch.setattr(monitor, "_UNANSWERED_CHECKS", 3)
    monkeypatch.setattr(Tree, "resume", _nothing)
    await prepare(cloud, sample, DEMO_AGENT_SECONDS="1")
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    await cloud.until(lambda: cloud.of("agent.delta"))
    [pid] = agents()
    os.kill(pid, signal.SIGSTOP)

    turn = await cloud.turn_ended("trn_1")
    assert turn["error"]["code"] == "AgentCrashed"
    assert "answered nothing" in turn["error"]["reason"]
    monkeypatch.setattr(monitor, "_CHECK_SECONDS", 30.0)
    await eventually(lambda: agents() not in ([], [pid]))
    await cloud.do("prompt", prompt_args(2), name="msg_2.prompt")
    assert (await cloud.turn_ended("trn_2"))["error"] is None


async def test_an_agent_that_is_stopped_in_a_turn_goes_on_with_it(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "_CHECK_SECONDS", 0.5)
    await prepare(cloud, sample, DEMO_AGENT_SECONDS="1")
    before = agents()
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    await cloud.until(lambda: cloud.of("agent.delta"))
    os.kill(before[0], signal.SIGSTOP)

    assert (await cloud.turn_ended("trn_1"))["error"] is None
    assert agents() == before


async def test_an_agent_that_is_stopped_between_turns_goes_on_for_the_next_message(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = agents()
    os.kill(before[0], signal.SIGSTOP)
    monkeypatch.setattr(supervisor, "_DOUBT_SECONDS", 0.2)
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")

    assert (await cloud.turn_ended("trn_1"))["error"] is None
    assert agents() == before


async def test_an_agent_that_hangs_between_turns_is_started_again_for_the_next_message(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    [pid] = agents()
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(Tree, "resume", _nothing)
    monkeypatch.setattr(supervisor, "_DOUBT_SECONDS", 0.2)
    monkeypatch.setattr(monitor, "_CHECK_SECONDS", 0.2)
    done = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    monkeypatch.setattr(monitor, "_CHECK_SECONDS", 30.0)
    assert done["status"] == "completed"
    assert (await cloud.turn_ended("trn_1"))["error"] is None
    assert agents() not in ([], [pid])


async def test_an_agent_that_dies_before_it_is_killed_for_its_silence_is_told_as_it_died(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "_CHECK_SECONDS", 0.2)
    monkeypatch.setattr(monitor, "_UNANSWERED_CHECKS", 1)
    await prepare(cloud, sample, DEMO_AGENT_SECONDS="30")
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    await cloud.until(lambda: cloud.of("agent.delta"))
    real = Tree.finished

    async def finished(tree: Tree) -> int:
        monkeypatch.setattr(Tree, "finished", real)
        await real(tree)
        return 3

    monkeypatch.setattr(Tree, "finished", finished)
    monkeypatch.setattr(Tree, "resume", _nothing)
    os.kill(agents()[0], signal.SIGSTOP)

    reason = (await cloud.turn_ended("trn_1"))["error"]["reason"]
    monkeypatch.setattr(monitor, "_CHECK_SECONDS", 30.0)
    assert reason.startswith("The agent crashed: exit status 3;")


async def test_an_agent_that_misses_a_check_now_and_then_stays(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "_CHECK_SECONDS", 0.01)
    monkeypatch.setattr(monitor, "_UNANSWERED_CHECKS", 3)
    before: list[int] = []
    asked: list[int] = []
    enough = asyncio.Event()
    real = AgentClient.health

    async def health(client: AgentClient, *_: Any) -> str | None:
        if not before:  # It may take longer than from one check to the next.
            return await real(client)
        asked.append(1)
        if len(asked) == 20:
            enough.set()
        return None if len(asked) % 3 else "1.0.0"

    monkeypatch.setattr(AgentClient, "health", health)
    await prepare(cloud, sample)
    before += agents()
    async with asyncio.timeout(20):
        await enough.wait()

    assert agents() == before


async def test_an_agent_that_died_before_it_was_given_the_message_fails_no_turn(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    [pid] = agents()
    real = AgentClient.prompt
    tries = []

    async def prompt(self: AgentClient, session_id: str, body: dict[str, Any]) -> None:
        tries.append(1)
        if len(tries) == 1:
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda: ended(pid))
        await real(self, session_id, body)

    monkeypatch.setattr(AgentClient, "prompt", prompt)
    done = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    turn = await cloud.turn_ended("trn_1")

    assert done["status"] == "completed"
    assert turn["error"] is None
    assert [e for e in cloud.of("agent.event", turnId="trn_1") if e["data"]["kind"] == "text"]
    assert len(tries) == 2


async def test_an_agent_that_keeps_dying_stays_down_until_a_person_asks_for_it(
    cloud: FakeCloud,
    prepared: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    up = asyncio.Event()
    up.set()
    real, broken = Supervisor._start, False

    async def start(self: Supervisor, args: AgentArgs, seconds: float, *, new: bool = False) -> str:
        if broken:
            raise AgentStartFailed("demo ended while starting")
        version = await real(self, args, seconds, new=new)
        up.set()
        return version

    monkeypatch.setattr(Supervisor, "_start", start)
    for _ in range(4):
        async with asyncio.timeout(20):
            await up.wait()
        up.clear()
        [pid] = agents()
        os.kill(pid, signal.SIGKILL)
    await eventually(lambda: "the agent stays down" in caplog.text)
    assert not agents()
    broken = True
    failed = await cloud.do("prompt", prompt_args(), name="msg_1.prompt.1")
    broken = False
    done = await cloud.do("prompt", prompt_args(), name="msg_1.prompt.2")

    assert failed["error"]["code"] == "DeliveryFailed"
    assert failed["error"]["reason"].startswith(
        "The agent is not there (demo ended while starting)"
    )
    assert "another try starts it again" in failed["error"]["reason"]
    assert done["status"] == "completed"


async def test_an_agent_that_runs_with_the_same_arguments_stays(
    cloud: FakeCloud, prepared: Sandbox
) -> None:
    before = agents()
    same = await cloud.do("agent", agent_args(), name="1.agent.2")
    kept = agents()
    await cloud.do("agent", agent_args(OTHER="1"), name="1.agent.3")

    assert same["output"] == {"agent": "demo", "version": "1.0.0"}
    assert before == kept != agents()


@pytest.mark.parametrize("agent", ["nobody", "opencode"])
@pytest.mark.usefixtures("sandbox")
async def test_an_agent_that_is_not_there_is_told_before_anything_is_fetched(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch, agent: str
) -> None:
    monkeypatch.setattr("shutil.which", lambda program, **_: "/" in program or None)
    there = await cloud.do("disk", {"minFreeBytes": 1, "agent": "demo"}, name="1.disk.1")
    failed = await cloud.do("disk", {"minFreeBytes": 1, "agent": agent}, name="1.disk.2")

    assert there["status"] == "completed"
    assert failed["error"]["code"] == "AgentUnavailable"
    assert not failed["error"]["retryable"]
    assert failed["error"]["reason"].startswith(f"This sandbox has no {agent}, only demo: ")


async def test_an_agent_that_does_not_start_says_why(
    cloud: FakeCloud, sandbox: Sandbox, sample: str
) -> None:
    sandbox.make_repository()
    unknown = await cloud.do("agent", {**agent_args(), "agent": "nobody"})
    broken = await cloud.do("agent", agent_args(DEMO_AGENT_SECONDS="x"), name="1.agent.2")
    early = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")

    assert unknown["error"]["code"] == "AgentUnavailable"
    assert not unknown["error"]["retryable"]
    assert "demo" in unknown["error"]["reason"]
    assert broken["error"]["code"] == "AgentStartFailed"
    assert "could not convert string to float" in broken["error"]["reason"]
    assert early["error"]["code"] == "DeliveryFailed"
