"""What the runner keeps of archives in its state directory, out of the agent's reach.

A base is a tar compressed with zstd. A difference is a zip: `about.json` says whose it is and on
which base it builds, `session.json` is the agent's own export where there is any, `gone` the paths
removed since the base, `difference.tar.zst` what came or changed. Both are named by their hash, as
the object store spells it.
"""

import asyncio
import base64
import binascii
import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zstandard

from headstart_runner.archives.workspace import Unusable
from headstart_runner.config import Config
from headstart_runner.journal import Journal

FORMAT = 2
_ABOUT, _SESSION, _GONE, _WORK = "about.json", "session.json", "gone", "difference.tar.zst"
_FOLDER, _PARTIAL, _BASE, _DIFFERENCE = "archives", "partial-", ".base", ".difference"
CHANGES, DIFF = ".changes", ".diff"
"""What lies beside an archive: what the work changed, by name and line by line."""

_LISTED = "base.list"
_HELD, _LACKS = "archive.base", "archive.lacks"
_CHUNK = 256 * 1024
_MOST_SESSION_BYTES = 1024 * 1024 * 1024
_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Made:
    """A file that was made: its size, and its hash in base64."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, size: int, digest: "hashlib._Hash") -> "Made":
        """Return what a file is, by its size and what it hashes to."""
        return cls(size, base64.b64encode(digest.digest()).decode())

    def to_json(self) -> dict[str, Any]:
        """Return it as results have it."""
        return {"bytes": self.bytes, "sha256": self.sha256}


@dataclass(frozen=True, slots=True)
class Base:
    """The base that this workspace builds on, and the list of what it holds."""

    made: Made
    listed: bytes


class Packing:
    """Compresses what it is given into a file, up to a limit; a sink must not raise."""

    def __init__(self, out: IO[bytes], limit: int) -> None:
        self._out = out
        self._limit = limit
        self._packer = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compressobj()
        self._digest = hashlib.sha256()
        self.bytes = 0
        self.problem: OSError | None = None

    @property
    def too_large(self) -> bool:
        """Whether there was more than is allowed; what came after that is not in the file."""
        return self.bytes > self._limit

    def write(self, data: bytes) -> None:
        """Take a piece."""
        if not (self.too_large or self.problem):
            self._keep(self._packer.compress(data))

    def close(self) -> Made:
        """Write the rest; raises OSError where there was no room for all."""
        self._keep(self._packer.flush())
        if self.problem:
            raise self.problem
        return Made.of(self.bytes, self._digest)

    def _keep(self, data: bytes) -> None:
        self.bytes += len(data)
        if self.too_large or self.problem:
            return
        self._digest.update(data)
        try:
            self._out.write(data)
        except OSError as problem:
            self.problem = problem


class Files:
    """The files of one sandbox's archives."""

    def __init__(self, config: Config, journal: Journal) -> None:
        self.folder = config.state_dir / _FOLDER
        self._journal = journal

    @contextmanager
    def partial(self) -> Iterator[Path]:
        """Make a file name; a file of that name is gone afterwards."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        file = self.folder / f"{_PARTIAL}{os.urandom(4).hex()}"
        try:
            yield file
        finally:
            file.unlink(missing_ok=True)

    @contextmanager
    def names(self, paths: list[bytes]) -> Iterator[Path]:
        """Write paths into a file as tar and xargs read them; it is gone afterwards."""
        with self.partial() as file:
            write_names(file, paths)
            yield file

    def find(self, sha256: str) -> Path:
        """Return where the file of that hash is; Unusable for one that is not here."""
        with suppress(binascii.Error, ValueError):
            name = base64.b64decode(sha256, validate=True).hex()
            for kind in (_BASE, _DIFFERENCE, CHANGES, DIFF):
                file = self.folder / f"{name}{kind}"
                if file.is_file():
                    return file
        raise Unusable("this sandbox has no such archive, or a newer one has taken its place")

    def keep_base(self, partial: Path, made: Made, listed: bytes) -> None:
        """Make a finished file the base."""
        self._keep(partial, made, _BASE)
        self.hold(made, listed)

    async def keep_difference(self, partial: Path) -> Made:
        """Make a finished file the newest difference."""
        made = await asyncio.to_thread(_hashed, partial)
        self._keep(partial, made, _DIFFERENCE)
        return made

    async def keep_text(self, text: bytes, kind: str) -> Made:
        """Write the newest file of CHANGES or DIFF."""
        with self.partial() as file:
            await asyncio.to_thread(file.write_bytes, text)
            made = await asyncio.to_thread(_hashed, file)
            self._keep(file, made, kind)
            return made

    def _keep(self, partial: Path, made: Made, kind: str) -> None:
        """Name a file by its hash and remove its forerunners."""
        file = self.folder / f"{base64.b64decode(made.sha256).hex()}{kind}"
        partial.replace(file)
        for older in self.folder.glob(f"*{kind}"):
            if older != file:
                older.unlink(missing_ok=True)

    def hold(self, made: Made, listed: bytes) -> None:
        """Note what the workspace builds on from now on."""
        with self.partial() as file:
            self._journal.put(_HELD, "")
            file.write_bytes(listed)
            file.replace(self.folder / _LISTED)
        self._journal.put(_HELD, json.dumps(made.to_json()))

    def hold_nothing(self) -> None:
        """Note that the workspace is a new one."""
        self._journal.put(_HELD, "")
        self._journal.put(_LACKS, "")
        for kind in (_BASE, _DIFFERENCE, CHANGES, DIFF):
            for file in self.folder.glob(f"*{kind}"):
                file.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Remove what killed runners left; nothing else may be at work on an archive."""
        for file in self.folder.glob(f"{_PARTIAL}*"):
            file.unlink(missing_ok=True)

    def held(self) -> Base | None:
        """Return what the workspace builds on."""
        known = json.loads(self._journal.get(_HELD) or "null")
        listed = self.folder / _LISTED
        if known is None or not listed.is_file():
            return None
        return Base(Made(known["bytes"], known["sha256"]), listed.read_bytes())

    def sent(self, file: Path) -> None:
        """Note that a file is where it was to be sent: a base is large, and needed no more."""
        if file.suffix == _BASE:
            file.unlink(missing_ok=True)

    def lacks(self, missing: str | None) -> None:
        """Note what the archive that was put back says to be without."""
        self._journal.put(_LACKS, missing or "")

    @property
    def lacking(self) -> str | None:
        """What the archive that was put back was without."""
        return self._journal.get(_LACKS) or None


