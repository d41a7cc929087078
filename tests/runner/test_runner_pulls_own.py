"""Which pull request of a branch is the session's own, whatever people do to it."""

from typing import Any

import pytest
from pulls_kit import GitHub
from runner_kit import BRANCH, git
from tests.github import Fault, pulls

pytestmark = pytest.mark.anyio


def transfer(github: GitHub) -> None:
    """Give the repository to another owner, as GitHub does: its pull requests go along."""
    github.stub.repositories.rename(github.repository.name, "other/name")
    for pull in github.repository.pulls:
        for end in (pull["head"], pull["base"]):
            end["label"] = end["label"].replace("org:", "other:")


def by_people(github: GitHub, base: str) -> Any:
    """Have a person open another from the session's branch."""
    git("branch", "--force", base, "main", cwd=github.bare)
    asked = {"title": "Ours", "head": BRANCH, "base": base}
    return pulls.create(github.repository, github.stub.url, asked)


@pytest.mark.parametrize("number", [1, None])
async def test_one_that_went_to_another_owner_is_open_as_before(
    github: GitHub, number: int | None
) -> None:
    await github.have(base="main")
    transfer(github)
    later = await github.have("2 files changed", base="main", number=number)
    assert later.number == 1
    [pull] = github.repository.pulls
    assert "2 files changed" in pull["body"]


async def test_one_that_is_not_there_any_more_is_looked_for_and_else_opened(
    github: GitHub,
) -> None:
    assert (await github.have(base="main", number=7)).number == 1
    assert (await github.have(base="main", number=7)).number == 1


async def test_one_that_people_opened_is_not_the_sessions(github: GitHub) -> None:
    await github.have(base="main")
    theirs = by_people(github, "release")
    assert (await github.have("later", base="main")).number == 1
    assert (await github.have("later", base="main", number=1)).number == 1
    assert theirs.get("body") is None


async def test_where_people_opened_one_first_the_session_opens_its_own(github: GitHub) -> None:
    by_people(github, "release")
    assert (await github.have(base="main")).number == 2


async def test_one_that_was_opened_since_the_look_is_taken(
    github: GitHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_people(github, "main")
    listed, looks = pulls.listed, []

    def behind(*asked: Any) -> Any:
        looks.append(asked)
        return [] if len(looks) == 1 else listed(*asked)

    monkeypatch.setattr(pulls, "listed", behind)
    assert (await github.have(base="main")).number == 1


async def test_what_can_not_be_as_it_was_asked_for_is_noted(github: GitHub) -> None:
    await github.have(base="main")
    git("branch", "release", "main", cwd=github.bare)
    asked = github.pulls()
    await asked.have(github.wanted(base="release", draft=False, number=1))
    assert asked.notes == [
        "pull request #1 stays one into main",
        "pull request #1 stays a draft, until a person says it is ready",
    ]
    again = github.pulls()
    await again.have(github.wanted(base="main", number=1))
    assert again.notes == []


async def test_where_there_are_no_drafts_that_is_noted(github: GitHub) -> None:
    fault = Fault(422, "/pulls", message="Draft pull requests are not supported")
    github.stub.faults.append(Fault(404, "/pulls/7", message="Not Found"))
    asked = github.pulls()
    listed = pulls.listed

    def then_fail(*given: Any) -> Any:
        github.stub.faults.append(fault)
        return listed(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pulls, "listed", then_fail)
        opened = await asked.have(github.wanted(base="main", number=7))
    assert opened.number == 1
    assert asked.notes == ["the pull request is no draft: the repository has none"]
    assert github.repository.pulls[0]["draft"] is False
