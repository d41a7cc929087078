"""Publishing: a commit of what is there, a push, and a look at the remote afterwards."""

import asyncio
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fake_cloud import FakeCloud, Json
from publish_kit import Desk
from runner_kit import BRANCH, SESSION_ID, Repositories, Sandbox, clone_args, git, started

from headstart_local.git_server import Asked, GitServer, Reply

pytestmark = pytest.mark.anyio


async def test_what_is_not_committed_is_committed_pushed_and_seen_on_the_remote(desk: Desk) -> None:
    desk.write("a.txt", "1\ntwo\nthree\n")
    desk.write("ü new.txt", "new\n")
    desk.write("ignored", "x\n")
    said = await desk.publish()
    assert (said.status, said.commit) == ("published", desk.there())
    assert desk.git("status", "--porcelain") == ""
    shown = git("show", "--name-only", "--format=%an|%ae|%cn|%B", str(desk.there()), cwd=desk.bare)
    assert shown.startswith("Ada Bot|bot@example.com|Ada Bot|Add a health check\n\n2 files changed")
    assert f"\n\nHeadstart-Session: {SESSION_ID}\n" in shown
    assert "ignored" not in shown
    pushed = desk.cloud.of("work.pushed")
    assert [event["commit"] for event in pushed] == [said.commit]


async def test_a_message_of_ones_own_is_the_commits(desk: Desk) -> None:
    desk.write("a.txt", "1\n")
    await desk.publish(message="Fix it\n\n# not a comment\n")
    message = git("log", "-1", "--format=%B", str(desk.there()), cwd=desk.bare)
    assert message.startswith("Fix it\n\n# not a comment\n\nHeadstart-Session: ")


async def test_commits_of_the_agents_own_stay_as_they_are(desk: Desk) -> None:
    desk.write("b", "b\n")
    own = desk.commit("Mine")
    said = await desk.publish()
    assert said.commit == own == desk.there()


async def test_nothing_to_publish_is_said_as_such_and_makes_no_branch(desk: Desk) -> None:
    assert (await desk.publish()).status == "unchanged"
    assert desk.there() is None
    desk.write("b", "b\n")
    first = await desk.publish()
    again = await desk.publish()
    assert (again.status, again.commit) == ("unchanged", first.commit)


@pytest.mark.parametrize("where", [("switch", "--detach"), ("switch", "--create", "other")])
async def test_what_is_checked_out_is_the_work(desk: Desk, where: tuple[str, ...]) -> None:
    desk.git(*where)
    desk.write("b", "b\n")
    said = await desk.publish()
    assert said.commit == desk.there() == desk.git("rev-parse", "HEAD")
    assert desk.there("other") is None


async def test_hooks_of_the_repository_are_not_run(desk: Desk, tmp_path: Path) -> None:
    for name in ("pre-commit", "commit-msg", "post-commit", "pre-push", "reference-transaction"):
        hook = desk.path / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/trap'\nexit 1\n")
        hook.chmod(0o755)
    desk.git("config", "commit.gpgSign", "true")
    desk.git("config", "commit.template", "/nowhere")
    desk.write("b", "b\n")
    assert (await desk.publish()).status == "published"
    assert not (tmp_path / "trap").exists()


async def test_a_merge_in_the_middle_is_refused_and_left_as_it_is(desk: Desk) -> None:
    desk.write("a.txt", "mine\n")
    mine = desk.commit("Mine")
    desk.git("switch", "--quiet", "--detach", desk.began)
    desk.write("a.txt", "theirs\n")
    desk.commit("Theirs")
    with pytest.raises(subprocess.CalledProcessError):
        desk.git("merge", mine)
    before = (desk.path / "a.txt").read_text()
    code, reason = await desk.refused()
    assert (code, "merge is in the middle" in reason) == ("WorkUnfinished", True)
    assert (desk.path / "a.txt").read_text() == before
    desk.git("merge", "--abort")
    assert (await desk.publish()).status == "published"


