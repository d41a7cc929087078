"""A session's work tree and its remote, for the tests of publishing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fake_cloud import FakeCloud, Json
from runner_kit import BRANCH, SESSION_ID, Repositories, Sandbox, clone_args, git

from headstart.domain.work import Published

FILES = {"a.txt": "one\ntwo\nthree\n", ".gitignore": "ignored\n"}


class Desk:
    """A session's work tree and its remote."""

    def __init__(self, cloud: FakeCloud, sandbox: Sandbox, bare: Path, url: str) -> None:
        self.cloud, self.sandbox, self.bare, self.url = cloud, sandbox, bare, url
        self.path = sandbox.repository
        self.began = ""
        self.pushed: list[str] = []
        self._count = 0

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    def git(self, *arguments: str) -> str:
        return git(*arguments, cwd=self.path)

    def commit(self, message: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def there(self, branch: str = BRANCH) -> str | None:
        """Return the branch's commit on the remote."""
        found = git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}", cwd=self.bare)
        return found or None

    def hook(self, name: str, script: str) -> None:
        hook = self.bare / "hooks" / name
        hook.write_text(f"#!/bin/sh\n{script}\n")
        hook.chmod(0o755)

    def args(self, **more: Any) -> Json:
        return {
            "gitUrl": self.url,
            "branch": BRANCH,
            "began": {"commit": self.began, "branch": "main"},
            "published": self.pushed[-1] if self.pushed else None,
            "pushed": self.pushed,
            "author": "Ada Bot <bot@example.com>",
            "sessionId": SESSION_ID,
            "title": "Add a health check",
            "allowPrivate": True,
            **more,
        }

    async def result(self, **more: Any) -> Json:
        self._count += 1
        return await self.cloud.do("publish", self.args(**more), name=f"pub_{self._count}.publish")

    async def publish(self, **more: Any) -> Published:
        result = await self.result(**more)
        assert result["status"] == "completed", result
        said = Published.model_validate(result["output"])
        self.pushed += [said.commit] if said.commit else []
        return said

    async def refused(self, **more: Any) -> tuple[str, str]:
        result = await self.result(**more)
        assert result["status"] == "failed", result
        return result["error"]["code"], result["error"]["reason"]


@asynccontextmanager
async def a_desk(
    cloud: FakeCloud, sandbox: Sandbox, repositories: Repositories
) -> AsyncIterator[Desk]:
    """Clone a repository and begin the session's branch."""
    server = repositories.server
    url = repositories.make("published", FILES)
    made = Desk(cloud, sandbox, server.folder / url.rpartition("/")[2], url)
    await cloud.do("clone", clone_args(url, branch=BRANCH))
    await cloud.do("branch", {"branch": BRANCH})
    made.began = made.git("rev-parse", "HEAD")
    yield made
    server.reply = lambda _: None
