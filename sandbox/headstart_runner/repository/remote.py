"""A repository on its server: git goes to where was looked, waits if asked to, and no further."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from headstart.domain.credentials import without_credentials
from headstart.domain.errors import GitNetworkError, NotARepository, RepositoryNotFound
from headstart.domain.repository import same_server
from headstart_runner.clock import awake_sleep
from headstart_runner.gateway.addresses import public_addresses
from headstart_runner.repository.git import MOVED, Git, GitResult, clone_error
from headstart_runner.repository.progress import GitProgress
from headstart_runner.repository.server import Answer, ask
from headstart_runner.wire import cut_text

# A server that counts objects for minutes says little, but something every five seconds.
_LOW_SPEED_BYTES = 1
_LOW_SPEED_SECONDS = 60
_BUSY = re.compile(r"error: (?:429|503)")
_BUSY_STATUS = {429, 503}
_MOST_TIMES = 5
_ADDRESS_BYTES = 500
_HEAD = re.compile(r"\trefs/heads/(\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Watch:
    """Who waits for a step: sees its messages and percentages, and gives it so many seconds."""

    show: Callable[[str, int | None], None]
    seconds_left: Callable[[], float]


@dataclass(slots=True)
class Remote:
    """A repository's address, where its host was when that was looked at, and where it has moved.

    It may have moved on its own host only.
    """

    git: Git
    url: str
    watch: Watch
    allow_private: bool
    addresses: list[str]
    _at: str = ""
    _progress: GitProgress = field(default_factory=GitProgress)

    def __post_init__(self) -> None:
        self._at = self._at or self.url

    @classmethod
    async def at(cls, git: Git, url: str, watch: Watch, *, allow_private: bool) -> Self:
        """Look where the host is; RepositoryRefused for a private address, unless allowed."""
        parts = urlsplit(url)
        addresses = []
        if not allow_private:
            port = parts.port or (80 if parts.scheme == "http" else 443)
            addresses = await public_addresses(parts.hostname or "", port)
        return cls(git, url, watch, allow_private, addresses)

    async def run(self, *arguments: str, cwd: Path) -> GitResult:
        """Run a git command against the server, again where it has moved or asked to wait.

        Raises RepositoryNotFound for one that has moved elsewhere, and GitNetworkError for one that
        wants to be left alone for longer than the step may take.
        """
        more = _MOST_TIMES
        while True:
            result = await self.git.run(
                *arguments, cwd=cwd, options=self._options(), stderr=self._show
            )
            moved, busy = MOVED.search(result.stderr), _BUSY.search(result.stderr)
            if result.code == 0 or not more or not (moved or busy):
                return result
            waited: int | None = 0
            if moved:
                self._follow(await self._ask())
            else:
                waited = await self._wait()
            if waited is None:
                return result
            # What was waited for ends with the step's time.
            more -= waited == 0

    async def branches(self, cwd: Path) -> list[str]:
        """Return the branches that the server lists, maybe none; NotARepository if it has no git.

        Any page is an empty list of branches to git, unless the answer is declared as one.
        """
        listed = await self.run("ls-remote", "--heads", "--", self.url, cwd=cwd)
        if listed.code != 0:
            raise clone_error(listed.stderr, self.url, None)
        if not listed.stdout.strip():
            answer = await self._ask()
            if answer is not None and answer.status == 200 and not answer.is_git:
                raise NotARepository(
                    f"{self.url} answers, but not as a git repository: check the address"
                )
        return _HEAD.findall(listed.stdout)

    def _show(self, data: bytes) -> None:
        if self._progress.feed(data):
            self.watch.show(self._progress.message, self._progress.percent)

    def _options(self) -> list[str]:
        url = urlsplit(self.url)
        options = {
            "protocol.allow": "never",
            f"protocol.{'http' if url.scheme == 'http' else 'https'}.allow": "always",
            "http.lowSpeedLimit": str(_LOW_SPEED_BYTES),
            "http.lowSpeedTime": str(_LOW_SPEED_SECONDS),
            # This address was allowed, not whatever it leads to.
            "http.followRedirects": "false",
        }
        if self.addresses:
            port = url.port or (80 if url.scheme == "http" else 443)
            # git must connect to what was checked, not to what the name says a moment later.
            pinned = ",".join(f"[{a}]" if ":" in a else a for a in self.addresses)
            options["http.curloptResolve"] = f"{url.hostname}:{port}:{pinned}"
        if self._at != self.url:
            options[f"url.{self._at}.insteadOf"] = self.url
        return [piece for name, value in options.items() for piece in ("-c", f"{name}={value}")]

    async def _ask(self) -> Answer | None:
        return await ask(self._at, self.addresses)

    def _follow(self, answer: Answer | None) -> None:
        """Go to the new address if it is on the same host; another may be anywhere."""
        new = answer.location if answer else None
        if new is None:
            raise RepositoryNotFound(f"{self.url} has moved: use its new address")
        # A name of git's settings ends at the first "=".
        plain = "=" not in new and "@" not in urlsplit(new).netloc
        if new == self._at or not plain or not same_server(new, self.url):
            shown = cut_text(without_credentials(new), _ADDRESS_BYTES)
            raise RepositoryNotFound(f"{self.url} has moved to {shown}")
        self._at = new

    async def _wait(self) -> int | None:
        """Wait as long as a busy server asks to; return how long, None if that helps nobody."""
        answer = await self._ask()
        if answer is None:
            return None
        if answer.status not in _BUSY_STATUS:
            return 0
        if answer.wait is None:
            return None
        asks = f"{urlsplit(self.url).hostname} asks to wait {answer.wait} s"
        if answer.wait >= self.watch.seconds_left():
            raise GitNetworkError(f"{asks}, longer than the step may take")
        self.watch.show(asks, None)
        await awake_sleep(answer.wait)
        return answer.wait
