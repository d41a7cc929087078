"""Sleep and wake with the real agents: what was said in one sandbox is known in the next."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_kit import AgentBox
from fake_cloud import Json
from object_store import ObjectStore
from runner_kit import SESSION_ID, clone_args
from work_kit import another, archive_args, archive_ref, upload_args

pytestmark = pytest.mark.anyio


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with ObjectStore().running() as running:
        yield running


async def test_a_woken_session_remembers_what_was_said_and_has_its_files(
    prepared: AgentBox,
    sample: str,
    store: ObjectStore,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (prepared.sandbox.repository / "notes.txt").write_text("lit")
    await prepared.prompt(1, "Where is the lamp?")
    saved = await _save(prepared, store)
    await prepared.sandbox.stop()

    async with another(tmp_path / "second") as (cloud, sandbox):
        woken = AgentBox(prepared.agent, cloud, sandbox, prepared.model)
        args = woken.agent_args()
        await woken.succeed("clone", clone_args(sample, archive=saved, agent=args))
        restore = {"agent": woken.agent, "sessionId": SESSION_ID, "title": ""}
        await woken.succeed("restore", restore)
        await woken.succeed("agent", args)
        ended = await woken.prompt(2, "And the horn?")

        assert ended["error"] is None
        assert "Where is the lamp?" in woken.said(2)
        # What was imported beside the server that got ready meanwhile is what it knows.
        assert "is replaced" not in caplog.text
        assert (sandbox.repository / "notes.txt").read_text() == "lit"
        asked = [m for m in woken.export()["messages"] if m["info"]["role"] == "user"]
        assert len(asked) == 2


@pytest.mark.long
async def test_a_session_is_found_where_its_variables_say_that_the_agent_keeps_it(
    box: AgentBox, sample: str, store: ObjectStore
) -> None:
    for number, name in enumerate(("HOME", "XDG_DATA_HOME"), start=1):
        variables = {name: str(box.sandbox.config.workspace / name), "DEMO_AGENT_SECONDS": "0.2"}
        agent = box.agent_args(env=variables)
        if number == 1:
            await box.succeed("clone", clone_args(sample))
        await box.succeed("restore", box.restore_args(agent), f"{number}.restore")
        await box.succeed("agent", agent, f"{number}.agent")
        assert (await box.prompt(number, "Where is the lamp?"))["error"] is None
        assert (box.sandbox.config.workspace / name).is_dir()


async def _save(box: AgentBox, store: ObjectStore) -> Json:
    # Where there is a registry opencode installs packages of its own into HOME.
    args = archive_args(agent=box.agent, maxBytes=10**9)
    made = {"output": await box.succeed("archive", args)}
    await box.succeed("upload", upload_args(store, made))
    return archive_ref(store, made)
