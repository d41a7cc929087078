"""The work of one sandbox in the next: the same files, byte for byte, and the same session."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_cloud import FakeCloud, Json
from object_store import SIGNATURE, ObjectStore
from runner_kit import (
    BRANCH,
    SAMPLE,
    SESSION_ID,
    Repositories,
    Sandbox,
    agent_args,
    clone_args,
    eventually,
    git,
    processes,
    prompt_args,
)
from work_kit import (
    another,
    begin,
    done,
    files_of,
    restore_args,
    save,
    snapshot_args,
    state_of,
    upload_args,
    wake,
)

from headstart_runner import git as runner_git

pytestmark = pytest.mark.anyio


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    with ObjectStore().running() as running:
        yield running


def work_on(repository: Path) -> None:
    """Leave every kind of change behind."""
    (repository / "src/app.py").write_bytes(b"changed\r\nwith\0bytes\xff\n")
    (repository / "README.md").unlink()
    (repository / "new file ünï.txt").write_text("new\n")
    run = repository / "run.sh"
    run.write_text("#!/bin/sh\n")
    run.chmod(0o755)
    (repository / "link").symlink_to("src/app.py")
    (repository / "away").symlink_to("/etc/passwd")
    (repository / "tests/test_app.py").chmod(0o755)
    (repository / ".gitignore").write_text("*.log\n")
    (repository / "debug.log").write_text("ignored\n")
    (repository / "deep/er").mkdir(parents=True)
    (repository / "deep/er/committed").write_bytes(bytes(range(256)) * 16)
    git("add", "deep", cwd=repository)
    git("commit", "--quiet", "--message", "Unpushed", cwd=repository)
    (repository / "staged").write_text("staged\n")
    (repository / "deep/er/committed").write_text("staged, then\n")
    git("add", "staged", "deep", cwd=repository)
    (repository / "deep/er/committed").write_text("changed again\n")
    git("mv", "src/grüße und mehr.txt", "moved", cwd=repository)
    (repository / os.fsdecode(b"not utf-8 \xff")).write_text("x")


async def test_the_work_and_the_session_go_on_in_another_sandbox(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore, tmp_path: Path
) -> None:
    await begin(cloud, store, sample)
    await done(cloud, "prompt", prompt_args(1, "Where is the lamp?"), name="msg_1.prompt")
    await cloud.turn_ended("trn_1")
    work_on(sandbox.repository)
    before = state_of(sandbox.repository)
    index = (sandbox.repository / ".git/index").read_bytes()
    made = await save(cloud, store)

    assert made["output"]["skipped"] == []
    assert made["output"]["headCommit"] == git("rev-parse", "HEAD", cwd=sandbox.repository)
    assert made["output"]["baseCommit"] == git("rev-parse", "HEAD^", cwd=sandbox.repository)
    assert (sandbox.repository / ".git/index").read_bytes() == index
    assert {path.name for path in sandbox.config.workspace.iterdir()} == {"repo", "home"}
    async with another(tmp_path / "b") as (second, box):
        restored = await wake(second, store, sample, made)
        assert restored["output"] == {"imported": True}
        assert before["files"].pop("debug.log")
        assert state_of(box.repository) == before
        assert {path.name for path in box.config.workspace.iterdir()} == {"repo", "home"}
        assert list((box.config.state_dir / "snapshots").iterdir()) == []

        await done(second, "agent", agent_args())
        await done(second, "prompt", prompt_args(2, "And the horn?"), name="msg_2.prompt")
        assert (await second.turn_ended("trn_2"))["error"] is None
        said = [e["data"].get("text", "") for e in second.of("agent.event", turnId="trn_2")]
        assert any("Where is the lamp?" in text for text in said)

        again = await second.do("restore", restore_args(store, made), name="2.restore.1")
        assert again["output"] == {"imported": True}
        assert state_of(box.repository) == before


async def test_a_second_sleep_builds_on_the_same_base(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore, tmp_path: Path
) -> None:
    await begin(cloud, store, sample)
    git("commit", "--quiet", "--allow-empty", "--message", "one", cwd=sandbox.repository)
    made = await save(cloud, store)
    async with another(tmp_path / "b") as (second, box):
        await wake(second, store, sample, made)
        await done(second, "agent", agent_args())
        git("commit", "--quiet", "--allow-empty", "--message", "two", cwd=box.repository)
        (box.repository / "new").write_text("x")
        again = await save(second, store)
        assert again["output"]["baseCommit"] == made["output"]["baseCommit"]
        before = state_of(box.repository)
    async with another(tmp_path / "c") as (third, box):
        await wake(third, store, sample, again)
        assert state_of(box.repository) == before


async def test_line_ends_stay_as_they_are(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories, store: ObjectStore,
    tmp_path: Path,
) -> None:  # fmt: skip
    url = repositories.make("ends", {".gitattributes": "*.txt text eol=crlf\n", "a.txt": "1\n2\n"})
    await begin(cloud, store, url)
    assert (sandbox.repository / "a.txt").read_bytes() == b"1\r\n2\r\n"
    (sandbox.repository / "b.txt").write_bytes(b"mixed\nends\r\n")
    before = state_of(sandbox.repository)
    made = await save(cloud, store)
    async with another(tmp_path / "b") as (second, box):
        await wake(second, store, url, made)
        assert state_of(box.repository) == before


async def test_another_branch_and_a_conflict_survive_as_far_as_they_can(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore, tmp_path: Path
) -> None:
    await begin(cloud, store, sample)
    repository = sandbox.repository
    git("switch", "--quiet", "--create", "feature", cwd=repository)
    (repository / "README.md").write_text("theirs\n")
    git("commit", "--quiet", "--all", "--message", "theirs", cwd=repository)
    git("switch", "--quiet", BRANCH, cwd=repository)
    (repository / "README.md").write_text("ours\n")
    git("commit", "--quiet", "--all", "--message", "ours", cwd=repository)
    git("switch", "--quiet", "feature", cwd=repository)
    with pytest.raises(Exception, match="merge"):
        git("merge", "--quiet", BRANCH, cwd=repository)
    made = await save(cloud, store)
    async with another(tmp_path / "b") as (second, box):
        await wake(second, store, sample, made)
        assert git("symbolic-ref", "--short", "HEAD", cwd=box.repository) == "feature"
        for ref in ("feature", BRANCH):
            here, there = (git("rev-parse", ref, cwd=r) for r in (box.repository, repository))
            assert here == there
        assert files_of(box.repository) == files_of(repository)


@pytest.mark.parametrize("commits", [0, 1])
async def test_the_work_on_an_empty_repository_is_put_back_though_it_has_commits_by_now(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories, *, store: ObjectStore,
    tmp_path: Path, commits: int,
) -> None:  # fmt: skip
    url = repositories.make("empty")
    await begin(cloud, store, url)
    (sandbox.repository / "first").write_text("1\n")
    if commits:
        git("add", "--all", cwd=sandbox.repository)
        git("commit", "--quiet", "--message", "first", cwd=sandbox.repository)
        (sandbox.repository / "second").write_text("2\n")
    made = await save(cloud, store)
    assert made["output"]["baseCommit"] is None
    assert (made["output"]["headCommit"] is None) is (commits == 0)
    push_another(repositories, url, "somebody", "else's\n")
    async with another(tmp_path / "b") as (second, box):
        restored = await wake(second, store, url, made)
        assert restored["status"] == "completed", restored
        assert files_of(box.repository) == files_of(sandbox.repository)
        status = ("status", "--porcelain", "--branch")
        assert git(*status, cwd=box.repository) == git(*status, cwd=sandbox.repository)


def push_another(
    repositories: Repositories, url: str, path: str, text: str, *, amend: bool = False
) -> None:
    """Move the upstream branch on, or rewrite it and forget what was there."""
    bare = repositories.server.folder / url.rpartition("/")[2]
    work = bare.with_suffix(".elsewhere")
    git("clone", "--quiet", str(bare), str(work), cwd=bare)
    (work / path).write_text(text)
    git("add", "--all", cwd=work)
    git("commit", "--quiet", "--message", "Elsewhere", *(["--amend"] if amend else []), cwd=work)
    git("push", "--quiet", *(["--force"] if amend else []), "origin", "HEAD:main", cwd=work)
    if amend:
        git("gc", "--quiet", "--prune=now", cwd=bare)


@pytest.mark.parametrize("old_server", [False, True])
async def test_the_base_is_fetched_however_far_upstream_has_moved(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories, *, store: ObjectStore,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old_server: bool,
) -> None:  # fmt: skip
    url = repositories.make("moved", SAMPLE)
    await begin(cloud, store, url)
    (sandbox.repository / "mine").write_text("mine\n")
    before = state_of(sandbox.repository)
    made = await save(cloud, store)
    push_another(repositories, url, "README.md", "moved on\n")
    if old_server:
        options = (*runner_git._OPTIONS, "-c", "protocol.version=0")
        monkeypatch.setattr(runner_git, "_OPTIONS", options)
    async with another(tmp_path / "b") as (second, box):
        restored = await wake(second, store, url, made)
        assert restored["status"] == "completed", restored
        cloned = second.results["1.clone.1"]["output"]
        assert (cloned["commit"], cloned["defaultBranch"]) == (
            made["output"]["baseCommit"], "main",
        )  # fmt: skip
        assert state_of(box.repository) | {"log": ""} == before | {"log": ""}
        assert git("rev-parse", "main@{upstream}", cwd=box.repository) == cloned["commit"]


async def test_a_base_that_is_gone_is_named_so(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    url = repositories.make("gone", SAMPLE)
    base = (await done(cloud, "clone", clone_args(url)))["output"]["commit"]
    push_another(repositories, url, "README.md", "rewritten\n", amend=True)
    cached = await done(cloud, "clone", clone_args(url, baseCommit=base), name="1.clone.2")
    assert cached["output"]["cached"] is True
    args = clone_args(url, baseCommit=base, upstreamBranch="main")
    gone = await cloud.do("clone", args, name="1.clone.3")

    assert gone["error"]["code"] == "SnapshotBaseMissing"
    assert base[:12] in gone["error"]["reason"]
    assert not sandbox.repository.exists()


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
    assert "0.3 MB" in failed["error"]["reason"]
    await done(cloud, "upload", upload_args(store, made))
    tiny = await cloud.do("snapshot", snapshot_args(maxBytes=10), name="1.snapshot.3")
    assert tiny["error"]["code"] == "SnapshotFailed"
    [file] = (sandbox.config.state_dir / "snapshots").iterdir()
    assert file.stat().st_size == made["output"]["bytes"]


async def test_nothing_the_work_tree_defines_is_executed(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore, tmp_path: Path
) -> None:
    await begin(cloud, store, sample)
    repository, trap = sandbox.repository, tmp_path / "trap"
    script = tmp_path / "trap.sh"
    script.write_text(f"#!/bin/sh\necho $0 $@ >> {trap}\ncat\n")
    script.chmod(0o755)
    for name in ("core.fsmonitor", "core.sshCommand", "core.pager", "diff.external",
                 "filter.x.clean", "filter.x.smudge", "filter.x.process", "diff.x.textconv",
                 "core.editor", "uploadpack.packObjectsHook", "gpg.program"):  # fmt: skip
        git("config", name, str(script), cwd=repository)
    git("config", "commit.gpgSign", "true", cwd=repository)
    (repository / ".gitattributes").write_text("* filter=x diff=x\n")
    hooks = repository / ".git/hooks"
    hooks.mkdir()
    for name in ("post-index-change", "reference-transaction", "post-checkout", "pre-commit"):
        (hooks / name).symlink_to(script)
    (repository / "secret").symlink_to(sandbox.config.state_dir / "journal.db")
    trap.unlink(missing_ok=True)
    made = await save(cloud, store)
    async with another(tmp_path / "b") as (second, box):
        await wake(second, store, sample, made)
        assert (box.repository / "secret").is_symlink()
        assert files_of(box.repository) == files_of(repository)

    assert not trap.exists()
    assert made["output"]["skipped"] == []


@pytest.mark.parametrize("damage", ["changed", "longer", "shorter", "missing", "another session"])
async def test_a_copy_that_is_not_what_was_saved_is_refused(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore, damage: str
) -> None:
    await begin(cloud, store, sample)
    (sandbox.repository / "new").write_text("x")
    made = await save(cloud, store)
    data = store.objects["work"]
    store.objects["work"] = {
        "changed": data[:50] + bytes([data[50] ^ 1]) + data[51:],
        "longer": data + b"x",
        "shorter": data[:-1],
    }.get(damage, data)
    if damage == "missing":
        del store.objects["work"]
    args = restore_args(store, made)
    if damage == "another session":
        args["sessionId"] = SESSION_ID[:-1] + "0"
    # A new clone has nothing of the snapshot.
    other = clone_args(sample, upstreamBranch="main")
    await done(cloud, "clone", other, name="1.clone.2")
    refused = await cloud.do("restore", args, name="1.restore.2")

    assert refused["error"]["code"] == "RestoreFailed"
    assert SIGNATURE not in cloud.everything()
    assert "127.0.0.1" not in refused["error"]["reason"]
    assert not (sandbox.repository / "new").exists()
    assert list(sandbox.config.workspace.glob(".work*")) == []
    assert len(list((sandbox.config.state_dir / "snapshots").iterdir())) == 1


@pytest.mark.parametrize(
    ("failures", "works"),
    [([503, 0], True), ([500, 502, 503], False), ([403], False)],
)
async def test_an_upload_is_tried_again_when_that_may_help(
    cloud: FakeCloud, prepared: Sandbox, store: ObjectStore, *, failures: list[int], works: bool,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr("headstart_runner.transfer._PAUSE_SECONDS", 0.01)
    made = await done(cloud, "snapshot", snapshot_args())
    store.failures = failures
    result = await cloud.do("upload", upload_args(store, made))

    assert ("work" in store.objects) is works
    if not works:
        assert result["error"]["code"] == "SnapshotFailed"
        assert "status" in result["error"]["reason"]
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

    monkeypatch.setattr("headstart_runner.commands.SNAPSHOT_SECONDS", 0.05)
    pipe = prepared.repository / ".git" / "index"
    pipe.unlink()
    os.mkfifo(pipe)
    await cloud.start("snapshot", snapshot_args(), name="2.snapshot")
    await cloud.do("prompt", prompt_args(2), name="msg_2.prompt")
    assert "2.snapshot" not in cloud.results
    await cloud.cancel("2.snapshot")
    await cloud.turn_ended("trn_2")


async def test_a_cancelled_snapshot_leaves_nothing(
    cloud: FakeCloud, prepared: Sandbox, store: ObjectStore
) -> None:
    index = prepared.repository / ".git" / "index"
    kept = index.read_bytes()
    index.unlink()
    os.mkfifo(index)
    await cloud.start("snapshot", snapshot_args())
    await eventually(lambda: processes("headstart_runner.saved_work"))
    await cloud.cancel("1.snapshot.1")
    await eventually(lambda: not processes("headstart_runner.saved_work"))
    await eventually(lambda: not list(prepared.config.workspace.glob(".work*")))
    assert list((prepared.config.state_dir / "snapshots").iterdir()) == []
    index.unlink()
    index.write_bytes(kept)
    made = await done(cloud, "snapshot", snapshot_args(), name="1.snapshot.2")
    await done(cloud, "upload", upload_args(store, made))


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
