"""A runner that is killed in the middle, and the next one with the same state directory."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_cloud import BOOTSTRAP_KEY, RESUME_KEY, FakeCloud
from runner_kit import (
    AGENT_UID,
    SESSION_ID,
    Repositories,
    agent_args,
    behaving,
    clone_args,
    eventually,
    prepare,
    processes,
    prompt_args,
    setup_args,
)

from headstart_runner.conversation.courier import Delivery
from headstart_runner.journal import DeliveryState, Journal

pytestmark = pytest.mark.anyio


class Process:
    """A runner in a process of its own."""

    def __init__(self, cloud: FakeCloud, folder: Path) -> None:
        self.workspace = folder / "workspace"
        self.state = folder / "state"
        self.log = folder / "log"
        self._environment = {
            "PATH": os.environ["PATH"],
            "HEADSTART_URL": cloud.url,
            "HEADSTART_SESSION_ID": SESSION_ID,
            "HEADSTART_KEY": BOOTSTRAP_KEY,
            "HEADSTART_ATTEMPT": "1",
            "HEADSTART_WORKSPACE": str(self.workspace),
            "HEADSTART_STATE_DIR": str(self.state),
            "HEADSTART_BATCH_MS": "20",
        }
        if AGENT_UID is not None:
            self._environment["HEADSTART_AGENT_UID"] = str(AGENT_UID)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **changes: str) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", "headstart_runner"],
                env={**self._environment, **changes},
                stderr=log,
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def kill(self, number: int = signal.SIGKILL) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, 15)

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(15)

    def journal(self) -> Journal:
        return Journal(self.state)


@pytest.fixture
def runner(cloud: FakeCloud, tmp_path: Path) -> Iterator[Process]:
    process = Process(cloud, tmp_path)
    process.start()
    yield process
    process.end()


def nothing_left(runner: Process) -> bool:
    return not processes(str(runner.workspace))


async def test_children_die_with_a_killed_runner_and_the_next_one_goes_on(
    cloud: FakeCloud, runner: Process, sample: str
) -> None:
    await cloud.do("clone", clone_args(sample))
    await cloud.start("setup", setup_args("setsid -f sleep 64.1; sleep 64.1"))
    await eventually(lambda: len(processes("sleep 64.1")) == 2)
    await runner.kill()
    await eventually(lambda: not processes("sleep 64.1"))
    cloud.results.pop("1.clone.1")
    runner.start()

    failed = await cloud.result("1.setup.1")
    assert failed["error"]["code"] == "SandboxStopped"
    again = await cloud.do("clone", clone_args(sample))
    assert "cached" not in again["output"]
    assert cloud.keys_used == [BOOTSTRAP_KEY, RESUME_KEY]
    first, second = cloud.hellos
    assert first.process != second.process
    assert second.last_seq > 0


async def test_a_batch_without_an_ack_is_sent_again_by_the_next_runner(
    cloud: FakeCloud, runner: Process
) -> None:
    cloud.on_report = lambda _, __: None
    await cloud.start("disk", {"minFreeBytes": 1})
    await cloud.until(lambda: cloud.raw_reports)
    await runner.kill()
    cloud.on_report = lambda _, __: True
    runner.start()

    await cloud.result("1.disk.1")
    await cloud.do("disk", {"minFreeBytes": 1}, name="1.disk.2")
    assert cloud.raw_reports[0] == cloud.raw_reports[1]
    assert cloud.hellos[1].last_seq == 1


async def test_a_step_that_may_be_repeated_is_done_again_without_being_asked(
    cloud: FakeCloud, runner: Process, repositories: Repositories
) -> None:
    url = repositories.make("slow", {"a": "1"})
    with behaving(repositories.server, delay_seconds=30):
        await cloud.start("clone", clone_args(url))
        await eventually(lambda: processes(url))
        await runner.kill()
        await eventually(lambda: nothing_left(runner))
    # With the door shut git may end, and take its folder away, before it is killed.
    assert len(list(runner.workspace.glob(".headstart-clone-*"))) <= 1
    runner.start()

    assert (await cloud.result("1.clone.1"))["status"] == "completed"
    assert list(runner.workspace.glob(".headstart-clone-*")) == []


async def test_a_turn_that_was_going_on_ends_once_as_crashed(
    cloud: FakeCloud, runner: Process, sample: str
) -> None:
    await prepare(cloud, sample, DEMO_AGENT_SECONDS="30")
    delivered = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    await cloud.until(lambda: cloud.of("agent.delta"))
    await runner.kill()
    cloud.results.clear()
    runner.start()

    ended = await cloud.turn_ended("trn_1")
    assert ended["error"]["code"] == "AgentCrashed"
    again = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    assert again == delivered
    messages = await cloud.do("agent", agent_args(), name="1.agent.2")
    assert messages["status"] == "completed"
    second = await cloud.do("prompt", prompt_args(2), name="msg_2.prompt")
    assert second["output"]["agentMessageId"] > delivered["output"]["agentMessageId"]
    await cloud.turn_ended("trn_2")
    said = [e["data"].get("text", "") for e in cloud.of("agent.event", turnId="trn_2")]
    assert any("This follows what you asked before" in text for text in said)
    assert len(cloud.of("turn.ended", turnId="trn_1")) == 1


async def test_the_next_runner_knows_what_turn_was_to_be_stopped(
    cloud: FakeCloud, runner: Process, sample: str
) -> None:
    await prepare(cloud, sample, DEMO_AGENT_SECONDS="30")
    await cloud.do("abort", {"turnId": "trn_1"})
    before = await cloud.connected()
    await runner.kill()
    runner.start()
    await cloud.connected_anew(before)
    delivered = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")

    ended = await cloud.turn_ended("trn_1")
    assert delivered["status"] == "completed"
    assert (ended["error"], ended["interrupted"]) == (None, True)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(("minted", False, "completed"), marks=pytest.mark.long),
        ("posting", False, "DeliveryUnknown"),
        ("posting", True, "completed"),
    ],
)
async def test_a_delivery_that_was_interrupted_is_settled_by_looking(
    cloud: FakeCloud, runner: Process, sample: str, case: tuple[DeliveryState, bool, str]
) -> None:
    """The journal is put into the state in which a kill would have left it."""
    state, known, outcome = case
    await prepare(cloud, sample)
    if known:
        done = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
        await cloud.turn_ended("trn_1")
        agent_message_id = done["output"]["agentMessageId"]
        cloud.results.clear()
    else:
        agent_message_id = "msg_0000000000001" + "x" * 13
    await runner.kill()
    journal = runner.journal()
    args = prompt_args()
    frame = {"type": "command", "id": "msg_1.prompt", "kind": "prompt", "timeout": 60, "args": args}
    journal.begin_command("msg_1.prompt", json.dumps(frame))
    journal.put_delivery(Delivery("msg_1", agent_message_id, "trn_1", "msg_1.prompt", state))
    journal.close()
    runner.start()

    result = await cloud.result("msg_1.prompt")
    assert outcome in (result["status"], (result["error"] or {}).get("code"))
    if outcome == "completed":
        await cloud.until(lambda: cloud.of("turn.ended", turnId="trn_1"))
    users = [message for message in _messages(runner) if message["info"]["role"] == "user"]
    assert len(users) == (0 if outcome == "DeliveryUnknown" else 1)


async def test_a_message_that_was_released_again_is_found_by_the_next_runner(
    cloud: FakeCloud, runner: Process, sample: str
) -> None:
    """The journal is put into the state in which a kill in the middle would have left it."""
    await prepare(cloud, sample)
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt.1")
    await cloud.turn_ended("trn_1")
    await runner.kill()
    args = {**prompt_args(), "turnId": "trn_again"}
    frame = {
        "type": "command", "id": "msg_1.prompt.2", "kind": "prompt", "timeout": 60, "args": args
    }  # fmt: skip
    journal = runner.journal()
    journal.begin_command("msg_1.prompt.2", json.dumps(frame))
    journal.close()
    runner.start()

    assert (await cloud.result("msg_1.prompt.2"))["status"] == "completed"
    assert (await cloud.turn_ended("trn_again"))["error"] is None
    users = [message for message in _messages(runner) if message["info"]["role"] == "user"]
    assert len(users) == 1


def _messages(runner: Process) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "headstart_demo_agent", "export", SESSION_ID],
        env={"HOME": str(runner.workspace / "home")},
        check=True,
        capture_output=True,
    )
    exported: list[dict[str, Any]] = json.loads(done.stdout)["messages"]
    return exported


async def test_sigterm_ends_everything_politely(
    cloud: FakeCloud, runner: Process, sample: str
) -> None:
    await prepare(cloud, sample, DEMO_AGENT_SECONDS="30")
    await cloud.do("setup", setup_args("setsid -f sleep 64.2"))
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    await cloud.until(lambda: cloud.of("agent.delta"))

    assert await runner.kill(signal.SIGTERM) == 0
    assert processes("sleep 64.2") == []
    assert nothing_left(runner)
    assert (await cloud.turn_ended("trn_1"))["error"]["code"] == "SandboxStopped"


async def test_the_key_is_nowhere_a_child_could_look(
    cloud: FakeCloud, runner: Process, sample: str
) -> None:
    await prepare(cloud, sample)
    command = (
        "cat /proc/$PPID/environ; cat /proc/*/cmdline | tr '\\0' ' ' | grep -c bootstrap; true"
    )
    await cloud.do("setup", setup_args(command))

    assert BOOTSTRAP_KEY not in cloud.everything()
    assert BOOTSTRAP_KEY not in runner.log.read_text()
    assert (runner.state / "journal.db").stat().st_mode & 0o077 == 0
    assert runner.state.stat().st_mode & 0o077 == 0


async def test_a_wrong_environment_ends_with_a_status_of_its_own(
    cloud: FakeCloud, runner: Process
) -> None:
    await cloud.connected()
    second = Process(cloud, runner.workspace.parent)
    second.start(HEADSTART_ATTEMPT="none")
    assert await second.ended() == 78
    assert "attempt" in second.log.read_text()


@contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder that other users may enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.mark.skipif(os.geteuid() != 0 and AGENT_UID is None, reason="needs root, or the image")
async def test_the_commands_run_under_the_agents_uid_without_any_right(
    cloud: FakeCloud, sample: str
) -> None:
    uid = AGENT_UID or 54321
    with open_folder() as folder:
        runner = Process(cloud, folder)
        runner.start(HEADSTART_AGENT_UID=str(uid))
        try:
            cloned = await cloud.do("clone", clone_args(sample))
            assert cloned["status"] == "completed", cloned
            spying = (
                f"set +e; cat {runner.state}/journal.db /proc/{runner.pid}/environ; id -u > who;"
                " grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs|Groups)' /proc/self/status > rights"
            )
            done = await cloud.do("setup", setup_args(f"{spying}; true"))
            await cloud.until(lambda: cloud.of("progress", commandId="1.setup.1"))
        finally:
            runner.end()
        assert done["status"] == "completed", done
        who = runner.workspace / "repo" / "who"
        assert who.read_text() == f"{uid}\n"
        assert (who.stat().st_uid, who.stat().st_gid) == (uid, uid)
        rights = dict(line.split(":") for line in who.with_name("rights").read_text().splitlines())
        assert {name: value.strip() for name, value in rights.items()} == {
            **dict.fromkeys(("CapInh", "CapPrm", "CapEff", "CapAmb"), "0" * 16),
            "NoNewPrivs": "1",
            "Groups": "",
        }
        shown = "".join(event["output"] or "" for event in cloud.of("progress"))
        assert shown.count("Permission denied") == 2