def _hashed(file: Path) -> Made:
    size, digest = file.stat().st_size, hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(_CHUNK):
            digest.update(piece)
    return Made.of(size, digest)


def write_names(file: Path, paths: list[bytes]) -> None:
    """Write paths as tar and xargs read them."""
    file.write_bytes(b"".join(path + b"\0" for path in paths))


@dataclass(frozen=True, slots=True)
class About:
    """What a difference says of itself."""

    session_id: str
    base: str
    missing: str | None


async def write_difference(
    file: Path, about: About, gone: Path, work: Path, session: Path | None
) -> None:
    """Put a difference together; not in a thread, which would go on with files that are gone."""
    with zipfile.ZipFile(file, "w") as out:
        told = {"format": FORMAT, "sessionId": about.session_id, "base": about.base}
        out.writestr(_ABOUT, json.dumps({**told, "missing": about.missing}))
        await _write(out, _GONE, gone, zipfile.ZIP_DEFLATED)
        await _write(out, _WORK, work, zipfile.ZIP_STORED)
        if session is not None:
            await _write(out, _SESSION, session, zipfile.ZIP_DEFLATED)


async def _write(out: zipfile.ZipFile, name: str, file: Path, method: int) -> None:
    part = zipfile.ZipInfo(name)
    part.compress_type = method
    with file.open("rb") as source, out.open(part, "w", force_zip64=True) as into:
        while piece := source.read(_CHUNK):
            into.write(piece)
            await asyncio.sleep(0)


def read_about(file: Path, session_id: str) -> About:
    """Return what a difference says of itself; Unusable unless it is this session's."""
    with _opened(file) as found:
        about = json.loads(found.read(_ABOUT))
        if about["format"] != FORMAT:
            raise Unusable("it is of a kind that this sandbox does not know")
        if about["sessionId"] != session_id:
            raise Unusable("it is another session's")
        return About(session_id, str(about["base"]), about["missing"])


def extract(file: Path, gone: Path, work: Path, session: Path) -> bool:
    """Take a difference apart; return whether the agent's session is in it."""
    with _opened(file) as found:
        _extract(found, _GONE, gone)
        _extract(found, _WORK, work)
        if _SESSION not in found.namelist():
            return False
        _extract(found, _SESSION, session)
        return True


def _extract(found: zipfile.ZipFile, name: str, into: Path) -> None:
    left = _MOST_SESSION_BYTES if name != _WORK else found.getinfo(name).file_size
    with found.open(name) as part, into.open("wb") as out:
        while piece := part.read(_CHUNK):
            left -= len(piece)
            if left < 0:
                raise Unusable("it is larger than any session")
            out.write(piece)


@contextmanager
def _opened(file: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(file) as found:
            yield found
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, NotImplementedError) as error:
        raise Unusable("it makes no sense") from error
