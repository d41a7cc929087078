"""Gives the agent's own database the session, under our id, before its server starts."""

import asyncio
import hashlib
import json
from typing import Any

from headstart.domain.command_args import RestoreArgs
from headstart.domain.errors import RestoreFailed
from headstart_runner.archives import export
from headstart_runner.archives.export import NotJson
from headstart_runner.archives.files import Files
from headstart_runner.journal import Journal
from headstart_runner.steps.base import Context

_IMPORTED = "session.imported"


async def run(context: Context, args: RestoreArgs) -> dict[str, Any]:
    """Import the session through the agent's own command line; doing it again changes nothing.

    What the clone step put back with the workspace is imported, else an empty session. Other
    variables may mean another database (HOME, XDG_DATA_HOME), which then gets the session, too.
    """
    context.need_work_tree()
    journal, supervisor = context.tools.journal, context.tools.supervisor
    variables = hashlib.sha256(json.dumps(args.env, sort_keys=True).encode()).hexdigest()
    missing = Files(context.tools.config, journal).lacking
    if journal.get(_IMPORTED) != variables:
        try:
            saved = await asyncio.to_thread(export.read, context.tools.config, args.session_id)
        except NotJson as error:
            raise RestoreFailed(f"The agent's session could not be put back: {error}") from error
        await supervisor.restore(args, saved)
        journal.put(_IMPORTED, variables)
    return {"imported": True, "missing": missing}


def forget(journal: Journal) -> None:
    """Note that nothing was imported: the workspace is another."""
    journal.put(_IMPORTED, "")
