"""The workspace's files, listed, packed, put back and removed under the agent's uid.

All of it is done by GNU find and GNU tar, started as any untrusted command is: what they are led to
by hostile names and links the agent's user could reach as well.
"""

import asyncio
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import zstandard

from headstart_runner.archives.listing import FORMAT
from headstart_runner.config import Config
from headstart_runner.processes.kept import bounded
from headstart_runner.processes.launcher import CommandNotStarted, Launcher, Sink

_RESERVED = ".headstart-*"
"""What of ours may lie beside the repository and in no archive."""

_TAR = (
    *("tar", "--format=posix", "--pax-option=delete=atime,delete=ctime", "--sparse"),
    *("--quoting-style=escape", "--numeric-owner"),
)
"""pax keeps nanoseconds and names of any bytes (tar(1), "Portable archives")."""

_EXTRACT = ("--extract", "--preserve-permissions", "--no-same-owner", "--verbose", "--file=-")
_LANGUAGE = {"LC_ALL": "C"}
_SAID_BYTES = 1024 * 1024
_LIST_BYTES = 100 * 1024 * 1024
"""The longest list of a workspace, some 700 000 files: they take a gigabyte to compare."""

_MOST_FILES = 5_000_000
_CHUNK = 256 * 1024
_WINDOW_BYTES = 128 * 1024 * 1024
"""The most memory that a frame may ask for; level 1 makes windows of half a megabyte."""

_UNREAD = re.compile(rb"(?:tar|find): (.+?): (?:Warning: )?(?:Cannot \w+: )?(.+)")
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)")
_LETTERS = {
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"v": b"\v",
}
_FATAL = b"Error is not recoverable"
_VANISHED = (
    b"No such file or directory",
    b"File removed before we read it",
    b"file changed as we read it",
)
_GIT_IDENTITY = "[user]\n\tname = Headstart\n\temail = headstart@localhost\n"


class Unusable(Exception):
    """The workspace can't be saved or put back; the words are fit for a person."""


def make_folders(config: Config, launcher: Launcher) -> None:
    """Make the workspace and HOME, unless something of the name is there."""
    with suppress(FileExistsError):
        config.workspace.mkdir(parents=True)
        launcher.own(config.workspace)
    with suppress(FileExistsError):
        config.home.mkdir()
    with _opened(config.home) as home:
        if home is not None and os.fstat(home).st_uid == os.geteuid():
            launcher.own(home)


@contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """Yield a folder in the workspace, open, and None for a link or what is no folder.

    Commands put there what they like, at any time, and our rights are not for where that leads.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        yield None
        return
    try:
        yield handle
    finally:
        os.close(handle)


def prepare(config: Config, launcher: Launcher) -> None:
    """Make the workspace's folders, with the name under which the agent commits."""
    make_folders(config, launcher)
    # The agent commits under this name, unless the setup commands set another. Installers such as
    # nvm's add their lines only to files that are there.
    with _opened(config.home) as home:
        for name, text in ((".gitconfig", _GIT_IDENTITY), (".profile", ""), (".bashrc", "")):
            if home is not None:
                _make(home, name, text, launcher)


def _make(folder: int, name: str, text: str, launcher: Launcher) -> None:
    """Make a file in an open folder, unless something of the name is there."""
    with suppress(FileExistsError):
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=folder)
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
            launcher.own(handle)


