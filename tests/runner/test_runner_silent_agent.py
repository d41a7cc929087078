"""An agent that can't tell its session costs no work: the last session that is known is saved."""

import io
import json
import os
import signal
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_cloud import FakeCloud, Json
from object_store import ObjectStore
from runner_kit import Sandbox, agent_args, agents, prompt_args
from work_kit import MOST_BYTES, another, begin, done, save, wake

from headstart.domain.errors import AgentStartFailed
from headstart_runner.agents import supervisor
from headstart_runner.agents.http import AgentClient
from headstart_runner.agents.supervisor import Supervisor
from headstart_runner.steps import archive

pytestmark = pytest.mark.anyio


def crashed_for_good(monkeypatch: pytest.MonkeyPatch) -> str:
    async def client(_: Supervisor) -> AgentClient:
        raise AgentStartFailed("it crashed too often")

    monkeypatch.setattr(Supervisor, "client", client)
    return "it crashed too often"


def hangs(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(archive, "_AGENT_SECONDS", 0.2)
    for pid in agents():
        os.kill(pid, signal.SIGSTOP)
    return "no answer in time"


def says_nonsense(monkeypatch: pytest.MonkeyPatch) -> str:
    async def strange(_: AgentClient, session_id: str, write: Callable[[bytes], object]) -> None:
        write(b'{"info": {"id": "' + session_id.encode() + b'\\x"')

    monkeypatch.setattr(AgentClient, "export", strange)
    return "makes no sense"


def says_too_much(monkeypatch: pytest.MonkeyPatch) -> str:
    async def endless(_: AgentClient, session_id: str, write: Callable[[bytes], object]) -> None:
        write(json.dumps({"info": {"id": session_id}, "messages": ["x" * MOST_BYTES]}).encode())

    monkeypatch.setattr(AgentClient, "export", endless)
    return "20.0 MB"


Fault = Callable[[pytest.MonkeyPatch], str]
FAULTS = [crashed_for_good, hangs, says_nonsense, says_too_much]


def parts(store: ObjectStore) -> dict[str, bytes]:
    """Return what is in the copy that was sent last."""
    with zipfile.ZipFile(io.BytesIO(store.objects["work/difference"])) as file:
        return {name: file.read(name) for name in file.namelist()}


async def talk(cloud: FakeCloud, number: int, text: str) -> list[str]:
    """Return what the agent says to a message."""
    await done(cloud, "prompt", prompt_args(number, text), name=f"msg_{number}.prompt")
    assert (await cloud.turn_ended(f"trn_{number}"))["error"] is None
    events = cloud.of("agent.event", turnId=f"trn_{number}")
    return [event["data"].get("text", "") for event in events]


async def awake(cloud: FakeCloud, sample: str, saved: Json) -> Json:
    """Wake with a copy up to the agent, and return what the restore answered."""
    restored = await wake(cloud, sample, saved)
    await done(cloud, "agent", agent_args())
    output: Json = restored["output"]
    return output


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_work_is_saved_with_the_session_of_the_copy_before(
    cloud: FakeCloud,
    sandbox: Sandbox,
    sample: str,
    store: ObjectStore,
    tmp_path: Path,
    *,
    fault: Fault,
) -> None:
    await begin(cloud, sample)
    await talk(cloud, 1, "Where is the lamp?")
    saved = await save(cloud, store)
    before = parts(store)["session.json"]
    (sandbox.repository / "new").write_text("not lost")
    with pytest.MonkeyPatch.context() as broken:
        why = fault(broken)
        saved = await save(cloud, store, saved)

    missing = cloud.results["2.archive"]["output"]["missing"]
    assert missing.startswith("the agent's session since the copy before (")
    assert why in missing
    assert parts(store)["session.json"] == before
    async with another(tmp_path / "b") as (second, box):
        assert (await awake(second, sample, saved))["missing"] == missing
        assert (box.repository / "new").read_text() == "not lost"
        said = await talk(second, 2, "And the horn?")
        assert any("Where is the lamp?" in text for text in said)


async def test_an_agent_that_was_only_stopped_goes_on_and_its_session_is_saved(
    cloud: FakeCloud,
    sandbox: Sandbox,
    sample: str,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "_DOUBT_SECONDS", 0.2)
    await begin(cloud, sample)
    await talk(cloud, 1, "Where is the lamp?")
    [pid] = agents()
    os.kill(pid, signal.SIGSTOP)
    await save(cloud, store)

    assert cloud.results["1.archive"]["output"]["missing"] is None
    assert b"Where is the lamp?" in parts(store)["session.json"]
    assert agents() == [pid]


@pytest.mark.parametrize(
    "fault", [FAULTS[0], *(pytest.param(fault, marks=pytest.mark.long) for fault in FAULTS[1:])]
)
async def test_without_any_copy_before_the_session_begins_anew(
    cloud: FakeCloud,
    sandbox: Sandbox,
    sample: str,
    store: ObjectStore,
    tmp_path: Path,
    *,
    fault: Fault,
) -> None:
    await begin(cloud, sample)
    (sandbox.repository / "new").write_text("not lost")
    with pytest.MonkeyPatch.context() as broken:
        why = fault(broken)
        saved = await save(cloud, store)

    missing = cloud.results["1.archive"]["output"]["missing"]
    assert missing.startswith("the agent's session, which begins anew (")
    assert why in missing
    assert "session.json" not in parts(store)
    async with another(tmp_path / "b") as (second, box):
        assert (await awake(second, sample, saved))["missing"] == missing
        assert (box.repository / "new").read_text() == "not lost"
        assert await talk(second, 2, "And the horn?")


async def test_a_session_that_was_put_back_is_saved_again_though_its_agent_never_came_up(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore, tmp_path: Path
) -> None:
    await begin(cloud, sample)
    await talk(cloud, 1, "Where is the lamp?")
    saved = await save(cloud, store)
    assert cloud.results["1.archive"]["output"]["missing"] is None
    async with another(tmp_path / "b") as (second, box):
        await wake(second, sample, saved)
        (box.repository / "new").write_text("not lost")
        again = await save(second, store, saved)
        assert "never started" in second.results["1.archive"]["output"]["missing"]
    async with another(tmp_path / "c") as (third, box):
        await awake(third, sample, again)
        assert (box.repository / "new").read_text() == "not lost"
        said = await talk(third, 2, "And the horn?")
        assert any("Where is the lamp?" in text for text in said)
