"""Puts a workspace that was saved in the place of a clone: the session's own, or another's."""

import asyncio
from typing import Any

from headstart.domain.command_args import CloneArgs, TreeRef
from headstart.domain.errors import RestoreFailed, StepError
from headstart_runner.archives import export
from headstart_runner.archives.files import Files
from headstart_runner.archives.putting_back import PuttingBack
from headstart_runner.archives.workspace import Unusable
from headstart_runner.log import logger
from headstart_runner.publishing.noted import Noted
from headstart_runner.repository.clone import (
    Cloned,
    Head,
    complete,
    describe,
    fetch_tip,
    head_of,
)
from headstart_runner.repository.git import Git
from headstart_runner.repository.locks import remove_stale
from headstart_runner.repository.remote import Remote
from headstart_runner.steps.base import Context

_LOOK_SECONDS = 30
_MOVE_SECONDS = 300
"""How long git may be at work in a workspace that somebody made: what is new since is a week's."""


def putting_back(context: Context) -> PuttingBack:
    """Return what puts archives back into this step's workspace."""
    tools = context.tools
    files = Files(tools.config, tools.journal)
    return PuttingBack(tools.config, tools.launcher, tools.redactor, files, context.progress)


async def archive(context: Context, args: CloneArgs) -> Cloned:
    """Put the session's own archive back as it was saved; RestoreFailed where that can't be."""
    assert args.archive is not None  # noqa: S101  (the caller asked)
    config = context.tools.config
    try:
        await putting_back(context).archive(args.archive, config.session_id, export.last(config))
    except (Unusable, OSError) as error:
        raise RestoreFailed(f"The saved workspace could not be put back: {error}") from error
    if not config.repository.is_dir():
        raise RestoreFailed("The saved workspace has no repository in it")
    await remove_stale(context.tools.launcher, config.repository)
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            return await describe(
                config.repository, await head_of(context.git(), config.repository)
            )
    except (TimeoutError, OSError):
        # It is as it was saved, whatever that is: git may never come to an end there.
        return Cloned(commit=None, default_branch=None, bytes=0, empty=False, notes=[])


async def tree(
    context: Context, args: CloneArgs, ref: TreeRef, remote: Remote
) -> tuple[Cloned, dict[str, Any]]:
    """Put a prepared tree back and move it to its branch's tip; Unusable where that can't be.

    Also return by which likeness the setup need not run again, and how many commits came.
    """
    try:
        await putting_back(context).base(ref)
        context.tools.supervisor.get_ready(args.agent)
        async with asyncio.timeout(_MOVE_SECONDS):
            return await _moved(context, args, ref, remote)
    except TimeoutError:
        raise Unusable("git did not come to an end in it") from None
    except (StepError, OSError) as error:
        logger.info("a prepared tree is of no use: %s", error)
        raise Unusable(error.reason if isinstance(error, StepError) else str(error)) from error


async def _moved(
    context: Context, args: CloneArgs, ref: TreeRef, remote: Remote
) -> tuple[Cloned, dict[str, Any]]:
    """Move what another session left behind: its branch goes, what its setup made stays."""
    repository, git = context.tools.config.repository, remote.git
    if not (repository / ".git").exists():
        raise Unusable("there is no repository in it")
    await remove_stale(context.tools.launcher, repository)
    async with asyncio.timeout(_LOOK_SECONDS):
        # A pipe in the place of one of its files holds git up for ever. Nothing that looks at the
        # work tree: to git all of it is new here, and would be read whole.
        await git.must("rev-parse", "--verify", "HEAD", cwd=repository)
        await git.must("ls-files", "--unmerged", cwd=repository)
    context.progress("Fetching what is new since", 90)
    tip = await fetch_tip(remote, args, repository)
    setup = await _likeness(git, args, ref, tip, context)
    await git.must("checkout", "--quiet", "--detach", cwd=repository)
    await git.must("branch", "--quiet", "--delete", "--force", ref.branch, cwd=repository)
    if tip != ref.commit:
        # What setup changed of the repository's own files stays, unless it runs again.
        way = "--keep" if setup else "--hard"
        moved = await remote.run("reset", "--quiet", way, tip, cwd=repository)
        if moved.code != 0:
            raise Unusable("its setup changed what the branch has changed since")
    known = await git.run("rev-list", "--count", f"{ref.commit}..{tip}", cwd=repository)
    branch = args.upstream_branch or await _default(git, context)
    if branch:
        await git.must(
            "branch", "--quiet", "--force", branch, f"refs/remotes/origin/{branch}", cwd=repository
        )
    # Whose session it was is nobody's business, and its notes are none of this one's.
    await Noted(git, repository).forget()
    await git.must("reflog", "expire", "--expire=all", "--all", cwd=repository)
    notes = await complete(remote, args, repository)
    found = await describe(repository, Head(tip, branch), notes)
    return found, {"setup": setup, "fetched": int(known.stdout or 0)}


async def _default(git: Git, context: Context) -> str | None:
    head = await git.run(
        *("symbolic-ref", "--short", "--quiet", "refs/remotes/origin/HEAD"),
        cwd=context.tools.config.repository,
    )
    return head.stdout.strip().removeprefix("origin/") or None


async def _likeness(
    git: Git, args: CloneArgs, ref: TreeRef, tip: str, context: Context
) -> str | None:
    """Return what is the same of that on which the setup's result depends, None where it is not."""
    if tip == ref.commit:
        return "same commit"
    if not ref.inputs:
        return None
    repository = context.tools.config.repository
    for name in ref.inputs:
        there = await git.run("cat-file", "-e", f"{tip}:{name}", cwd=repository)
        if there.code != 0:
            return None
    compare = ("--literal-pathspecs", "diff-tree", "--quiet", "-r", ref.commit, tip, "--")
    same = await git.run(*compare, *ref.inputs, cwd=repository)
    return f"same {', '.join(ref.inputs)}" if same.code == 0 else None
