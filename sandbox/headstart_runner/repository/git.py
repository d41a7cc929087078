"""git on untrusted repositories: no prompts, no helpers, no hooks, words for its failures."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from headstart.domain.errors import (
    BranchNotFound,
    CloneFailed,
    DiskFull,
    GitNetworkError,
    RepositoryAccessDenied,
    RepositoryNotFound,
    RepositoryRefused,
    StepError,
)
from headstart_runner.processes.launcher import Launcher, Sink

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
_CREDENTIALS = re.compile(r"(?<=//)[^/\s@]+@")


@dataclass(frozen=True, slots=True)
class GitResult:
    """A finished git command: its exit code and what it said, decoded leniently."""

    code: int
    stdout: str
    stderr: str


class Git:
    """Runs git under the agent's uid."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher

    async def run(
        self, *arguments: str, cwd: Path, options: Sequence[str] = (), stderr: Sink | None = None
    ) -> GitResult:
        """Run one command to its end; `stderr` sees its messages as they come."""
        out, err = bytearray(), bytearray()

        def messages(data: bytes) -> None:
            err.extend(data[-65536:])
            if stderr is not None:
                stderr(data)

        argv = ("git", *_OPTIONS, *options, *arguments)
        async with self._launcher.running(
            argv, cwd=cwd, env=_ENVIRONMENT, stdout=out.extend, stderr=messages
        ) as tree:
            code = await tree.finished()
        return GitResult(code, out.decode(errors="replace"), err.decode(errors="replace"))


_FAILURES: tuple[tuple[str, type[StepError], str], ...] = (
    (r"No space left on device|Disk quota exceeded", DiskFull,
     "The sandbox's disk is too small for {url}"),
    (r"Remote branch .* not found", BranchNotFound,
     "{url} has no branch {branch}"),
    (r"repository '.*' not found|error: 404|not valid: is this a git repository",
     RepositoryNotFound,
     "There is no repository at {url}: check the address"),
    (r"could not read Username|Authentication failed|error: 40[13]|terminal prompts disabled",
     RepositoryAccessDenied,
     "{host} asks for credentials: {url} does not exist, or is private and not shared with us"),
    (r"error: 30\d|unable to update url base from redirection", RepositoryNotFound,
     "{url} has moved: use its new address"),
    (r"transport '.*' not allowed", RepositoryRefused,
     "{url} is not an address this deployment allows"),
    (r"Could not resolve|Failed to connect|Couldn't connect|Connection (refused|timed out|reset)"
     r"|Operation too slow|early EOF|RPC failed|unexpected disconnect|hung up|timed? ?out"
     r"|expected flush|protocol error|bad line length|SSL|TLS|certificate|error: (429|5\d\d)"
     r"|Recv failure|Empty reply|transfer closed",
     GitNetworkError,
     "The connection to {host} failed: {last}"),
)  # fmt: skip


def clone_error(stderr: str, url: str, branch: str | None) -> StepError:
    """Return the error that git's messages (in the C locale) mean, for a person to act on."""
    host = urlsplit(url).hostname or url
    lines = [_CREDENTIALS.sub("", line.strip()) for line in stderr.splitlines() if line.strip()]
    words = {
        "url": _CREDENTIALS.sub("", url),
        "host": host,
        "branch": branch or "",
        "last": lines[-1] if lines else "git said nothing",
    }
    for pattern, error, reason in _FAILURES:
        if re.search(pattern, stderr):
            return error(reason.format(**words))
    return CloneFailed(f"git could not clone {words['url']}: {words['last']}")
