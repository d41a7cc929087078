"""Gives the agent's own database the session, under our id, before its server starts."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

from headstart.domain.command_args import RestoreArgs, SnapshotRef
from headstart.domain.errors import RestoreFailed
from headstart_runner.snapshots import archive, export
from headstart_runner.snapshots.archive import SavedSession, Unusable
from headstart_runner.snapshots.transfer import TransferFailed, get_file, signatures_of
from headstart_runner.steps import setup
from headstart_runner.steps.base import Context

_IMPORTED = "session.imported"


async def run(context: Context, args: RestoreArgs) -> dict[str, Any]:
    """Import the session through the agent's own command line; doing it again changes nothing.

    With a snapshot the work is put back first, unless this clone has it or something newer. Other
    variables may mean another database (HOME, XDG_DATA_HOME), which then gets the session, too.
    """
    context.need_work_tree()
    journal, supervisor = context.tools.journal, context.tools.supervisor
    variables = hashlib.sha256(json.dumps(args.env, sort_keys=True).encode()).hexdigest()
    ref = args.snapshot
    missing = None
    if ref is None:
        await supervisor.restore(args)
    else:
        held = archive.holds(journal, ref.sha256)
        if held and journal.get(_IMPORTED) == variables:
            return _answer(None)
        if not held:
            setup.forget(journal)
        saved = await _fetched(context, args.session_id, ref, put_back=not held)
        context.progress("Importing the agent's session", 95)
        await supervisor.restore(args, saved.export)
        await asyncio.to_thread(_know, export.last(context.tools.config), saved.export)
        missing = saved.missing
        archive.hold(journal, ref.sha256)
    journal.put(_IMPORTED, variables)
    return _answer(missing)


def _answer(missing: str | None) -> dict[str, Any]:
    return {"imported": True, "missing": missing}


def _know(file: Path, saved: dict[str, Any] | None) -> None:
    """Keep the export for the next snapshot: the agent may not live to tell it."""
    if saved is None:
        file.unlink(missing_ok=True)
        return
    with export.replaced(file) as stream:
        stream.write(json.dumps(saved).encode())


async def _fetched(
    context: Context, session_id: str, ref: SnapshotRef, *, put_back: bool
) -> SavedSession:
    """Fetch the snapshot, put the work tree back if wanted, and return the agent's session."""
    config, launcher = context.tools.config, context.tools.launcher
    context.tools.redactor.add_passing(*signatures_of(ref.url))

    def show(done: int) -> None:
        context.progress(
            f"Fetching the saved work ({done / 1e6:,.1f} of {ref.bytes / 1e6:,.1f} MB)",
            min(70, 70 * done // max(1, ref.bytes)),
        )

    show(0)
    try:
        async with (
            archive.partial_file(config) as file,
            archive.scratch(config, launcher) as folder,
        ):
            await get_file(ref.url, file, size=ref.bytes, sha256=ref.sha256, show=show)
            tree = folder / "work.tar.gz"
            saved = await asyncio.to_thread(archive.unpack, file, session_id, tree)
            if put_back:
                launcher.own(tree)
                context.progress("Putting the work back", 75)
                spec = {
                    "repository": str(config.repository),
                    "temporary": str(folder),
                    "archive": str(tree),
                }
                await archive.saved_work(launcher, "load", spec, folder=folder)
    except (Unusable, TransferFailed, OSError) as error:
        raise RestoreFailed(f"The saved work could not be put back: {error}") from error
    return saved
