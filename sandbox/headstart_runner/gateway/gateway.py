"""The session's git host by way of the door: what the rest of the runner knows of it."""

from __future__ import annotations

import asyncio
import importlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from headstart.domain.repository import same_server
from headstart_runner.gateway.credentials import SessionCredentials
from headstart_runner.gateway.door import Door
from headstart_runner.journal import Journal
from headstart_runner.processes.launcher import Launcher
from headstart_runner.redaction import Redactor

if TYPE_CHECKING:
    from headstart.domain.errors import StepError
    from headstart_runner.gateway.git import GitHandler

_HANDLER = "headstart_runner.gateway.git"
_SOURCE = "gateway.source"
_SCHEMES = {"http": 80, "https": 443}
_SYSTEM = "/etc/gitconfig"


@dataclass(frozen=True, slots=True)
class Source:
    """The session's repository, its branch there, and whether its host may be a private address.

    Without a branch nothing may be pushed.
    """

    url: str
    branch: str | None = None
    allow_private: bool = False

    @property
    def servable(self) -> bool:
        """Whether it is an address of the kind that the gateway passes on to."""
        parts = urlsplit(self.url)
        return parts.scheme in _SCHEMES and bool(parts.hostname) and "@" not in parts.netloc


@dataclass(frozen=True, slots=True)
class Watch:
    """Who waits for a step: sees its messages and percentages, and gives it so many seconds."""

    show: Callable[[str, int | None], None]
    seconds_left: Callable[[], float]


class Gateway:
    """Sends git, whoever runs it, through the door to the session's host, and nowhere else.

    Open from `open` to `close`, and again, by `ready`, after a restart of the runner.
    """

    def __init__(
        self,
        door: Door,
        credentials: SessionCredentials,
        journal: Journal,
        launcher: Launcher,
        redactor: Redactor,
    ) -> None:
        self.credentials = credentials
        self._door = door
        self._journal = journal
        self._launcher = launcher
        self._redactor = redactor
        self._source: Source | None = None
        self._handler: GitHandler | None = None
        self._address = self._steps_address = ""
        self._folder: Path | None = None
        self._opening = asyncio.Lock()

    async def ready(self) -> None:
        """Open it if an earlier runner had."""
        said = self._journal.get(_SOURCE)
        if said and self._handler is None:
            await self.open(Source(**json.loads(said)))

    async def open(self, source: Source) -> None:
        """Have git find a repository's host behind the door; what was refused is asked for anew.

        For another address than before everything is: it may open less.
        Of an address that is not git's over HTTP nothing goes through the door.
        """
        async with self._opening:
            if source == self._source:
                self.credentials.forget_refusals()
                return
            self._journal.put(_SOURCE, json.dumps(asdict(source)))
            await self._close_handler()
            self.credentials.forget_all()
            if not source.servable:
                return
            module = await asyncio.to_thread(importlib.import_module, _HANDLER)
            await self._door.open()
            self._redactor.add(self._door.word)
            self.credentials.host = urlsplit(source.url).netloc
            self._handler = module.GitHandler(source, self.credentials)
            served = self._door.serve("git", self._handler.handle)
            self._address = f"{served}/{self.credentials.host}/"
            served = self._door.serve("step", self._handler.handle_step)
            self._steps_address = f"{served}/{self.credentials.host}/"
            await asyncio.to_thread(self._write_settings, source)
            # Last: what did not come so far is begun anew.
            self._source = source

    async def close(self) -> None:
        """Pass nothing on any more, and leave no settings behind."""
        await self._close_handler()
        await self._door.close()
        if self._folder is not None:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _close_handler(self) -> None:
        if self._handler is not None:
            await self._handler.close()
        self._handler, self._source = None, None
        self._launcher.common.pop("GIT_CONFIG_SYSTEM", None)

    def serves(self, url: str) -> bool:
        """Return whether git finds an address behind the door."""
        if self._source is None or not Source(url).servable:
            return False
        return same_server(url, self._source.url)

    @property
    def environment(self) -> Mapping[str, str]:
        """What has a git that obeys no settings of the machine go through the door, too."""
        if self._handler is None or self._folder is None:
            return {}
        return {"GIT_CONFIG_NOSYSTEM": "0", "GIT_CONFIG_SYSTEM": str(self._folder / "door")}

    def true(self, text: str) -> str:
        """Return a text with the addresses of repositories as they are, not behind the door."""
        if self._source is None:
            return text
        true = f"{_origin(self._source.url)}/"
        return text.replace(self._address, true).replace(self._steps_address, true)

    @contextmanager
    def watching(self, watch: Watch) -> Iterator[Callable[[str], StepError | None]]:
        """Have someone watch what is passed on; yield who tells what went wrong with an address."""
        handler = self._handler
        if handler is None:
            yield lambda url: None
            return
        with handler.watched(watch):
            yield handler.problem

    def _write_settings(self, source: Source) -> None:
        """Write what git reads, where only we may, and whoever runs git can read it."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="headstart-git-"))
            self._folder.chmod(0o755)
        system = ["[include]", f"\tpath = {_SYSTEM}", *_door(self._address, source)]
        door = [*_door(self._steps_address, source), *_first(self._steps_address, source)]
        for name, lines in (("door", door), ("system", system)):
            file = self._folder / name
            file.write_text("\n".join([*lines, ""]))
            file.chmod(0o644)
        self._launcher.common["GIT_CONFIG_SYSTEM"] = str(self._folder / "system")


def _door(address: str, source: Source) -> list[str]:
    """Return the settings that lead git to the door."""
    names = [f"\tinsteadOf = {name}" for name in _names(source.url)]
    # Whatever proxy there is for the world, the door is on this machine.
    return [f'[url "{address}"]', *names, f'[http "{address}"]', "\tproxy ="]


def _first(address: str, source: Source) -> list[str]:
    """Return the settings by which a step finds the session's repository, whatever others say.

    git takes the longest `insteadOf` that fits, and of two the one that it read first: here is all
    of the address, before any setting of the repository's own (git-config(1), remote.c).
    """
    there = f"{address}{urlsplit(source.url).path.lstrip('/')}"
    names = [f"\t{key} = {source.url}" for key in ("insteadOf", "pushInsteadOf")]
    return [f'[url "{there}"]', *names]


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _names(url: str) -> list[str]:
    """Return how addresses on a repository's host begin, as people and tools write them.

    Those by ssh too, where it is a usual host: there is no key in a sandbox that could open them.
    """
    parts = urlsplit(url)
    if parts.port not in {None, _SCHEMES[parts.scheme]}:
        return [f"{_origin(url)}/"]
    host, usual = parts.hostname, _SCHEMES[parts.scheme]
    names = [f"{parts.scheme}://{host}/", f"{parts.scheme}://{host}:{usual}/"]
    return [*names, f"git@{host}:", f"ssh://git@{host}/"] if usual == 443 else names
