"""Makes a clone that people can work in: the history, all branches, and what it is without."""

import asyncio
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from headstart.domain.command_args import CloneArgs
from headstart.domain.errors import BranchNotFound
from headstart_runner.repository import large_files, submodules
from headstart_runner.repository.git import Git, GitResult, checkout_error
from headstart_runner.repository.remote import Remote
from headstart_runner.repository.words import some

_HEADS = "refs/heads/"
_BRANCHES = "+refs/heads/*:refs/remotes/origin/*"
_TAGS = "+refs/tags/*:refs/tags/*"
_MOST_NOTES = 10
_BLOBLESS = "--filter=blob:none"
_ALL_BLOBS = "{host} can't leave out blobs, so all of them are here"
_USUAL = ("main", "master")
_NOT_SHALLOW = "does not support shallow"
_NOT_FILTERED = "filtering not recognized by server"
_LATER = "from promisor remote"
_NOT_BY_ID = re.compile(r"not our ref|unadvertised object")


@dataclass(frozen=True, slots=True)
class Head:
    """What is checked out: a branch that is not born yet has no commit."""

    commit: str | None
    branch: str | None


@dataclass(frozen=True, slots=True)
class Cloned:
    """What a clone is: `commit` is None in an empty repository.

    `notes` are sentences about what it is without.
    """

    commit: str | None
    default_branch: str | None
    bytes: int
    empty: bool
    notes: list[str]


class _OnlyWhole(Exception):
    """The server can give its repository as a whole only."""


async def clone(remote: Remote, args: CloneArgs, target: Path) -> Cloned:
    """Clone into a new folder and check out the branch that is wanted, or the remote's own.

    The history comes whole and its blobs when they are needed, unless a depth is asked for; a
    server that can do neither gives everything.
    """
    host = urlsplit(args.git_url).hostname
    remote.watch.show(f"Connecting to {host}", 0)
    shallow = (f"--depth={args.depth}", "--single-branch", "--no-tags")
    branch = args.upstream_branch
    try:
        head, notes = await _clone(remote, branch, target, shallow if args.depth else (_BLOBLESS,))
    except _OnlyWhole:
        await asyncio.to_thread(shutil.rmtree, target, ignore_errors=True)
        without = f"{host} gives whole histories only, so this one is whole"
        head, more = await _clone(remote, branch, target, ())
        notes = [without if args.depth else _ALL_BLOBS.format(host=host), *more]
    if head.commit is not None:
        notes += await complete(remote, args, target)
    return await describe(target, head, notes)


async def complete(remote: Remote, args: CloneArgs, repository: Path) -> list[str]:
    """Fetch what a checkout alone does not bring, and return notes about what is not there."""
    notes = await submodules.fetch(remote, repository, wanted=args.submodules)
    return notes + await large_files.fetch(remote, repository)


async def describe(repository: Path, head: Head, notes: Sequence[str] = ()) -> Cloned:
    """Return what a clone is that has been made."""
    return Cloned(
        commit=head.commit,
        default_branch=head.branch,
        bytes=await asyncio.to_thread(_size, repository / ".git"),
        empty=head.commit is None,
        notes=_short([*notes]),
    )


async def head_of(git: Git, repository: Path) -> Head:
    """Return what is checked out."""
    what = ("rev-parse", "HEAD^{commit}", "--symbolic-full-name", "HEAD")
    found = await git.run(*what, cwd=repository)
    if found.code != 0:
        unborn = await git.run("symbolic-ref", "--quiet", "HEAD", cwd=repository)
        return Head(None, _branch(unborn.stdout.strip()))
    commit, _, name = found.stdout.strip().partition("\n")
    return Head(commit, _branch(name))


def _branch(ref: str) -> str | None:
    return ref.removeprefix(_HEADS) if ref.startswith(_HEADS) else None


def _short(notes: list[str]) -> list[str]:
    more = len(notes) - _MOST_NOTES
    return notes if more <= 0 else [*notes[:_MOST_NOTES], f"And {more} more of that kind"]


