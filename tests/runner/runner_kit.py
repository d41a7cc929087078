"""What the runner's tests share: a sandbox with a runner in it, repositories, arguments."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from fake_cloud import BOOTSTRAP_KEY, FakeCloud, Json
from pydantic import SecretStr

from headstart_local.git_server import Behaviour, GitServer
from headstart_runner.config import Config
from headstart_runner.processes.nanny import descendants
from headstart_runner.runner import run

AGENT_UID = int(os.environ["HEADSTART_AGENT_UID"]) if "HEADSTART_AGENT_UID" in os.environ else None
"""The uid that commands run under: the image's, where these tests run in it; else our own."""

SESSION_ID = "ses_dfd84ed1effeEMnWxfp8yPNx64"
BRANCH = f"session/{SESSION_ID}"

SAMPLE = {
    "README.md": "# Lighthouse\n\nA small service that keeps ships off the rocks.\n",
    "src/app.py": "def health_check():\n    return 'ok'\n",
    "src/grüße und mehr.txt": "hello\n",
    "tests/test_app.py": "def test_health_check():\n    pass\n",
}


class Sandbox:
    """A runner in this process, as the container starts it."""

    def __init__(self, cloud: FakeCloud, folder: Path, **settings: Any) -> None:
        self.cloud = cloud
        values = {
            "url": cloud.url,
            "session_id": SESSION_ID,
            "key": SecretStr(BOOTSTRAP_KEY),
            "attempt": 1,
            "workspace": folder / "work space é",
            "state_dir": folder / "state",
            "batch_ms": 20,
            "path": os.environ["PATH"],
            "agent_uid": AGENT_UID,
        }
        self.config = Config.model_validate(values | settings)
        self.repository = self.config.repository
        if AGENT_UID is not None:
            self.config.workspace.mkdir(parents=True, exist_ok=True)
            os.chown(self.config.workspace, AGENT_UID, AGENT_UID)
        self._stop = asyncio.Event()
        self._task: asyncio.Task[int] | None = None

    def make_repository(self) -> None:
        """Make an empty folder, of the agent's, where the clone would be."""
        self.repository.mkdir(parents=True)
        if AGENT_UID is not None:
            os.chown(self.repository, AGENT_UID, AGENT_UID)

    def start(self) -> None:
        """Start the runner."""
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(run(self.config, self._stop))

    async def ended(self) -> int:
        """Wait for the runner's end and return its status."""
        assert self._task is not None
        async with asyncio.timeout(20):
            return await self._task

    async def stop(self) -> int:
        """Stop the runner as SIGTERM does, and return its status."""
        self._stop.set()
        return await self.ended()

    @property
    def running(self) -> bool:
        """Whether the runner runs."""
        return self._task is not None and not self._task.done()


@asynccontextmanager
async def started(cloud: FakeCloud, folder: Path, **settings: Any) -> AsyncIterator[Sandbox]:
    """Run a runner in this process for the length of the block."""
    box = Sandbox(cloud, folder, **settings)
    box.start()
    try:
        yield box
    finally:
        if box.running:
            await box.stop()


def as_agent(*command: str | Path, check: bool = True) -> str:
    """Run a command as the agent's user and return what it prints.

    In its group as well: to others /proc says little of its processes (ptrace(2)).
    """
    agent: dict[str, Any] = {"user": AGENT_UID, "group": AGENT_UID}
    done = subprocess.run(command, **agent, check=check, capture_output=True, text=True)
    return done.stdout


def environment_of(pid: int) -> dict[str, str]:
    """Return the variables of a process of the agent's."""
    pairs = (pair.partition("=") for pair in as_agent("cat", f"/proc/{pid}/environ").split("\0"))
    return {name: value for name, _, value in pairs if name}