async def test_a_hook_that_rejects_is_quoted_and_once_it_lets_in_it_is_published(
    desk: Desk,
) -> None:
    desk.hook("pre-receive", "echo 'Only on Mondays, please.' >&2; exit 1")
    desk.write("b", "b\n")
    code, reason = await desk.refused()
    assert (code, "Only on Mondays, please." in reason) == ("PushRejected", True)
    assert desk.there() is None
    (desk.bare / "hooks" / "pre-receive").unlink()
    # What was about to be pushed is not what was there.
    said = await desk.publish(pushed=[event["commit"] for event in desk.cloud.of("work.pushed")])
    assert said.commit == desk.there() == desk.git("rev-parse", "HEAD")


async def test_what_somebody_else_pushed_is_never_forced_over(desk: Desk, tmp_path: Path) -> None:
    desk.write("b", "b\n")
    await desk.publish()
    other = tmp_path / "other"
    git("clone", "--quiet", "--branch", BRANCH, str(desk.bare), str(other), cwd=tmp_path)
    (other / "theirs").write_text("theirs\n")
    git("add", "--all", cwd=other)
    git("commit", "--quiet", "--message", "Theirs", cwd=other)
    git("push", "--quiet", "origin", BRANCH, cwd=other)
    theirs = desk.there()
    desk.write("c", "c\n")
    code, reason = await desk.refused()
    assert (code, str(theirs)[:12] in reason) == ("BranchMoved", True)
    assert desk.there() == theirs
    desk.git("pull", "--quiet", "--no-rebase", "--no-edit", "origin", BRANCH)
    said = await desk.publish()
    assert said.commit == desk.there()
    assert theirs in git("rev-list", str(desk.there()), cwd=desk.bare)


async def test_who_pushes_at_the_same_moment_wins(desk: Desk, tmp_path: Path) -> None:
    desk.write("b", "b\n")
    await desk.publish()
    first, tree = desk.there(), git("rev-parse", f"{desk.there()}^{{tree}}", cwd=desk.bare)
    rival = git("commit-tree", "-p", str(first), "-m", "Rival", tree, cwd=desk.bare)
    # What the hook moves is moved after the remote was looked at.
    ref = f"refs/heads/{BRANCH}"
    desk.hook("pre-receive", f"env -u GIT_QUARANTINE_PATH git update-ref {ref} {rival}")
    desk.write("c", "c\n")
    code, _ = await desk.refused()
    assert (code, desk.there()) == ("BranchMoved", rival)


async def test_over_its_own_commit_the_session_may_force(desk: Desk) -> None:
    desk.write("b", "b\n")
    first = await desk.publish()
    desk.git("commit", "--quiet", "--amend", "--message", "Better")
    said = await desk.publish()
    assert said.commit == desk.there() != first.commit
    desk.git("commit", "--quiet", "--amend", "--message", "Best")
    code, _ = await desk.refused(pushed=[])
    assert (code, desk.there()) == ("BranchMoved", said.commit)


async def test_a_deleted_branch_is_made_anew_by_who_asks_again(desk: Desk) -> None:
    desk.write("b", "b\n")
    await desk.publish()
    git("update-ref", "-d", f"refs/heads/{BRANCH}", cwd=desk.bare)
    code, _ = await desk.refused()
    assert (code, desk.there()) == ("BranchGone", None)
    said = await desk.publish(published=None)
    assert said.commit == desk.there()


def forget_the_last_commit(desk: Desk, *, keep: str) -> None:
    """Let the work be as an older copy has it: a commit less, and this of it not committed."""
    lost = desk.git("rev-parse", "HEAD")
    desk.git("reset", "--quiet", "--hard", "HEAD^")
    desk.git("update-ref", "-d", f"refs/remotes/origin/{BRANCH}")
    desk.git("update-ref", "-d", f"refs/headstart/published/{lost}")
    desk.git("reflog", "expire", "--expire=all", "--all")
    desk.git("-c", "gc.pruneExpire=now", "gc", "--quiet", "--prune=now")
    with pytest.raises(subprocess.CalledProcessError):
        desk.git("-c", "protocol.allow=never", "cat-file", "-e", lost)
    desk.write("b", keep)


