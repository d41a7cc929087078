"""What stands in the way of an agent that gets ready beside the clone; one that dies or hangs."""

import asyncio
import errno
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from math import inf
from pathlib import Path
from typing import Any

import pytest
from early_kit import (
    answered,
    begin,
    folders,
    locked,
    messages,
    own_temporary_files,
    ready,
    start,
)
from fake_cloud import FakeCloud
from runner_kit import (
    SESSION_ID,
    Sandbox,
    agent_args,
    agents,
    clone_args,
    ended,
    eventually,
    prompt_args,
)
from work_kit import restore_args

from headstart_runner.agents import AGENTS, server, supervisor
from headstart_runner.agents.http import AgentClient
from headstart_runner.conversation import courier

pytestmark = pytest.mark.anyio
__all__ = ["own_temporary_files"]

NOT_READY = "did not get ready beside the clone"


# A database that somebody holds


async def test_a_database_that_is_held_for_a_moment_is_waited_for(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, tmp_path: Path
) -> None:
    data = str(tmp_path / "data")
    with locked(tmp_path / "data"):
        await begin(cloud, sample, XDG_DATA_HOME=data)
        early = await ready()
        starting = asyncio.create_task(start(cloud, XDG_DATA_HOME=data))
        await cloud.until(lambda: "Waiting for demo, which is getting ready" in messages(cloud))

    assert (await starting)["status"] == "completed"
    assert agents() == [early]


async def test_a_database_that_is_held_for_ever_is_the_agents_step_to_tell(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, tmp_path: Path
) -> None:
    data = str(tmp_path / "data")
    with locked(tmp_path / "data"):
        cloned = await begin(cloud, sample, XDG_DATA_HOME=data)
        failed = await start(cloud, XDG_DATA_HOME=data)
        assert (agents(), folders()) == ([], [])
    done = await start(cloud, "2.agent", XDG_DATA_HOME=data)

    assert cloned["status"] == "completed"
    assert failed["error"]["code"] == "AgentStartFailed"
    assert "database is locked" in failed["error"]["reason"]
    assert done["status"] == "completed"


# A port that somebody else has


@asynccontextmanager
async def a_stranger(
    monkeypatch: pytest.MonkeyPatch, *, always: bool
) -> AsyncIterator[tuple[list[int], list[bytes]]]:
    """Answer as a healthy agent that has every session, where agents should: the first, or all.

    Yield the ports that were chosen for them, and what was asked.
    """
    held_port = server._held_port
    chosen: list[int] = []
    heard: list[bytes] = []
    serving: list[asyncio.Task[asyncio.Server]] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        body = b'{"version":"6.6.6"}'
        head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        writer.write(head + body)
        await writer.drain()
        writer.close()

    def taken() -> socket.socket:
        held = held_port()
        chosen.append(held.getsockname()[1])
        if always or len(chosen) == 1:
            listener = socket.create_server(("127.0.0.1", chosen[-1]))
            starting = asyncio.start_server(connected, sock=listener)
            serving.append(asyncio.ensure_future(starting))
        return held

    monkeypatch.setattr(server, "_held_port", taken)
    try:
        yield chosen, heard
    finally:
        for listening in await asyncio.gather(*serving):
            listening.close()