class Workspace:
    """The workspace of a sandbox."""

    def __init__(self, config: Config, launcher: Launcher) -> None:
        self._root = config.workspace
        self._launcher = launcher

    async def look(self, left_out: Sequence[Path]) -> tuple[bytes, list[bytes]]:
        """Return the list of all files, and the names of folders that can't be read.

        What lies in `left_out` is the agent's own business. Raises Unusable.
        """
        listed, said = bytearray(), bytearray()
        places = [f"./{_literal(path.relative_to(self._root))}" for path in left_out]
        named = [word for place in places for word in ("-o", "-path", place)]
        prune = ("(", "-path", f"./{_RESERVED}", *named, ")", "-prune")
        command = (
            *("find", ".", "-mindepth", "1"),
            *(*prune, "-o", "-printf", FORMAT.decode()),
        )
        code = await self._run(command, stdout=bounded(listed, _LIST_BYTES), stderr=said)
        if len(listed) >= _LIST_BYTES:
            raise Unusable("it has too many files")
        # 1 is what could not be read, and named; anything else may have ended it in the middle.
        if code not in {0, 1} or (code == 1 and not said):
            raise Unusable(f"find ended with exit status {code}")
        return bytes(listed), _named(said)

    async def pack(self, names: Path, out: Sink) -> list[bytes]:
        """Write the paths that a file names to `out`, as tar; return those that can't be read.

        Raises Unusable where tar did not end as it should.
        """
        said = bytearray()
        command = (
            *(*_TAR, "--create", "--no-recursion", "--ignore-failed-read"),
            *("--null", "--verbatim-files-from", "--files-from=-", "--file=-"),
        )
        with names.open("rb") as given:
            code = await self._run(command, stdin=given.fileno(), stdout=out, stderr=said)
        # 1 is what changed meanwhile; 2 also what could not be found or read (tar(1)), or an end in
        # the middle, which it says.
        if code not in {0, 1, 2} or (code == 2 and (not said or _FATAL in said)):
            raise Unusable(f"tar ended with exit status {code}")
        return _named(said)

    async def unpack(self, file: Path) -> None:
        """Put back what was packed, over what is there; raises Unusable.

        Bounded by what the disk has room for, in bytes and in files.
        """
        room = os.statvfs(self._root)
        most_bytes = room.f_bavail * room.f_frsize
        most_files = min(_MOST_FILES, room.f_favail or _MOST_FILES)
        said, files = bytearray(), _Lines(most_files)
        reading, writing = os.pipe()
        feeding = asyncio.create_task(asyncio.to_thread(_feed, file, writing, most_bytes))
        try:
            code = await self._run(
                (*_TAR, *_EXTRACT),
                stdin=reading,
                stdout=files.count,
                stderr=said,
                until=files.too_many,
            )
        finally:
            # Whoever still writes finds nobody who reads.
            os.close(reading)
            await asyncio.shield(asyncio.wait([feeding]))
        if files.too_many.is_set():
            raise Unusable(f"it has more than {most_files} files")
        feeding.result()
        if code != 0:
            lines = said.decode(errors="replace").strip().splitlines() or [f"exit status {code}"]
            raise Unusable(f"tar: {lines[0].removeprefix('tar: ')}")

    async def remove(self, names: Path) -> None:
        """Remove the paths that a file names; the folders they are in may be closed to writers.

        These stay open until the difference is put back, in which all of them are.
        """
        closed = ("find", ".", "-type", "d", "!", "-perm", "-u+rwx")
        await self._run((*closed, "-exec", "chmod", "u+rwx", "{}", "+"))
        with names.open("rb") as given:
            code = await self._run(
                ("xargs", "--null", "--no-run-if-empty", "rm", "-rf", "--"), stdin=given.fileno()
            )
        if code != 0:
            raise Unusable("what is gone since the base can't be removed")

    async def clear(self) -> None:
        """Remove everything."""
        # Each folder before what is in it: one that is closed to readers hides more of the kind.
        await self._run(("chmod", "--recursive", "u+rwX", "."))
        command = ("find", ".", "-mindepth", "1", "-maxdepth", "1", "-exec", "rm", "-rf", "{}", "+")
        if await self._run(command) != 0:
            raise Unusable("what was in the workspace can't be removed")

    async def _run(
        self,
        command: Sequence[str],
        *,
        stdin: int | None = None,
        stdout: Sink | None = None,
        stderr: bytearray | None = None,
        until: asyncio.Event | None = None,
    ) -> int:
        said = stderr if stderr is not None else bytearray()
        out = stdout or (lambda _: None)
        async with self._launcher.running(
            command,
            cwd=self._root,
            env=_LANGUAGE,
            stdin=stdin,
            stdout=out,
            stderr=bounded(said, _SAID_BYTES),
        ) as tree:
            try:
                ending = asyncio.create_task(tree.finished())
                stopped = asyncio.create_task((until or asyncio.Event()).wait())
                try:
                    await asyncio.wait({ending, stopped}, return_when=asyncio.FIRST_COMPLETED)
                    if not ending.done():
                        await tree.kill()
                    return await ending
                finally:
                    stopped.cancel()
                    ending.cancel()
                    await asyncio.gather(ending, stopped, return_exceptions=True)
            except CommandNotStarted as error:
                raise Unusable(str(error)) from error


def _literal(path: Path) -> str:
    """Return a path as a pattern that matches nothing else (find(1), -path)."""
    return re.sub(r"([*?\[\\])", r"\\\1", str(path))


def _named(said: bytes | bytearray) -> list[bytes]:
    """Return the paths that find or tar could not read."""
    found: dict[bytes, None] = {}
    for line in bytes(said).splitlines():
        match = _UNREAD.fullmatch(line)
        if match and not match[2].endswith(_VANISHED):
            found[_ESCAPE.sub(_unescaped, match[1].strip(b"'"))] = None
    return list(found)


def _unescaped(match: re.Match[bytes]) -> bytes:
    said = match[1]
    if said.isdigit():
        return bytes([int(said, 8)])
    return _LETTERS.get(said, said)


class _Lines:
    """Counts the files that tar names as it goes, until there are too many."""

    def __init__(self, most: int) -> None:
        self._left = most
        self.too_many = asyncio.Event()

    def count(self, data: bytes) -> None:
        """Take what tar says."""
        self._left -= data.count(b"\n")
        if self._left < 0:
            self.too_many.set()


def _write_all(out: IO[bytes], piece: bytes) -> None:
    """Write a piece whole: a write that a stopped process goes on with may have taken a part."""
    rest = memoryview(piece)
    while rest:
        rest = rest[out.write(rest) :]


def _feed(file: Path, pipe: int, most: int) -> None:
    """Write what a packed file holds to a pipe; Unusable for one that makes no sense."""
    reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
    with os.fdopen(pipe, "wb", 0) as out, file.open("rb") as source:
        try:
            with reader.stream_reader(source, read_across_frames=True) as plain:
                while piece := plain.read(_CHUNK):
                    most -= len(piece)
                    if most < 0:
                        raise Unusable("it is larger than the sandbox's disk")
                    _write_all(out, piece)
        except zstandard.ZstdError:
            raise Unusable("it is cut off, or no archive at all") from None
        except BrokenPipeError:
            return  # tar has all it wants, or says itself what it did not like
