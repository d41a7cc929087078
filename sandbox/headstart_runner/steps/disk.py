"""Checks, before anything is fetched, that the sandbox is fit: room for the work, and its agent."""

import shutil
from typing import Any

from headstart.domain.command_args import DiskArgs
from headstart.domain.errors import DiskFull
from headstart_runner.agents import check_agent
from headstart_runner.steps.base import Context


async def run(context: Context, args: DiskArgs) -> dict[str, Any]:
    """Look whether the agent is there, and measure the workspace's file system.

    AgentUnavailable; DiskFull below the minimum.
    """
    if args.agent is not None:
        check_agent(args.agent, context.tools.config.path)
    usage = shutil.disk_usage(context.tools.config.workspace)
    if usage.free < args.min_free_bytes:
        raise DiskFull(
            f"Only {_gigabytes(usage.free)} of {_gigabytes(usage.total)} are free on the sandbox's"
            f" disk, {_gigabytes(args.min_free_bytes)} are needed"
        )
    return {"freeBytes": usage.free, "totalBytes": usage.total}


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
