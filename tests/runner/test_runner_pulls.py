"""Pull requests: opened, kept up to date, and what GitHub says against them."""

import pytest
from fake_cloud import FakeCloud
from pulls_kit import NAME, GitHub
from runner_kit import BRANCH, SESSION_ID, Repositories, Sandbox, clone_args, git
from tests.github import Fault, pulls

from headstart.domain.errors import AppNotInstalled, PullRequestClosed
from headstart.domain.work import Published

pytestmark = pytest.mark.anyio


async def test_one_is_opened_and_later_kept_up_to_date(github: GitHub) -> None:
    opened = await github.have(base="main")
    [pull] = github.repository.pulls
    assert (opened.number, opened.url) == (1, pull["html_url"])
    assert (pull["title"], pull["draft"], pull["base"]["ref"]) == (
        "Add a health check",
        True,
        "main",
    )
    assert "1 file changed" in pull["body"]
    pull["body"] = f"Mine before.\n{pull['body']}\nMine after."
    pull["title"] = "A person's"
    assert await github.have("2 files changed", number=1) == opened
    assert pull["body"].startswith("Mine before.\n<!-- headstart -->\n2 files changed\n")
    assert pull["body"].endswith("Mine after.")
    assert pull["title"] == "A person's"
    await github.have("2 files changed", title="Named", named=True)
    assert pull["title"] == "Named"
    assert len(github.repository.pulls) == 1
    assert github.stub.count("/pulls", "POST") == 1


async def test_without_a_base_it_is_the_default_branch(github: GitHub) -> None:
    await github.have()
    assert github.repository.pulls[0]["base"]["ref"] == "main"


async def test_what_a_person_wrote_instead_of_ours_stays(github: GitHub) -> None:
    await github.have()
    github.repository.pulls[0]["body"] = "All mine."
    await github.have("other")
    assert github.repository.pulls[0]["body"] == "All mine."
    assert github.stub.count("/pulls", "PATCH") == 0


@pytest.mark.parametrize(("merged", "word"), [(True, "merged"), (False, "closed")])
async def test_one_that_a_person_ended_is_told_and_asked_again_another_is_opened(
    github: GitHub, merged: bool, word: str
) -> None:
    await github.have()
    pulls.end(github.repository, 1, merged=merged)
    with pytest.raises(PullRequestClosed, match=f"#1 was {word}"):
        await github.have(number=1)
    assert (await github.have()).number == 2


async def test_a_base_that_is_not_there(github: GitHub) -> None:
    assert "base invalid" in await github.refused(base="nowhere")


async def test_nothing_between_the_branches(github: GitHub) -> None:
    git("update-ref", "refs/heads/main", f"refs/heads/{BRANCH}", cwd=github.bare)
    assert f"No commits between main and {BRANCH}" in await github.refused()


async def test_a_credential_without_the_permission(github: GitHub) -> None:
    github.credentials.permissions = {"contents": "write"}
    reason = await github.refused()
    assert "Resource not accessible by integration" in reason
    assert "permission to write pull requests" in reason


async def test_an_archived_repository(github: GitHub) -> None:
    github.repository.archived = True
    assert "archived" in await github.refused()


async def test_an_expired_token_is_asked_for_anew_once(github: GitHub) -> None:
    await github.have()
    github.stub.app.expire_tokens()
    assert (await github.have("later")).number == 1
    assert github.credentials.forgotten == 1


async def test_a_repository_that_the_app_does_not_see(github: GitHub) -> None:
    github.stub.faults.append(Fault(404, "/pulls", message="Not Found"))
    assert "no such repository" in await github.refused()


async def test_a_renamed_repository_is_found(github: GitHub) -> None:
    await github.credentials.get(github.stub.url.partition("//")[2], NAME, write=True)
    github.stub.repositories.rename(NAME, "org/other")
    assert (await github.have()).number == 1


async def test_a_server_in_trouble_is_said_to_be_one(github: GitHub) -> None:
    github.stub.faults.append(Fault(502, "/pulls", message="Bad Gateway"))
    assert "Bad Gateway" in await github.refused()
    later = {"x-ratelimit-remaining": "0"}
    github.stub.faults.append(Fault(403, "/pulls", message="rate limit", headers=later))
    assert "asked later" in await github.refused()


async def test_a_failure_of_the_app_is_told_in_its_words(github: GitHub) -> None:
    async def get(*_: object, **__: object) -> None:
        raise AppNotInstalled("Install it at https://example.com/install")

    github.credentials.get = get  # type: ignore[assignment]
    assert await github.refused() == "Install it at https://example.com/install"


async def test_no_token_is_in_what_is_said(github: GitHub) -> None:
    github.stub.faults.append(Fault(None, "/pulls"))
    github.stub.stopping.set()
    reason = await github.refused()
    assert github.credentials.held
    assert github.credentials.held.password not in reason


async def test_that_the_commit_is_there_is_told_though_the_pull_request_is_not(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> None:
    url = repositories.make("pulled", {"a": "a"})
    await cloud.do("clone", clone_args(url, branch=BRANCH))
    await cloud.do("branch", {"branch": BRANCH})
    (sandbox.repository / "b").write_text("b")
    args = {
        "gitUrl": url, "branch": BRANCH, "author": "A <a@b.c>", "sessionId": SESSION_ID,
        "title": "T", "allowPrivate": True, "pullRequest": {"title": "T"},
    }  # fmt: skip
    began = {"commit": git("rev-parse", "HEAD", cwd=sandbox.repository), "branch": "main"}
    result = await cloud.do("publish", {**args, "began": began})
    said = Published.model_validate(result["output"])
    assert said.note == "pull requests are opened on the deployment's GitHub only"
    result = await cloud.do("publish", {**args, "api": "http://127.0.0.1:9/api/v3"}, name="2.x")
    said = Published.model_validate(result["output"])
    assert said.commit == git("rev-parse", "HEAD", cwd=sandbox.repository)
    assert said.failure
    assert said.failure.code == "PullRequestFailed"
    assert "no credential" in said.failure.reason
    assert said.url == f"{url.removesuffix('.git')}/tree/{BRANCH}"
