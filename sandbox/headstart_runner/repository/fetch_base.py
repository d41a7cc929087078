"""Fetches one commit, however far its branch has moved on since it was cloned."""

import re
from collections.abc import Sequence
from pathlib import Path

from headstart.domain.command_args import CloneArgs
from headstart.domain.errors import CloneFailed, SnapshotBaseMissing
from headstart_runner.processes.launcher import Sink
from headstart_runner.repository.git import (
    NOT_SHALLOW,
    Git,
    GitResult,
    branches_of,
    complaint,
    fetch_error,
)

_GONE = re.compile(
    r"not our ref|no such remote ref|couldn't find remote ref|cannot obtain needed object",
    re.IGNORECASE,
)
_NOT_BY_ID = "unadvertised object"
_DEFAULT_BRANCH = re.compile(r"^ref: refs/heads/(\S+)\tHEAD$", re.MULTILINE)


async def fetch_base(
    git: Git, args: CloneArgs, options: Sequence[str], target: Path, *, show: Sink
) -> None:
    """Make a clone whose branch is at the base commit; SnapshotBaseMissing when that is gone.

    RepositoryNotFound when all else is gone, too.
    """
    base = str(args.base_commit)
    workspace = target.parent
    branch = args.upstream_branch or await _default_branch(git, args, options, workspace)
    kind = "sha256" if len(base) == 64 else "sha1"
    await _must(
        git,
        *("init", "--quiet", "--template=", f"--object-format={kind}", "--", str(target)),
        cwd=workspace,
    )
    tracked = ("-t", branch) if branch else ()
    await _must(git, "remote", "add", *tracked, "--", "origin", args.git_url, cwd=target)

    async def fetch(*what: str) -> GitResult:
        return await git.run(
            *("fetch", "--progress", "--no-tags", *what), cwd=target, options=options, stderr=show
        )

    depth = [f"--depth={args.depth}"] if args.depth > 0 else []
    fetched = await fetch(*depth, "origin", base)
    if NOT_SHALLOW in fetched.stderr:
        fetched = await fetch("origin", base)
    if _NOT_BY_ID in fetched.stderr:
        # An older server hands out branches only: the commit is in the history of its own.
        fetched = await fetch("origin")
    known = await git.run("cat-file", "-e", f"{base}^{{commit}}", cwd=target)
    if fetched.code != 0 and not _GONE.search(fetched.stderr):
        raise await fetch_error(
            git, fetched.stderr, args.git_url, branch, cwd=workspace, options=options
        )
    if known.code != 0:
        await branches_of(git, args.git_url, cwd=workspace, options=options)
        raise SnapshotBaseMissing(
            f"The commit {base[:12]} that the saved work builds on is gone from the repository:"
            " its history was rewritten. The saved work is kept"
        )
    await _check_out(git, base, branch, target)


async def _default_branch(
    git: Git, args: CloneArgs, options: Sequence[str], cwd: Path
) -> str | None:
    listed = await git.run(
        "ls-remote", "--symref", "--", args.git_url, "HEAD", cwd=cwd, options=options
    )
    if listed.code != 0:
        raise await fetch_error(git, listed.stderr, args.git_url, None, cwd=cwd, options=options)
    found = _DEFAULT_BRANCH.search(listed.stdout)
    return found[1] if found else None


async def _check_out(git: Git, base: str, branch: str | None, target: Path) -> None:
    """Leave what a clone would have left when the base was the tip of its branch."""
    if branch is None:
        await _must(git, "checkout", "--quiet", "--detach", base, cwd=target)
        return
    remote = f"refs/remotes/origin/{branch}"
    await _must(git, "update-ref", remote, base, cwd=target)
    await _must(git, "symbolic-ref", "refs/remotes/origin/HEAD", remote, cwd=target)
    await _must(git, "checkout", "--quiet", "-B", branch, "--track", f"origin/{branch}", cwd=target)


async def _must(git: Git, *arguments: str, cwd: Path) -> GitResult:
    done = await git.run(*arguments, cwd=cwd)
    if done.code != 0:
        raise CloneFailed(f"git {arguments[0]} failed: {complaint(done.stderr)}")
    return done
