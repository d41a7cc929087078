"""A nanny that is killed: nothing that it watched over goes on beside what comes next."""

import os
import signal

import pytest
from fake_cloud import FakeCloud
from runner_kit import (
    Sandbox,
    agents,
    eventually,
    nanny_of,
    processes,
    prompt_args,
    setup_args,
)

from headstart_runner.processes import launcher

pytestmark = pytest.mark.anyio


async def test_its_agent_is_gone_before_the_next_one_is_there(
    cloud: FakeCloud, prepared: Sandbox
) -> None:
    # A child that it has just forked looks like itself for a moment.
    await eventually(lambda: len(agents()) == 1)
    [agent] = before = agents()
    os.kill(nanny_of(agent), signal.SIGKILL)
    await eventually(lambda: agents() not in ([], before))
    assert agent not in processes("headstart_demo_agent serve")
    assert (await cloud.do("prompt", prompt_args(), name="msg_1.prompt"))["status"] == "completed"


async def test_its_command_is_gone_with_what_that_started_when_the_step_fails(
    cloud: FakeCloud, prepared: Sandbox
) -> None:
    await cloud.start("setup", setup_args("sleep 65.1 & sleep 65.2; true"))
    await eventually(lambda: len([*processes("sleep 65.1"), *processes("sleep 65.2")]) == 4)
    [shell] = processes("sleep 65.1 &")
    os.kill(nanny_of(shell), signal.SIGKILL)

    assert (await cloud.result("1.setup.1"))["status"] == "failed"
    assert not [*processes("sleep 65.1"), *processes("sleep 65.2")]


async def test_its_command_dies_with_it_though_nobody_else_is_left_to_kill_it(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "kill_session", lambda _: None)
    await cloud.start("setup", setup_args("exec sleep 65.3"))
    await eventually(lambda: processes("sleep 65.3"))
    [command] = processes("sleep 65.3")
    os.kill(nanny_of(command), signal.SIGKILL)
    await eventually(lambda: not processes("sleep 65.3"))
