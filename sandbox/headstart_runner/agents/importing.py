"""Puts a session into an agent's database by the agent's own command line."""

import asyncio
import json
import os
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headstart.domain.command_args import RestoreArgs
from headstart.domain.errors import RestoreFailed
from headstart_runner.agents import start_error
from headstart_runner.agents.base import AgentAdapter
from headstart_runner.agents.environment import environment_of
from headstart_runner.config import Config
from headstart_runner.processes.kept import Ends
from headstart_runner.processes.launcher import CommandNotStarted, Launcher
from headstart_runner.processes.printed import Printed
from headstart_runner.wire import head

_SAID_BYTES = 64 * 1024
_SHOWN_CHARACTERS = 300


async def import_session(
    launcher: Launcher,
    config: Config,
    adapter: AgentAdapter,
    args: RestoreArgs,
    saved: dict[str, Any] | None,
    *,
    say: Callable[[str], None],
) -> None:
    """Import a session, an empty one without a saved export; RestoreFailed if that fails.

    The file is removed whatever happens. `say` is told what the program prints.
    """
    repository = config.repository
    env = await environment_of(adapter, launcher, repository, args)
    document = saved or adapter.import_document(args.session_id, args.title, repository)
    document["info"]["directory"] = str(repository)
    file: Path | None = None
    out = Ends(_SAID_BYTES)
    try:
        handle, name = tempfile.mkstemp(prefix="headstart-", suffix=".json")
        file = Path(name)
        await asyncio.to_thread(_write, handle, document)
        launcher.own(file)
        command = adapter.import_command(file)
        printed = Printed(say, f"$ {shlex.join(command)}")

        def take(data: bytes) -> None:
            out.take(data)
            printed.feed(data)

        async with launcher.running(command, cwd=repository, env=env, stdout=take) as tree:
            code = await tree.finished()
        printed.finish()
    except CommandNotStarted as error:
        raise start_error(args.agent, str(error), config.path) from error
    except OSError as error:
        raise RestoreFailed(f"{args.agent} could not import the session: {error}") from error
    finally:
        if file is not None:
            file.unlink(missing_ok=True)
    said = out.text()
    if not adapter.imported(args.session_id, said):
        why = head(" ".join(said.split()), _SHOWN_CHARACTERS) or f"exit status {code}"
        raise RestoreFailed(f"{args.agent} could not import the session: {why}")


def _write(handle: int, document: dict[str, Any]) -> None:
    with os.fdopen(handle, "w") as stream:
        json.dump(document, stream)