async def test_after_a_wake_from_an_older_copy_the_work_goes_on_top(desk: Desk) -> None:
    desk.write("b", "one\n")
    first = await desk.publish()
    forget_the_last_commit(desk, keep="one\n")
    desk.write("c", "later\n")
    said = await desk.publish()
    assert said.commit == desk.there()
    assert first.commit in git("rev-list", str(desk.there()), cwd=desk.bare).split()
    files = git("ls-tree", "--name-only", str(desk.there()), cwd=desk.bare).split()
    assert {"b", "c"} <= set(files)


async def test_an_older_copy_without_anything_new_takes_up_what_was_published(desk: Desk) -> None:
    desk.write("b", "one\n")
    first = await desk.publish()
    forget_the_last_commit(desk, keep="")
    (desk.path / "b").unlink()
    said = await desk.publish()
    assert said.commit == first.commit == desk.there() == desk.git("rev-parse", "HEAD")
    assert (desk.path / "b").read_text() == "one\n"


async def test_an_older_copy_that_says_otherwise_is_left_for_the_agent(desk: Desk) -> None:
    desk.write("b", "one\n")
    first = await desk.publish()
    forget_the_last_commit(desk, keep="two\n")
    code, reason = await desk.refused()
    assert (code, "older than" in reason) == ("BranchMoved", True)
    assert desk.there() == first.commit
    assert (desk.path / "b").read_text() == "two\n"


async def test_a_connection_that_breaks_after_the_remote_took_it_is_no_failure(desk: Desk) -> None:
    desk.hook("post-receive", "kill -9 $PPID")
    desk.write("b", "b\n")
    said = await desk.publish()
    assert said.commit == desk.there()


async def test_a_connection_that_breaks_before_is_one_and_the_next_try_succeeds(
    desk: Desk, git_server: GitServer
) -> None:
    desk.hook("pre-receive", "kill -9 $PPID")
    desk.write("b", "b\n")
    code, _ = await desk.refused()
    assert (code, desk.there()) == ("GitNetworkError", None)
    (desk.bare / "hooks" / "pre-receive").unlink()
    assert (await desk.publish()).commit == desk.there()


def answering(
    git_server: GitServer, status: int, words: bytes = b"", kind: str = "text/plain"
) -> None:
    def reply(asked: Asked) -> Reply | None:
        return Reply(status, {"Content-Type": kind}, words) if asked.write else None

    git_server.reply = reply


async def test_an_archived_repository_is_no_place_to_push_to(
    desk: Desk, git_server: GitServer
) -> None:
    answering(git_server, 403, b"This repository was archived so it is read-only.")
    desk.write("b", "b\n")
    assert (await desk.refused())[0] == "RepositoryAccessDenied"


@pytest.mark.parametrize("words", [b"", b"Ask the owner."])
async def test_without_a_credential_it_is_said_that_nothing_opens_it_for_writing(
    desk: Desk, git_server: GitServer, words: bytes
) -> None:
    answering(git_server, 401, words)
    desk.write("b", "b\n")
    code, reason = (await desk.refused())[:2]
    assert code == "RepositoryAccessDenied"
    assert "for writing: the access rules don't give this session the App, and it brought" in reason
    assert words.decode() in reason
    assert "does not exist" not in reason


async def test_an_expired_credential_is_told_as_one(desk: Desk, git_server: GitServer) -> None:
    answering(git_server, 401)
    desk.write("b", "b\n")
    assert (await desk.refused())[0] == "RepositoryAccessDenied"


async def test_a_repository_that_is_gone(desk: Desk, git_server: GitServer) -> None:
    git_server.reply = lambda _: Reply(404)
    desk.write("b", "b\n")
    assert (await desk.refused())[0] == "RepositoryNotFound"


async def test_repositories_inside_are_left_out_and_named(desk: Desk) -> None:
    for name in ("empty", "full"):
        git("init", "--quiet", str(desk.path / name), cwd=desk.path)
    (desk.path / "full" / "x").write_text("x\n")
    git("add", "--all", cwd=desk.path / "full")
    git("commit", "--quiet", "--message", "x", cwd=desk.path / "full")
    desk.write("b", "b\n")
    said = await desk.publish()
    assert said.note == "left out, as repositories of their own: empty, full"
    files = git("ls-tree", "--name-only", str(desk.there()), cwd=desk.bare).split()
    assert files == [".gitignore", "a.txt", "b"]


