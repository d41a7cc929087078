"""What the work changed since its branch began, as git sees it, without touching the agent's index.

All of it runs as the agent's user. Of what a repository may bring along to be run, git runs here
what it would in the agent's own `git status`, the filters of its settings: without them what is
unchanged would look changed. Hooks, external diffs and textconv programs are not run.
"""

import asyncio
import codecs
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.domain.work import (
    CHANGES_BYTES,
    DIFF_BYTES,
    DIFF_LINES,
    MOST_FILES,
    Beginning,
    ChangedFile,
    Changes,
    Counted,
)
from headstart_runner.processes.launcher import Launcher
from headstart_runner.redaction import RedactedStream, Redactor
from headstart_runner.repository.git import Git, GitResult, complaint
from headstart_runner.wire import MARK, dumps, head

_LISTED_BYTES = 64 * 1024 * 1024
_PATH_CHARACTERS = 500
_CUT_HEADING = re.compile(rb"(?m)^@@ [^@\n]+ @@ [^\n]{76,}$")
"""git ends a hunk's heading after 80 bytes, in the middle of whatever stands there."""

_CUT = "\n# The diff goes on; {why}.\n"
_NO_NETWORK = ("-c", "protocol.allow=never")
_PLAIN = (
    *_NO_NETWORK,
    *("-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false", "-c", "core.quotePath=true"),
    *("-c", "diff.renameLimit=1000", "-c", "diff.submodule=short"),
)
_DIFF = (
    *("diff", "--find-renames", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty"),
    *("--no-color", "--no-relative", "--full-index"),
)
_STATUSES = {
    "A": "added",
    "M": "modified",
    "D": "deleted",
    "R": "renamed",
    "C": "copied",
    "T": "retyped",
    "U": "unmerged",
}
_TWO_NAMES = {"R", "C"}
_NO_FILE = "000000"


class Untold(Exception):
    """What the work changed can't be told; the words are fit for a person."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the work changed, and the same as a unified diff, without secrets."""

    changes: Changes
    diff: bytes


class Work:
    """The work tree of a session."""

    def __init__(self, launcher: Launcher, redactor: Redactor, repository: Path) -> None:
        self._launcher = launcher
        self._redactor = redactor
        self._git = Git(launcher)
        self._repository = repository

    async def look(self, began: Beginning) -> Look:
        """Compare the work tree with where its branch began; raises Untold."""
        base = await self.base(began)
        with self._scratch() as scratch:
            env = await self._aside(scratch)
            tree = base or await self._must("hash-object", "-t", "tree", "/dev/null")
            listed = await self._diff(env, tree, "--raw", "--numstat", "-z", most=_LISTED_BYTES)
            if listed.is_cut:
                raise Untold("it changed too many files")
            found = read_listing(listed.text)
            diff = await self._diff(env, tree, "--patch", most=DIFF_BYTES)
        here = await self._commit("HEAD")
        changes = await asyncio.to_thread(summed, base, here, found, self._redactor.text)
        return Look(changes, await asyncio.to_thread(self._told, diff))

    async def base(self, began: Beginning) -> str | None:
        """Return the newest commit of HEAD's history that is upstream's as well, if any."""
        upstream = f"refs/remotes/origin/{began.branch or 'HEAD'}"
        shared = await self._said("merge-base", "HEAD", upstream)
        if began.commit is None:
            return shared
        # Upstream may have gone elsewhere: what the session began with is older than it only then.
        if shared and await self._is("merge-base", "--is-ancestor", began.commit, shared):
            return shared
        return await self._said("merge-base", "HEAD", began.commit) or await self._commit(
            began.commit
        )

    async def _aside(self, scratch: Path) -> dict[str, str]:
        """Return the variables for an index of our own that knows the new files by name."""
        places = await self._must(
            *("rev-parse", "--path-format=absolute", "--git-path", "index"),
            *("--git-path", "objects"),
        )
        index, _, objects = places.partition("\n")
        env = {
            "GIT_INDEX_FILE": str(scratch / "index"),
            "GIT_OBJECT_DIRECTORY": str(scratch),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(objects),
        }
        # As the agent's user: where the name leads is the agent's to choose. None is an empty one.
        copy = ("cp", "--", index, env["GIT_INDEX_FILE"])
        async with self._launcher.running(copy, cwd=self._repository, env={}) as tree:
            await tree.finished()
        # What can't be added, such as a repository without a commit, is nothing git would commit.
        await self._git.run(
            *("add", "--intent-to-add", "--ignore-errors", "--", "."),
            cwd=self._repository,
            options=_PLAIN,
            env=env,
        )
        return env

    async def _diff(self, env: Mapping[str, str], tree: str, *how: str, most: int) -> "_Bounded":
        """Return what git's diff says, up to so many bytes."""
        out = _Bounded(most)
        running = self._git.run(
            *(*_DIFF, *how, tree, "--"),
            cwd=self._repository,
            options=_PLAIN,
            env=env,
            stdout=out.take,
        )
        done = await out.until_full(running)
        if done is not None and done.code != 0:
            raise Untold(f"git could not compare it: {complaint(done.stderr)}")
        return out

    def _told(self, diff: "_Bounded") -> bytes:
        """Return a diff without secrets, within its limits, and a note where it was cut."""
        text, why = bytes(diff.text), ""
        if diff.is_cut:
            text = text[: text.rfind(b"\n") + 1]
            why = f"what is over {DIFF_BYTES // 2**20} MB is left out"
        if text.count(b"\n") > DIFF_LINES:
            lines = text.split(b"\n", DIFF_LINES)
            text = b"\n".join(lines[:DIFF_LINES]) + b"\n"
            why = f"what is over {DIFF_LINES} lines is left out"
        text = _CUT_HEADING.sub(rb"\g<0>" + MARK.encode(), text)
        clean, decoder = RedactedStream(self._redactor), codecs.getincrementaldecoder("utf-8")
        decode = decoder("surrogateescape").decode
        pieces = [text[at : at + 65536] for at in range(0, len(text), 65536)]
        told = "".join([*(clean.feed(decode(piece)) for piece in pieces), clean.finish()])
        return (told + (_CUT.format(why=why) if why else "")).encode("utf-8", "surrogateescape")

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix="headstart-work-"))
        try:
            self._launcher.own(folder)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _commit(self, name: str) -> str | None:
        return await self._said("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")

    async def _is(self, *arguments: str) -> bool:
        return (await self._git.run(*arguments, cwd=self._repository, options=_PLAIN)).code == 0

    async def _said(self, *arguments: str) -> str | None:
        done = await self._git.run(*arguments, cwd=self._repository, options=_PLAIN)
        return (done.stdout.strip() or None) if done.code == 0 else None

    async def _must(self, *arguments: str) -> str:
        done = await self._git.run(*arguments, cwd=self._repository, options=_PLAIN)
        if done.code != 0:
            raise Untold(f"git can't read the repository: {complaint(done.stderr)}")
        return done.stdout.strip()


