"""Puts the session's branch in place."""

import re
from pathlib import Path
from typing import Any

from headstart.domain.command_args import BranchArgs
from headstart.domain.errors import BranchImpossible, DiskFull, InternalStepError
from headstart_runner.repository.git import Git, complaint
from headstart_runner.repository.locks import remove_stale
from headstart_runner.steps.base import Context

_ORIGIN = "refs/remotes/origin/"
_LIKE_HEAD = "ambiguous object name"
# A branch is a file and the path before its name a folder: `a` and `a/b` can't both be.
_IN_THE_WAY = re.compile(r"'refs/heads/(\S{1,1000})' exists; cannot create")


async def run(context: Context, args: BranchArgs) -> dict[str, Any]:
    """Create the branch at HEAD, or switch to it; in an empty repository it stays unborn."""
    context.need_work_tree()
    git, repository = context.git(), context.tools.config.repository
    # Of a try before this one that was killed.
    await remove_stale(context.tools.launcher, repository)
    create = ("switch", "--create", args.branch)
    result = await git.run(*create, cwd=repository)
    if "already exists" in result.stderr:
        result = await git.run("switch", args.branch, cwd=repository)
    other = _IN_THE_WAY.search(result.stderr)
    if other and await _is_spared(git, repository, other[1]):
        result = await git.run(*create, cwd=repository)
    if result.code != 0:
        if "No space left on device" in result.stderr:
            raise DiskFull(f"The sandbox's disk is too small to check out {args.branch}")
        if _LIKE_HEAD in result.stderr:
            raise BranchImpossible(
                f"The repository's branch HEAD leaves no room for {args.branch}: git can't tell it "
                "from the HEAD of its own. Rename it, or name another"
            )
        said = complaint(result.stderr)
        if _IN_THE_WAY.search(result.stderr):
            raise BranchImpossible(f"The repository leaves no room for {args.branch}: {said}")
        raise InternalStepError(f"git could not switch to the branch {args.branch}: {said}")
    commit, notes = await _result(git, repository, args.branch)
    return {"branch": args.branch, "commit": commit, "notes": notes}


async def _result(git: Git, repository: Path, branch: str) -> tuple[str | None, list[str]]:
    """Return the branch's commit, and what to know where the server can't take the branch.

    The same rule holds there.
    """
    own = f"refs/heads/{branch}"
    above = [branch[: end.start()] for end in re.finditer("/", branch)]
    patterns = [own, *(f"{_ORIGIN}{name}" for name in [*above, f"{branch}/**"])]
    found = await git.run(
        "for-each-ref", "--format=%(refname) %(objectname)", *patterns, cwd=repository
    )
    refs = dict(line.split(" ") for line in found.stdout.splitlines())
    exact = [name.removeprefix(_ORIGIN) for name in refs if name.startswith(_ORIGIN)]
    taken = [name for name in exact if name in above or name.startswith(f"{branch}/")]
    notes = [
        f"The repository's branch {name} leaves no room there for {branch}: push it by another name"
        for name in taken[:1]
    ]
    return refs.get(own), notes


async def _is_spared(git: Git, repository: Path, branch: str) -> bool:
    """Delete a branch that the clone made, unless it has something of its own; say whether."""
    origin = f"{_ORIGIN}{branch}"
    for arguments in (
        ("merge-base", "--is-ancestor", f"refs/heads/{branch}", origin),
        ("switch", "--detach"),
        ("branch", "--delete", "--force", branch),
    ):
        if (await git.run(*arguments, cwd=repository)).code != 0:
            return False
    return True
