"""What the work changed since its branch began: told with each copy, whatever is in it."""

import asyncio
import base64
import json
import os
import subprocess
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fake_cloud import FakeCloud, Json
from hypothesis import given
from hypothesis import strategies as st
from runner_kit import AGENT_UID, SESSION_ID, Repositories, Sandbox, clone_args, git, processes

from headstart.domain.work import CHANGES_BYTES, MOST_FILES, Beginning, Changes
from headstart_runner.processes.launcher import Launcher
from headstart_runner.publishing import changes as module
from headstart_runner.publishing.changes import Look, Untold, Work, read_listing, summed
from headstart_runner.redaction import Redactor

pytestmark = pytest.mark.anyio

FILES = {
    "a.txt": "one\ntwo\nthree\n",
    "moved.txt": "".join(f"line {number}\n" for number in range(50)),
    "gone.txt": "gone\n",
    "run.sh": "echo\n",
    ".gitignore": "ignored/\n",
}


class Tree:
    """A clone and what looks at it."""

    def __init__(self, folder: Path, origin: Path) -> None:
        self.redactor = Redactor()
        self.launcher = Launcher(uid=AGENT_UID, home=folder, path=os.environ["PATH"])
        self.origin = origin
        self.path = folder / "work space é"
        git("clone", "--quiet", str(origin), str(self.path), cwd=folder)
        self.began = Beginning(commit=git("rev-parse", "HEAD", cwd=self.path), branch="main")
        git("switch", "--quiet", "--create", "session/x", cwd=self.path)

    def write(self, name: str | bytes, text: str | bytes) -> None:
        path = self.path / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    def git(self, *arguments: str) -> str:
        return git(*arguments, cwd=self.path)

    def commit(self, message: str = "More") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    async def look(self) -> Look:
        return await Work(self.launcher, self.redactor, self.path).look(self.began)

    async def files(self) -> dict[str, Any]:
        return {file.path: file for file in (await self.look()).changes.files}


@pytest.fixture
async def tree(tmp_path: Path) -> AsyncIterator[Tree]:
    origin, work = tmp_path / "origin.git", tmp_path / "seed"
    if AGENT_UID is not None:
        os.chown(tmp_path, AGENT_UID, AGENT_UID)
    git("init", "--quiet", "--bare", "--initial-branch=main", str(origin), cwd=tmp_path)
    git("init", "--quiet", "--initial-branch=main", str(work), cwd=tmp_path)
    for name, text in FILES.items():
        (work / name).write_text(text)
    git("add", "--all", cwd=work)
    git("commit", "--quiet", "--message", "First light", cwd=work)
    git("push", "--quiet", str(origin), "main", cwd=work)
    made = Tree(tmp_path, origin)
    yield made
    await made.launcher.kill_all()


async def test_nothing_is_changed_at_first(tree: Tree) -> None:
    look = await tree.look()
    assert look.changes == Changes(
        base=tree.began.commit, head=tree.began.commit, files=[], total=look.changes.total
    )
    assert look.changes.total.files == 0
    assert look.diff == b""


async def test_commits_and_what_is_not_committed_count_and_what_is_ignored_does_not(
    tree: Tree,
) -> None:
    tree.write("a.txt", "one\n2\nthree\nfour\n")
    tree.commit()
    (tree.path / "moved.txt").rename(tree.path / "new place.txt")
    (tree.path / "gone.txt").unlink()
    (tree.path / "run.sh").chmod(0o755)
    tree.write("binary", b"\0\1\2")
    tree.write('new/ü\n\t"x.txt', "a\nb\n")
    tree.write(b"no-utf8-\xff", "x\n")
    tree.write("ignored/secret", "x\n")
    before = (tree.path / ".git" / "index").read_bytes()
    objects = tree.git("count-objects", "-v")
    look = await tree.look()
    files = {file.path: file for file in look.changes.files}
    assert (files["a.txt"].additions, files["a.txt"].deletions) == (2, 1)
    assert (files["new place.txt"].status, files["new place.txt"].source) == (
        "renamed",
        "moved.txt",
    )
    assert files["gone.txt"].status == "deleted"
    assert files["run.sh"].mode == "100644 → 100755"
    assert (files["binary"].status, files["binary"].additions) == ("added", None)
    assert files['new/ü\n\t"x.txt'].additions == 2
    assert files["no-utf8-\\xff"].additions == 1
    assert set(files) == {
        "a.txt", "new place.txt", "gone.txt", "run.sh", "binary", "new/ü\n\t\"x.txt",
        "no-utf8-\\xff",
    }  # fmt: skip
    assert look.changes.total.files == 7
    assert b"Binary files /dev/null and b/binary differ" in look.diff
    assert b"rename from moved.txt" in look.diff
    assert before == (tree.path / ".git" / "index").read_bytes()
    assert objects == tree.git("count-objects", "-v")