class _Bounded:
    """Takes output up to a limit, and ends what prints more."""

    def __init__(self, most: int) -> None:
        self.text = bytearray()
        self.is_cut = False
        self._most = most
        self._full = asyncio.Event()

    def take(self, data: bytes) -> None:
        """Take a piece."""
        self.text += data[: self._most - len(self.text)]
        if len(self.text) >= self._most:
            self.is_cut = True
            self._full.set()

    async def until_full(self, running: Coroutine[Any, Any, GitResult]) -> GitResult | None:
        """Return what running comes to, None where it was ended because it is enough."""
        work, full = asyncio.create_task(running), asyncio.create_task(self._full.wait())
        try:
            await asyncio.wait({work, full}, return_when=asyncio.FIRST_COMPLETED)
            return work.result() if work.done() else None
        finally:
            full.cancel()
            work.cancel()
            await asyncio.gather(work, full, return_exceptions=True)


def _quoted(path: str) -> str:
    """Return a path as GIT_ALTERNATE_OBJECT_DIRECTORIES has it (git(1))."""
    if os.pathsep not in path and not path.startswith('"'):
        return path
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def read_listing(text: bytes | bytearray) -> list[ChangedFile]:
    """Return the files of `git diff --raw --numstat -z` (git-diff(1), "Raw output format").

    What makes no sense ends it.
    """
    words = iter(bytes(text).split(b"\0"))
    files: dict[bytes, ChangedFile] = {}
    for word in words:
        if word.startswith(b":"):
            _take_raw(word, words, files)
        else:
            _take_count(word, words, files)
    return list(files.values())


def _take_raw(word: bytes, words: Iterator[bytes], files: dict[bytes, ChangedFile]) -> None:
    fields = word.decode("ascii", "replace").split(" ")
    if len(fields) != 5 or fields[4][:1] not in _STATUSES:
        return
    before, after, status = fields[0][1:], fields[1], fields[4][0]
    source = next(words, b"") if status in _TWO_NAMES else None
    path = next(words, b"")
    changed = before != after and _NO_FILE not in (before, after)
    if not path or (path in files and status == "U"):
        return
    files[path] = ChangedFile.model_validate(
        {
            "path": _name(path),
            "status": _STATUSES[status],
            "source": _name(source) if source else None,
            "additions": None,
            "deletions": None,
            "mode": f"{before} → {after}" if changed else None,
        }
    )


def _take_count(word: bytes, words: Iterator[bytes], files: dict[bytes, ChangedFile]) -> None:
    counts = word.split(b"\t", 2)
    if len(counts) != 3:
        return
    path = counts[2]
    if not path:  # a renamed one: both names follow
        next(words, b"")
        path = next(words, b"")
    file = files.get(path)
    if file is not None and counts[0].isdigit() and counts[1].isdigit():
        file.additions, file.deletions = int(counts[0]), int(counts[1])


def _name(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


def summed(
    base: str | None, here: str | None, files: list[ChangedFile], clean: Callable[[str], str] = str
) -> Changes:
    """Return the changes with as many files named as there is room for, all of them counted."""
    total = Counted(
        files=len(files),
        additions=sum(file.additions or 0 for file in files),
        deletions=sum(file.deletions or 0 for file in files),
    )
    named, room = [], CHANGES_BYTES - 1024
    for file in files[:MOST_FILES]:
        shown = file.model_copy(
            update={
                "path": head(clean(file.path), _PATH_CHARACTERS),
                "source": head(clean(file.source), _PATH_CHARACTERS) if file.source else None,
            }
        )
        room -= len(dumps(shown.to_json()).encode()) + 1
        if room < 0:
            break
        named.append(shown)
    truncated = len(named) < len(files)
    return Changes(base=base, head=here, files=named, total=total, truncated=truncated)
