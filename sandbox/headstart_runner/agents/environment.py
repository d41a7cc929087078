"""What an agent's program finds in its environment, at its import as in its server."""

from collections.abc import Mapping
from pathlib import Path

from headstart.domain.command_args import AgentArgs, RestoreArgs
from headstart.domain.errors import AgentStartFailed
from headstart_runner.agents.base import AgentAdapter, ServerArgs
from headstart_runner.processes.kept import bounded
from headstart_runner.processes.launcher import Launcher
from headstart_runner.redaction import Redactor

_MOST_BYTES = 256 * 1024


def know_secrets(redactor: Redactor, args: AgentArgs) -> None:
    """Have what an agent is given in confidence redacted from all that it says."""
    redactor.add(*args.secrets.values())
    for settings in (args.secrets, args.env, args.mcp_servers, args.provider):
        redactor.add_settings(settings)


async def environment_of(
    adapter: AgentAdapter,
    launcher: Launcher,
    repository: Path,
    args: ServerArgs | RestoreArgs,
    password: str = "",
    *,
    instructions: str | None = None,
) -> dict[str, str]:
    """Return the variables of a program that works in a repository, as far as it is there.

    AgentStartFailed for a repository whose configuration can neither be obeyed nor ignored.
    """
    obeyed: dict[str, bytes] = {}
    if not args.repository_config:
        for name in adapter.always_obeyed:
            if (repository / name).exists():
                obeyed[name] = await _read(launcher, repository, name)
    told = instructions or str(adapter.instructions(repository))
    return adapter.environment(args, told, obeyed, password)


def folder_of(adapter: AgentAdapter, env: Mapping[str, str], home: Path) -> Path:
    """Return where an agent keeps its sessions (XDG Base Directory Specification)."""
    base = env.get("XDG_DATA_HOME") or f"{env.get('HOME') or home}/.local/share"
    return Path(base) / adapter.data


async def _read(launcher: Launcher, repository: Path, name: str) -> bytes:
    """Read a file as the agent's user: it may be a link to what that user may not read."""
    content = bytearray()
    keep = bounded(content, _MOST_BYTES + 1)
    command = ("head", "-c", str(_MOST_BYTES + 1), "--", name)
    async with launcher.running(command, cwd=repository, env={}, stdout=keep) as tree:
        code = await tree.finished()
    if code != 0 or len(content) > _MOST_BYTES:
        raise AgentStartFailed(f"The repository's {name} can't be read, and so not be left out")
    return bytes(content)
