"""Puts the session's branch in place."""

from typing import Any

from headstart.domain.channel import BranchArgs
from headstart.domain.errors import DiskFull, InternalStepError
from headstart_runner.git import Git, GitResult
from headstart_runner.steps.base import Context

_IDENTITY = {"user.name": "Headstart", "user.email": "headstart@localhost"}


async def run(context: Context, args: BranchArgs) -> dict[str, Any]:
    """Create the branch at HEAD, or switch to it; in an empty repository it stays unborn.

    An identity for commits is written to the clone's own configuration where there is none.
    """
    git, repository = Git(context.tools.launcher), context.tools.config.repository

    async def must(*arguments: str) -> None:
        _check(args.branch, await git.run(*arguments, cwd=repository))

    await must("check-ref-format", "--branch", args.branch)
    reference = f"refs/heads/{args.branch}"
    born = await git.run("rev-parse", "--verify", "--quiet", "HEAD", cwd=repository)
    known = await git.run("show-ref", "--verify", "--quiet", reference, cwd=repository)
    if born.code != 0 and known.code != 0:
        await must("symbolic-ref", "HEAD", reference)
    else:
        await must("switch", *(["-c"] if known.code != 0 else []), args.branch)
    for name, value in _IDENTITY.items():
        if (await git.run("config", name, cwd=repository)).code != 0:
            await must("config", "--local", name, value)
    commit = await git.run("rev-parse", "--verify", "--quiet", "HEAD", cwd=repository)
    return {"branch": args.branch, "commit": commit.stdout.strip() or None}


def _check(branch: str, result: GitResult) -> None:
    if result.code == 0:
        return
    if "No space left on device" in result.stderr:
        raise DiskFull(f"The sandbox's disk is too small to check out {branch}")
    lines = result.stderr.strip().splitlines() or [f"git exited with status {result.code}"]
    raise InternalStepError(f"git could not switch to the branch {branch}: {lines[-1]}")
