"""The workspace of one sandbox in the next: all of it, byte for byte, and the same session."""

from pathlib import Path

import pytest
from fake_cloud import FakeCloud
from object_store import ObjectStore
from runner_kit import Sandbox, agent_args, clone_args, prompt_args, setup_args
from work_kit import (
    SESSIONS,
    another,
    begin,
    differences,
    done,
    manifest_of,
    restore_args,
    save,
    work_on,
)

pytestmark = pytest.mark.anyio


async def test_the_work_and_the_session_go_on_in_another_sandbox(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore, tmp_path: Path
) -> None:
    await begin(cloud, sample)
    await done(cloud, "prompt", prompt_args(1, "Where is the lamp?"), name="msg_1.prompt")
    await cloud.turn_ended("trn_1")
    work_on(sandbox.repository)
    before = manifest_of(sandbox.config.workspace, without=SESSIONS)
    saved = await save(cloud, store)

    assert cloud.results["1.archive"]["output"]["leftOut"] == []
    async with another(tmp_path / "b") as (second, box):
        cloned = await done(second, "clone", clone_args(sample, archive=saved))
        assert cloned["output"]["adopted"] == "archive"
        after = manifest_of(box.config.workspace)
        assert differences(before, after) == {}
        restored = await done(second, "restore", restore_args())
        assert restored["output"] == {"imported": True, "missing": None}

        await done(second, "agent", agent_args())
        await done(second, "prompt", prompt_args(2, "And the horn?"), name="msg_2.prompt")
        assert (await second.turn_ended("trn_2"))["error"] is None
        said = [e["data"].get("text", "") for e in second.of("agent.event", turnId="trn_2")]
        assert any("Where is the lamp?" in text for text in said)

        (box.repository / "since").write_text("newer than what was saved")
        again = await second.do("clone", clone_args(sample, archive=saved), name="2.clone")
        assert again["output"]["cached"] is True
        restored = await second.do("restore", restore_args(), name="2.restore")
        assert restored["output"] == {"imported": True, "missing": None}
        assert (box.repository / "since").exists()


@pytest.mark.parametrize(
    "script", ["rm .git/config; mkfifo .git/config", "rm -rf .git; ln -s /proc .git"]
)
async def test_a_repository_that_git_comes_to_no_end_in_is_put_back_all_the_same(
    cloud: FakeCloud,
    sandbox: Sandbox,
    sample: str,
    *,
    store: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
) -> None:
    monkeypatch.setattr("headstart_runner.steps.adopt._LOOK_SECONDS", 1)
    monkeypatch.setattr("headstart_runner.steps.archive._CHANGES_SECONDS", 1)
    await begin(cloud, sample)
    await done(cloud, "setup", setup_args(script))
    before = manifest_of(sandbox.repository)
    saved = await save(cloud, store)
    async with another(tmp_path / "b") as (second, box):
        cloned = await done(second, "clone", clone_args(sample, archive=saved))
        assert cloned["output"]["adopted"] == "archive"
        assert differences(before, manifest_of(box.repository)) == {}
