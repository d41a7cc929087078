"""A copy of the work that is no good, or put back in part, does no harm."""

import base64
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
from fake_cloud import FakeCloud, Json
from object_store import ObjectStore
from runner_kit import (
    BRANCH,
    Sandbox,
    clone_args,
    eventually,
)
from work_kit import (
    another,
    begin,
    done,
    restore_args,
    save,
    snapshot_args,
    state_of,
    wake,
    work_on,
)

pytestmark = pytest.mark.anyio


def poisoned(snapshot: bytes, **changes: object) -> bytes:
    """Return a snapshot whose work describes itself in another way."""
    made, tree = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(snapshot)) as old, zipfile.ZipFile(made, "w") as new:
        with (
            tarfile.open(fileobj=io.BytesIO(old.read("work.tar.gz"))) as work,
            tarfile.open(fileobj=tree, mode="w:gz") as changed,
        ):
            for entry in work:
                content = work.extractfile(entry)
                data = content.read() if content else b""
                if entry.name == "meta.json":
                    data = json.dumps({**json.loads(data), **changes}).encode()
                    entry.size = len(data)
                changed.addfile(entry, io.BytesIO(data))
        for name in ("about.json", "session.json"):
            new.writestr(name, old.read(name))
        new.writestr("work.tar.gz", tree.getvalue())
    return made.getvalue()


@pytest.mark.parametrize(
    "changes",
    [
        {"indexCommit": "--index-output={outside}"},
        {"headCommit": "HEAD"},
        {"headCommit": "--stdin"},
        {"branchCommit": "main"},
        {"headRef": "hooks/post-checkout"},
        {"headRef": "refs/heads/../../hooks/post-checkout"},
        {"headRef": "refs/remotes/origin/main"},
        {"headRef": "-d"},
        {"branch": "../../hooks/post-checkout"},
        {"shallow": ["--all"]},
        {"headRef": ["refs/heads/main"]},
    ],
)
async def test_a_description_that_is_more_than_ids_and_branches_is_refused(
    cloud: FakeCloud,
    sandbox: Sandbox,
    sample: str,
    store: ObjectStore,
    changes: dict[str, object],
) -> None:
    await begin(cloud, store, sample)
    (sandbox.repository / "README.md").write_text("changed\n")
    made = await save(cloud, store)
    folder = sandbox.config.workspace.parent
    outside = folder / "outside"
    changes = json.loads(json.dumps(changes).replace("{outside}", str(outside)))
    bad = store.objects["work"] = poisoned(store.objects["work"], **changes)
    made["output"] |= {
        "bytes": len(bad),
        "sha256": base64.b64encode(hashlib.sha256(bad).digest()).decode(),
    }
    async with another(folder / "b") as (second, box):
        refused = await wake(second, store, sample, made)

    assert refused["error"]["code"] == "RestoreFailed"
    assert "no sense" in refused["error"]["reason"]
    assert not outside.exists()
    assert not (box.repository / ".git" / "hooks").exists()


async def test_an_answer_of_what_did_not_end_well_is_not_believed(
    cloud: FakeCloud,
    sandbox: Sandbox,
    sample: str,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await begin(cloud, store, sample)
    answer = json.dumps({"headCommit": None, "skipped": [], "size": 0, "bytes": 0})
    for how in ("exit 3", "kill -9 $$"):
        say = ("sh", "-c", f"echo '{answer}' >&2; {how}")
        monkeypatch.setattr("headstart_runner.snapshots.archive._PROGRAM", say)
        failed = await cloud.do("snapshot", snapshot_args(), name=how)
        assert failed["error"]["code"] == "SnapshotFailed"
        assert "exit status" in failed["error"]["reason"]


async def test_a_cancelled_restore_is_done_whole_by_the_next(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore, tmp_path: Path
) -> None:
    await begin(cloud, store, sample)
    work_on(sandbox.repository)
    before: Json = state_of(sandbox.repository)
    before["files"].pop("debug.log")
    made = await save(cloud, store)
    async with another(tmp_path / "b") as (second, box):
        base = made["output"]["baseCommit"]
        await done(second, "clone", clone_args(sample, baseCommit=base))
        await done(second, "branch", {"branch": BRANCH})
        asked, store.holding = store.asked, threading.Event()
        await second.start("restore", restore_args(store, made))
        await eventually(lambda: store.asked > asked)
        await second.cancel("1.restore.1")
        await eventually(lambda: not list(box.config.workspace.glob(".work*")))
        store.holding.set()
        store.holding = None
        await done(second, "restore", restore_args(store, made), name="1.restore.2")
        assert state_of(box.repository) == before
