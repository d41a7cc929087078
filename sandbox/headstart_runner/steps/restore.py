"""Gives the agent's own database the session as it was saved, under our id."""

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

_GIVEN = "session.imported"


async def run(context: Context, args: RestoreArgs) -> dict[str, Any]:
    """Import the session through the agent's own command line; doing it again changes nothing.

    What the clone step put back with the workspace is imported, else an empty session; where the
    agent's server makes new sessions, the agent's step has it do so. Other variables may mean
    another database (HOME, XDG_DATA_HOME), which then gets the session, too.
    """
    context.need_work_tree()
    journal, supervisor = context.tools.journal, context.tools.supervisor
    missing = Files(context.tools.config, journal).lacking
    if not given(journal, args.env):
        try:
            saved = await asyncio.to_thread(export.read, context.tools.config, args.session_id)
        except NotJson as error:
            raise RestoreFailed(f"The agent's session could not be put back: {error}") from error
        if saved is None and supervisor.creates(args.agent):
            return {"imported": False, "missing": missing}
        await supervisor.restore(args, context.progress, context.log.write, saved)
        note_given(journal, args.env)
    return {"imported": True, "missing": missing}


def given(journal: Journal, env: dict[str, str]) -> bool:
    """Return whether the database of these variables was given the session."""
    return journal.get(_GIVEN) == _variables(env)


def note_given(journal: Journal, env: dict[str, str]) -> None:
    """Note that the database of these variables has the session."""
    journal.put(_GIVEN, _variables(env))


def forget(journal: Journal) -> None:
    """Note that no database was given the session: the workspace is another."""
    journal.put(_GIVEN, "")


def _variables(env: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(env, sort_keys=True).encode()).hexdigest()