async def fetch_tip(remote: Remote, args: CloneArgs, repository: Path) -> str:
    """Fetch all branches and tags into a clone; return the commit of the branch that is wanted.

    Raises BranchNotFound where it is gone, and what `clone` raises of a server.
    """
    git = remote.git
    await git.must("config", "--replace-all", "remote.origin.url", args.git_url, cwd=repository)
    what = ("--no-tags", "origin", _BRANCHES) if args.depth else ("origin", _BRANCHES, _TAGS)
    fetched = await remote.run(
        *("fetch", "--progress", "--prune", "--force", "--recurse-submodules=no", *what),
        cwd=repository,
    )
    branch = args.upstream_branch
    if fetched.code == 0 and branch is None:
        # What was the default branch when the clone was made may be another one's name by now.
        fetched = await remote.run("remote", "set-head", "origin", "--auto", cwd=repository)
    if fetched.code != 0:
        raise remote.error(fetched, branch)
    tip = await _commit(git, repository, f"refs/remotes/origin/{branch or 'HEAD'}")
    if tip is None:
        raise BranchNotFound(f"{args.git_url} has no branch {branch or 'to begin with'}")
    return tip


async def _clone(
    remote: Remote, branch: str | None, target: Path, options: Sequence[str]
) -> tuple[Head, list[str]]:
    """Clone in one of the ways; raise _OnlyWhole where it is not to be had.

    Also return what there is to note.
    """
    url, git = remote.url, remote.git
    fetched = await remote.run(
        *("clone", "--progress", "--no-checkout", "--template=", "--no-recurse-submodules"),
        *options,
        *([f"--branch={branch}"] if branch else []),
        *("--", url, str(target)),
        cwd=target.parent,
    )
    if fetched.code != 0:
        if options and _NOT_SHALLOW in fetched.stderr:
            raise _OnlyWhole
        error = remote.error(fetched, branch)
        if not isinstance(error, BranchNotFound) or await remote.branches():
            raise error
        # Nobody can have pushed the branch to a repository that has none at all.
        return await _clone(remote, None, target, options)
    head = await head_of(git, target)
    if head.commit is None and branch is None:
        branches = await remote.branches()
        if not branches:
            return head, await _as_it_came(remote, target, options, fetched, empty=True)
        instead = _instead(branches, url, head.branch)
        await asyncio.to_thread(shutil.rmtree, target)
        head, notes = await _clone(remote, instead, target, options)
        await git.must("remote", "set-head", "origin", instead, cwd=target)
        return head, [f"The default branch of {url} does not exist: this is {instead}", *notes]
    await _check_out(remote, target)
    return head, await _as_it_came(remote, target, options, fetched, empty=False)


async def _as_it_came(
    remote: Remote, target: Path, options: Sequence[str], fetched: GitResult, *, empty: bool
) -> list[str]:
    """Let the clone's settings say what it is; return what there is to note."""
    git = remote.git
    if _BLOBLESS not in options:
        # What is fetched later is not of one branch only.
        await git.must("config", "--replace-all", "remote.origin.fetch", _BRANCHES, cwd=target)
        return []
    packs = target / ".git" / "objects" / "pack"
    if _NOT_FILTERED not in fetched.stderr and await asyncio.to_thread(_has_promises, packs):
        return []
    for name in ("promisor", "partialclonefilter"):
        await git.must("config", "--unset-all", f"remote.origin.{name}", cwd=target)
    if empty:
        return []
    return [_ALL_BLOBS.format(host=urlsplit(remote.url).hostname)]


def _has_promises(packs: Path) -> bool:
    return any(packs.glob("*.promisor"))


async def _check_out(remote: Remote, target: Path) -> None:
    done = await remote.run("checkout", "--progress", "--force", cwd=target)
    if done.code == 0:
        return
    if _LATER not in done.stderr:
        raise checkout_error(done.stderr, remote.url)
    if _NOT_BY_ID.search(done.stderr):
        # It leaves blobs out, and then doesn't give them by their names.
        raise _OnlyWhole
    raise remote.error(done)


def _instead(branches: list[str], url: str, lost: str | None) -> str:
    """Return the branch to begin with where HEAD leads nowhere, if it is clear which."""
    candidates = branches if len(branches) == 1 else [b for b in _USUAL if b in branches]
    if candidates:
        return candidates[0]
    missing = f"The default branch of {url} does not exist"
    # A server that does not tell what its HEAD names leaves git with a name of its own.
    if lost and lost not in (*branches, *_USUAL):
        missing = f"{url} has no branch {lost}, with which a clone of it begins"
    raise BranchNotFound(f"{missing}; name one that it has: {some(branches, 'or')}")


async def _commit(git: Git, repository: Path, name: str) -> str | None:
    found = await git.run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", cwd=repository)
    return found.stdout.strip() or None


def _size(folder: Path) -> int:
    """Return the bytes of files in a folder, as far as can be told; its user may be at work."""
    total = 0
    for place, _, names in [] if folder.is_symlink() else os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118
    return total
