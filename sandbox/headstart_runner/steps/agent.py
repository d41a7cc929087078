"""Starts the agent's server."""

from typing import Any

from headstart.domain.command_args import AgentArgs
from headstart_runner.steps.base import Context


async def run(context: Context, args: AgentArgs) -> dict[str, Any]:
    """Start the server and wait until it is healthy; one that runs already is replaced."""
    context.need_work_tree()
    context.tools.redactor.add_environment(args.env)
    context.tools.redactor.add(*args.secrets.values())
    context.progress(f"Starting {args.agent}")
    version = await context.tools.supervisor.start(args)
    return {"agent": args.agent, "version": version}
