"""Passes a person's answer to the agent."""

from typing import Any

from headstart.domain.command_args import InputArgs
from headstart_runner.steps.base import Context


async def run(context: Context, args: InputArgs) -> dict[str, Any]:
    """Answer what the agent of the present turn asks; InputGone when it asks that no more."""
    await context.tools.courier.answer(args.request_id, args.answer)
    return {}
