"""Gives the agent's own database the session, under our id, before its server starts."""

from typing import Any

from headstart.domain.channel import RestoreArgs
from headstart.domain.errors import RestoreFailed
from headstart_runner.steps.base import Context


async def run(context: Context, args: RestoreArgs) -> dict[str, Any]:
    """Import the session through the agent's own command line; doing it again changes nothing."""
    if args.snapshot is not None:
        raise RestoreFailed("This sandbox's runner can't put a snapshot back yet")
    await context.tools.supervisor.restore(args.agent, args.session_id, args.title)
    return {"imported": True}
