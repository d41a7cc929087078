"""A gateway of its own before a git server that wants credentials, and git as the agent runs it."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from runner_kit import BRANCH, Repositories

from headstart.domain.errors import StepError
from headstart_local.git_server import GitServer
from headstart_runner.gateway.credentials import Credential, SessionCredentials
from headstart_runner.gateway.door import Door
from headstart_runner.gateway.gateway import Gateway, Source
from headstart_runner.journal import Journal
from headstart_runner.processes.launcher import Launcher
from headstart_runner.redaction import Redactor
from headstart_runner.vault import Vault

_IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


def posting(service: str) -> dict[str, str]:
    """Return what git says of what it posts."""
    return {"Content-Type": f"application/x-git-{service}-pack-request"}


@dataclass
class Mint:
    """Gives tokens as a GitHub App does, each for one repository, and knows which are good.

    `open_to` are the repositories that anybody may read.
    """

    open_to: set[str] = field(default_factory=set)
    refuses: StepError | None = None
    gives: bool = True
    lasts: timedelta = timedelta(hours=1)
    asked: list[tuple[str, str, bool]] = field(default_factory=list)
    good: dict[str, tuple[str, bool]] = field(default_factory=dict)
    given: list[Credential] = field(default_factory=list)

    async def ask(self, host: str, repository: str, write: bool) -> Credential | None:
        """Answer as the cloud does."""
        self.asked.append((host, repository, write))
        if self.refuses is not None:
            raise self.refuses
        if not self.gives:
            return None
        token = f"ghs_{len(self.asked):03d}UNIQUEtoken0123456789abcdef"
        self.good[token] = (repository, write)
        self.given.append(Credential("x-access-token", token, datetime.now(UTC) + self.lasts))
        return self.given[-1]

    def authorize(self, user: str, password: str, repository: str, write: bool) -> bool:
        """Decide as the server does."""
        if not write and repository in self.open_to:
            return True
        opened, may_write = self.good.get(password, ("", False))
        return user == "x-access-token" and opened == repository and write <= may_write

    def expire(self) -> None:
        """Let every token come to its end."""
        self.good.clear()


@dataclass
class Gate:
    """A gateway that is open for one repository, and a folder to run git in."""

    gateway: Gateway
    launcher: Launcher
    vault: Vault
    redactor: Redactor
    mint: Mint
    server: GitServer
    url: str
    folder: Path

    async def git(self, *arguments: str, cwd: Path | None = None, **env: str) -> "Said":
        """Run git as what the agent starts runs it."""
        process = await asyncio.create_subprocess_exec(
            "git",
            *arguments,
            cwd=cwd or self.folder,
            env={**self.launcher.environment(_IDENTITY), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        return Said(process.returncode or 0, out.decode(), err.decode(errors="replace"))

    async def cloned(self, name: str = "copy") -> Path:
        """Clone the repository and commit something on the session's branch."""
        copy = self.folder / name
        for arguments in (
            ("clone", "--quiet", self.url, str(copy)),
            ("-C", str(copy), "switch", "--quiet", "--create", BRANCH),
            ("-C", str(copy), "commit", "--quiet", "--allow-empty", "--message=Work"),
        ):
            done = await self.git(*arguments)
            assert done.code == 0, done.err
        return copy

    def posts(self, service: str) -> int:
        """Return how often objects were sent to the server, or got from it."""
        return sum(asked.path.endswith(f"/git-{service}-pack") for asked in self.server.asked)

    @property
    def door(self) -> str:
        """Where git finds the host's repositories."""
        return self.gateway._address

    @property
    def repository(self) -> str:
        """The repository's name."""
        return self.url.removeprefix(f"{self.server.base_url}/").removesuffix(".git")

    def has(self, ref: str) -> str:
        """Return what a ref of the server's repository is, "" for none."""
        bare = self.server.folder / f"{self.repository}.git"
        done = subprocess.run(
            ["git", "-C", str(bare), "rev-parse", "--verify", "--quiet", ref],
            check=False,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit status."""

    code: int
    out: str
    err: str


@contextmanager
def private_server(folder: Path, mint: Mint) -> Iterator[GitServer]:
    """Serve the repositories of a folder to whom a mint's tokens let in."""
    with GitServer(folder, authorize=mint.authorize) as server:
        yield server


@asynccontextmanager
async def gate(folder: Path, server: GitServer, mint: Mint, url: str) -> AsyncIterator[Gate]:
    """Open a gateway for a repository for the length of the block."""
    (folder / "state").mkdir(exist_ok=True)
    home = folder / "home"
    home.mkdir(exist_ok=True)
    journal, redactor, vault = Journal(folder / "state"), Redactor(), Vault()
    launcher = Launcher(uid=None, home=home, path=os.environ["PATH"])
    credentials = SessionCredentials(vault, mint.ask, redactor)
    gateway = Gateway(Door(), credentials, journal, launcher, redactor)
    await gateway.open(Source(url, BRANCH, allow_private=True))
    try:
        yield Gate(gateway, launcher, vault, redactor, mint, server, url, folder)
    finally:
        await launcher.kill_all()
        await gateway.close()
        journal.close()


def a_repository(server: GitServer, scratch: Path, name: str = "private") -> str:
    """Make a repository with a commit, and return its URL."""
    scratch.mkdir(exist_ok=True)
    return Repositories(server, scratch).make(name, {"README.md": "# Private\n"})
