"""Delivers a message to the agent, at most once."""

import asyncio
from typing import Any

from headstart.domain.command_args import PromptArgs
from headstart_runner.steps.base import Context


async def run(context: Context, args: PromptArgs) -> dict[str, Any]:
    """Deliver; once the agent shows the message its turn goes on after this command's result."""
    courier = context.tools.courier
    try:
        agent_message_id = await courier.deliver(args, context.command_id)
    except asyncio.CancelledError:
        if context.expired.is_set():
            raise courier.interrupted(args.message_id) from None
        raise
    return {"agentMessageId": agent_message_id}
