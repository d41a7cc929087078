"""Snapshots: what goes in and what is named as left out, where they go, and who waits for them."""

import asyncio
import io
import json
import os
import zipfile
from pathlib import Path

import pytest
from fake_cloud import FakeCloud
from object_store import SIGNATURE, ObjectStore
from runner_kit import (
    SAMPLE,
    SESSION_ID,
    Sandbox,
    agent_args,
    clone_args,
    eventually,
    git,
    processes,
    prompt_args,
    setup_args,
)
from work_kit import (
    another,
    begin,
    done,
    files_of,
    restore_args,
    save,
    snapshot_args,
    upload_args,
    wake,
)

from headstart_runner.agents.http import AgentClient
from headstart_runner.processes.nanny import descendants

pytestmark = pytest.mark.anyio


async def test_what_is_too_large_is_left_out_and_named(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore, tmp_path: Path
) -> None:
    await begin(cloud, store, sample)
    (sandbox.repository / "huge").write_bytes(bytes(100_001))
    (sandbox.repository / "README.md").write_bytes(bytes(100_002))
    (sandbox.repository / "fits").write_bytes(bytes(100_000))
    nested = sandbox.repository / "nested"
    git("init", "--quiet", str(nested), cwd=sandbox.repository)
    (nested / "inner").write_text("not ours")
    made = await save(cloud, store)
    assert made["output"]["skipped"] == ["README.md", "huge", "nested"]
    async with another(tmp_path / "b") as (second, box):
        await wake(second, store, sample, made)
        assert set(files_of(box.repository)) == {*SAMPLE, "fits"}
        assert (box.repository / "README.md").read_text() == SAMPLE["README.md"]


async def test_the_session_in_a_snapshot_holds_no_secret_and_still_wakes(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore, tmp_path: Path
) -> None:
    key, token, mcp = "sk-provider-uniq0001", "env-uniq0002-value", "mcp-uniq0003-value"
    servers = {"lamp": {"type": "remote", "headers": {"Authorization": f"Bearer {mcp}"}}}
    agent = agent_args(API_TOKEN=token) | {"secrets": {"KEY": key}, "mcpServers": servers}
    await begin(cloud, store, sample)
    await done(cloud, "agent", agent, name="1.agent.2")
    text = f'They are {key}, "{token}"\n and {mcp}; 😀 é.'
    await done(cloud, "prompt", prompt_args(1, text), name="msg_1.prompt")
    await cloud.turn_ended("trn_1")
    made = await save(cloud, store)

    with zipfile.ZipFile(io.BytesIO(store.objects["work"])) as file:
        saved = json.loads(file.read("session.json"))
    said = json.dumps(saved, ensure_ascii=False)
    assert not any(secret in said for secret in (key, token, mcp))
    [asked] = [m for m in saved["messages"] if m["info"]["role"] == "user"]
    clean = 'They are [redacted], "[redacted]"\n and [redacted]; 😀 é.'
    assert asked["parts"][0]["text"] == clean
    assert not any(secret in cloud.everything() for secret in (key, token, mcp))
    async with another(tmp_path / "b") as (second, _):
        assert (await wake(second, store, sample, made))["status"] == "completed"


async def test_presigned_urls_are_secrets(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore, tmp_path: Path
) -> None:
    await begin(cloud, store, sample)
    made = await save(cloud, store)
    signature = SIGNATURE.partition("=")[2]
    say = setup_args(f"echo {signature[:8]}'{signature[8:]}'; false")
    told = await cloud.do("setup", say)
    async with another(tmp_path / "b") as (second, _):
        await wake(second, store, sample, made)
        told_again = await second.do("setup", say)

    for result in (told, told_again):
        assert result["error"]["reason"].endswith("status 1: [redacted]")


async def test_work_over_the_whole_limit_is_not_saved_and_the_last_copy_stays(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore
) -> None:
    await begin(cloud, store, sample)
    made = await done(cloud, "snapshot", snapshot_args())
    for number in range(3):
        (sandbox.repository / f"part{number}").write_bytes(bytes(90_000))
    args = snapshot_args(maxBytes=200_000)
    failed = await cloud.do("snapshot", args, name="1.snapshot.2")

    assert failed["error"]["code"] == "SnapshotFailed"
    assert failed["error"]["reason"].startswith("the work is 0.3 MB")
    await done(cloud, "upload", upload_args(store, made))
    tiny = await cloud.do("snapshot", snapshot_args(maxBytes=10), name="1.snapshot.3")
    assert tiny["error"]["code"] == "SnapshotFailed"
    [file] = (sandbox.config.state_dir / "snapshots").iterdir()
    assert file.stat().st_size == made["output"]["bytes"]


