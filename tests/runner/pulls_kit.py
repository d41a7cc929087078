"""A stub of GitHub with a repository, for the tests of pull requests."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from runner_kit import BRANCH, git
from tests.github import GitHubStub, Repository, app_key

from headstart.domain.command_args import PullRequestArgs
from headstart.domain.errors import PullRequestFailed
from headstart_runner.gateway.credentials import Credential
from headstart_runner.publishing.pulls import Pulls, Subject

NAME = "org/name"


@dataclass
class AppCredentials:
    """Credentials as the gateway gives them: a token of the App's, until it is refused."""

    stub: GitHubStub
    permissions: dict[str, str] = field(
        default_factory=lambda: {"contents": "write", "pull_requests": "write"}
    )
    forgotten: int = 0
    held: Credential | None = None

    async def get(self, host: str, repository: str, *, write: bool) -> Credential | None:
        assert (host, repository, write) == (self.stub.url.partition("//")[2], NAME, True)
        [installation] = self.stub.app.installations
        if self.held is None:
            asked = {"repositories": ["name"], "permissions": self.permissions}
            value, _ = self.stub.app.give_token(installation.id, asked)
            self.held = Credential("x-access-token", value)
        return self.held

    def forget(self, credential: Credential) -> None:
        self.forgotten += credential is self.held
        self.held = None


@dataclass
class GitHub:
    """A stub of GitHub with one repository, and who asks it."""

    stub: GitHubStub
    repository: Repository
    credentials: AppCredentials
    bare: Path

    def pulls(self, text: str = "1 file changed") -> Pulls:
        subject = Subject(f"{self.stub.url}/{NAME}.git", BRANCH, text)
        return Pulls(f"{self.stub.url}/api/v3", subject, self.credentials)

    def wanted(self, **more: Any) -> PullRequestArgs:
        return PullRequestArgs.model_validate({"title": "Add a health check", **more})

    async def have(self, text: str = "1 file changed", **more: Any) -> Any:
        return await self.pulls(text).have(self.wanted(**more))

    async def refused(self, **more: Any) -> str:
        with pytest.raises(PullRequestFailed) as error:
            await self.have(**more)
        return error.value.reason


@contextmanager
def a_github(tmp_path: Path) -> Iterator[GitHub]:
    """Serve a repository with a branch that is one commit ahead."""
    bare = tmp_path / "name.git"
    git("init", "--quiet", "--bare", "--initial-branch=main", str(bare), cwd=tmp_path)
    tree = git("hash-object", "-t", "tree", "-w", "/dev/null", cwd=bare)
    first = git("commit-tree", "-m", "First", tree, cwd=bare)
    second = git("commit-tree", "-m", "Second", "-p", first, tree, cwd=bare)
    git("update-ref", "refs/heads/main", first, cwd=bare)
    git("update-ref", f"refs/heads/{BRANCH}", second, cwd=bare)
    with GitHubStub(app_key().public_key()) as stub:
        repository = stub.add(NAME, folder=bare)
        stub.install("org")
        yield GitHub(stub, repository, AppCredentials(stub), bare)
