"""Puts a saved workspace back: the base, and the difference on top of it."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from headstart.domain.command_args import ArchiveRef, FileRef
from headstart_runner.archives import files, listing
from headstart_runner.archives.export import forget
from headstart_runner.archives.files import Files, Made
from headstart_runner.archives.transfer import TransferFailed, get_file, signatures_of
from headstart_runner.archives.workspace import Unusable, Workspace, make_folders, prepare
from headstart_runner.config import Config
from headstart_runner.processes.launcher import Launcher
from headstart_runner.redaction import Redactor

_TICK_SECONDS = 0.05
"""What is put back after a list was made must bear a later time than the list."""

Show = Callable[[str, int], None]


class PuttingBack:
    """Puts an archive back into one sandbox's workspace, in the place of whatever is there.

    What fails is Unusable, in words, and leaves a workspace that is nobody's: the next try begins
    by clearing it.
    """

    def __init__(
        self,
        config: Config,
        launcher: Launcher,
        redactor: Redactor,
        kept: Files,
        show: Show,
    ) -> None:
        self._config = config
        self._launcher = launcher
        self._redactor = redactor
        self._files = kept
        self._show = show
        self._workspace = Workspace(config, launcher)

    async def clear(self) -> None:
        """Make the workspace as empty as a new sandbox's."""
        await self._empty()
        await asyncio.to_thread(prepare, self._config, self._launcher)

    async def _empty(self) -> None:
        self._files.hold_nothing()
        await self._workspace.clear()

    async def base(self, ref: FileRef, own: Sequence[Path] = ()) -> None:
        """Put back a base alone, and know from then on what it holds."""
        await self._empty()
        with self._files.partial() as base:
            await self._fetch([ref], [base])
            await self._base(ref, base, own)
        make_folders(self._config, self._launcher)

    async def archive(
        self, ref: ArchiveRef, session_id: str, session: Path, own: Sequence[Path] = ()
    ) -> None:
        """Put back a session's own archive; its agent's session goes to `session`, if it has one.

        All is fetched, and seen to be whole, before what is there is given up.
        """
        if ref.difference is None:
            forget(session)
            await self.base(ref.base, own)
            return
        with self._files.partial() as base, self._files.partial() as difference:
            await self._fetch([ref.base, ref.difference], [base, difference])
            about = files.read_about(difference, session_id)
            if about.base != ref.base.sha256:
                raise Unusable("the difference builds on another base")
            await self._empty()
            await self._base(ref.base, base, own)
            base.unlink()
            await self._difference(difference, session)
        make_folders(self._config, self._launcher)
        self._files.lacks(about.missing)

    async def _fetch(self, refs: Sequence[FileRef], into: Sequence[Path]) -> None:
        total = sum(ref.bytes for ref in refs)
        before = 0

        for ref, file in zip(refs, into, strict=True):
            self._redactor.add_passing(*signatures_of(ref.url))

            def show(done: int, so_far: int = before) -> None:
                got = so_far + done
                said = f"Fetching the archive ({got / 1e6:,.1f} of {total / 1e6:,.1f} MB)"
                self._show(said, min(60, 60 * got // max(1, total)))

            show(0)
            try:
                await get_file(ref.url, file, size=ref.bytes, sha256=ref.sha256, show=show)
            except TransferFailed as error:
                raise Unusable(str(error)) from error
            before += ref.bytes

    async def _base(self, ref: FileRef, file: Path, own: Sequence[Path]) -> None:
        self._show("Putting the workspace back", 65)
        await self._workspace.unpack(file)
        await asyncio.sleep(_TICK_SECONDS)
        listed, _ = await self._workspace.look(own)
        known = await asyncio.to_thread(lambda: listing.dump(listing.parse(listed)))
        self._files.hold(Made(ref.bytes, ref.sha256), known)

    async def _difference(self, file: Path, session: Path) -> None:
        self._show("Putting the last changes back", 85)
        with self._files.partial() as gone, self._files.partial() as work:
            with self._files.partial() as saved:
                if await asyncio.to_thread(files.extract, file, gone, work, saved):
                    saved.replace(session)
                else:
                    forget(session)
            await self._workspace.remove(gone)
            await self._workspace.unpack(work)
