"""Starts the agent's server."""

from typing import Any

from headstart.domain.command_args import AgentArgs
from headstart_runner.agents.environment import know_secrets
from headstart_runner.steps.base import Context


async def run(context: Context, args: AgentArgs) -> dict[str, Any]:
    """Start the server and wait until it is healthy; one that runs already is replaced."""
    context.need_work_tree()
    know_secrets(context.tools.redactor, args)
    context.progress(f"Starting {args.agent}")
    version = await context.tools.supervisor.start(args)
    return {"agent": args.agent, "version": version}
