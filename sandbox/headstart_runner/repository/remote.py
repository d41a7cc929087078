"""A repository on its server: git goes there by the gateway, or to where was looked, no further."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from headstart.domain.errors import StepError
from headstart_runner.gateway.addresses import addresses_of
from headstart_runner.gateway.gateway import Watch
from headstart_runner.repository.git import Git, GitResult, clone_error
from headstart_runner.repository.progress import GitProgress

_REF = re.compile(r"^([0-9a-f]+)\t(\S+)$", re.MULTILINE)


@dataclass(slots=True)
class Remote:
    """A repository's address; and where its host was when that was looked at.

    What the gateway serves needs no looking at: it does that itself. Elsewhere there are only
    submodules of other hosts.
    """

    git: Git
    url: str
    watch: Watch
    allow_private: bool
    addresses: list[str]
    _served: bool = False
    _progress: GitProgress = field(default_factory=GitProgress)
    _problem: StepError | None = None

    @classmethod
    async def at(cls, git: Git, url: str, watch: Watch, *, allow_private: bool) -> Self:
        """Look where the host is; RepositoryRefused for a private address, unless allowed."""
        parts = urlsplit(url)
        addresses = []
        served = git.gateway is not None and git.gateway.serves(url)
        if not allow_private and not served:
            port = parts.port or (80 if parts.scheme == "http" else 443)
            addresses = await addresses_of(parts.hostname or "", port, allow_private=False)
        return cls(git, url, watch, allow_private, addresses, served)

    async def run(self, *arguments: str, cwd: Path) -> GitResult:
        """Run a git command against the server."""
        return await self._run(*arguments, cwd=cwd)

    async def _run(
        self, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None
    ) -> GitResult:
        run = partial(
            self.git.run,
            *arguments,
            cwd=cwd,
            env=env,
            options=self._options(),
            stderr=self._show,
        )
        self._problem = None
        if self.git.gateway is None or not self._served:
            return await run()
        with self.git.gateway.watching(self.watch) as problem:
            result = await run()
            self._problem = problem(self.url)
        return result

    def error(self, result: GitResult, branch: str | None = None) -> StepError:
        """Return why the last command failed, as the server said it or else git."""
        return self._problem or clone_error(result.stderr, self.url, branch)

    async def refs(self, *patterns: str) -> dict[str, str]:
        """Return the commits of the refs that the server lists, by name, maybe none.

        No repository of this machine has a say in that: its settings may lead git elsewhere.
        """
        listed = await self._run(
            *("ls-remote", "--refs", "--", self.url, *patterns),
            cwd=Path("/"),
            env={"GIT_DIR": os.devnull},
        )
        if listed.code != 0:
            raise self.error(listed)
        return {name: commit for commit, name in _REF.findall(listed.stdout)}

    async def branches(self) -> list[str]:
        """Return the branches that the server lists, maybe none."""
        heads = "refs/heads/"
        return [name.removeprefix(heads) for name in await self.refs(f"{heads}*")]

    def _show(self, data: bytes) -> None:
        if self._progress.feed(data):
            self.watch.show(self._progress.message, self._progress.percent)

    def _options(self) -> list[str]:
        url = urlsplit(self.url)
        scheme = "http" if url.scheme == "http" or self._served else "https"
        options = {
            "protocol.allow": "never",
            f"protocol.{scheme}.allow": "always",
            # This address was allowed, not whatever it leads to.
            "http.followRedirects": "false",
        }
        if self.addresses:
            port = url.port or (80 if url.scheme == "http" else 443)
            # git must connect to what was checked, not to what the name says a moment later.
            pinned = ",".join(f"[{a}]" if ":" in a else a for a in self.addresses)
            options["http.curloptResolve"] = f"{url.hostname}:{port}:{pinned}"
        return [piece for name, value in options.items() for piece in ("-c", f"{name}={value}")]
