"""Stops a turn."""

from typing import Any

from headstart.domain.command_args import AbortArgs
from headstart_runner.steps.base import Context


async def run(context: Context, args: AbortArgs) -> dict[str, Any]:
    """Tell the agent to stop; a turn that is being delivered is stopped once it is accepted."""
    context.tools.courier.abort(args.turn_id)
    return {}
