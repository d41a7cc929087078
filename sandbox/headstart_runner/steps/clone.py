"""Clones the repository beside its place, then renames: what is there is complete."""

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

from headstart.domain.command_args import CloneArgs
from headstart_runner.repository.clone import Cloned, clone
from headstart_runner.repository.git import Git
from headstart_runner.repository.remote import Remote, Watch
from headstart_runner.snapshots import archive
from headstart_runner.snapshots.archive import BASE
from headstart_runner.steps import setup
from headstart_runner.steps.base import Context

_TEMPORARY = ".clone.tmp-"
_SOURCE, _ANSWER = "clone.source", "clone.answer"


async def run(context: Context, args: CloneArgs) -> dict[str, Any]:
    """Clone the repository; a complete clone of the same source is kept."""
    config, journal = context.tools.config, context.tools.journal
    source = json.dumps([args.git_url, args.upstream_branch, args.depth, args.submodules])
    if journal.get(_SOURCE) == source and config.repository.is_dir():
        return {**json.loads(journal.get(_ANSWER) or "{}"), "cached": True}
    remote = await Remote.at(
        Git(context.tools.launcher),
        args.git_url,
        Watch(context.progress, context.seconds_left),
        allow_private=args.allow_private,
    )
    journal.put(_SOURCE, "")
    archive.hold_nothing(journal)
    setup.forget(journal)
    await asyncio.to_thread(_clear, config.workspace, config.repository)
    temporary = config.workspace / f"{_TEMPORARY}{os.urandom(4).hex()}"
    try:
        answer = _answer(await clone(remote, args, temporary))
        temporary.rename(config.repository)
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, temporary, ignore_errors=True))
    journal.put(BASE, answer["commit"] or "")
    journal.put(_ANSWER, json.dumps(answer))
    journal.put(_SOURCE, source)
    return answer


def _answer(cloned: Cloned) -> dict[str, Any]:
    return {
        "commit": cloned.commit,
        "defaultBranch": cloned.default_branch,
        "bytes": cloned.bytes,
        "empty": cloned.empty,
        "notes": cloned.notes,
        "adopted": None,
        "setup": None,
        "fetched": None,
    }


def _clear(workspace: Path, repository: Path) -> None:
    """Remove another source's clone and what killed tries left."""
    for leftover in [*workspace.glob(f"{_TEMPORARY}*"), repository]:
        if leftover.is_symlink():
            leftover.unlink()
        elif leftover.exists():
            shutil.rmtree(leftover)