async def test_a_diff_makes_of_the_beginning_what_there_is(tree: Tree, tmp_path: Path) -> None:
    tree.write("a.txt", b"one\r\nl\xe4tin\nthree\n")
    (tree.path / "moved.txt").rename(tree.path / "d.txt")
    tree.write("no end", "x")
    look = await tree.look()
    assert tree.began.commit
    tree.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "other"), tree.began.commit)
    (tmp_path / "diff").write_bytes(look.diff)
    git("apply", str(tmp_path / "diff"), cwd=tmp_path / "other")
    for name in ("a.txt", "d.txt", "no end"):
        assert (tmp_path / "other" / name).read_bytes() == (tree.path / name).read_bytes()


@pytest.mark.parametrize("way", ["merge", "rebase"])
async def test_what_others_did_meanwhile_does_not_count(
    tree: Tree, tmp_path: Path, way: str
) -> None:
    tree.write("mine.txt", "mine\n")
    tree.commit()
    seed = tmp_path / "seed"
    (seed / "theirs.txt").write_text("theirs\n")
    git("add", "--all", cwd=seed)
    git("commit", "--quiet", "--message", "Theirs", cwd=seed)
    git("push", "--quiet", str(tree.origin), "main", cwd=seed)
    tree.git("fetch", "--quiet")
    tree.git(way, "--quiet", "origin/main")
    look = await tree.look()
    assert [file.path for file in look.changes.files] == ["mine.txt"]
    assert look.changes.base == git("rev-parse", "HEAD", cwd=seed)


async def test_a_detached_head_and_another_branch_are_the_work_all_the_same(tree: Tree) -> None:
    tree.git("switch", "--quiet", "--detach")
    tree.write("a", "a\n")
    tree.commit()
    tree.git("switch", "--quiet", "--create", "other")
    tree.write("b", "b\n")
    assert set(await tree.files()) == {"a", "b"}


async def test_a_repository_without_a_commit_is_compared_with_nothing(
    tree: Tree, tmp_path: Path
) -> None:
    git("init", "--quiet", str(tmp_path / "empty"), cwd=tmp_path)
    (tmp_path / "empty" / "first.txt").write_text("1\n")
    work = Work(tree.launcher, tree.redactor, tmp_path / "empty")
    look = await work.look(Beginning())
    assert [file.path for file in look.changes.files] == ["first.txt"]
    assert (look.changes.base, look.changes.head) == (None, None)


async def test_a_merge_in_the_middle_can_be_told(tree: Tree) -> None:
    tree.write("a.txt", "mine\n")
    mine = tree.commit()
    assert tree.began.commit
    tree.git("switch", "--quiet", "--detach", tree.began.commit)
    tree.write("a.txt", "theirs\n")
    tree.commit()
    with pytest.raises(subprocess.CalledProcessError):
        tree.git("merge", "--quiet", mine)
    assert set(await tree.files()) == {"a.txt"}


async def test_repositories_inside_of_it_cost_nothing_else(tree: Tree) -> None:
    git("init", "--quiet", str(tree.path / "nested"), cwd=tree.path)
    tree.write("b", "b\n")
    assert set(await tree.files()) == {"b"}


