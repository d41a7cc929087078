"""Saves the workspace: a base once, and what is different from it each time."""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart_runner.archives import listing
from headstart_runner.archives.files import Base, Files, Made, Packing, write_names
from headstart_runner.archives.workspace import Unusable, Workspace
from headstart_runner.config import Config
from headstart_runner.processes.launcher import Launcher
from headstart_runner.repository.git import Git
from headstart_runner.wire import head

_ROUNDS = 3
"""How often what changes while it is saved is saved anew."""

_MOST_ROUNDS = 8
_MOST_NAMES = 20
_MOST_CHARACTERS = 200
_NOT_READ = "can't be read"
_IGNORED = "ignored by git"
_APART = "became something else while it was saved"
_MOVED = "changed while it was saved, and is of no single moment"


@dataclass(frozen=True, slots=True)
class _Look:
    """What was there to be saved, and when that was seen."""

    now: listing.Listing
    at: float


class Saving:
    """One save of a sandbox's workspace; `own` are folders of the agent's, which stay out of it.

    It is in nobody's way: files are read as they are, and what changes meanwhile is found by a
    second look and saved in another round.
    """

    def __init__(
        self,
        config: Config,
        launcher: Launcher,
        files: Files,
        own: Sequence[Path],
        clean: Callable[[str], str] = str,
    ) -> None:
        self._repository = config.repository
        self._folder = config.workspace
        self._files = files
        self._workspace = Workspace(config, launcher)
        self._git = Git(launcher)
        self._own = [path for path in own if path.is_relative_to(config.workspace)]
        self._clean = clean
        self._ignored: list[bytes] = []
        self._unread: dict[bytes, None] = {}
        self._moved: list[bytes] = []
        self._apart: set[bytes] = set()

    @property
    def left_out(self) -> list[str]:
        """What is not in the archive: a path, and why, each; the last may say how many more."""
        why = dict.fromkeys(self._moved, _MOVED)
        why |= dict.fromkeys(sorted(self._apart), _APART)
        why |= dict.fromkeys(self._unread, _NOT_READ) | dict.fromkeys(self._ignored, _IGNORED)
        names = [f"{self._shown(path)} ({words})" for path, words in why.items()]
        more = len(names) - _MOST_NAMES
        return names if more <= 0 else [*names[:_MOST_NAMES], f"{more} more"]

    def _shown(self, path: bytes) -> str:
        """Return a path for people; cut only when no secret is in it any more."""
        name = path.removeprefix(b"./").decode("utf-8", "backslashreplace")
        return head(self._clean(name), _MOST_CHARACTERS)

    async def base(self, limit: int) -> Base:
        """Save everything; raises Unusable, also for more bytes than `limit`."""
        with self._files.partial() as file:
            look, made = await self._steady({}, file, limit, patience=1)
            return await self._keep(file, look, made)

    async def tree(self, limit: int) -> Base:
        """Save everything for others to begin with: all of it, and of one moment, else Unusable."""
        with self._files.partial() as file:
            look, made = await self._steady({}, file, limit, patience=1)
            if self.left_out:
                raise Unusable(f"it lacks {self.left_out[0]}")
            return await self._keep(file, look, made)

    async def _keep(self, file: Path, look: _Look, made: Made) -> Base:
        """Keep a base and what it holds: not what could not be read, which is tried again."""

        def listed() -> bytes:
            held = listing.without(look.now, self._unread)
            return listing.dump(listing.settled(held, look.at))

        base = Base(made, await asyncio.to_thread(listed))
        self._files.keep_base(file, made, base.listed)
        return base

    async def difference(self, base: Base, work: Path, gone: Path, limit: int) -> None:
        """Write what is different from a base into two files, until it is all of one moment.

        What still changes in the last round is named as left out. Raises Unusable.
        """
        before = await asyncio.to_thread(listing.parse, base.listed)
        look, _ = await self._steady(before, work, limit, patience=_ROUNDS)
        write_names(gone, await asyncio.to_thread(listing.gone, before, look.now))

    async def _steady(
        self, before: listing.Listing, file: Path, limit: int, *, patience: int
    ) -> tuple[_Look, Made]:
        """Pack what is not as it was before until nothing moves, for so many rounds.

        After these, only what becomes another kind of file or another folder counts, and is left
        out of the next: what was packed of it may fit together with nothing.
        """
        self._apart = set()
        for number in range(1, _MOST_ROUNDS + 1):
            self._unread = {}
            look, made = await self._packed(before, file, limit)
            after = (await self._look()).now
            self._moved = listing.moved(look.now, after)
            if not self._moved:
                return look, made
            if number >= patience:
                reshaped = listing.reshaped(look.now, after)
                if not reshaped:
                    return look, made
                self._apart.update(reshaped)
        raise Unusable("it changes faster than it can be saved")

    async def _packed(self, before: listing.Listing, file: Path, limit: int) -> tuple[_Look, Made]:
        """Pack what is not as it was before; where that is too much, without what git ignores."""
        look = await self._look()
        made = await self._pack(look, before, file, limit)
        if made is None and not self._ignored:
            self._ignored = await self._ignored_by_git()
            look = await self._look()
            made = await self._pack(look, before, file, limit) if self._ignored else None
        if made is None:
            raise Unusable(f"it is more than {limit / 1e9:,.3g} GB, even without what git ignores")
        return look, made

    async def _look(self) -> _Look:
        at = time.time()
        listed, unread = await self._workspace.look(self._own)
        self._unread |= dict.fromkeys(unread)
        aside = [*self._ignored, *self._apart]
        now = await asyncio.to_thread(lambda: listing.without(listing.parse(listed), aside))
        return _Look(now, at)

    async def _pack(
        self, look: _Look, before: listing.Listing, file: Path, limit: int
    ) -> Made | None:
        """Pack what is not as it was before; None where that is too much."""
        changed = await asyncio.to_thread(listing.changed, before, look.now)
        with file.open("wb") as out, self._files.names(changed) as names:
            packing = Packing(out, limit)
            self._unread |= dict.fromkeys(await self._workspace.pack(names, packing.write))
            made = packing.close()
        return None if packing.too_large else made

    async def _ignored_by_git(self) -> list[bytes]:
        """Return what the repository says need not be kept, which may be most of the bytes."""
        if not self._repository.is_dir():
            return []
        command = ("ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z")
        result = await self._git.run(*command, cwd=self._repository)
        within = os.fsencode(f"./{self._repository.relative_to(self._folder)}/")
        return [
            within + os.fsencode(name).rstrip(b"/") for name in result.stdout.split("\0") if name
        ]
