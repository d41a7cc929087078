"""Clones the repository beside its place, then renames: what is there is complete."""

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from headstart.domain.command_args import CloneArgs
from headstart.domain.errors import BranchNotFound
from headstart_runner.processes.launcher import Sink
from headstart_runner.repository.addresses import public_addresses
from headstart_runner.repository.git import NOT_SHALLOW, Git, GitResult, branches_of, fetch_error
from headstart_runner.repository.progress import GitProgress
from headstart_runner.steps import setup
from headstart_runner.steps.base import Context

_TEMPORARY = ".clone.tmp-"
_SOURCE = "clone.source"
_NAMED_BRANCHES = 5
_LOW_SPEED_BYTES = 1000
_LOW_SPEED_SECONDS = 30


async def run(context: Context, args: CloneArgs) -> dict[str, Any]:
    """Clone shallow and single-branch; a complete clone of the same source is kept.

    With a base commit exactly that is fetched, and stands in for the tip of its branch.
    """
    config, journal = context.tools.config, context.tools.journal
    git = Git(context.tools.launcher)
    source = json.dumps([args.git_url, args.upstream_branch, args.depth])
    same = journal.get(_SOURCE) == source
    if same and config.repository.is_dir():
        return {**await _describe(git, config.repository), "cached": True}
    options = await _options(args)
    journal.put(_SOURCE, "")
    setup.forget(journal)
    await asyncio.to_thread(_clear, config.workspace, config.repository)
    temporary = config.workspace / f"{_TEMPORARY}{os.urandom(4).hex()}"
    try:
        await _clone(context, git, args, options, temporary)
        answer = await _describe(git, temporary)
        if answer["empty"]:
            await _must_be_empty(git, args, options, config.workspace, answer["defaultBranch"])
        temporary.rename(config.repository)
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, temporary, ignore_errors=True))
    journal.put(_SOURCE, source)
    return answer


def _clear(workspace: Path, repository: Path) -> None:
    """Remove another source's clone and what killed tries left."""
    for leftover in [*workspace.glob(f"{_TEMPORARY}*"), repository]:
        if leftover.is_symlink():
            leftover.unlink()
        elif leftover.exists():
            shutil.rmtree(leftover)


async def _options(args: CloneArgs) -> list[str]:
    """Return git's options for this address, after a look at where its host is."""
    url = urlsplit(args.git_url)
    options = {
        "protocol.allow": "never",
        f"protocol.{'http' if url.scheme == 'http' else 'https'}.allow": "always",
        "http.lowSpeedLimit": str(_LOW_SPEED_BYTES),
        "http.lowSpeedTime": str(_LOW_SPEED_SECONDS),
        # This address was allowed, not whatever it leads to.
        "http.followRedirects": "false",
    }
    if not args.allow_private:
        port = url.port or (80 if url.scheme == "http" else 443)
        addresses = await public_addresses(url.hostname or "", port)
        # git must connect to what was checked, not to what the name says a moment later.
        pinned = ",".join(f"[{a}]" if ":" in a else a for a in addresses)
        options["http.curloptResolve"] = f"{url.hostname}:{port}:{pinned}"
    return [piece for name, value in options.items() for piece in ("-c", f"{name}={value}")]


async def _clone(
    context: Context, git: Git, args: CloneArgs, options: list[str], target: Path
) -> None:
    branch = args.upstream_branch
    result = await _try(context, git, args, options=options, target=target, branch=branch)
    if NOT_SHALLOW in result.stderr:
        args = args.model_copy(update={"depth": 0})
        result = await _try(context, git, args, options=options, target=target, branch=branch)
    if result.code == 0:
        return
    workspace = context.tools.config.workspace
    error = await fetch_error(
        git, result.stderr, args.git_url, branch, cwd=workspace, options=options
    )
    if isinstance(error, BranchNotFound) and not await branches_of(
        git, args.git_url, cwd=workspace, options=options
    ):
        # Nobody can have pushed the branch to a repository that has none at all.
        result = await _try(context, git, args, options=options, target=target, branch=None)
        if result.code == 0:
            return
    raise error


async def _try(
    context: Context,
    git: Git,
    args: CloneArgs,
    *,
    options: list[str],
    target: Path,
    branch: str | None,
) -> GitResult:
    host = urlsplit(args.git_url).hostname
    context.progress(f"Connecting to {host}", 0)
    return await git.run(
        "clone",
        "--progress",
        "--single-branch",
        "--no-tags",
        "--template=",
        "--no-recurse-submodules",
        *([f"--depth={args.depth}"] if args.depth else []),
        *([f"--branch={branch}"] if branch else []),
        "--",
        args.git_url,
        str(target),
        cwd=context.tools.config.workspace,
        options=options,
        stderr=_shown(context),
    )


def _shown(context: Context) -> Sink:
    """Return what shows git's messages as progress."""
    progress = GitProgress()

    def show(data: bytes) -> None:
        if progress.feed(data):
            context.progress(progress.message, progress.percent)

    return show


async def _must_be_empty(
    git: Git, args: CloneArgs, options: list[str], cwd: Path, head: str | None
) -> None:
    """Raise BranchNotFound for a repository whose HEAD leads nowhere: git takes it as empty."""
    url = args.git_url
    branches = await branches_of(git, url, cwd=cwd, options=options)
    if not branches:
        return
    missing = f"The default branch of {url} does not exist"
    # A server that does not tell what its HEAD names leaves git with a name of its own.
    if head and head not in branches:
        missing = f"{url} has no branch {head}, with which a clone of it begins"
    there = ", ".join(branches[:_NAMED_BRANCHES])
    if len(branches) > _NAMED_BRANCHES:
        there += f" or {len(branches) - _NAMED_BRANCHES} more"
    raise BranchNotFound(f"{missing}; name one that it has: {there}")


async def _describe(git: Git, repository: Path) -> dict[str, Any]:
    head = await git.run("rev-parse", "HEAD", "--abbrev-ref", "HEAD", cwd=repository)
    commit, branch = [*head.stdout.split(), None, None][:2] if head.code == 0 else (None, None)
    if commit is None:
        unborn = await git.run("symbolic-ref", "--short", "--quiet", "HEAD", cwd=repository)
        branch = unborn.stdout.strip() or None
    return {
        "commit": commit,
        "defaultBranch": branch if branch != "HEAD" else None,
        "bytes": await asyncio.to_thread(_size, repository / ".git" / "objects"),
        "empty": commit is None,
    }


def _size(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        total += sum(os.lstat(os.path.join(place, name)).st_size for name in names)  # noqa: PTH118
    return total
