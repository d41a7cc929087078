"""Puts a workspace that was saved in the place of a clone."""

from typing import Any

from headstart.domain.command_args import CloneArgs
from headstart.domain.errors import RestoreFailed
from headstart_runner.archives import export
from headstart_runner.archives.files import Files
from headstart_runner.archives.putting_back import PuttingBack
from headstart_runner.archives.workspace import Unusable
from headstart_runner.steps.base import Context


def putting_back(context: Context) -> PuttingBack:
    """Return what puts archives back into this step's workspace."""
    tools = context.tools
    files = Files(tools.config, tools.journal)
    return PuttingBack(tools.config, tools.launcher, tools.redactor, files, context.progress)


async def put_back(context: Context, args: CloneArgs) -> dict[str, Any]:
    """Put the session's own archive back as it was saved; RestoreFailed where that can't be."""
    assert args.archive is not None  # noqa: S101  (the caller asked)
    config = context.tools.config
    try:
        await putting_back(context).archive(args.archive, config.session_id, export.last(config))
    except (Unusable, OSError) as error:
        raise RestoreFailed(f"The saved workspace could not be put back: {error}") from error
    if not config.repository.is_dir():
        raise RestoreFailed("The saved workspace has no repository in it")
    return {"adopted": "archive"}
