"""A clone that people can work in: history, branches, tags, and how they come to be there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fake_cloud import FakeCloud
from runner_kit import BRANCH, Repositories, Sandbox, behaving, clone_args, git

from headstart.domain.command_args import CloneArgs
from headstart_local.git_server import GitServer
from headstart_runner.processes.launcher import Launcher
from headstart_runner.repository.clone import fetch_tip
from headstart_runner.repository.git import Git
from headstart_runner.repository.remote import Remote, Watch

pytestmark = pytest.mark.anyio


class Deep:
    """A repository of three commits, the second tagged, and a branch `topic` on the first."""

    def __init__(self, repositories: Repositories, scratch: Path) -> None:
        self.url = repositories.make("deep", {"a": "1\n"})
        self.bare = repositories.server.folder / self.url.rpartition("/")[2]
        self.work = scratch / "deeper"
        git("clone", "--quiet", str(self.bare), str(self.work), cwd=scratch)
        git("switch", "--quiet", "--create", "topic", cwd=self.work)
        self.commit("t", "topic\n")
        git("switch", "--quiet", "main", cwd=self.work)
        self.commit("a", "1\n2\n")
        git("tag", "--annotate", "--message=v1", "v1", cwd=self.work)
        self.commit("a", "1\n3\n")

    def commit(self, name: str, text: str) -> str:
        """Commit a file on the branch and publish everything; return the commit."""
        (self.work / name).write_text(text)
        git("add", "--all", cwd=self.work)
        git("commit", "--quiet", f"--message={name} is {text.strip()[-1]}", cwd=self.work)
        git("push", "--quiet", "--all", "--force", "origin", cwd=self.work)
        git("push", "--quiet", "--tags", "origin", cwd=self.work)
        return git("rev-parse", "HEAD", cwd=self.work)


@pytest.fixture
def deep(repositories: Repositories, tmp_path: Path) -> Deep:
    return Deep(repositories, tmp_path)


def missing(repository: Path) -> list[str]:
    """Return the objects that a clone was promised, and has not."""
    told = git("rev-list", "--objects", "--all", "--missing=print", cwd=repository)
    return [line for line in told.splitlines() if line.startswith("?")]


async def test_a_clone_has_the_whole_history_and_blobs_when_they_are_needed(
    cloud: FakeCloud, sandbox: Sandbox, deep: Deep
) -> None:
    cloned = await cloud.do("clone", clone_args(deep.url))
    repository = sandbox.repository

    assert cloned["output"]["notes"] == []
    assert cloned["output"]["commit"] == git("rev-parse", "main", cwd=deep.bare)
    assert git("status", "--porcelain", cwd=repository) == ""
    assert (repository / "a").read_text() == "1\n3\n"
    assert len(missing(repository)) == 3
    assert git("rev-list", "--count", "HEAD", cwd=repository) == "3"
    assert git("describe", cwd=repository).startswith("v1-1-g")
    assert git("rev-parse", "--abbrev-ref", "@{u}", cwd=repository) == "origin/main"
    assert git("rev-parse", "--abbrev-ref", "origin/HEAD", cwd=repository) == "origin/main"

    assert "a is 3" in git("log", "--patch", "--format=%s", "-2", cwd=repository)
    assert len(git("blame", "a", cwd=repository).splitlines()) == 2
    git("switch", "--quiet", "topic", cwd=repository)
    assert (repository / "t").read_text() == "topic\n"
    assert missing(repository) == []
    names = {path.name for path in sandbox.config.workspace.iterdir()}
    assert names == {"repo", "home"}
    assert not (repository / ".git" / "hooks").exists()


async def test_what_a_session_commits_can_be_pushed_and_compared(
    cloud: FakeCloud, sandbox: Sandbox, deep: Deep
) -> None:
    await cloud.do("clone", clone_args(deep.url))
    branched = await cloud.do("branch", {"branch": BRANCH})
    repository = sandbox.repository
    git("commit", "--quiet", "--allow-empty", "--message=Ours", cwd=repository)
    git("push", "--quiet", "--set-upstream", "origin", "HEAD", cwd=repository)
    newer = deep.commit("a", "1\n4\n")
    git("fetch", "--quiet", cwd=repository)

    assert branched["output"]["notes"] == []
    assert git("rev-parse", "@{u}", cwd=repository) == git("rev-parse", "HEAD", cwd=repository)
    assert git("rev-parse", "origin/main", cwd=repository) == newer
    base = git("merge-base", "origin/main", "HEAD", cwd=repository)
    assert base == branched["output"]["commit"]


async def test_a_session_on_a_feature_branch_has_the_default_branch_too(
    cloud: FakeCloud, sandbox: Sandbox, deep: Deep
) -> None:
    cloned = await cloud.do("clone", clone_args(deep.url, upstreamBranch="topic"))
    repository = sandbox.repository

    assert cloned["output"]["defaultBranch"] == "topic"
    assert git("rev-parse", "--abbrev-ref", "@{u}", cwd=repository) == "origin/topic"
    assert git("rev-parse", "--abbrev-ref", "origin/HEAD", cwd=repository) == "origin/main"
    assert git("rev-list", "--count", "origin/main...HEAD", cwd=repository) == "3"


async def test_a_server_that_leaves_nothing_out_gives_a_full_clone_and_that_is_told(
    cloud: FakeCloud, sandbox: Sandbox, deep: Deep, git_server: GitServer
) -> None:
    with behaving(git_server, filters=False):
        cloned = await cloud.do("clone", clone_args(deep.url))

    notes = ["127.0.0.1 can't leave out blobs, so all of them are here"]
    assert cloned["output"]["notes"] == notes
    assert missing(sandbox.repository) == []
    assert "promisor" not in git("config", "--list", cwd=sandbox.repository)


async def test_a_shallow_clone_has_one_commit_and_fetches_what_else_is_asked_for(
    cloud: FakeCloud, sandbox: Sandbox, deep: Deep
) -> None:
    await cloud.do("clone", clone_args(deep.url, depth=1))
    repository = sandbox.repository

    assert git("rev-list", "--count", "HEAD", cwd=repository) == "1"
    assert git("tag", cwd=repository) == ""
    assert git("branch", "--remotes", "--list", "*topic", cwd=repository) == ""
    git("fetch", "--quiet", cwd=repository)
    git("switch", "--quiet", "topic", cwd=repository)
    assert (repository / "t").read_text() == "topic\n"


@pytest.mark.parametrize("depth", [None, 1])
@pytest.mark.parametrize("branch", [pytest.param("only", marks=pytest.mark.long), "master"])
async def test_a_head_that_leads_nowhere_is_the_branch_that_there_is(
    cloud: FakeCloud, sandbox: Sandbox, deep: Deep, branch: str, depth: int | None
) -> None:
    git("branch", "--delete", "--force", "topic", cwd=deep.bare)
    for other in () if branch == "only" else ("trunk", "x"):
        git("branch", other, "main", cwd=deep.bare)
    git("symbolic-ref", "HEAD", "refs/heads/gone", cwd=deep.bare)
    git("branch", "--move", "main", branch, cwd=deep.bare)
    cloned = await cloud.do("clone", clone_args(deep.url, depth=depth))

    assert cloned["output"]["defaultBranch"] == branch, cloned
    assert cloned["output"]["empty"] is False
    notes = [f"The default branch of {deep.url} does not exist: this is {branch}"]
    assert cloned["output"]["notes"] == notes
    head = git("rev-parse", "--abbrev-ref", "origin/HEAD", cwd=sandbox.repository)
    assert head == f"origin/{branch}"


@pytest.mark.parametrize("taken", ["session", f"{BRANCH}/more"])
async def test_a_branch_that_would_take_no_push_of_the_sessions_is_told(
    cloud: FakeCloud, sandbox: Sandbox, deep: Deep, taken: str
) -> None:
    git("branch", taken, "main", cwd=deep.bare)
    await cloud.do("clone", clone_args(deep.url))
    branched = await cloud.do("branch", {"branch": BRANCH})

    assert branched["status"] == "completed", branched
    room = f"The repository's branch {taken} leaves no room there for {BRANCH}"
    assert branched["output"]["notes"] == [f"{room}: push it by another name"]


@asynccontextmanager
async def remote_of(sandbox: Sandbox, url: str) -> AsyncIterator[Remote]:
    """Give a repository as a step has it, without anybody who looks on."""
    launcher = Launcher(
        uid=sandbox.config.agent_uid, home=sandbox.config.home, path=sandbox.config.path
    )
    watch = Watch(lambda message, percent: None, lambda: 60.0)
    yield Remote(Git(launcher), url, watch, allow_private=True, addresses=[])
    await launcher.kill_all()


@pytest.mark.parametrize("depth", [pytest.param(None, marks=pytest.mark.long), 1])
async def test_an_older_clone_learns_of_everything_that_came_and_went(
    cloud: FakeCloud, sandbox: Sandbox, deep: Deep, depth: int | None
) -> None:
    await cloud.do("clone", clone_args(deep.url, depth=depth))
    repository = sandbox.repository
    newer = deep.commit("a", "1\n5\n")
    git("branch", "fresh", "main", cwd=deep.bare)
    git("branch", "--delete", "--force", "topic", cwd=deep.bare)
    git("config", "remote.origin.url", "http://127.0.0.1:9/elsewhere", cwd=repository)
    args = CloneArgs(git_url=deep.url, depth=depth)
    async with remote_of(sandbox, deep.url) as remote:
        assert await fetch_tip(remote, args, repository) == newer
        branches = git("branch", "--remotes", "--format=%(refname:short)", cwd=repository).split()
        assert {"origin/main", "origin/fresh"} < {*branches}
        assert "origin/topic" not in branches
        assert git("config", "remote.origin.url", cwd=repository) == deep.url
        git("branch", "--move", "main", "trunk", cwd=deep.bare)
        git("symbolic-ref", "HEAD", "refs/heads/trunk", cwd=deep.bare)
        assert await fetch_tip(remote, args, repository) == newer
    assert git("rev-parse", "--abbrev-ref", "origin/HEAD", cwd=repository) == "origin/trunk"
