"""Publishing from a copy that lacks what this session published: none of that is forced over."""

import shutil
from pathlib import Path

import pytest
from object_store import ObjectStore
from publish_kit import Desk
from runner_kit import BRANCH, as_agent, clone_args, git
from work_kit import another, done, save

pytestmark = pytest.mark.anyio

NOTES = "refs/headstart"


async def an_older_copy(desk: Desk, *, first: str, later: str) -> str:
    """Publish `first`, then `later`, and put back the work as of the first; return the later."""
    desk.write("work.txt", first)
    await desk.publish()
    copy = desk.path.with_name("copy")
    as_agent("cp", "--archive", desk.path, copy)
    desk.write("work.txt", later)
    desk.write("hour.txt", "an hour of work\n")
    lost = (await desk.publish()).commit
    shutil.rmtree(desk.path)
    copy.rename(desk.path)
    assert lost
    return lost


def has(desk: Desk, commit: str) -> bool:
    """Say whether the remote's branch has a commit in its history."""
    return commit in git("rev-list", str(desk.there()), cwd=desk.bare).split()


@pytest.mark.long
async def test_asked_once_more_it_is_not_forced_either(desk: Desk) -> None:
    lost = await an_older_copy(desk, first="v1\n", later="v2\n")
    desk.write("work.txt", "v3\n")
    for _ in range(3):
        code, reason = await desk.refused()
        assert (code, lost[:12] in reason) == ("BranchMoved", True)
        assert desk.there() == lost
    assert (desk.path / "work.txt").read_text() == "v3\n"
    desk.git("fetch", "--quiet", "origin", BRANCH)
    desk.git("merge", "--quiet", "--strategy-option=ours", "--no-edit", "FETCH_HEAD")
    said = await desk.publish()
    assert said.commit == desk.there()
    assert has(desk, lost)


async def test_what_the_agent_fetched_it_was_not_at(desk: Desk) -> None:
    lost = await an_older_copy(desk, first="v1\n", later="v1\n")
    desk.git("fetch", "--quiet", "origin", "+refs/heads/*:refs/remotes/origin/*")
    desk.write("more.txt", "more\n")
    said = await desk.publish()
    assert said.commit == desk.there()
    assert has(desk, lost)
    assert (desk.path / "hour.txt").read_text() == "an hour of work\n"


async def test_a_clone_that_begins_anew_has_all_of_it_or_waits(desk: Desk) -> None:
    await an_older_copy(desk, first="v1\n", later="v2\n")
    lost = str(desk.there())
    desk.git("fetch", "--quiet", "origin", BRANCH)
    desk.git("reset", "--quiet", "--hard", desk.began)
    for ref in desk.git("for-each-ref", "--format=%(refname)", NOTES).split():
        desk.git("update-ref", "-d", ref)
    desk.write("other.txt", "other\n")
    await desk.publish()
    assert has(desk, lost)
    assert (desk.path / "work.txt").read_text() == "v2\n"


async def test_the_agent_makes_anew_what_it_made_before_a_sleep(
    desk: Desk, store: ObjectStore, tmp_path: Path
) -> None:
    desk.write("b", "b\n")
    first = await desk.publish()
    saved = await save(desk.cloud, store)
    async with another(tmp_path / "other") as (cloud, sandbox):
        await done(cloud, "clone", clone_args(desk.url, branch=BRANCH, archive=saved))
        desk.cloud, desk.path = cloud, sandbox.repository
        desk.git("commit", "--quiet", "--amend", "--message", "Better")
        said = await desk.publish()
    assert said.commit == desk.there()
    assert not has(desk, str(first.commit))


@pytest.mark.long
async def test_one_whose_push_failed_may_be_made_anew_as_well(desk: Desk) -> None:
    desk.write("b", "b\n")
    first = await desk.publish()
    desk.hook("pre-receive", "exit 1")
    desk.git("commit", "--quiet", "--amend", "--message", "Better")
    assert (await desk.refused())[0] == "PushRejected"
    (desk.bare / "hooks" / "pre-receive").unlink()
    desk.git("commit", "--quiet", "--amend", "--message", "Best")
    said = await desk.publish()
    assert said.commit == desk.there()
    assert not has(desk, str(first.commit))


@pytest.mark.long
async def test_the_notes_are_few_and_nobody_elses(desk: Desk) -> None:
    for number in range(4):
        desk.write("b", f"{number}\n")
        await desk.publish()
    desk.write("b", "last\n")
    last = (await desk.publish(pushed=desk.pushed[-1:])).commit
    noted = desk.git("for-each-ref", "--format=%(objectname)", NOTES).split()
    assert sorted(noted) == sorted([desk.pushed[-2], str(last)])
    assert git("for-each-ref", NOTES, cwd=desk.bare) == ""


async def test_what_the_agent_noted_itself_is_no_leave_to_force_over_others(
    desk: Desk, tmp_path: Path
) -> None:
    desk.write("b", "b\n")
    await desk.publish()
    first = str(desk.there())
    tree = git("rev-parse", f"{first}^{{tree}}", cwd=desk.bare)
    theirs = git("commit-tree", "-p", first, "-m", "Theirs", tree, cwd=desk.bare)
    git("update-ref", f"refs/heads/{BRANCH}", theirs, cwd=desk.bare)
    desk.git("fetch", "--quiet", "origin", BRANCH)
    desk.git("update-ref", f"{NOTES}/published/{theirs}", theirs)
    desk.write("c", "c\n")
    assert (await desk.refused())[0] == "BranchMoved"
    assert desk.there() == theirs


async def test_a_note_that_leads_elsewhere_moves_nothing(desk: Desk) -> None:
    desk.write("b", "b\n")
    await desk.publish()
    mine = desk.git("rev-parse", "HEAD")
    desk.git("branch", "mine")
    desk.git("symbolic-ref", f"{NOTES}/published/{'0' * 40}", "refs/heads/mine")
    desk.write("c", "c\n")
    await desk.publish()
    assert desk.git("rev-parse", "mine") == mine
