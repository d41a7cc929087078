"""Gives the agent's own database the session, under our id, before its server starts."""

from typing import Any

from headstart.domain.command_args import RestoreArgs
from headstart_runner.steps.base import Context


async def run(context: Context, args: RestoreArgs) -> dict[str, Any]:
    """Import the session through the agent's own command line."""
    context.need_work_tree()
    await context.tools.supervisor.restore(args)
    return {"imported": True, "missing": None}
