"""Snapshots: one zip in the state directory, named by its hash, of the session and of the work.

`about.json` says of whom and what is missing, `session.json` is the agent's own export where there
was any, `work.tar.gz` is written by headstart_runner.snapshots.worktree. Reading and writing the
work tree happens under the agent's uid only.
"""

import asyncio
import base64
import binascii
import hashlib
import json
import os
import shutil
import sys
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import headstart_runner
from headstart.domain.command_args import ArchiveArgs
from headstart_runner.config import Config
from headstart_runner.journal import Journal
from headstart_runner.processes.launcher import CommandNotStarted, Launcher, Sink

FORMAT = 1
_ABOUT, _SESSION, _WORK = "about.json", "session.json", "work.tar.gz"
_FOLDER, _PARTIAL = "snapshots", ".partial-"
_SCRATCH = ".work.tmp-"
_HELD = "clone.holds"
_PROGRAM = (sys.executable, "-s", "-S", "-P", "-m", "headstart_runner.snapshots.worktree")
BASE, BRANCH = "clone.base", "clone.branch"
"""Where the journal has the commit that was cloned, empty for none, and the session's branch."""


class Unusable(Exception):
    """The work can't be saved or put back; the words are fit for a person."""


class Limited:
    """Passes bytes on until there are too many, or no room; a sink must not raise."""

    def __init__(self, out: IO[bytes], limit: int) -> None:
        self._out = out
        self._limit = limit
        self.bytes = 0
        self.problem: OSError | None = None

    def write(self, data: bytes) -> None:
        """Take a piece."""
        self.bytes += len(data)
        if self.bytes > self._limit or self.problem:
            return
        try:
            self._out.write(data)
        except OSError as problem:
            self.problem = problem


def hold(journal: Journal, sha256: str) -> None:
    """Note that what a snapshot saved is in this clone: it was made of it or put back into it."""
    held = json.loads(journal.get(_HELD) or "[]")
    journal.put(_HELD, json.dumps([*held, sha256]))


def holds(journal: Journal, sha256: str) -> bool:
    """Return whether this clone has what a snapshot saved, or something newer."""
    return sha256 in json.loads(journal.get(_HELD) or "[]")


def hold_nothing(journal: Journal) -> None:
    """Note that the clone is a new one."""
    journal.put(_HELD, "[]")


def file_of(config: Config, sha256: str) -> Path:
    """Return where the snapshot of that hash (base64) is; Unusable for one that is not here."""
    with suppress(binascii.Error, ValueError):
        name = base64.b64decode(sha256, validate=True).hex()
        file = config.state_dir / _FOLDER / f"{name}.zip"
        if file.is_file():
            return file
    raise Unusable("this sandbox has no such copy, or a newer one has taken its place")


@asynccontextmanager
async def partial_file(config: Config) -> AsyncIterator[Path]:
    """Make a file name in the snapshots' folder; a file of that name is gone afterwards."""
    folder = config.state_dir / _FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / f"{_PARTIAL}{os.urandom(4).hex()}"
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


@asynccontextmanager
async def scratch(config: Config, launcher: Launcher) -> AsyncIterator[Path]:
    """Make a folder of the agent's uid beside the clone; it is gone afterwards."""
    await asyncio.to_thread(_sweep, config.workspace)
    folder = config.workspace / f"{_SCRATCH}{os.urandom(4).hex()}"
    folder.mkdir(mode=0o700)
    launcher.own(folder)
    try:
        yield folder
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


def _sweep(workspace: Path) -> None:
    """Remove what killed runners left."""
    for leftover in workspace.glob(f"{_SCRATCH}*"):
        shutil.rmtree(leftover, ignore_errors=True)


async def saved_work(
    launcher: Launcher, what: str, spec: dict[str, Any], *, folder: Path, out: Sink | None = None
) -> dict[str, Any]:
    """Run headstart_runner.snapshots.worktree and return its answer; Unusable with its reason.

    What did not end well is not believed, whatever it answered.
    """
    said = bytearray()
    async with launcher.running(
        (*_PROGRAM, what, json.dumps(spec)),
        cwd=folder,
        env={"PYTHONPATH": str(Path(headstart_runner.__file__).parent.parent)},
        stdout=out or said.extend,
        stderr=said.extend,
    ) as tree:
        try:
            code = await tree.finished()
        except CommandNotStarted as error:
            raise Unusable(str(error)) from error
    lines = said.decode(errors="replace").strip().splitlines() or [f"exit status {code}"]
    try:
        answer = json.loads(lines[-1])
    except ValueError:
        raise Unusable(lines[-1]) from None
    if isinstance(answer, dict) and "error" in answer:
        raise Unusable(str(answer["error"]))
    if code != 0 or not isinstance(answer, dict):
        # Something else may have answered in its place.
        raise Unusable(f"what does it ended with exit status {code}")
    return answer


def describe(file: zipfile.ZipFile, args: ArchiveArgs, missing: str | None) -> None:
    """Write of whom a snapshot is, and what of the session is not in it."""
    about = {"format": FORMAT, "sessionId": args.session_id, "agent": args.agent}
    file.writestr(_ABOUT, json.dumps({**about, "missing": missing}))


async def write_session(file: zipfile.ZipFile, export: Path) -> None:
    """Write the agent's export; not in a thread, which would go on with a file that is closed."""
    with (
        export.open("rb") as source,
        file.open(_part(_SESSION, zipfile.ZIP_DEFLATED), "w", force_zip64=True) as part,
    ):
        while piece := source.read(256 * 1024):
            part.write(piece)
            await asyncio.sleep(0)


def work_part(file: zipfile.ZipFile) -> IO[bytes]:
    """Open the work, which is compressed already, for writing."""
    return file.open(_part(_WORK, zipfile.ZIP_STORED), "w", force_zip64=True)


def _part(name: str, compression: int) -> zipfile.ZipInfo:
    part = zipfile.ZipInfo(name)
    part.compress_type = compression
    return part


def keep(config: Config, partial: Path) -> tuple[int, str]:
    """Make a finished file the only snapshot; return its size and its hash in base64."""
    digest = hashlib.sha256()
    with partial.open("rb") as stream:
        while piece := stream.read(1024 * 1024):
            digest.update(piece)
    file = partial.with_name(f"{digest.hexdigest()}.zip")
    partial.replace(file)
    for older in file.parent.iterdir():
        if older != file:
            older.unlink(missing_ok=True)
    return file.stat().st_size, base64.b64encode(digest.digest()).decode()


@dataclass(frozen=True, slots=True)
class SavedSession:
    """What a snapshot has of the agent's session: the export, if any, and what is not in it."""

    export: dict[str, Any] | None
    missing: str | None


def unpack(file: Path, session_id: str, work: Path) -> SavedSession:
    """Write the work of a snapshot to `work` and return the rest; Unusable for a strange one."""
    try:
        with zipfile.ZipFile(file) as archive:
            about = json.loads(archive.read(_ABOUT))
            if about["format"] > FORMAT or about["sessionId"] != session_id:
                raise Unusable("it is of another session, or was saved by a newer version")
            session = None
            if _SESSION in archive.namelist():
                session = json.loads(archive.read(_SESSION))
                if session["info"]["id"] != session_id:
                    raise Unusable("the agent's export is of another session")
            with archive.open(_WORK) as source, work.open("xb") as out:
                shutil.copyfileobj(source, out)
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
        raise Unusable(f"it is not a snapshot: {error}") from error
    return SavedSession(session, about.get("missing"))
