"""Saves the agent's session and the work into one file."""

import asyncio
import re
import zipfile
from pathlib import Path
from typing import Any

from headstart.domain.command_args import SnapshotArgs
from headstart.domain.errors import AgentStartFailed, SnapshotFailed
from headstart_runner.agents.http import AgentSilent
from headstart_runner.snapshots import archive
from headstart_runner.snapshots.archive import Limited, Unusable
from headstart_runner.snapshots.export import NotJson, RedactedJson
from headstart_runner.steps.base import Context

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


async def run(context: Context, args: SnapshotArgs) -> dict[str, Any]:
    """Make the file and remove older ones; the last good one stays when that fails."""
    config, journal = context.tools.config, context.tools.journal
    if not config.repository.is_dir():
        raise SnapshotFailed("There is no work to save: the repository is not there")
    base = journal.get(archive.BASE) or None
    try:
        async with archive.partial_file(config) as partial:
            work = await _write(context, args, partial, base)
            size, sha256 = await asyncio.to_thread(archive.keep, config, partial)
    except (Unusable, NotJson, AgentSilent, AgentStartFailed, OSError) as error:
        raise SnapshotFailed(f"The work could not be saved: {error}") from error
    archive.hold(journal, sha256)
    head = str(work.get("headCommit"))
    return {
        "bytes": size,
        "sha256": sha256,
        "baseCommit": base,
        "headCommit": head if _COMMIT.fullmatch(head) else None,
        "skipped": [str(path).encode("utf-8", "replace").decode() for path in work["skipped"]],
    }


async def _write(
    context: Context, args: SnapshotArgs, partial: Path, base: str | None
) -> dict[str, Any]:
    with zipfile.ZipFile(partial, "w") as file:
        archive.begin_file(file, args)
        context.progress("Saving the agent's session")
        left = args.max_bytes - await _session(context, args, file)
        context.progress("Saving the work tree")
        return await _work(context, args, file, base=base, left=left)


async def _session(context: Context, args: SnapshotArgs, file: zipfile.ZipFile) -> int:
    client = await context.tools.supervisor.client()
    with archive.session_part(file) as part:
        out = Limited(part, args.max_bytes)
        clean = RedactedJson(context.tools.redactor, out.write)
        await client.export(args.session_id, clean.write)
        clean.close()
    if out.problem:
        raise out.problem
    if out.bytes > args.max_bytes:
        raise Unusable(f"the agent's session is {out.bytes / 1e6:,.1f} MB, more than is allowed")
    return out.bytes


async def _work(
    context: Context, args: SnapshotArgs, file: zipfile.ZipFile, *, base: str | None, left: int
) -> dict[str, Any]:
    tools = context.tools
    async with archive.scratch(tools.config, tools.launcher) as folder:
        spec = {
            "repository": str(tools.config.repository),
            "temporary": str(folder),
            "baseCommit": base,
            "branch": tools.journal.get(archive.BRANCH),
            "maxFileBytes": args.max_file_bytes,
            "maxBytes": left,
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
