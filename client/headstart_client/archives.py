"""Saved work for the command line: its files as they were promised, and a folder made of them."""

import base64
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, cast

import httpx

from headstart_client.errors import HeadstartError
from headstart_client.models import SavedFile
from headstart_client.transport import FAILURES, authorities, in_words

_PIECE = 1024 * 1024
SECONDS = 60.0
"""How long nothing may come of a file."""

_RIGHTS = 0o700
_WITHIN = r"grep -zvE '^/|(^|/)\.\.(/|$)'"
"""Keeps what is no absolute path and has no step up; a link may still lead elsewhere."""

_GONE, _WORK, _SESSION = "gone", "difference.tar.zst", "session.json"


class Places:
    """Where saved work goes: `folder`, and its files beside that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.base = self._beside("base.tar.zst")
        self.difference = self._beside("difference.zip")
        self.session = self._beside("session.json")

    def taken(self) -> Path | None:
        """Return what is there already and would be overwritten; raises OSError."""
        places = [self.base, self.difference, self.session]
        if not self.folder.is_dir() or any(self.folder.iterdir()):
            places.append(self.folder)
        return next((place for place in places if os.path.lexists(place)), None)

    def by_hand(self, *, changed: bool) -> list[str]:
        """Return the commands that do what `put_back` does."""
        paths = (self.folder, self.base, self.difference)
        folder, base, difference = (shlex.quote(str(path)) for path in paths)
        commands = [f"mkdir -p -m 700 {folder} && zstd -dc {base} | tar -x -C {folder}"]
        if changed:
            removed = f"{_WITHIN} | (cd {folder} && xargs -0r rm -rf --)"
            commands.append(
                f"chmod -R u+rwX {folder} && unzip -p {difference} {_GONE} | {removed} && "
                f"unzip -p {difference} {_WORK} | zstd -dc | tar -x -C {folder}"
            )
        return commands

    def _beside(self, ending: str) -> Path:
        return self.folder.parent / f"{self.folder.name}.{ending}"


def can_put_back() -> bool:
    """Say whether there are the programs for it."""
    return all(map(shutil.which, ("zstd", "tar")))


async def download(saved: SavedFile, file: Path) -> None:
    """Write a file that was not there, whole and as it was promised, or none.

    Raises HeadstartError.
    """
    with _new(file) as out:
        try:
            await _receive(saved, out)
        except (*FAILURES, OSError) as error:
            silent = isinstance(error, httpx.ReadTimeout)
            why = f"nothing more came for {SECONDS:.0f} s" if silent else in_words(error)
            raise HeadstartError(f"{file.name} did not come: {why}") from error


@contextmanager
def _new(file: Path) -> Iterator[IO[bytes]]:
    """Open a file that was not there, and leave none where what is done with it fails."""
    try:
        # All of it is for who asked: conversations and what a home folder had.
        out = open(file, "xb", opener=_for_its_owner)  # noqa: SIM115 - closed below
    except OSError as error:
        raise HeadstartError(f"{file} can't be written: {error.strerror}") from error
    try:
        with out:
            yield out
    except BaseException:
        file.unlink()
        raise


def _for_its_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


async def _receive(saved: SavedFile, out: IO[bytes]) -> None:
    name, digest, size = Path(out.name).name, hashlib.sha256(), 0
    async with (
        httpx.AsyncClient(
            timeout=SECONDS, headers={"accept-encoding": "identity"}, verify=authorities()
        ) as client,
        client.stream("GET", saved.url) as response,
    ):
        if response.status_code != httpx.codes.OK:
            raise HeadstartError(f"{name} can't be had: HTTP {response.status_code}")
        async for piece in response.aiter_raw(_PIECE):
            size += len(piece)
            if size > saved.bytes:
                break
            digest.update(piece)
            out.write(piece)
    if size != saved.bytes or base64.b64encode(digest.digest()).decode() != saved.sha256:
        raise HeadstartError(f"{name} is not what was saved, so it was not kept")


def put_back(places: Places, *, changed: bool) -> None:
    """Make the folder of the files; raises HeadstartError.

    All in them is what an agent and a repository made. So nothing is written or removed by a way
    that a link of theirs could lead out of the folder: tar sees to that within one archive only.
    """
    folder = places.folder
    fresh = not folder.exists()
    try:
        folder.mkdir(mode=_RIGHTS, parents=True, exist_ok=True)
        with places.base.open("rb") as base:
            _unpack(base, folder)
        if changed:
            with zipfile.ZipFile(places.difference) as difference:
                _change(folder, difference, places.session)
        if fresh:
            # The archive may say something of the folder itself.
            folder.chmod(_RIGHTS)
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise _impossible(str(error)) from error


def _impossible(why: str) -> HeadstartError:
    return HeadstartError(f"The work can't be put back: {why}")


def _change(folder: Path, difference: zipfile.ZipFile, session: Path) -> None:
    _open_folders(folder)
    with difference.open(_GONE) as names:
        for name in _names(names):
            _remove(_inside(folder, name))
    with tempfile.TemporaryDirectory(dir=folder) as fresh, difference.open(_WORK) as work:
        _unpack(work, Path(fresh))
        _move(Path(fresh), folder)
    if _SESSION in difference.namelist():
        with difference.open(_SESSION) as export, _new(session) as out:
            shutil.copyfileobj(export, out, _PIECE)


def _unpack(packed: IO[bytes], folder: Path) -> None:
    command = ["tar", "-x", "--no-same-owner", "--use-compress-program=zstd -d", "-f", "-"]
    with tempfile.TemporaryFile() as said:
        tar = subprocess.Popen(  # noqa: S603 - our own command line
            [*command, "-C", str(folder)], stdin=subprocess.PIPE, stderr=said
        )
        # A tar that takes no more says why.
        with suppress(BrokenPipeError), cast(IO[bytes], tar.stdin) as feed:
            shutil.copyfileobj(packed, feed, _PIECE)
        if tar.wait():
            said.seek(0)
            lines = said.read(_PIECE).decode(errors="replace").strip().splitlines()
            raise _impossible(lines[0] if lines else "tar failed")


def _names(stream: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while piece := stream.read(_PIECE):
        *names, rest = (rest + piece).split(b"\0")
        yield from filter(None, names)
    if rest:
        raise _impossible("the list of what is gone is cut off")


def _inside(folder: Path, name: bytes) -> Path:
    """Return where a path of the archive is; raises HeadstartError for one that leads out."""
    path = folder / os.fsdecode(name)
    parent = Path(os.path.realpath(path.parent))
    if path.name == ".." or not parent.is_relative_to(folder):
        raise _impossible(f"{os.fsdecode(name)!r} leads out of the folder")
    return path


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _move(source: Path, target: Path) -> None:
    """Move all in a folder into another, over what is there; no link in either is followed."""
    for entry in os.scandir(source):
        path, there = Path(entry.path), target / entry.name
        if not entry.is_dir(follow_symlinks=False):
            _remove(there)
            path.rename(there)
            continue
        told = path.stat()
        path.chmod(told.st_mode | _RIGHTS)
        if there.is_dir() and not there.is_symlink():
            _move(path, there)
        else:
            _remove(there)
            path.rename(there)
        there.chmod(told.st_mode)
        os.utime(there, ns=(told.st_atime_ns, told.st_mtime_ns))


def _open_folders(folder: Path) -> None:
    """Let all in a folder be changed; a module cache, for one, is closed to writers."""
    for root, names, _ in os.walk(folder):
        for path in (Path(root, name) for name in names):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | _RIGHTS)
