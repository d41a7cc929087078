"""The work of one sandbox in the next: the same files, byte for byte, and the same session."""

import os
from pathlib import Path

import pytest
from fake_cloud import FakeCloud
from object_store import ObjectStore
from runner_kit import (
    BRANCH,
    SAMPLE,
    Repositories,
    Sandbox,
    agent_args,
    clone_args,
    git,
    prompt_args,
)
from work_kit import (
    another,
    begin,
    done,
    files_of,
    restore_args,
    save,
    state_of,
    wake,
    work_on,
)

from headstart_runner.repository import git as runner_git

pytestmark = pytest.mark.anyio


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
        assert restored["output"] == {"imported": True, "missing": None}
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
        assert again["output"] == restored["output"]
        assert state_of(box.repository) == before


async def test_a_session_follows_the_variables_that_say_where_the_agent_keeps_it(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore, tmp_path: Path
) -> None:
    await begin(cloud, store, sample)
    await done(cloud, "prompt", prompt_args(1, "Where is the lamp?"), name="msg_1.prompt")
    await cloud.turn_ended("trn_1")
    made = await save(cloud, store)
    async with another(tmp_path / "b") as (second, box):
        await done(second, "clone", clone_args(sample, baseCommit=made["output"]["baseCommit"]))
        for number, name in enumerate(("HOME", "XDG_DATA_HOME", "HOME"), start=1):
            variables = {name: str(box.config.workspace / f"{name} {number}")}
            restore = restore_args(store, made) | {"env": variables}
            await done(second, "restore", restore, name=f"{number}.restore")
            (box.repository / "since").write_text(str(number))
            await done(second, "agent", agent_args(**variables), name=f"{number}.agent")
            prompt = prompt_args(number + 1, "And the horn?")
            await done(second, "prompt", prompt, name=f"msg_{number + 1}.prompt")
            await second.turn_ended(f"trn_{number + 1}")
            events = second.of("agent.event", turnId=f"trn_{number + 1}")
            assert any("Where is the lamp?" in e["data"].get("text", "") for e in events)
            assert (box.repository / "since").read_text() == str(number)


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


async def test_a_branch_whose_name_is_no_text_loses_nothing(
    cloud: FakeCloud, sandbox: Sandbox, sample: str, store: ObjectStore, tmp_path: Path
) -> None:
    await begin(cloud, store, sample)
    name = os.fsdecode(b"caf\xe9")
    git("switch", "--quiet", "--create", name, cwd=sandbox.repository)
    (sandbox.repository / "new.py").write_text("work\n")
    made = await save(cloud, store)
    async with another(tmp_path / "b") as (second, box):
        await wake(second, store, sample, made)
        assert files_of(box.repository) == files_of(sandbox.repository)


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
