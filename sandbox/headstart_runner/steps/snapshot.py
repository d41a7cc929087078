"""Saves the work, and the agent's session as far as it is known, into one file."""

import asyncio
import re
import zipfile
from pathlib import Path
from typing import Any

from headstart.domain.command_args import SnapshotArgs
from headstart.domain.errors import AgentStartFailed, SnapshotFailed
from headstart_runner.agents.http import AgentSilent
from headstart_runner.snapshots import archive, export
from headstart_runner.snapshots.archive import Limited, Unusable
from headstart_runner.snapshots.export import NotJson, RedactedJson
from headstart_runner.steps.base import Context
from headstart_runner.wire import head

_AGENT_SECONDS = 30.0
"""How long the agent may take to tell its session: a sandbox that must stop has 100 s for all."""

_WHY_CHARACTERS = 200
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


async def run(context: Context, args: SnapshotArgs) -> dict[str, Any]:
    """Make the file and remove older ones; the last good one stays when that fails."""
    config, journal = context.tools.config, context.tools.journal
    if not config.repository.is_dir():
        raise SnapshotFailed("There is no work to save: the repository is not there")
    base = journal.get(archive.BASE) or None
    try:
        async with archive.partial_file(config) as partial:
            work, missing = await _write(context, args, partial, base)
            size, sha256 = await asyncio.to_thread(archive.keep, config, partial)
    except (Unusable, OSError) as error:
        raise SnapshotFailed(str(error)) from error
    archive.hold(journal, sha256)
    commit = str(work.get("headCommit"))
    return {
        "bytes": size,
        "sha256": sha256,
        "baseCommit": base,
        "headCommit": commit if _COMMIT.fullmatch(commit) else None,
        "skipped": [str(path).encode("utf-8", "replace").decode() for path in work["skipped"]],
        "missing": missing,
    }


async def _write(
    context: Context, args: SnapshotArgs, partial: Path, base: str | None
) -> tuple[dict[str, Any], str | None]:
    """Write the work first: nothing that is wrong with the agent may cost it."""
    with zipfile.ZipFile(partial, "w") as file:
        context.progress("Saving the work tree")
        work = await _work(context, args, file, base=base)
        context.progress("Saving the agent's session")
        left = args.max_bytes - max(0, work["size"])
        missing = await _session(context, args, file, left=left)
        archive.describe(file, args, missing)
    return work, missing


async def _session(
    context: Context, args: SnapshotArgs, file: zipfile.ZipFile, *, left: int
) -> str | None:
    """Write the agent's session as it is now, else as it was last; return what is missing."""
    known, missing = export.last(context.tools.config), None
    try:
        async with asyncio.timeout(_AGENT_SECONDS):
            await _export(context, args.session_id, known, left)
    except TimeoutError:
        missing = _missing(context, known, left, "no answer in time")
    except (AgentSilent, AgentStartFailed, NotJson, Unusable, OSError) as error:
        missing = _missing(context, known, left, str(error))
    if _fits(known, left):
        await archive.write_session(file, known)
    return missing


async def _export(context: Context, session_id: str, known: Path, left: int) -> None:
    client = await context.tools.supervisor.client()
    with export.replaced(known) as part:
        out = Limited(part, left)
        clean = RedactedJson(context.tools.redactor, out.write)
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


async def _work(
    context: Context, args: SnapshotArgs, file: zipfile.ZipFile, *, base: str | None
) -> dict[str, Any]:
    tools = context.tools
    async with archive.scratch(tools.config, tools.launcher) as folder:
        spec = {
            "repository": str(tools.config.repository),
            "temporary": str(folder),
            "baseCommit": base,
            "branch": tools.journal.get(archive.BRANCH),
            "maxFileBytes": args.max_file_bytes,
            "maxBytes": args.max_bytes,
        }
        with archive.work_part(file) as part:
            # Names and links of many small files may take more than the files themselves.
            out = Limited(part, args.max_bytes * 2)
            answer = await archive.saved_work(
                tools.launcher, "save", spec, folder=folder, out=out.write
            )
    if out.problem:
        raise out.problem
    if out.bytes != answer.get("bytes"):
        raise Unusable("it did not arrive whole")
    return answer
