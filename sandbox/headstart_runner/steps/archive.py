"""Saves the workspace, and the agent's session as far as it is known."""

import asyncio
from pathlib import Path
from typing import Any

from headstart.domain.channel import WorkChanged
from headstart.domain.command_args import ArchiveArgs
from headstart.domain.errors import AgentStartFailed, ArchiveFailed
from headstart_runner.agents.http import AgentSilent
from headstart_runner.archives import export
from headstart_runner.archives.export import Limited, NotJson, RedactedJson
from headstart_runner.archives.files import (
    CHANGES,
    DIFF,
    About,
    Base,
    Files,
    Made,
    write_difference,
)
from headstart_runner.archives.saving import Saving
from headstart_runner.archives.workspace import Unusable
from headstart_runner.log import logger
from headstart_runner.publishing.changes import Untold, Work
from headstart_runner.steps.base import Context
from headstart_runner.wire import dumps, head

_AGENT_SECONDS = 30.0
"""How long the agent may take to tell its session: a sandbox that must stop has 100 s for all."""

_CHANGES_SECONDS = 15.0
"""How long git may take to tell what the work changed."""

_WHY_CHARACTERS = 200


async def run(context: Context, args: ArchiveArgs) -> dict[str, Any]:
    """Make a difference, and a base where there is none; the last good ones stay if that fails."""
    tools = context.tools
    if not tools.config.repository.is_dir():
        raise ArchiveFailed("There is no work to save: the repository is not there")
    files = Files(tools.config, tools.journal)
    files.sweep()
    told = await _changes(context, args, files)
    try:
        saving = Saving(
            tools.config, tools.launcher, files, tools.supervisor.folders, tools.redactor.text
        )
        base, made = files.held(), None
        if base is None or base.made.sha256 != args.base:
            context.progress("Saving the workspace")
            base = await saving.base(args.max_bytes)
            made = base.made
        difference, missing = await _difference(context, args, saving, base)
    except (Unusable, OSError) as error:
        raise ArchiveFailed(str(error)) from error
    return {
        "base": made.to_json() if made else None,
        "difference": difference.to_json(),
        "leftOut": saving.left_out,
        "missing": missing,
        **told,
    }


async def _changes(context: Context, args: ArchiveArgs, files: Files) -> dict[str, Any]:
    """Tell what the work changed, before it is saved: nothing that fails later may cost that.

    Where it can't be told there is a line in the log, and what was told before stays.
    """
    tools = context.tools
    work = Work(tools.launcher, tools.redactor, tools.config.repository)
    try:
        async with asyncio.timeout(_CHANGES_SECONDS):
            look = await work.look(args.began)
        total = look.changes.total
        tools.reporter.report(WorkChanged(command_id=context.command_id, **total.model_dump()))
        changes = await files.keep_text(dumps(look.changes.to_json()).encode(), CHANGES)
        diff = await files.keep_text(look.diff, DIFF)
    except (Untold, TimeoutError, OSError) as error:
        logger.warning("what the work changed can't be told: %s", error or "git takes too long")
        return {"changes": None, "diff": None}
    return {"changes": changes.to_json(), "diff": diff.to_json()}


async def _difference(
    context: Context, args: ArchiveArgs, saving: Saving, base: Base
) -> tuple[Made, str | None]:
    """Save the work first: nothing that is wrong with the agent may cost it."""
    files = Files(context.tools.config, context.tools.journal)
    left = args.max_bytes - base.made.bytes
    with files.partial() as work, files.partial() as gone, files.partial() as file:
        context.progress("Saving what changed")
        await saving.difference(base, work, gone, left)
        context.progress("Saving the agent's session")
        session, missing = await _session(context, args, left - work.stat().st_size)
        about = About(args.session_id, base.made.sha256, missing)
        await write_difference(file, about, gone, work, session)
        return await files.keep_difference(file), missing


async def _session(
    context: Context, args: ArchiveArgs, left: int
) -> tuple[Path | None, str | None]:
    """Return the session as it is now, else as it was last, and what is missing of it."""
    known, missing = export.last(context.tools.config), None
    try:
        async with asyncio.timeout(_AGENT_SECONDS):
            await _export(context, args.session_id, known, left)
    except TimeoutError:
        missing = _missing(context, known, left, "no answer in time")
    except (AgentSilent, AgentStartFailed, NotJson, Unusable, OSError) as error:
        missing = _missing(context, known, left, str(error))
    return (known if _fits(known, left) else None), missing


async def _export(context: Context, session_id: str, known: Path, left: int) -> None:
    supervisor = context.tools.supervisor
    client = await supervisor.client()
    with export.replaced(known) as part:
        out = Limited(part, left)
        clean = RedactedJson(context.tools.redactor, out.write)
        async with supervisor.doubted():
            await client.export(session_id, clean.write)
        clean.close()
        if out.problem:
            raise out.problem
        if out.bytes > left:
            raise Unusable(f"with its {out.bytes / 1e6:,.1f} MB it is more than is allowed")


def _missing(context: Context, known: Path, left: int, why: str) -> str:
    what = " since the copy before" if _fits(known, left) else ", which begins anew"
    why = head(context.tools.redactor.text(why), _WHY_CHARACTERS)
    return f"the agent's session{what} ({why})"


def _fits(known: Path, left: int) -> bool:
    return known.is_file() and known.stat().st_size <= left
