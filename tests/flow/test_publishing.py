"""Publishing as a caller sees it: what is said to be published is what the remote shows."""

import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.flow.conftest import PATIENCE, Cloud, Repositories, Viewer, git, kill_runner, long
from tests.flow.test_sleep import fall_asleep, first_turn, repository_of, send

FILES = {"README.md": "# Demo\n", "src/app.py": "print('hello')\n"}
WORK = "echo work > work.txt"
_ENDS = ("work.published", "work.unchanged", "work.publish_failed")


def there(repositories: Repositories, name: str, session_id: str) -> str:
    """Return the commit of a session's branch on the remote, "" for none."""
    bare = repositories.root / f"{name}.git"
    ref = f"refs/heads/session/{session_id}"
    return git(bare, "for-each-ref", "--format=%(objectname)", ref).strip()


def files_of(repositories: Repositories, name: str, session_id: str) -> set[str]:
    bare = repositories.root / f"{name}.git"
    return set(git(bare, "ls-tree", "-r", "--name-only", f"session/{session_id}").split())


def publish(cloud: Cloud, session_id: str, **body: Any) -> dict[str, Any]:
    answer = cloud.client().post(f"/sessions/{session_id}/publish", json=body)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    assert found["publication"]["status"] == "publishing"
    return found


def end_of(viewer: Viewer, kind: str = "work.published") -> dict[str, Any]:
    event = viewer.until_type(*_ENDS)
    assert event["type"] == kind, event["data"]
    data: dict[str, Any] = event["data"]
    return data


def saved_with(cloud: Cloud, session_id: str, head: str) -> dict[str, Any]:
    """Return the changes once the copy is kept that has a commit."""
    by = time.monotonic() + PATIENCE
    while True:
        answer = cloud.client().get(f"/sessions/{session_id}/changes")
        if answer.status_code == 200 and answer.json()["head"] == head:
            found: dict[str, Any] = answer.json()
            return found
        assert time.monotonic() < by, answer.text
        time.sleep(0.2)


def test_each_turns_work_is_published_and_shown_asleep_too(
    cloud: Cloud, repositories: Repositories
) -> None:
    url = repositories.make("auto", FILES)
    session_id = cloud.create(gitUrl=url, autoCommit=True, setupCommands=[WORK])["sessionId"]
    with cloud.watch(session_id) as viewer:
        first = end_of(viewer)["commit"]
        assert first == there(repositories, "auto", session_id)
        assert "work.txt" in files_of(repositories, "auto", session_id)
        changes = saved_with(cloud, session_id, first)
        assert changes["files"] == [
            {"path": "work.txt", "status": "added", "source": None, "additions": 1,
             "deletions": 0, "mode": None}
        ]  # fmt: skip
        [told] = [e["data"] for e in cloud.events(session_id) if e["type"] == "work.changed"]
        assert told == {"files": 1, "additions": 1, "deletions": 0}
        (repository_of(session_id) / "README.md").write_text("# Changed\n")
        send(cloud, session_id, "And now?")
        second = end_of(viewer)["commit"]
    assert second == there(repositories, "auto", session_id) != first
    bare = repositories.root / "auto.git"
    assert git(bare, "rev-list", "--count", f"main..{second}").strip() == "2"
    assert f"Headstart-Session: {session_id}" in git(bare, "log", "-1", "--format=%B", second)
    assert saved_with(cloud, session_id, second)["total"]["files"] == 2
    fall_asleep(cloud, session_id)
    assert cloud.client().get(f"/sessions/{session_id}/changes").json()["head"] == second
    diff = cloud.client().get(f"/sessions/{session_id}/diff").json()
    text = httpx.get(diff["url"]).text
    assert len(text.encode()) == diff["bytes"]
    assert "-# Demo\n+# Changed\n" in text
    session = cloud.get(session_id)
    assert session["publication"]["commit"] == second
    assert session["changes"] == {"files": 2, "additions": 2, "deletions": 1}


@pytest.mark.long
def test_a_sleeping_session_wakes_to_publish(cloud: Cloud, repositories: Repositories) -> None:
    url = repositories.make("asleep", FILES)
    session_id = first_turn(cloud, gitUrl=url, setupCommands=[WORK])
    fall_asleep(cloud, session_id)
    with cloud.watch(session_id) as viewer:
        publish(cloud, session_id, message="Work done")
        said = end_of(viewer)
    assert said["commit"] == there(repositories, "asleep", session_id)
    bare = repositories.root / "asleep.git"
    assert git(bare, "log", "-1", "--format=%s", said["commit"]).strip() == "Work done"
    assert cloud.get(session_id)["status"] == "ready"


def test_what_the_remote_rejects_is_kept_until_it_lets_it_in(
    cloud: Cloud, repositories: Repositories
) -> None:
    url = repositories.make("rejects", FILES)
    hook = repositories.root / "rejects.git" / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'Not on a Friday' >&2; exit 1\n")
    hook.chmod(0o755)
    session_id = first_turn(cloud, gitUrl=url, setupCommands=[WORK])
    with cloud.watch(session_id) as viewer:
        publish(cloud, session_id)
        failed = end_of(viewer, "work.publish_failed")
        assert (failed["code"], "Not on a Friday" in failed["reason"]) == ("PushRejected", True)
        assert cloud.get(session_id)["publication"]["failure"]["retryable"] is True
        assert there(repositories, "rejects", session_id) == ""
        hook.unlink()
        publish(cloud, session_id)
        said = end_of(viewer)
    assert said["commit"] == there(repositories, "rejects", session_id)


@pytest.mark.parametrize("when", [*long("before"), "after"])
def test_a_sandbox_that_dies_in_the_middle_is_no_end_of_it(
    cloud: Cloud, repositories: Repositories, tmp_path: Path, when: str
) -> None:
    name = f"dies-{when}"
    url = repositories.make(name, FILES)
    session_id = first_turn(cloud, gitUrl=url, setupCommands=[WORK])
    reached = tmp_path / "reached"
    os.mkfifo(reached)
    # Before or after the branch is there, the remote waits until the sandbox is gone.
    kind = "pre-receive" if when == "before" else "post-receive"
    hook = repositories.root / f"{name}.git" / "hooks" / kind
    hook.write_text(f"#!/bin/sh\necho here > '{reached}'\nexec sleep 30\n")
    hook.chmod(0o755)
    with cloud.watch(session_id) as viewer:
        publish(cloud, session_id)
        assert reached.read_text() == "here\n"
        hook.unlink()
        before = there(repositories, name, session_id)
        assert bool(before) == (when == "after")
        kill_runner(session_id)
        viewer.until_type("session.asleep")
        said = end_of(viewer)
    assert said["commit"] == there(repositories, name, session_id)
    assert "work.txt" in files_of(repositories, name, session_id)
    bare = repositories.root / f"{name}.git"
    history = git(bare, "rev-list", said["commit"]).split()
    assert not before or before in history
