"""`headstart run` in a checkout: which repository and branch, and what a session won't see."""

import subprocess
from pathlib import Path

import pytest
from fake_headstart import FakeHeadstart, problem
from hypothesis import given
from hypothesis import strategies as st
from session_scripts import good_session

from headstart_client import checkout, cli

pytestmark = pytest.mark.usefixtures("environment")


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a clone of a bare repository, and go there."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    git(tmp_path, "init", "--bare", "--initial-branch=main", "there.git")
    folder = tmp_path / "here"
    git(tmp_path, "clone", "there.git", "here")
    git(folder, "checkout", "-B", "main")
    git(folder, "commit", "--allow-empty", "-m", "one")
    git(folder, "push", "-u", "origin", "main")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("origin", "address"),
    [
        ("git@github.com:org/name.git", "https://github.com/org/name.git"),
        ("github.com:org/name", "https://github.com/org/name"),
        ("ssh://git@git.example.com:2222/org/name.git", "https://git.example.com/org/name.git"),
        ("https://ada:secret@github.com/org/name", "https://github.com/org/name"),
        ("http://127.0.0.1:8080/sample.git", "http://127.0.0.1:8080/sample.git"),
        ("/srv/name.git", "/srv/name.git"),
    ],
)
def test_a_remote_becomes_an_address_without_credentials(origin, address):
    assert checkout.address(origin) == address


@given(
    st.text(st.characters(exclude_characters="/?#[]@:\\", codec="ascii"), min_size=1, max_size=9)
)
def test_no_password_of_a_remote_goes_on(password):
    assert password not in checkout.address(f"https://ada:{password}@h.test/o/n").partition("//")[
        2
    ].partition("/")[0].replace("h.test", "")


def test_run_takes_the_repository_and_branch_of_the_checkout(cloud: FakeHeadstart, work, capsys):
    git(work, "remote", "set-url", "origin", "git@github.com:org/name.git")
    cloud.next_session.script = good_session()
    assert cli.main(["run", "Say hello"]) == 0
    sent = cloud.requests("POST", "/sessions")[0].body
    assert sent["gitUrl"] == "https://github.com/org/name.git"
    assert sent["upstreamBranch"] == "main"
    assert capsys.readouterr().err == (
        "The repository of this checkout: https://github.com/org/name.git, branch main\n"
    )


@pytest.mark.usefixtures("work")
@pytest.mark.parametrize(
    ("given", "field", "what"),
    [
        ([], "gitUrl", "The origin of this checkout no good: name another with --repo"),
        ([], "upstreamBranch", "The branch of this checkout no good: name another with --branch"),
        (["--branch", "main"], "upstreamBranch", "Argument --branch: no good"),
    ],
)
def test_what_of_a_checkout_is_refused_is_no_argument(
    cloud: FakeHeadstart, capsys, given, field, what
):
    errors = [{"loc": [field], "msg": "no good"}]
    cloud.canned.append(problem(422, "ValidationFailed", "fields", errors=errors))
    assert cli.main(["run", "Say hello", *given]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == f"headstart: {what}; `headstart run --help` says what there is."


def test_run_says_what_a_session_will_not_see(cloud: FakeHeadstart, work, capsys):
    git(work, "commit", "--allow-empty", "-m", "two")
    (work / "new.txt").write_text("x")
    cloud.next_session.script = good_session()
    assert cli.main(["run", "Say hello"]) == 0
    assert capsys.readouterr().err.splitlines()[:2] == [
        "Not pushed, so not in the session: 1 commit of main",
        "Not committed, so not in the session: 1 file",
    ]


def test_a_branch_that_is_not_at_the_origin_is_refused(cloud: FakeHeadstart, work, capsys):
    git(work, "checkout", "-b", "new")
    assert cli.main(["run", "Say hello"]) == 2
    assert capsys.readouterr().err == (
        "headstart: The branch new is not at the origin: push it (git push -u origin new); or name "
        "one with --repo.\n"
    )
    git(work, "checkout", "--detach")
    assert cli.main(["run", "Say hello"]) == 2
    assert "No branch is checked out here" in capsys.readouterr().err
    assert cloud.seen == []


def test_a_folder_that_is_no_checkout_is_refused(cloud: FakeHeadstart, work, capsys, monkeypatch):
    monkeypatch.chdir(work.parent)
    assert cli.main(["run", "Say hello"]) == 2
    assert "no checkout with an `origin` to begin from" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "")
    assert cli.main(["run", "Say hello"]) == 2
    assert cloud.seen == []


def test_a_branch_that_is_named_is_taken(cloud: FakeHeadstart, work):
    git(work, "checkout", "-b", "new")
    git(work, "push", "-u", "origin", "new")
    cloud.next_session.script = good_session()
    assert cli.main(["run", "Say hello", "--branch", "main"]) == 0
    assert cloud.requests("POST", "/sessions")[0].body["upstreamBranch"] == "main"