async def test_the_first_commit_of_an_empty_repository(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories, git_server: GitServer
) -> None:
    url = repositories.make("empty")
    desk = Desk(cloud, sandbox, git_server.folder / url.rpartition("/")[2], url)
    await cloud.do("clone", clone_args(url, branch=BRANCH))
    await cloud.do("branch", {"branch": BRANCH})
    began: Json = {"commit": None, "branch": None}
    assert (await desk.publish(began=began)).status == "unchanged"
    desk.write("b", "b\n")
    assert (await desk.publish(began=began)).commit == desk.there()


async def test_nothing_is_pushed_before_the_cloud_knows_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[str | None] = []

    def on_report(report: Any, _: int) -> bool:
        if any(event.type == "work.pushed" for event in report.events):
            known.append(desk.there())
        return True

    desk.cloud.on_report = on_report
    desk.write("b", "b\n")
    said = await desk.publish()
    assert known == [None]
    assert said.commit


async def test_a_copy_waits_for_the_commit_and_a_prompt_for_neither_for_long(desk: Desk) -> None:
    go = desk.bare / "go"
    os.mkfifo(go)
    desk.hook("pre-receive", f"read word < '{go}'")
    desk.write("b", "b\n")
    await desk.cloud.start("publish", desk.args(), name="pub_x.publish")
    archive: Json = {"agent": "demo", "sessionId": SESSION_ID, "maxBytes": 10**9}
    await desk.cloud.start("archive", archive, name="arc_x.archive")
    await desk.cloud.until(lambda: desk.cloud.of("work.pushed"))
    assert "arc_x.archive" not in desk.cloud.results
    await asyncio.to_thread(go.write_text, "go\n")
    await desk.cloud.result("arc_x.archive")
    assert list(desk.cloud.results).index("pub_x.publish") < list(desk.cloud.results).index(
        "arc_x.archive"
    )


async def test_the_contents_of_large_files_are_pushed_first(
    cloud: FakeCloud, repositories: Repositories, git_server: GitServer, tmp_path: Path
) -> None:
    said, lfs = tmp_path / "said", tmp_path / "bin" / "git-lfs"
    lfs.parent.mkdir()
    said.touch()
    said.chmod(0o666)
    lfs.write_text(f"#!/bin/sh\necho \"$@\" >> '{said}'\n")
    lfs.chmod(0o755)
    url = repositories.make("large", {".gitattributes": "*.bin filter=lfs\n"})
    async with started(cloud, tmp_path, path=f"{lfs.parent}:{os.environ['PATH']}") as box:
        desk = Desk(cloud, box, git_server.folder / url.rpartition("/")[2], url)
        await cloud.do("clone", clone_args(url, branch=BRANCH))
        await cloud.do("branch", {"branch": BRANCH})
        desk.began = desk.git("rev-parse", "HEAD")
        desk.write("large.bin", "pointer\n")
        published = await desk.publish()
    assert said.read_text().splitlines()[-1] == f"push origin {published.commit}"


@pytest.mark.parametrize("key", ["insteadOf", "pushInsteadOf"])
async def test_the_repositorys_own_settings_lead_the_push_nowhere_else(
    desk: Desk, tmp_path: Path, key: str
) -> None:
    evil = tmp_path / "evil.git"
    git("clone", "--quiet", "--bare", str(desk.bare), str(evil), cwd=tmp_path)
    desk.git("config", f"url.{evil}.{key}", desk.url)
    desk.git("config", "protocol.file.allow", "always")
    desk.write("b", "b\n")
    said = await desk.publish()
    assert said.commit == desk.there()
    assert git("for-each-ref", f"refs/heads/{BRANCH}", cwd=evil) == ""


async def test_what_went_elsewhere_is_not_told_as_published(desk: Desk, tmp_path: Path) -> None:
    evil = tmp_path / "evil.git"
    git("clone", "--quiet", "--bare", str(desk.bare), str(evil), cwd=tmp_path)
    desk.git("config", f"remote.{desk.url}.url", str(evil))
    desk.git("config", "protocol.file.allow", "always")
    desk.write("b", "b\n")
    code, _ = await desk.refused()
    assert (code, desk.there()) == ("PublishFailed", None)
