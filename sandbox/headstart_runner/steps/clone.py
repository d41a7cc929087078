"""Fills the workspace: with the session's own archive, a prepared tree, or a fresh clone."""

import asyncio
import json
import os
import shutil
from typing import Any

from headstart.domain.command_args import CloneArgs
from headstart.domain.errors import WorkspaceGone
from headstart_runner.archives import export
from headstart_runner.archives.workspace import Unusable
from headstart_runner.gateway.gateway import Source, Watch
from headstart_runner.repository.clone import Cloned, clone
from headstart_runner.repository.remote import Remote
from headstart_runner.steps import adopt, restore, setup
from headstart_runner.steps.base import Context

_TEMPORARY = ".headstart-clone-"
_SOURCE, _ANSWER = "clone.source", "clone.answer"
_ARCHIVE, _TREE = "archive", "tree"


async def run(context: Context, args: CloneArgs) -> dict[str, Any]:
    """Fill the workspace, unless it is full already: whatever is there then is newer."""
    context.tools.open_vault(args.sealed)
    config, journal = context.tools.config, context.tools.journal
    await context.tools.gateway.open(Source(args.git_url, args.branch, args.allow_private))
    source = json.dumps([args.git_url, args.upstream_branch, args.depth, args.submodules])
    answer: dict[str, Any] = json.loads(journal.get(_ANSWER) or "{}")
    # Whoever wants no archive wants nothing of what one put back.
    wanted = args.archive is not None or answer.get("adopted") != _ARCHIVE
    if wanted and journal.get(_SOURCE) == source and config.repository.is_dir():
        context.tools.supervisor.get_ready(args.agent)
        return {**answer, "cached": True}
    untouched = journal.get(_SOURCE) is None
    journal.put(_SOURCE, "")
    setup.forget(journal)
    restore.forget(journal)
    await context.tools.supervisor.stop()
    if args.archive:
        answer = await _archive(context, args)
    else:
        answer = await _repository(context, args, untouched=untouched)
    journal.put(_ANSWER, json.dumps(answer))
    journal.put(_SOURCE, source)
    return answer


async def _archive(context: Context, args: CloneArgs) -> dict[str, Any]:
    adopted = await adopt.archive(context, args)
    context.tools.supervisor.get_ready(args.agent)
    return _answer(adopted, adopted=_ARCHIVE)


async def _repository(context: Context, args: CloneArgs, *, untouched: bool) -> dict[str, Any]:
    remote = await Remote.at(
        context.git(),
        args.git_url,
        Watch(context.progress, context.seconds_left),
        allow_private=args.allow_private,
    )
    export.forget(export.last(context.tools.config))
    notes = []
    if args.tree is not None:
        try:
            tree, more = await adopt.tree(context, args, args.tree, remote)
            return {**_answer(tree, adopted=_TREE), **more}
        except Unusable as error:
            notes.append(f"The prepared tree could not be used: {error}")
            await context.tools.supervisor.stop()
    if not untouched or args.tree is not None:
        try:
            await adopt.putting_back(context).clear()
        except Unusable as error:
            raise WorkspaceGone(f"{error}: a retry begins with a new sandbox") from error
    # From here on nothing but commands of the session changes HOME.
    context.tools.supervisor.get_ready(args.agent)
    workspace, repository = context.tools.config.workspace, context.tools.config.repository
    temporary = workspace / f"{_TEMPORARY}{os.urandom(4).hex()}"
    try:
        answer = _answer(await clone(remote, args, temporary), notes)
        temporary.rename(repository)
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, temporary, ignore_errors=True))
    return answer


def _answer(
    cloned: Cloned, notes: list[str] | None = None, adopted: str | None = None
) -> dict[str, Any]:
    return {
        "commit": cloned.commit,
        "defaultBranch": cloned.default_branch,
        "bytes": cloned.bytes,
        "empty": cloned.empty,
        "notes": [*(notes or []), *cloned.notes],
        "adopted": adopted,
        "setup": None,
        "fetched": None,
    }
