"""Sends what was saved to where the cloud wants it."""

from typing import Any

from headstart.domain.command_args import UploadArgs
from headstart.domain.errors import ArchiveFailed
from headstart_runner.archives.files import Files
from headstart_runner.archives.transfer import TransferFailed, put_file, signatures_of
from headstart_runner.archives.workspace import Unusable
from headstart_runner.steps.base import Context


async def run(context: Context, args: UploadArgs) -> dict[str, Any]:
    """PUT each file, in order, with exactly the given headers."""
    files = Files(context.tools.config, context.tools.journal)
    context.progress("Sending the archive")
    try:
        for upload in args.files:
            context.tools.redactor.add_passing(*signatures_of(upload.url))
            file = files.find(upload.sha256)
            await put_file(file, upload.url, upload.headers)
            files.sent(file)
    except (Unusable, TransferFailed, OSError) as error:
        raise ArchiveFailed(f"the archive could not be sent: {error}") from error
    return {}
