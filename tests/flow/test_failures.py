"""What goes wrong: repositories, setup commands, and a runner that dies."""

from typing import Any

import pytest

from tests.flow.conftest import Cloud, Repositories, kill_runner, long, processes_of

FILES = {"README.md": "# Demo\n", "src/app.py": "print('hello')\n"}


def answered(cloud: Cloud, session_id: str) -> dict[str, Any]:
    with cloud.watch(session_id) as viewer:
        viewer.until_type("turn.completed", "session.failed")
    session = cloud.get(session_id)
    assert session["status"] != "failed", session["failure"]
    return session


def step(session: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(s for s in session["attempt"]["steps"] if s["step"] == name)
    return found


def failed(cloud: Cloud, session_id: str) -> dict[str, Any]:
    """Return a failed session, having checked what every failure promises."""
    session = cloud.wait(session_id)
    assert session["status"] == "failed"
    assert session["initiatedAt"] is None
    assert session["preparedAt"] is None
    assert [m["status"] for m in session["queue"]] in (["queued"], ["held"])
    assert session["attempt"]["status"] == "failed"
    failure = session["failure"]
    assert step(session, failure["step"])["status"] == "failed"
    assert len(failure["reason"]) > 10
    events = cloud.events(session_id)
    assert events[-1]["type"] == "session.failed"
    assert events[-1]["data"]["failure"]["code"] == failure["code"]
    assert "session.ready" not in {e["type"] for e in events}
    return session


def test_a_default_branch_of_another_name(cloud: Cloud, repositories: Repositories) -> None:
    url = repositories.make("trunk", FILES, branch="trunk")
    session = answered(cloud, cloud.create(gitUrl=url)["sessionId"])
    assert step(session, "clone")["message"].startswith("trunk at ")


def test_an_empty_repository_is_ready_on_an_unborn_branch(
    cloud: Cloud, repositories: Repositories
) -> None:
    session = answered(cloud, cloud.create(gitUrl=repositories.make("empty", {}))["sessionId"])
    assert step(session, "clone")["message"] == "The repository is empty"
    assert "no commits yet" in step(session, "branch")["message"]


def test_spaces_and_other_alphabets_in_names(cloud: Cloud, repositories: Repositories) -> None:
    files = {"my docs/größe 测试.md": "# Ünïcode\n", "наш файл.py": "pass\n"}
    url = repositories.make("odd names", files)
    commands = ["test -f 'my docs/größe 测试.md'", "test -f 'наш файл.py'"]
    answered(cloud, cloud.create(gitUrl=url, setupCommands=commands)["sessionId"])


def test_a_repository_that_does_not_exist(cloud: Cloud, repositories: Repositories) -> None:
    url = repositories.server.url("nothing-here.git")
    session = failed(cloud, cloud.create(gitUrl=url)["sessionId"])
    assert session["failure"]["code"] == "RepositoryNotFound"
    assert session["failure"]["step"] == "clone"


def test_an_upstream_branch_that_does_not_exist_can_be_another(
    cloud: Cloud, repositories: Repositories
) -> None:
    url = repositories.make("branches", FILES)
    session_id = cloud.create(gitUrl=url, upstreamBranch="nope")["sessionId"]
    session = failed(cloud, session_id)
    assert session["failure"]["code"] == "BranchNotFound"
    assert "nope" in session["failure"]["reason"]
    path = f"/sessions/{session_id}"
    changed = cloud.client().patch(path, json={"upstreamBranch": "main"})
    again = cloud.client().post(f"{path}/retry", json={"attemptNumber": 1})
    assert (changed.status_code, again.status_code) == (200, 202)
    with cloud.watch(session_id) as viewer:
        viewer.until_type("turn.completed")


def test_a_setup_command_that_fails_shows_its_output(cloud: Cloud) -> None:
    commands = ["echo before", "echo why it failed >&2; exit 3", "echo never"]
    session = failed(cloud, cloud.create(setupCommands=commands)["sessionId"])
    assert session["failure"]["code"] == "SetupCommandFailed"
    assert "3" in session["failure"]["reason"]
    output = step(session, "setup")["output"]
    assert "before" in output
    assert "why it failed" in output
    assert "never" not in output


def test_a_flood_of_output_keeps_its_tail(cloud: Cloud) -> None:
    command = "head -c 10000000 /dev/zero | tr '\\0' x; echo; echo the end; exit 1"
    session = failed(cloud, cloud.create(setupCommands=[command])["sessionId"])
    output = step(session, "setup")["output"]
    assert output.rstrip().endswith("the end")
    assert 60_000 < len(output) <= 64 * 1024


def test_a_command_that_reads_finds_nothing_and_a_daemon_lives_on(cloud: Cloud) -> None:
    commands = ["cat; read answer || echo nobody there", "sleep 300 & echo started"]
    answered(cloud, cloud.create(setupCommands=commands)["sessionId"])


def test_a_sandbox_killed_before_its_hello_is_replaced(cloud: Cloud) -> None:
    session_id = cloud.create()["sessionId"]
    with cloud.watch(session_id) as viewer:
        kill_runner(session_id)
        viewer.until_type("session.ready")


@pytest.mark.parametrize(
    "name", ["agent", "deliver", *long("disk", "clone", "branch", "restore", "setup")]
)
def test_a_runner_killed_in_any_step_ends_the_attempt_with_the_reason(
    cloud: Cloud, name: str
) -> None:
    commands = ["sleep 60"] if name == "setup" else []
    session_id = cloud.create(setupCommands=commands)["sessionId"]
    with cloud.watch(session_id) as viewer:
        viewer.until_step(name)
        kill_runner(session_id)
        # A step of a few milliseconds may be over before the kill: then a later one fails, or the
        # session was ready and sleeps. None of them may hang, and each must say why.
        ended = viewer.until_type("session.failed", "session.asleep")
    assert "137" in str(ended["data"])
    session = cloud.get(session_id)
    if session["status"] == "failed":
        assert session["failure"]["code"] == "SandboxStopped"
        assert session["failure"]["retryable"]
    else:
        assert session["status"] == "asleep"
    assert not processes_of(session_id)