async def test_nothing_of_the_repositorys_is_run_but_filters_as_the_agents_user(
    tree: Tree, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    tree.write(".gitattributes", "*.txt diff=evil\n")
    for name in ("diff.evil.textconv", "diff.evil.command", "diff.external", "core.fsmonitor"):
        tree.git("config", name, f"touch '{trap}'; false")
    tree.write("a.txt", "other\n")
    hook = tree.path / ".git" / "hooks" / "post-index-change"
    hook.write_text(f"#!/bin/sh\ntouch '{trap}'\n")
    hook.chmod(0o755)
    assert (await tree.files())["a.txt"].additions == 1
    assert not trap.exists()


async def test_a_filter_that_never_ends_is_ended(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:

    tree.write(".gitattributes", "*.txt filter=evil\n")
    tree.git("config", "filter.evil.clean", "sleep 60.7")
    tree.write("a.txt", "other\n")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await tree.look()
    assert not processes("sleep 60.7")


async def test_secrets_are_in_neither(tree: Tree) -> None:
    tree.redactor.add("hunter2-hunter2")
    tree.write("hunter2-hunter2.txt", "password = hunter2-hunter2\n")
    look = await tree.look()
    assert "hunter2" not in look.changes.model_dump_json()
    assert b"hunter2" not in look.diff
    assert b"+password = [redacted]" in look.diff


async def test_a_secret_in_base64_is_in_no_diff_however_it_is_wrapped(tree: Tree) -> None:
    secret = "".join(f"lantern{number:03}" for number in range(12))
    tree.redactor.add(secret)
    coded = base64.encodebytes(secret.encode()).decode()
    tree.write("plain.b64", coded)
    tree.write("key.yaml", "data: |\n" + textwrap.indent(coded, "    "))
    diff = (await tree.look()).diff.decode()
    assert diff.count("[redacted]") == 2
    # What its neighbours can change at either edge is no part of it.
    assert not [line for line in coded.splitlines() if len(line) > 8 and line[4:-4] in diff]


async def test_a_hunks_heading_that_git_cut_shows_no_beginning_of_a_secret(tree: Tree) -> None:
    secret = "".join(f"lantern{number:03}" for number in range(12))
    tree.redactor.add(secret)
    lines = [f"API_TOKEN={secret}", *map(str, range(60))]
    tree.write("app.env", "\n".join(lines))
    tree.began = Beginning(commit=tree.commit(), branch="main")
    tree.write("app.env", "\n".join([*lines[:40], "new", *lines[40:]]))
    look = await Work(tree.launcher, tree.redactor, tree.path).look(
        Beginning(commit=tree.began.commit, branch="nowhere")
    )
    assert b"@@ API_TOKEN=[redacted]" in look.diff
    assert b"lantern" not in look.diff


async def test_a_long_diff_is_cut_and_says_so(tree: Tree) -> None:
    tree.write("long.txt", "x\n" * 150_000)
    look = await tree.look()
    assert look.changes.total.additions == 150_000
    assert look.diff.endswith(
        b"\n+x\n\n# The diff goes on; what is over 100000 lines is left out.\n"
    )
    assert look.diff.count(b"\n") == 100_002
    tree.write("long.txt", "y" * 9_000_000 + "\n")
    look = await tree.look()
    assert look.diff.endswith(b"# The diff goes on; what is over 8 MB is left out.\n")
    assert look.changes.total.additions == 1


async def test_many_files_are_counted_and_the_first_named(tree: Tree) -> None:
    for number in range(MOST_FILES + 5):
        tree.write(f"many/{number}", "1\n")
    changes = (await tree.look()).changes
    assert (len(changes.files), changes.total.files, changes.truncated) == (
        MOST_FILES,
        MOST_FILES + 5,
        True,
    )


async def test_what_is_no_repository_is_said_in_words(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(Untold, match="not a git repository"):
        await Work(tree.launcher, tree.redactor, tmp_path / "plain").look(Beginning())


@given(st.binary(max_size=300))
def test_anything_is_read(text: bytes) -> None:
    summed(None, None, read_listing(text))
    summed(None, None, read_listing(b":100644 100644 aa bb M\0x\0" + text))


NAMES = st.binary(min_size=1, max_size=20).filter(lambda n: b"\0" not in n and n[:1] != b":")


@given(st.lists(st.tuples(NAMES, st.integers(0, 10**6)), unique_by=lambda pair: pair[0]))
def test_odd_names_are_told_apart(found: list[tuple[bytes, int]]) -> None:
    raw = b"".join(b":100644 100644 aa bb M\0" + name + b"\0" for name, _ in found)
    counts = b"".join(b"%d\t0\t%s\0" % (count, name) for name, count in found)
    listed = read_listing(raw + counts)
    assert [file.additions for file in listed] == [count for _, count in found]


@given(st.lists(st.text(min_size=400, max_size=600), min_size=1, max_size=5))
def test_the_list_keeps_within_its_room(names: list[str]) -> None:
    raw = b"".join(
        b":0 0 a b A\0%s\0" % name.replace("\0", "").encode("utf-8", "replace")
        for name in names[:5]
    )
    listed = read_listing(raw) * 400
    assert len(summed(None, None, listed).model_dump_json().encode()) < CHANGES_BYTES * 1.2


async def test_a_copy_tells_them_first_and_brings_them_along(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    url = repositories.make("changed", FILES)
    await cloud.do("clone", clone_args(url))
    (sandbox.repository / "a.txt").write_text("other\n")
    began = git("rev-parse", "HEAD", cwd=sandbox.repository)
    args: Json = {
        "agent": "demo", "sessionId": SESSION_ID, "maxBytes": 10**9,
        "began": {"commit": began, "branch": "main"},
    }  # fmt: skip
    result = await cloud.do("archive", args)
    assert result["status"] == "completed", result
    kept = {file["sha256"] for file in (result["output"]["changes"], result["output"]["diff"])}
    assert len(kept) == 2
    [told] = [event for event in cloud.events if event["type"] == "work.changed"]
    assert (told["files"], told["additions"], told["deletions"]) == (1, 1, 3)
    [file] = (sandbox.config.state_dir / "archives").glob("*.changes")
    assert [f["path"] for f in json.loads(file.read_text())["files"]] == ["a.txt"]


async def test_what_can_not_be_told_costs_no_copy(
    cloud: FakeCloud,
    sandbox: Sandbox,
    repositories: Repositories,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def look(*_: object) -> Look:
        raise Untold("no")

    await cloud.do("clone", clone_args(repositories.make("untold", FILES)))
    monkeypatch.setattr(module.Work, "look", look)
    result = await cloud.do(
        "archive", {"agent": "demo", "sessionId": SESSION_ID, "maxBytes": 10**9}
    )
    assert result["status"] == "completed"
    assert result["output"]["diff"] is None
