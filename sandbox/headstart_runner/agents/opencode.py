"""opencode (npm `opencode-ai`, MIT): what its command line and configuration want."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from headstart.domain.command_args import AgentArgs, PromptArgs, RestoreArgs
from headstart_runner.agents.base import ServerArgs
from headstart_runner.agents.http import HttpAgent

_QUIET = (
    "DISABLE_AUTOUPDATE",
    "DISABLE_DEFAULT_PLUGINS",
    "DISABLE_LSP_DOWNLOAD",
    "DISABLE_MODELS_FETCH",
    "DISABLE_SHARE",
)
_INSTRUCTIONS = ("AGENTS.md", "CLAUDE.md", "CONTEXT.md")
"""Where a repository tells agents in plain words."""


class OpencodeAgent(HttpAgent):
    """Runs the `opencode` on PATH, with nothing that would call home."""

    name = "opencode"
    user = "opencode"
    program = ("opencode",)
    prefix = "OPENCODE"
    data = "opencode"
    modes: ClassVar[dict[str, str]] = {"code": "build"}
    """What our modes are called here; others go through as they are."""
    settings: tuple[str, ...] = (
        "config:opencode",
        "home:.opencode",
        "data:auth.json",
        "named:OPENCODE_CONFIG",
        "named:OPENCODE_CONFIG_DIR",
    )
    warms: bool = True
    own_config: ClassVar[tuple[str, ...]] = ("DISABLE_PROJECT_CONFIG",)
    """What keeps the program from obeying configuration that comes with the repository."""

    def instructions(self, repository: Path) -> Path:
        """Return the first there is, as without us."""
        files = [repository / name for name in _INSTRUCTIONS]
        return next((file for file in files if file.exists()), files[0])

    def environment(
        self,
        args: ServerArgs | RestoreArgs,
        instructions: str,
        obeyed: Mapping[str, bytes],
        password: str,
    ) -> dict[str, str]:
        """Add the configuration, which stands above the repository's own files."""
        switches = _QUIET if args.repository_config else (*_QUIET, *self.own_config)
        content = json.dumps(self.configuration(args, instructions, obeyed))
        return {
            **super().environment(args, instructions, obeyed, password),
            **{f"{self.prefix}_{name}": "1" for name in switches},
            f"{self.prefix}_CONFIG_CONTENT": content,
        }

    def configuration(
        self, args: ServerArgs | RestoreArgs, instructions: str, obeyed: Mapping[str, bytes]
    ) -> dict[str, Any]:
        """Return the settings of the program."""
        settings: dict[str, Any] = {"autoupdate": False, "share": "disabled"}
        if not args.repository_config:
            # The switch would silence this, too. By its whole path: it knows no other without.
            settings["instructions"] = [instructions]
        if isinstance(args, RestoreArgs):
            return settings
        if args.model:
            settings["model"] = args.model
        if args.mcp_servers:
            settings["mcp"] = args.mcp_servers
        if args.provider:
            settings["provider"] = args.provider
        if args.only_provider:
            # Only what the deployment pays for, whatever keys the environment holds.
            settings["enabled_providers"] = sorted(args.provider)
        return settings

    def mode(self, mode: str) -> str | None:
        """Return the name of what opencode calls an agent."""
        return self.modes.get(mode, mode)

    def prompt_body(
        self, args: PromptArgs, agent_message_id: str, agent: AgentArgs
    ) -> dict[str, Any]:
        """Add what the session appends to the system prompt."""
        body = super().prompt_body(args, agent_message_id, agent)
        if agent.append_system_prompt:
            body["system"] = agent.append_system_prompt
        return body
