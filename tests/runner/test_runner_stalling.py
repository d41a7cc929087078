"""Pipes in the place of files, and what else keeps who reads it waiting for ever."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_cloud import FakeCloud
from object_store import ObjectStore
from runner_kit import SAMPLE, Sandbox, eventually, git
from work_kit import begin, done, snapshot_args

from headstart_demo_agent import survey
from headstart_runner.snapshots import archive
from headstart_runner.snapshots.worktree import plumbing
from headstart_runner.snapshots.worktree.plumbing import Problem
from headstart_runner.snapshots.worktree.save import save


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a clone with a commit of its own; git gets little time with it."""
    monkeypatch.setattr(plumbing, "_MOST_SECONDS", 0.5)
    monkeypatch.setattr(survey, "_GIT_SECONDS", 0.5)
    folder = tmp_path / "work"
    git("init", "--quiet", "--initial-branch=main", str(folder), cwd=tmp_path)
    for name, text in SAMPLE.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "--message", "First light", cwd=folder)
    return folder


def stall(file: Path) -> None:
    """Put a pipe that nobody writes to in the place of a file."""
    file.unlink(missing_ok=True)
    os.mkfifo(file)


def saved(work: Path, temporary: Path) -> dict[str, Any]:
    temporary.mkdir()
    limits = {"maxFileBytes": 100_000, "maxBytes": 1_000_000}
    places = {"repository": str(work), "temporary": str(temporary)}
    return save({**places, "baseCommit": None, "branch": "main", **limits}, io.BytesIO())


def object_of(work: Path, name: str) -> Path:
    known = git("rev-parse", name, cwd=work)
    return work / ".git" / "objects" / known[:2] / known[2:]


@pytest.mark.parametrize(
    ("what", "stalls"),
    [
        (lambda work: work / ".git" / "HEAD", "rev-parse"),
        (lambda work: work / ".gitignore", "ls-files"),
        (lambda work: object_of(work, "HEAD"), "rev-parse"),
        (lambda work: object_of(work, "HEAD:README.md"), "bundle"),
    ],
    ids=["HEAD", "ignored files", "a commit", "a file's content"],
)
def test_the_save_ends_where_git_never_would(
    work: Path, tmp_path: Path, what: Callable[[Path], Path], stalls: str
) -> None:
    stall(what(work))

    with pytest.raises(Problem, match=rf"git {stalls} took more than 0\.5 seconds"):
        saved(work, tmp_path / "temporary")


@pytest.mark.anyio
async def test_no_child_of_a_git_that_stalled_is_left(work: Path, tmp_path: Path) -> None:
    stall(object_of(work, "HEAD:README.md"))
    with pytest.raises(Problem):
        saved(work, tmp_path / "temporary")

    def left() -> list[str]:
        return [place for place in map(cwd_of, Path("/proc").iterdir()) if place == str(work)]

    await eventually(lambda: not left())


def cwd_of(process: Path) -> str | None:
    try:
        return str((process / "cwd").readlink())
    except OSError:
        return None


@pytest.mark.parametrize("name", ["README.md", "new", ".git/index", ".git/info/exclude"])
def test_what_git_need_not_read_is_left_out(work: Path, tmp_path: Path, name: str) -> None:
    (work / name).parent.mkdir(exist_ok=True)
    stall(work / name)
    made = saved(work, tmp_path / "temporary")

    # git lists no pipes but those it knew as files.
    assert made["skipped"] == ([name] if name == "README.md" else [])


@pytest.mark.anyio
async def test_a_stalled_save_is_a_failed_snapshot(
    cloud: FakeCloud,
    sandbox: Sandbox,
    sample: str,
    store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await begin(cloud, store, sample)
    await done(cloud, "snapshot", snapshot_args())
    stall(sandbox.repository / ".git" / "HEAD")
    hurried = (
        "import runpy; from headstart_runner.snapshots.worktree import plumbing;"
        " plumbing._MOST_SECONDS = 0.5;"
        " runpy.run_module('headstart_runner.snapshots.worktree', run_name='__main__')"
    )
    monkeypatch.setattr(archive, "_PROGRAM", (*archive._PROGRAM[:-2], "-c", hurried))
    failed = await cloud.do("snapshot", snapshot_args(), name="1.snapshot.2")

    assert failed["error"]["code"] == "SnapshotFailed"
    assert "git rev-parse took more than 0.5 seconds" in failed["error"]["reason"]


@pytest.mark.parametrize("name", ["README.md", "src/app.py", ".gitignore", ".git/HEAD"])
def test_the_demo_agent_reads_past_a_pipe(work: Path, name: str) -> None:
    stall(work / name)
    files = survey.read_files(work)
    survey.read_history(work)
    found = survey.search(work, files, ["health"])

    assert found.summary()


def test_the_demo_agent_runs_no_hook_of_the_repository(work: Path) -> None:
    hook = work / ".git" / "hooks" / "post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch hooked\n")
    hook.chmod(0o755)
    # Another time of a file makes git look again, and write down what it saw.
    os.utime(work / "README.md", (1, 1))
    survey.read_files(work)
    survey.read_history(work)

    assert not (work / "hooked").exists()


def test_the_demo_agent_looks_into_no_repository_in_the_repository(
    work: Path, tmp_path: Path
) -> None:
    inner = work / "inner"
    git("clone", "--quiet", str(work), str(inner), cwd=tmp_path)
    git("add", "inner", cwd=work)
    git("commit", "--quiet", "--message", "Within", cwd=work)
    stall(inner / ".gitignore")
    (work / "new").touch()

    assert survey.read_history(work).changes == ["?? new"]
