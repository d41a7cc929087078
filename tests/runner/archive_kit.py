"""Workspaces that are saved and put back without a runner around them."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from object_store import ObjectStore
from pydantic import SecretStr
from runner_kit import AGENT_UID, SESSION_ID

from headstart.domain.command_args import ArchiveRef, FileRef
from headstart_runner.archives.files import About, Base, Files, Made, write_difference
from headstart_runner.archives.putting_back import PuttingBack
from headstart_runner.archives.saving import Saving
from headstart_runner.archives.workspace import prepare
from headstart_runner.config import Config
from headstart_runner.journal import Journal, prepare_state_dir
from headstart_runner.processes.launcher import Launcher
from headstart_runner.redaction import Redactor

MOST_BYTES = 50_000_000
_PATH = "/usr/local/bin:/usr/bin:/bin"


class Box:
    """A workspace, and what the runner keeps beside it."""

    def __init__(self, folder: Path, store: ObjectStore) -> None:
        self.config = Config(
            url="ws://127.0.0.1",
            session_id=SESSION_ID,
            key=SecretStr("key"),
            attempt=1,
            workspace=folder / "work space é",
            state_dir=folder / "state",
            agent_uid=AGENT_UID,
            path=_PATH,
        )
        self.repository = self.config.repository
        folder.mkdir(exist_ok=True)
        prepare_state_dir(self.config.state_dir)
        self.journal = Journal(self.config.state_dir)
        self.launcher = Launcher(uid=AGENT_UID, home=self.config.home, path=_PATH)
        self.files = Files(self.config, self.journal)
        self.store = store
        self.session = self.config.state_dir / "session.json"
        prepare(self.config, self.launcher)

    def do(self, script: str, *arguments: str) -> None:
        """Do in the work tree what an agent's shell does."""
        who = {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "a@b.c"}
        them = {"GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "a@b.c"}
        done = subprocess.run(
            ["bash", "-ec", script, "bash", *arguments],
            cwd=self.repository if self.repository.is_dir() else self.config.workspace,
            user=AGENT_UID,
            env={"PATH": _PATH, "HOME": str(self.config.home), **who, **them},
            check=False,
            capture_output=True,
            timeout=30,
        )
        assert done.returncode == 0, (script, done.stderr)

    def saving(self, *own: Path) -> Saving:
        """Return what saves this workspace."""
        return Saving(self.config, self.launcher, self.files, own)

    async def save(self, limit: int = MOST_BYTES) -> tuple[ArchiveRef, Saving]:
        """Save the workspace as the archive step does, and keep it in the store."""
        saving = self.saving()
        base = self.files.held()
        if base is None:
            base = await saving.base(limit)
            self._send(base.made)
        with (
            self.files.partial() as work,
            self.files.partial() as gone,
            self.files.partial() as file,
        ):
            await saving.difference(base, work, gone, limit)
            await write_difference(
                file, About(SESSION_ID, base.made.sha256, None), gone, work, None
            )
            made = await self.files.keep_difference(file)
        self._send(made)
        return ArchiveRef(base=self.ref(base.made), difference=self.ref(made)), saving

    def _send(self, made: Made) -> None:
        self.store.objects[_key(made)] = self.files.find(made.sha256).read_bytes()

    def ref(self, made: Made) -> FileRef:
        """Return where something that was made can be had."""
        return FileRef(url=self.store.url(_key(made)), bytes=made.bytes, sha256=made.sha256)

    async def base(self) -> Base:
        """Save everything, as the setup step does."""
        made = await self.saving().base(MOST_BYTES)
        self._send(made.made)
        return made

    def putting_back(self) -> PuttingBack:
        """Return what puts archives back here."""
        redactor = Redactor()
        return PuttingBack(self.config, self.launcher, redactor, self.files, lambda *_: None)

    async def put_back(self, archive: ArchiveRef) -> None:
        """Put an archive back, as the clone step does."""
        await self.putting_back().archive(archive, SESSION_ID, self.session)


def _key(made: Made) -> str:
    return made.sha256.replace("/", "-").replace("+", "_").rstrip("=")


@asynccontextmanager
async def box(folder: Path, store: ObjectStore) -> AsyncIterator[Box]:
    """Make a workspace, and end at last what was started for it."""
    made = Box(folder, store)
    try:
        yield made
    finally:
        await made.launcher.kill_all()
        made.journal.close()