async def test_whoever_took_the_port_is_told_no_password_and_not_taken_for_the_agent(
    cloud: FakeCloud,
    sandbox: Sandbox,
    sample: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with a_stranger(monkeypatch, always=False) as (chosen, heard):
        await begin(cloud, sample)
        await eventually(lambda: NOT_READY in caplog.text)
        done = await start(cloud)

        assert done["output"]["version"] == "1.0.0"
        assert len(chosen) == 2
        assert await answered(cloud)
        assert heard == []


async def test_a_port_that_is_taken_in_the_agents_own_step_is_a_failure_in_words(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.make_repository()
    async with a_stranger(monkeypatch, always=True) as (_, heard):
        failed = await start(cloud)

    assert failed["error"]["code"] == "AgentStartFailed"
    assert "address already in use" in failed["error"]["reason"]
    assert heard == []
    assert (agents(), folders()) == ([], [])


async def test_a_port_is_given_to_nobody_else_until_the_agent_listens() -> None:
    with server._held_port() as held:
        port = held.getsockname()[1]
        with pytest.raises(OSError, match="Address already in use"), socket.socket() as other:
            other.bind(("127.0.0.1", port))
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", port):
            pass


# A server that dies, or hangs


async def test_one_that_dies_while_an_import_waits_for_it_costs_no_import(
    cloud: FakeCloud,
    sandbox: Sandbox,
    sample: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(AGENTS["demo"], "creates", False)
    data = str(tmp_path / "data")
    with locked(tmp_path / "data"):
        await begin(cloud, sample, XDG_DATA_HOME=data)
        early = await ready()
        args = {**restore_args(), "env": agent_args(XDG_DATA_HOME=data)["env"]}
        restoring = asyncio.create_task(cloud.do("restore", args))
        await cloud.until(lambda: "Waiting for demo, which is getting ready" in messages(cloud))
        os.kill(early, signal.SIGKILL)
        await eventually(lambda: ended(early))
    done = await restoring

    assert done["output"]["imported"] is True
    assert (await start(cloud, XDG_DATA_HOME=data))["status"] == "completed"
    assert len(agents()) == len(folders()) == 1


async def test_one_that_hangs_is_given_up_and_so_is_the_next_within_the_steps_own_time(
    cloud: FakeCloud,
    sandbox: Sandbox,
    sample: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def health(self: AgentClient, seconds: float = 1.0) -> str | None:
        return None

    monkeypatch.setattr(AgentClient, "health", health)
    monkeypatch.setattr(supervisor, "_EARLY_SECONDS", 2.0)
    monkeypatch.setattr(supervisor, "_TO_STOP_SECONDS", 1.5)
    await begin(cloud, sample)
    failed = await start(cloud, limit=6)

    assert NOT_READY in caplog.text
    assert failed["error"]["code"] == "AgentStartFailed"
    last = 'the last it printed was "demo agent listening on http://127.0.0.1:'
    assert f"demo did not become healthy within 2 s; {last}" in caplog.text
    assert "demo did not become healthy within" in failed["error"]["reason"]
    assert last in failed["error"]["reason"]
    said = messages(cloud)
    assert said.index("Waiting for demo, which is getting ready") < said.index("Starting demo")
    assert (agents(), folders()) == ([], [])


async def test_one_that_never_opens_the_session_is_given_up_within_the_steps_own_time(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await begin(cloud, sample)
    await ready()
    given = never_answered(monkeypatch, f"/session/{SESSION_ID}")
    monkeypatch.setattr(supervisor, "_TO_STOP_SECONDS", 1.5)
    failed = await start(cloud, limit=6)

    assert failed["error"]["code"] == "AgentStartFailed"
    assert "demo has not opened the session within" in failed["error"]["reason"]
    first, second = given
    assert 2 < first <= 3, "half of the step is left to another one"
    assert second < 3
    assert (agents(), folders()) == ([], [])


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/event", "demo opened the session and then told no event for"),
        pytest.param("/agent", "demo has not opened the session within", marks=pytest.mark.long),
    ],
)
async def test_one_that_answers_only_in_part_leaves_half_of_the_step_to_another(
    cloud: FakeCloud,
    sandbox: Sandbox,
    sample: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    *,
    path: str,
    why: str,
) -> None:
    await begin(cloud, sample)
    early = await ready()
    monkeypatch.setattr(supervisor, "_TO_STOP_SECONDS", 1.5)
    given = never_answered(monkeypatch, path, times=1)
    done = await start(cloud, limit=8)

    assert done["status"] == "completed"
    assert f"is replaced: {why}" in caplog.text
    assert path == "/event" or 3 < given[0] <= 4
    assert agents() not in ([], [early])


async def test_one_started_again_that_tells_no_event_holds_up_no_message_for_ever(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    [pid] = agents()
    never_answered(monkeypatch, "/event")
    monkeypatch.setattr(supervisor, "_RESTART_SECONDS", supervisor._TO_STOP_SECONDS + 3)
    monkeypatch.setattr(courier, "_CONNECT_TRIES", 1)
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: ended(pid))
    failed = await cloud.do("prompt", prompt_args(), name="msg_1.prompt")

    assert failed["error"]["code"] == "DeliveryFailed"
    assert "demo opened the session and then told no event for" in failed["error"]["reason"]


def never_answered(monkeypatch: pytest.MonkeyPatch, path: str, times: float = inf) -> list[Any]:
    """Leave without an answer who asks there so often; return how long each was to hear nothing."""
    given: list[Any] = []
    real = AgentClient._stream

    def stream(self: AgentClient, method: str, where: str, *rest: Any, **options: Any) -> Any:
        if where == path and len(given) < times:
            given.append(options["timeout"])
            return nothing()
        return real(self, method, where, *rest, **options)

    @asynccontextmanager
    async def nothing() -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    monkeypatch.setattr(AgentClient, "_stream", stream)
    return given


async def test_one_that_died_after_it_was_taken_is_not_told_as_healthy(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stay_down(self: supervisor.Supervisor) -> None:
        pass

    monkeypatch.setattr(supervisor.Supervisor, "_recover", stay_down)
    await begin(cloud, sample)
    await start(cloud)
    early = await ready()
    os.kill(early, signal.SIGKILL)
    await eventually(lambda: ended(early))
    again = await start(cloud, "2.agent")

    assert again["output"]["version"] == "1.0.0"
    assert len(agents()) == 1


# No room, no right


@pytest.mark.parametrize("broken", ["gone", "full"])
@pytest.mark.usefixtures("sandbox")
async def test_without_room_for_its_folder_it_fails_in_words_and_leaves_nothing(
    cloud: FakeCloud, sample: str, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    await cloud.do("clone", clone_args(sample))
    with monkeypatch.context() as broke:
        if broken == "gone":
            broke.setattr("tempfile.tempdir", "/proc/none")
        else:
            broke.setattr(Path, "write_text", _no_space)
        cloned = await begin(cloud, sample, "2.clone")
        failed = await start(cloud)

    assert cloned["status"] == "completed"
    assert failed["error"]["code"] == "AgentStartFailed"
    assert "demo has no folder to be started in: " in failed["error"]["reason"]
    assert folders() == []


@pytest.mark.usefixtures("sandbox")
async def test_without_room_for_its_file_an_import_fails_in_words(
    cloud: FakeCloud, sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AGENTS["demo"], "creates", False)
    await cloud.do("clone", clone_args(sample))
    with monkeypatch.context() as broke:
        broke.setattr("tempfile.tempdir", "/proc/none")
        failed = await cloud.do("restore", restore_args(), name="1.restore")
    done = await cloud.do("restore", restore_args(), name="2.restore")

    assert failed["error"]["code"] == "RestoreFailed"
    assert "demo could not import the session: [Errno 2]" in failed["error"]["reason"]
    assert done["output"]["imported"] is True


def _no_space(*_: Any, **__: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_without_room_in_home_it_fails_in_words(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, tmp_path: Path
) -> None:
    with tiny(tmp_path / "full") as full:
        cloned = await begin(cloud, sample, XDG_DATA_HOME=str(full))
        failed = await start(cloud, XDG_DATA_HOME=str(full))

    assert cloned["status"] == "completed"
    assert failed["error"]["code"] == "AgentStartFailed"
    assert "No space left on device" in failed["error"]["reason"]
    assert (agents(), folders()) == ([], [])


@contextmanager
def tiny(folder: Path) -> Iterator[Path]:
    """Mount a file system with room for nothing."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=1", "none", str(folder)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip("only root can mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
