"""git on untrusted repositories: no prompts, no helpers, no hooks, words for its failures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from headstart.domain.credentials import without_credentials
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
_TRACE = {"GIT_TRACE_CURL": "1", "GIT_TRACE_CURL_NO_DATA": "1"}
_COMPLAINT = re.compile(r"(?:error|fatal): (.+)")
_COMPLAINTS = 3
_REASON_BYTES = 500
_MOVED = re.compile(r"error: 30\d|unable to update url base from redirection")
_LOCATION = re.compile(r"<= Recv header: location: *(\S+)/info/refs(?:\?|\s|$)", re.IGNORECASE)
_SMART = re.compile(
    r"<= Recv header: content-type: *application/x-git-upload-pack-advertisement", re.IGNORECASE
)
_HEAD = re.compile(r"\trefs/heads/(\S+)$", re.MULTILINE)
NOT_SHALLOW = "does not support shallow"
"""What git says of a server that gives whole histories only, such as one of plain files."""


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
        self,
        *arguments: str,
        cwd: Path,
        options: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        stderr: Sink | None = None,
    ) -> GitResult:
        """Run one command to its end; `stderr` sees its messages as they come."""
        out, err = bytearray(), bytearray()

        def messages(data: bytes) -> None:
            err.extend(data[-65536:])
            if stderr is not None:
                stderr(data)

        argv = ("git", *_OPTIONS, *options, *arguments)
        async with self._launcher.running(
            argv, cwd=cwd, env={**_ENVIRONMENT, **(env or {})}, stdout=out.extend, stderr=messages
        ) as tree:
            code = await tree.finished()
        return GitResult(code, out.decode(errors="replace"), err.decode(errors="replace"))


def complaint(stderr: str) -> str:
    """Return the lines in which git says what went wrong: advice may follow them."""
    lines = [line.strip() for line in without_credentials(plain(stderr)).split("\n")]
    found = [match[1] for line in lines if (match := _COMPLAINT.match(line))]
    said = "; ".join(found[:_COMPLAINTS]) or last_line("\n".join(lines)) or "git said nothing"
    return cut_text(said, _REASON_BYTES)


_FAILURES: tuple[tuple[str, type[StepError], str], ...] = (
    (r"No space left on device|Disk quota exceeded", DiskFull,
     "The sandbox's disk is too small for {url}"),
    # Before others: the names of files, which follow, are no words of git's.
    (r"unable to checkout working tree", CloneFailed,
     "The files of {url} could not be written: {said}"),
    (r"Remote branch .* not found", BranchNotFound,
     "{url} has no branch {branch}"),
    (r"repository '.*' not found|error: 404|not valid: is this a git repository",
     RepositoryNotFound,
     "There is no repository at {url}: check the address"),
    (r"could not read Username|Authentication failed|error: 40[13]|terminal prompts disabled",
     RepositoryAccessDenied,
     "{host} asks for credentials: {url} does not exist, or is not public"),
    (_MOVED.pattern, RepositoryNotFound,
     "{url} has moved: use its new address"),
    (r"transport '.*' not allowed", RepositoryRefused,
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


async def fetch_error(
    git: Git, stderr: str, url: str, branch: str | None, *, cwd: Path, options: Sequence[str]
) -> StepError:
    """Return what clone_error does, with the new address of a repository that has moved.

    Git tells it in a trace only. The address is not gone to: it may be anywhere.
    """
    error = clone_error(stderr, url, branch)
    if not _MOVED.search(stderr):
        return error
    traced = await git.run("ls-remote", "--", url, cwd=cwd, options=options, env=_TRACE)
    address = _location(url, traced.stderr)
    if address is None:
        return error
    new = cut_text(without_credentials(address), _REASON_BYTES)
    return RepositoryNotFound(f"{url} has moved to {new}")


async def branches_of(git: Git, url: str, *, cwd: Path, options: Sequence[str]) -> list[str]:
    """Return the branches that a server lists, maybe none; RepositoryNotFound if it has no git.

    Any page is an empty list of branches to git, unless the answer is declared as one.
    """
    listed = await git.run("ls-remote", "--", url, cwd=cwd, options=options, env=_TRACE)
    if listed.code != 0:
        raise await fetch_error(git, listed.stderr, url, None, cwd=cwd, options=options)
    if not listed.stdout.strip() and not _SMART.search(plain(listed.stderr)):
        raise RepositoryNotFound(f"{url} answers, but not as a git repository: check the address")
    return _HEAD.findall(listed.stdout)


def _location(url: str, trace: str) -> str | None:
    """Return the repository that a server redirects to, if that is what it does."""
    found = _LOCATION.search(plain(trace))
    try:
        address = urljoin(url, found[1]) if found else ""
        return address if urlsplit(address).scheme in {"http", "https"} else None
    except ValueError:
        return None
