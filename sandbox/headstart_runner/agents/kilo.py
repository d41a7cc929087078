"""Kilo (npm `@kilocode/cli`, MIT): a fork of opencode with services of its own to silence."""

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from headstart.domain.command_args import AgentArgs, PromptArgs, RestoreArgs
from headstart.domain.errors import AgentStartFailed
from headstart_runner.agents.base import ServerArgs
from headstart_runner.agents.opencode import OpencodeAgent


class KiloAgent(OpencodeAgent):
    """Runs the `kilo` on PATH; its modes have our names."""

    name = "kilo"
    user = "kilo"
    program = ("kilo",)
    prefix = "KILO"
    data = "kilo"
    modes: ClassVar[dict[str, str]] = {}
    settings = (
        "config:kilo",
        "home:.kilo",
        "home:.kilocode",
        "data:auth.json",
        "named:KILO_CONFIG",
        "named:KILO_CONFIG_DIR",
    )
    makes: Mapping[str, bytes] = {
        ".bash-permission-migrated": b"",
        "kilo.jsonc": b'{\n  "$schema": "https://app.kilo.ai/config.json"\n}',
    }
    own_config = ("DISABLE_PROJECT_CONFIG", "DISABLE_SKILL_SHELL")
    always_obeyed = (".kilocode/mcp.json", ".kilo/mcp.json")

    def environment(
        self,
        args: ServerArgs | RestoreArgs,
        instructions: str,
        obeyed: Mapping[str, bytes],
        password: str,
    ) -> dict[str, str]:
        """Add what keeps Kilo from telling its makers about the session."""
        return {
            **super().environment(args, instructions, obeyed, password),
            "KILO_DISABLE_CODEBASE_INDEXING": "1",
            "KILO_DISABLE_PRESENCE": "1",
            "KILO_DISABLE_SESSION_INGEST": "1",
            "KILO_TELEMETRY_LEVEL": "off",
        }

    def configuration(
        self, args: ServerArgs | RestoreArgs, instructions: str, obeyed: Mapping[str, bytes]
    ) -> dict[str, Any]:
        """Add that the MCP servers of the repository's older format don't run."""
        settings = super().configuration(args, instructions, obeyed)
        theirs = {server for name in obeyed for server in _servers(name, obeyed[name])}
        ours = settings.get("mcp", {})
        if both := theirs & set(ours):
            # Kilo would merge the two, and the repository's variables into our server.
            raise _not_ignored(f"names {min(both)}, an MCP server of the session")
        if theirs:
            settings["mcp"] = {**ours, **{server: {"enabled": False} for server in sorted(theirs)}}
        return settings

    def prompt_body(
        self, args: PromptArgs, agent_message_id: str, agent: AgentArgs
    ) -> dict[str, Any]:
        """Add that a slow snapshot is waited for: Kilo would ask the user, and wait for them."""
        body = super().prompt_body(args, agent_message_id, agent)
        return {**body, "snapshotInitialization": "wait"}


def _servers(name: str, content: bytes) -> list[str]:
    """Return the names of MCP servers in a file; AgentStartFailed where Kilo might see others."""
    try:
        document = json.loads(content.decode(), parse_int=str)
    except json.JSONDecodeError:
        return []  # Kilo, which reads strict JSON too, leaves it out
    except (UnicodeDecodeError, RecursionError):
        raise _not_ignored(f"has a strange {name}") from None
    servers = document.get("mcpServers") if isinstance(document, dict) else None
    if servers and not isinstance(servers, dict):
        raise _not_ignored(f"has a strange {name}")
    return [*(servers or {})]


def _not_ignored(why: str) -> AgentStartFailed:
    return AgentStartFailed(
        f"The repository's own configuration of Kilo can't be left out: it {why}"
    )
