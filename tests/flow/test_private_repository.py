"""A private repository: who may have it, what is told where the App is not, and what opens it."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from headstart_local.git_server import Asked, Reply
from tests.flow.conftest import git
from tests.flow.private import Private, private_cloud
from tests.github import Fault


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Private]:
    with private_cloud(tmp_path_factory) as found:
        yield found


@pytest.fixture(autouse=True)
def _nothing_left(private: Private) -> Iterator[None]:
    yield
    private.cloud.delete_created()
    private.github.app.uninstall("eng")
    private.github.app.uninstall("ops")


def test_who_is_in_another_group_is_refused_at_the_post(private: Private) -> None:
    body, before = {"prompt": "x", "githubRepo": "eng/api"}, len(private.github.calls)
    for sub, groups in (("olga", ("ops",)), ("nobody", ())):
        token = private.cloud.token(sub, *groups)
        headers = {"Authorization": f"Bearer {token}"}
        answer = private.cloud.client().post("/sessions", json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "RepositoryForbidden")
    assert len(private.github.calls) == before


@pytest.mark.long
def test_an_app_that_is_not_installed_fails_the_clone_and_a_retry_goes_on(
    private: Private,
) -> None:
    cloud, github = private.cloud, private.github
    session = private.failed("eng/api")
    assert (session["failure"]["step"], session["failure"]["code"]) == ("clone", "AppNotInstalled")
    assert github.install_url in session["failure"]["reason"]
    assert session["failure"]["retryable"]

    github.install("eng")
    path = f"/sessions/{session['sessionId']}/retry"
    assert cloud.client().post(path, json={"attemptNumber": 1}).status_code == 202
    session = cloud.wait(session["sessionId"])
    assert session["failure"] is None, session["failure"]
    steps = {one["step"]: one["status"] for one in session["attempt"]["steps"]}
    assert (steps["sandbox"], steps["clone"]) == ("skipped", "completed")


def test_a_token_that_is_gone_is_replaced_and_opens_what_the_rules_give(
    private: Private, tmp_path: Path
) -> None:
    cloud, github = private.cloud, private.github
    github.install("eng")
    github.install("ops")
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    made = cloud.create(
        gitUrl=None,
        githubRepo="eng/api",
        setupCommands=[
            f"cat {gate}",
            "git fetch --quiet origin",
            f"git clone --quiet {github.url}/eng/lib.git ../lib && cat ../lib/README.md",
            f"! git clone --quiet {github.url}/ops/secret.git ../secret",
            "git commit --quiet --allow-empty --message=Work && git push --quiet origin HEAD",
            "! git push --quiet origin HEAD:main",
            "git remote get-url origin && ! grep -r 'gh[s]_' .git && ! env | grep 'gh[s]_'",
        ],
    )
    # Opened as soon as the first command reads, behind the clone.
    with gate.open("w"):
        first = list(github.app.tokens)
        github.app.expire_tokens()
    session = cloud.wait(made["sessionId"])
    assert session["failure"] is None, session["failure"]
    assert len(first) == 1, "one for clone and checkout"
    given = [
        (sorted(r.name for r in token.repositories), token.permissions["contents"])
        for token in github.app.tokens.values()
    ]
    assert sorted(given) == [
        (["eng/api"], "read"), (["eng/api"], "write"), (["eng/lib"], "read"),
    ]  # fmt: skip
    branch = session["repository"]["branch"]
    assert branch in git(private.bare["eng/api"], "branch", "--list", "session/*")

    everything = json.dumps(session) + json.dumps(cloud.events(made["sessionId"]))
    for table in cloud.aws("dynamodb").list_tables()["TableNames"]:
        everything += str(cloud.aws("dynamodb").scan(TableName=table)["Items"])
    everything += private.log.read_text()
    assert "eng/api" in everything
    assert "ghs_" not in everything


def test_a_permission_that_the_app_lacks_fails_the_clone_by_its_name(private: Private) -> None:
    private.github.install("eng", permissions={"metadata": "read"})
    failure = private.failed("eng/api")["failure"]
    assert (failure["step"], failure["code"]) == ("clone", "RepositoryAccessDenied")
    assert "contents: read" in failure["reason"]


@pytest.mark.long
def test_a_moment_of_githubs_is_waited_out(private: Private) -> None:
    github = private.github
    github.install("eng")
    # The function asks twice by itself, and then the machine once more.
    github.faults += [Fault(503, "installation$", times=2), Fault(429, "access_tokens")]
    made = private.cloud.create(gitUrl=None, githubRepo="eng/api")
    session = private.cloud.wait(made["sessionId"])
    assert session["failure"] is None, session["failure"]
    assert [fault.times for fault in github.faults] == [0, 0]


def test_what_no_rule_names_is_cloned_without_the_app(private: Private) -> None:
    before = len(private.github.calls)
    made = private.cloud.create(gitUrl=None, githubRepo="open/site")
    session = private.cloud.wait(made["sessionId"])
    assert session["failure"] is None, session["failure"]
    assert len(private.github.calls) == before


@pytest.mark.parametrize(("old", "new"), [("eng/was", "eng/is"), ("eng/left", "ops/left")])
def test_a_repository_that_moved_is_opened_where_the_rules_reach(
    private: Private, old: str, new: str
) -> None:
    github, server = private.github, private.server
    github.install("eng")
    github.install("ops")
    private.bare[old].rename(server.folder / f"{new}.git")
    github.repositories.rename(old, new)

    def moved(asked: Asked) -> Reply | None:
        """Tell only who may read it, as GitHub does."""
        if asked.repository != old or not github.authorize(asked.user, asked.password, old, False):
            return None
        return Reply(301, {"Location": github.url + asked.path.replace(old, new)})

    server.reply = moved
    made = private.cloud.create(gitUrl=None, githubRepo=old)
    failure = private.cloud.wait(made["sessionId"])["failure"]
    if new.startswith("eng/"):
        assert failure is None, failure
        assert any(asked.repository == new for asked in server.asked)
    else:
        assert (failure["step"], failure["code"]) == ("clone", "RepositoryAccessDenied")
        assert "ops" not in failure["reason"]
        assert not any(asked.repository == new for asked in server.asked)
