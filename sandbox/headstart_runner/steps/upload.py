"""Sends a saved snapshot to where the cloud wants it."""

from typing import Any

from headstart.domain.command_args import UploadArgs
from headstart.domain.errors import SnapshotFailed
from headstart_runner.snapshots.archive import Unusable, file_of
from headstart_runner.snapshots.transfer import TransferFailed, put_file, signatures_of
from headstart_runner.steps.base import Context


async def run(context: Context, args: UploadArgs) -> dict[str, Any]:
    """PUT the file with exactly the given headers."""
    context.tools.redactor.add_passing(*signatures_of(args.url))
    context.progress("Sending the saved work")
    try:
        await put_file(file_of(context.tools.config, args.sha256), args.url, args.headers)
    except (Unusable, TransferFailed, OSError) as error:
        raise SnapshotFailed(f"the copy could not be sent: {error}") from error
    return {}