async def test_a_copy_that_is_not_what_was_saved_is_refused(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore
) -> None:
    await begin(cloud, store, sample)
    (sandbox.repository / "new").write_text("x")
    made = await save(cloud, store)
    data = store.objects.pop("work")
    store.objects |= {
        "changed": data[:50] + bytes([data[50] ^ 1]) + data[51:],
        "longer": data + b"x",
        "shorter": data[:-1],
        "another session": data,
    }
    # A new clone has nothing of the snapshot.
    other = clone_args(sample, upstreamBranch="main")
    await done(cloud, "clone", other, name="1.clone.2")
    for damage in [*store.objects, "missing"]:
        args = restore_args(store, made, damage)
        if damage == "another session":
            args["sessionId"] = SESSION_ID[:-1] + "0"
        refused = await cloud.do("restore", args, name=damage)

        assert refused["error"]["code"] == "RestoreFailed", damage
        assert "127.0.0.1" not in refused["error"]["reason"]
        assert not (sandbox.repository / "new").exists()
    assert SIGNATURE not in cloud.everything()
    assert list(sandbox.config.workspace.glob(".work*")) == []
    assert len(list((sandbox.config.state_dir / "snapshots").iterdir())) == 1


async def test_an_upload_is_tried_again_when_that_may_help(
    cloud: FakeCloud, prepared: Sandbox, store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("headstart_runner.snapshots.transfer._PAUSE_SECONDS", 0.01)
    made = await done(cloud, "snapshot", snapshot_args())
    for key, failures in {"worse": [500, 502, 503], "refused": [403]}.items():
        store.failures = failures
        result = await cloud.do("upload", upload_args(store, made, key), name=key)
        assert result["error"]["code"] == "SnapshotFailed"
        assert "status" in result["error"]["reason"]
    store.failures = [503, 0]
    await done(cloud, "upload", upload_args(store, made, "better"))

    assert set(store.objects) == {"better"}
    assert SIGNATURE not in cloud.everything() + capsys.readouterr().err


async def test_only_the_newest_copy_is_kept(
    cloud: FakeCloud, prepared: Sandbox, store: ObjectStore
) -> None:
    first = await done(cloud, "snapshot", snapshot_args())
    (prepared.repository / "new").write_text("x")
    await done(cloud, "snapshot", snapshot_args(), name="1.snapshot.2")
    for sha256 in (first["output"]["sha256"], "../../x", ""):
        args = upload_args(store, first) | {"sha256": sha256}
        failed = await cloud.do("upload", args, name=f"up{len(sha256)}")
        assert failed["error"]["code"] == "SnapshotFailed"
    assert len(list((prepared.config.state_dir / "snapshots").iterdir())) == 1


async def test_a_prompt_waits_for_the_snapshot_before_it(
    cloud: FakeCloud, prepared: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cloud.start("snapshot", snapshot_args())
    await cloud.do("prompt", prompt_args(), name="msg_1.prompt")
    results = [item["commandId"] for item in cloud.order if "status" in item]
    assert results[-2:] == ["1.snapshot.1", "msg_1.prompt"]
    await cloud.turn_ended("trn_1")

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("headstart_runner.desk.SNAPSHOT_SECONDS", 0.05)
    monkeypatch.setattr(AgentClient, "export", never)
    await cloud.start("snapshot", snapshot_args(), name="2.snapshot")
    await cloud.do("prompt", prompt_args(2), name="msg_2.prompt")
    assert "2.snapshot" not in cloud.results
    await cloud.turn_ended("trn_2")


def saving() -> set[int]:
    """Return the pids of what saves work below this process: others may be testing, too."""
    return {*processes("headstart_runner.snapshots.worktree")} & {*descendants()}


async def test_a_cancelled_snapshot_leaves_nothing(
    cloud: FakeCloud, prepared: Sandbox, store: ObjectStore
) -> None:
    index = prepared.repository / ".git" / "index"
    kept = index.read_bytes()
    index.unlink()
    os.mkfifo(index)
    await cloud.start("snapshot", snapshot_args())
    workspace, saved = prepared.config.workspace, prepared.config.state_dir / "snapshots"
    await eventually(saving)
    await cloud.cancel("1.snapshot.1")
    await eventually(lambda: not saving())
    await eventually(lambda: not list(workspace.glob(".work*")))
    await eventually(lambda: not list(saved.iterdir()))
    index.unlink()
    index.write_bytes(kept)
    made = await done(cloud, "snapshot", snapshot_args(), name="1.snapshot.2")
    await done(cloud, "upload", upload_args(store, made))
