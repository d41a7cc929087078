"""Saves the workspace: a base once, and what is different from it each time."""

import asyncio
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headstart_runner.archives import listing
from headstart_runner.archives.files import Base, Files, Made, Packing, write_names
from headstart_runner.archives.workspace import Unusable, Workspace
from headstart_runner.config import Config
from headstart_runner.processes.launcher import Launcher
from headstart_runner.repository.git import Git

_ROUNDS = 3
"""How often what changes while it is saved is saved anew."""

_MOST_NAMES = 20
_MOST_CHARACTERS = 250


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
        self, config: Config, launcher: Launcher, files: Files, own: Sequence[Path]
    ) -> None:
        self._repository = config.repository
        self._folder = config.workspace
        self._files = files
        self._workspace = Workspace(config, launcher)
        self._git = Git(launcher)
        self._own = [path for path in own if path.is_relative_to(config.workspace)]
        self._ignored: list[bytes] = []
        self._left_out: dict[str, None] = {}
        self._moved: list[bytes] = []

    @property
    def left_out(self) -> list[str]:
        """What is not in the archive: a path, and why, each; the last may say how many more."""
        why = "changed while it was saved, and is of no single moment"
        moved = [f"{_shown(path)} ({why})" for path in self._moved]
        ignored = [f"{_shown(path)} (ignored by git)" for path in self._ignored]
        names = [name[:_MOST_CHARACTERS] for name in (*ignored, *self._left_out, *moved)]
        more = len(names) - _MOST_NAMES
        return names if more <= 0 else [*names[:_MOST_NAMES], f"{more} more"]

    async def base(self, limit: int) -> Base:
        """Save everything; raises Unusable, also for more bytes than `limit`."""
        with self._files.partial() as file:
            look, made = await self._packed({}, file, limit)
            return await self._keep(file, look, made)

    async def tree(self, limit: int) -> Base:
        """Save everything for others to begin with: all of it, and of one moment, else Unusable."""
        with self._files.partial() as file:
            look, made = await self._packed({}, file, limit)
            self._moved = listing.moved(look.now, (await self._look()).now)
            if self.left_out:
                raise Unusable(f"it lacks {self.left_out[0]}")
            return await self._keep(file, look, made)

    async def _keep(self, file: Path, look: _Look, made: Made) -> Base:
        listed = await asyncio.to_thread(lambda: listing.dump(listing.settled(look.now, look.at)))
        self._files.keep_base(file, made, listed)
        return Base(made, listed)

    async def difference(self, base: Base, work: Path, gone: Path, limit: int) -> None:
        """Write what is different from a base into two files, until it is all of one moment.

        What still changes in the last round is named as left out. Raises Unusable.
        """
        before = await asyncio.to_thread(listing.parse, base.listed)
        for _ in range(_ROUNDS):
            self._left_out = {}
            look, _ = await self._packed(before, work, limit)
            write_names(gone, await asyncio.to_thread(listing.gone, before, look.now))
            self._moved = listing.moved(look.now, (await self._look()).now)
            if not self._moved:
                return

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
        self._not_read(unread)
        now = await asyncio.to_thread(lambda: listing.without(listing.parse(listed), self._ignored))
        return _Look(now, at)

    async def _pack(
        self, look: _Look, before: listing.Listing, file: Path, limit: int
    ) -> Made | None:
        """Pack what is not as it was before; None where that is too much."""
        changed = await asyncio.to_thread(listing.changed, before, look.now)
        with file.open("wb") as out, self._files.names(changed) as names:
            packing = Packing(out, limit)
            unread = await self._workspace.pack(names, packing.write)
            made = packing.close()
        self._not_read(unread)
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

    def _not_read(self, names: Iterable[str]) -> None:
        self._left_out |= dict.fromkeys(f"{name} (can't be read)" for name in names)


def _shown(path: bytes) -> str:
    return path.removeprefix(b"./").decode("utf-8", "backslashreplace")
