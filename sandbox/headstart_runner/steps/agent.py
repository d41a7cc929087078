"""Starts the agent's server."""

from typing import Any

from headstart.domain.command_args import AgentArgs
from headstart.domain.errors import AgentStartFailed, WorkspaceGone
from headstart_runner.agents.environment import know_secrets
from headstart_runner.agents.http import SessionUnknown
from headstart_runner.steps import restore
from headstart_runner.steps.base import Context


async def run(context: Context, args: AgentArgs) -> dict[str, Any]:
    """Start the server and wait until it has opened the session; WorkspaceGone if it is lost.

    A server that runs already with other arguments is replaced.
    """
    context.need_work_tree()
    context.tools.open_vault(args.sealed)
    know_secrets(context.tools.redactor, args)
    journal = context.tools.journal
    new = not restore.given(journal, args.env)
    try:
        version = await context.tools.supervisor.start(
            args, context.progress, context.log.write, context.seconds_left, new=new
        )
    except AgentStartFailed as error:
        if new or not isinstance(error.__cause__, SessionUnknown):
            raise
        # It is not made again in this sandbox, and what else went with it nobody knows.
        raise WorkspaceGone(
            f"{args.agent} no longer has the session, a setup command may have removed it from "
            "HOME: a retry begins with a new sandbox"
        ) from error
    restore.note_given(journal, args.env)
    return {"agent": args.agent, "version": version}
