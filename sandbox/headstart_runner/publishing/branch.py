"""The session's branch on the remote: looked at, pushed to, and looked at again."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from headstart.domain.command_args import PublishArgs
from headstart.domain.errors import (
    BranchGone,
    BranchMoved,
    CloneFailed,
    PublishFailed,
    PushRejected,
    RepositoryAccessDenied,
    StepError,
)
from headstart_runner.publishing.commits import TRAILER, identity
from headstart_runner.publishing.noted import Noted
from headstart_runner.repository.git import Git, GitResult
from headstart_runner.repository.remote import Remote
from headstart_runner.terminal import plain
from headstart_runner.wire import cut_text

_REASON_BYTES = 600
_SHORT = 12
_LFS = ":(attr:filter=lfs)"
_REMOTE = re.compile(r"^remote: ?(.*)", re.MULTILINE)
_REFUSED = re.compile(r"^! \[(remote rejected|rejected)\] (?>.*? \()(.*)\)$", re.MULTILINE)
_REPORTED = re.compile(r"^!\t\S+\t\[(remote rejected|rejected)\] ?(?:\((.*)\))?", re.MULTILINE)
_MOVED = {"non-fast-forward", "fetch first", "stale info", "needs force"}
_LOCK = re.compile(r"cannot lock ref|failed to update ref|reference already exists")
_NO_NETWORK = ("-c", "protocol.allow=never")

Tell = Callable[[str], Awaitable[None]]
"""Has a commit known as the session's own, before the remote may have it."""