def git(*arguments: str, cwd: Path) -> str:
    """Run git as Ada, as the folder's owner, and return what it prints."""
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    owner = cwd.stat()
    done = subprocess.run(
        ["git", *identity, *arguments],
        cwd=cwd,
        user=owner.st_uid,
        group=owner.st_gid,
        # The image's settings have git-lfs at work on what is added.
        env={**os.environ, "GIT_CONFIG_NOSYSTEM": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


class Repositories:
    """Makes bare repositories on the git server."""

    def __init__(self, server: GitServer, scratch: Path) -> None:
        self.server = server
        self._scratch = scratch

    def make(self, name: str, files: dict[str, str] | None = None, *, branch: str = "main") -> str:
        """Make a repository with one commit (none without files) and return its URL."""
        name = f"{self._scratch.name}-{name}.git"
        bare = self.server.folder / name
        git("init", "--quiet", "--bare", f"--initial-branch={branch}", str(bare), cwd=self._scratch)
        if files is not None:
            work = self._scratch / name
            git("init", "--quiet", f"--initial-branch={branch}", str(work), cwd=self._scratch)
            for path, text in files.items():
                (work / path).parent.mkdir(parents=True, exist_ok=True)
                (work / path).write_text(text, encoding="utf-8")
            git("add", "--all", cwd=work)
            git("commit", "--quiet", "--message", "First light", cwd=work)
            # Without hooks: git-lfs makes one, which wants to send what a pointer stands for.
            git("push", "--quiet", "--no-verify", str(bare), f"HEAD:{branch}", cwd=work)
        return self.server.url(name)


@contextmanager
def behaving(server: GitServer, **behaviour: float | bool) -> Iterator[None]:
    """Let the git server misbehave for the length of the block."""
    server.behaviour = Behaviour(**behaviour)  # type: ignore[arg-type]
    try:
        yield
    finally:
        server.behaviour = Behaviour()


def clone_args(url: str, **more: Any) -> Json:
    """Return the arguments of a clone from the test's own git server."""
    return {"gitUrl": url, "allowPrivate": True, **more}


def setup_args(*commands: str, command_timeout: int = 20, **env: str) -> Json:
    """Return the arguments of a setup."""
    return {"commands": list(commands), "env": env, "commandTimeout": command_timeout}


def agent_args(**env: str) -> Json:
    """Return the arguments that start the demo agent, which then answers quickly."""
    variables = {"DEMO_AGENT_SECONDS": "0.05", **env}
    return {"agent": "demo", "sessionId": SESSION_ID, "mode": "code", "env": variables}


def prompt_args(number: int = 1, text: str = "Add a health check") -> Json:
    """Return the arguments of the delivery of message `number`."""
    return {
        "sessionId": SESSION_ID,
        "messageId": f"msg_{number}",
        "turnId": f"trn_{number}",
        "text": text,
        "mode": "code",
    }


async def prepare(cloud: FakeCloud, url: str, **env: str) -> None:
    """Do what an attempt does before the first delivery."""
    restore = {"agent": "demo", "sessionId": SESSION_ID, "title": "Health"}
    steps: list[tuple[str, Json]] = [
        ("clone", clone_args(url)),
        ("restore", restore),
        ("agent", agent_args(**env)),
    ]
    for kind, args in steps:
        result = await cloud.do(kind, args)
        assert result["status"] == "completed", result


def processes(marker: str) -> list[int]:
    """Return the pids of living processes whose command line has a text."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if marker in line and state != "Z":
            found.append(int(entry.name))
    return found


def ended(pid: int) -> bool:
    """Return whether a process has ended, closed all it had open and been reaped.

    One that is ending has no command line any more, or is a zombie with threads that still listen.
    """
    return not Path(f"/proc/{pid}").exists()


def agents() -> list[int]:
    """Return the pids of the agent servers below this process: others may be testing, too."""
    return sorted({*processes("headstart_demo_agent serve")} & {*descendants()})


def nanny_of(pid: int) -> int:
    """Return the pid of a process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def eventually(condition: Callable[[], Any], seconds: float = 10) -> None:
    """Wait for something of the operating system, which tells nobody when it happens."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
