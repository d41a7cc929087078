"""git on untrusted repositories: no prompts, no helpers, no hooks, words for its failures."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from headstart.domain.credentials import without_credentials
from headstart.domain.errors import (
    BranchNotFound,
    CloneFailed,
    DiskFull,
    GitNetworkError,
    NotARepository,
    RepositoryAccessDenied,
    RepositoryNotFound,
    RepositoryRefused,
    StepError,
)
from headstart_runner.gateway.gateway import Gateway
from headstart_runner.processes.kept import Ends, bounded
from headstart_runner.processes.launcher import Launcher, Sink
from headstart_runner.processes.printed import Printed
from headstart_runner.terminal import last_line, plain
from headstart_runner.wire import cut_text

_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "SSH_ASKPASS": "/bin/false",
    "GIT_SSH_COMMAND": "/bin/false",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
_OPTIONS = (
    *("-c", "credential.helper="),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "advice.detachedHead=false"),
    *("-c", "gc.auto=0"),
)
_COMPLAINT = re.compile(r"(?:error|fatal): (.+)")
_COMPLAINTS = 3
_REASON_BYTES = 500
_SAID_BYTES = 64 * 1024
"""Bytes of the beginning and of the end of git's messages: a filter's are among them."""

_PRINTED_BYTES = 64 * 1024 * 1024
_TOO_MUCH = f"\nfatal: it printed more than {_PRINTED_BYTES // 2**20} MB\n"

_GRACE_SECONDS = 2.0
"""How long git may take to remove its locks when it is stopped; it does that at once (SIGTERM)."""

NO_SPACE = re.compile(r"[Nn]o space left on device|Disk quota exceeded")


@dataclass(frozen=True, slots=True)
class GitResult:
    """A finished git command: its exit code and what it said, decoded leniently."""

    code: int
    stdout: str
    stderr: str


class Git:
    """Runs git under the agent's uid, by way of the gateway if there is one.

    `say` is told all its messages, after the command that they are of.
    """

    def __init__(
        self,
        launcher: Launcher,
        gateway: Gateway | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        self._launcher = launcher
        self.gateway = gateway
        self._say = say

    async def run(
        self,
        *arguments: str,
        cwd: Path,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        stdin: int | None = None,
        stdout: Sink | None = None,
        stderr: Sink | None = None,
    ) -> GitResult:
        """Run one command to its end; `stderr` sees its messages as they come.

        With `stdout` what it prints goes there, and is not in the result. Else a command that
        prints more than 64 MB has failed, and of its messages there are but the first and the last.
        """
        out, err = bytearray(), Ends(_SAID_BYTES)
        printed = self._printed(arguments)

        def messages(data: bytes) -> None:
            err.take(data)
            printed.feed(data)
            if stderr is not None:
                stderr(data)

        argv = ("git", *_OPTIONS, *options, *arguments)
        way = self.gateway.environment if self.gateway else {}
        env = {**_ENVIRONMENT, **way, **(env or {})}
        try:
            async with self._launcher.running(
                argv,
                cwd=cwd,
                env=env,
                stdin=stdin,
                stdout=stdout or bounded(out, _PRINTED_BYTES + 1),
                stderr=messages,
                grace=_GRACE_SECONDS,
            ) as tree:
                code = await tree.finished()
        finally:
            printed.finish()
        said = err.text()
        if len(out) > _PRINTED_BYTES:
            code, said = code or 1, said + _TOO_MUCH
            out.clear()
        if self.gateway is not None:
            said = self.gateway.true(said)
        return GitResult(code, out.decode(errors="replace"), said)

    def _printed(self, arguments: Sequence[str]) -> Printed:
        """Return what takes a command's messages; nobody may be there to be told."""
        if self._say is None:
            return Printed(lambda _: None, "")
        title = without_credentials(shlex.join(("git", *arguments)))
        return Printed(self._say, f"$ {title}", self.gateway.true if self.gateway else str)

    async def must(self, *arguments: str, cwd: Path) -> None:
        """Run a command that can't fail for a reason of its own; CloneFailed if it does."""
        done = await self.run(*arguments, cwd=cwd)
        if done.code != 0:
            raise CloneFailed(f"git {arguments[0]} failed: {complaint(done.stderr)}")


def complaint(stderr: str) -> str:
    """Return the lines in which git says what went wrong: advice may follow them."""
    lines = [line.strip() for line in without_credentials(plain(stderr)).split("\n")]
    found = [match[1] for line in lines if (match := _COMPLAINT.match(line))]
    said = "; ".join(found[:_COMPLAINTS]) or last_line("\n".join(lines)) or "git said nothing"
    return cut_text(said, _REASON_BYTES)


_FAILURES: tuple[tuple[str, type[StepError], str], ...] = (
    (NO_SPACE.pattern, DiskFull,
     "The sandbox's disk is too small for {url}"),
    (r"Remote branch .{1,1000} not found", BranchNotFound,
     "{url} has no branch {branch}"),
    (r"not valid: is this a git repository", NotARepository,
     "{url} answers, but not as a git repository: check the address"),
    (r"repository '.{0,2000}' not found|error: 404", RepositoryNotFound,
     "There is no repository at {url}: check the address"),
    (r"could not read Username|Authentication failed|error: 40[13]|terminal prompts disabled",
     RepositoryAccessDenied,
     "{host} asks for credentials: {url} does not exist, or is not public"),
    (r"error: 30\d|unable to update url base from redirection", RepositoryNotFound,
     "{url} has moved: use its new address"),
    (r"transport '[^'\n]*' not allowed", RepositoryRefused,
     "{url} is not an address this deployment allows"),
    # Before the connection's: git hangs up, and says that too.
    (r"bad line length|protocol error|does not support shallow", CloneFailed,
     "{host} does not speak git as it should: {said}"),
    (r"Could not resolve|Failed to connect|Couldn't connect|Connection (refused|timed out|reset)"
     r"|Operation too slow|early EOF|RPC failed|unexpected disconnect|hung up|timed? ?out"
     r"|expected flush|SSL|TLS|certificate|error: (429|5\d\d)"
     r"|Recv failure|Empty reply|transfer closed",
     GitNetworkError,
     "The connection to {host} failed: {said}"),
)  # fmt: skip


def clone_error(stderr: str, url: str, branch: str | None) -> StepError:
    """Return the error that git's messages (in the C locale) mean, for a person to act on."""
    host = urlsplit(url).hostname or url
    words = {
        "url": url,
        "host": host,
        "branch": branch or "",
        "said": complaint(stderr),
    }
    for pattern, error, reason in _FAILURES:
        if re.search(pattern, stderr):
            return error(reason.format(**words))
    return CloneFailed(f"git could not clone {words['url']}: {words['said']}")


def checkout_error(stderr: str, url: str) -> StepError:
    """Return the error of files that could not be written: their names are no words of git's."""
    if NO_SPACE.search(stderr):
        return DiskFull(f"The sandbox's disk is too small for {url}")
    return CloneFailed(f"The files of {url} could not be written: {complaint(stderr)}")