class Branch:
    """The branch of one session, as far as the remote shows it."""

    def __init__(self, remote: Remote, repository: Path, args: PublishArgs, tell: Tell) -> None:
        self._remote = remote
        self._git: Git = remote.git
        self._repository = repository
        self._args = args
        self._tell = tell
        self._noted = Noted(self._git, repository)
        self._ref = f"refs/heads/{args.branch}"
        self.before: str | None = None

    async def publish(self, commit: str) -> str | None:
        """Have the remote's branch be at the work; return its commit, as the remote shows it.

        None where there is nothing that is not upstream's already. Raises BranchMoved, BranchGone,
        PushRejected, RepositoryAccessDenied, GitNetworkError, PublishFailed.
        """
        there = self.before = await self._look()
        lease = None
        if there is None:
            if self._args.published:
                raise BranchGone(
                    f"{self._args.branch} was deleted on the remote, with its pull request maybe: "
                    "publish again to have it made anew"
                )
            if not await self._has_own(commit):
                return None
        elif not await self._is_ancestor(there, commit):
            if there not in self._args.pushed:
                raise self._moved(there)
            # That the commit is in the repository proves nothing: whoever fetches has it.
            if await self._noted.had(there):
                lease = there  # the agent made its own commit anew
            else:
                commit = await self._put_on_top(there)
        if there != commit:
            await self._tell(commit)
        # Before the push: a copy of the work may be made in the middle of it.
        await self._noted.note(commit, self._args.pushed)
        return commit if there == commit else await self._push(commit, lease)

    async def _look(self) -> str | None:
        """Return the commit that the remote shows."""
        try:
            return (await self._remote.refs(self._ref)).get(self._ref)
        except StepError as error:
            raise _known(error) from None

    async def _has_own(self, commit: str) -> bool:
        """Say whether there is a commit that upstream had not when it was last heard of."""
        began = self._args.began
        upstream = [began.commit, began.branch and f"refs/remotes/origin/{began.branch}"]
        known = [name for name in upstream if name and await self._knows(name)]
        count = await self._run("rev-list", "--count", "--max-count=1", commit, "--not", *known)
        return count.stdout.strip() != "0"

    async def _put_on_top(self, there: str) -> str:
        """Put the work on top of what this session published and the present copy was never at.

        Such a copy is older than the commit: its sandbox ended between the two, or it began anew.
        Raises BranchMoved for what can't be put together.
        """
        fetched = await self._remote.run(
            *("fetch", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"),
            *("--", self._remote.url, self._ref),
            cwd=self._repository,
        )
        if fetched.code != 0:
            raise _known(self._remote.error(fetched))
        text = f"Go on from what was published\n\n{TRAILER}: {self._args.session_id}"
        merged = await self._git.run(
            *("merge", "--quiet", "--ff", "--no-verify", "--no-gpg-sign", "-m", text, there),
            cwd=self._repository,
            env=identity(self._args.author),
        )
        if merged.code != 0:
            await self._run("merge", "--abort")
            raise BranchMoved(
                f"The saved work is older than {there[:_SHORT]}, which this session published, and "
                f"they change the same lines: have the agent merge origin/{self._args.branch}"
            )
        head = await self._run("rev-parse", "--verify", "HEAD")
        return head.stdout.strip()

    def _moved(self, there: str) -> BranchMoved:
        return BranchMoved(
            f"{self._args.branch} is at {there[:_SHORT]} on the remote, which this session did not "
            "make: have the agent merge it, then publish again"
        )

    async def _push(self, commit: str, lease: str | None) -> str:
        """Push, and ask the remote, whatever became of the connection."""
        await self._push_large_files(commit)
        forced = (f"--force-with-lease={self._ref}:{lease}",) if lease else ()
        pushed = await self._remote.run(
            *("push", "--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no"),
            *("--no-signed", *forced, "--", self._remote.url, f"{commit}:{self._ref}"),
            cwd=self._repository,
        )
        error = self._push_error(pushed) if pushed.code else None
        try:
            there = await self._look()
        except StepError as unseen:
            raise (error or unseen) from None
        if there == commit:
            return commit
        raise error or PublishFailed("The remote took the push and does not show the commit")

    def _push_error(self, pushed: GitResult) -> StepError:
        return push_error(pushed, self._remote.error(pushed), self._args.branch)

    async def _push_large_files(self, commit: str) -> None:
        """Send the contents that pointers in the commits stand for, where git-lfs is used."""
        found = await self._run("ls-files", "--", _LFS)
        if not found.stdout.strip() or (await self._run("lfs", "version")).code != 0:
            return
        self._remote.watch.show("Pushing large files", None)
        pushed = await self._remote.run("lfs", "push", "origin", commit, cwd=self._repository)
        if pushed.code != 0:
            raise self._push_error(pushed)

    async def _knows(self, commit: str) -> bool:
        """Say whether a commit is here, without asking the remote for it."""
        asked = ("cat-file", "-e", f"{commit}^{{commit}}")
        found = await self._git.run(*asked, cwd=self._repository, options=_NO_NETWORK)
        return found.code == 0

    async def _is_ancestor(self, one: str, other: str) -> bool:
        asked = ("merge-base", "--is-ancestor", one, other)
        found = await self._git.run(*asked, cwd=self._repository, options=_NO_NETWORK)
        return found.code == 0

    async def _run(self, *arguments: str) -> GitResult:
        return await self._git.run(*arguments, cwd=self._repository)


def push_error(done: GitResult, error: StepError, branch: str) -> StepError:
    """Return what a push that failed means, in the remote's own words where it has any.

    `error` is what the connection to it says.
    """
    refused = _REPORTED.search(done.stdout) or _REFUSED.search(plain(done.stderr))
    said = [line.strip() for line in _REMOTE.findall(plain(done.stderr)) if line.strip()]
    words = cut_text("; ".join(said), _REASON_BYTES)
    why = (refused[2] or "") if refused else ""
    if refused and (why in _MOVED or _LOCK.search(why)):
        return BranchMoved(
            f"Somebody pushed to {branch} at the same time: have the agent merge that, then "
            "publish again"
        )
    if refused:
        reason = f"{words} ({why})" if words and why not in words else words or why
        reason = reason or "it does not say why"
        return PushRejected(f"The remote refused {branch}: {reason}")
    if isinstance(error, RepositoryAccessDenied) and words:
        return RepositoryAccessDenied(f"The remote refused the push: {words}")
    return _known(error, words)


def _known(error: StepError, words: str = "") -> StepError:
    if isinstance(error, CloneFailed):
        return PublishFailed(words or error.reason)
    return error
