"""opencode (npm `opencode-ai`, MIT): what its command line and configuration want."""

import json
from typing import Any, ClassVar

from headstart.domain.command_args import AgentArgs, PromptArgs
from headstart_runner.agents.http import HttpAgent

_QUIET = (
    "DISABLE_AUTOUPDATE",
    "DISABLE_DEFAULT_PLUGINS",
    "DISABLE_LSP_DOWNLOAD",
    "DISABLE_MODELS_FETCH",
    "DISABLE_SHARE",
)


class OpencodeAgent(HttpAgent):
    """Runs the `opencode` on PATH, with nothing that would call home."""

    name = "opencode"
    user = "opencode"
    program = ("opencode",)
    prefix = "OPENCODE"
    modes: ClassVar[dict[str, str]] = {"code": "build"}
    """What our modes are called here; others go through as they are."""

    def environment(self, args: AgentArgs | None, password: str) -> dict[str, str]:
        """Add the configuration, which stands above the repository's own files."""
        quiet = {f"{self.prefix}_{name}": "1" for name in _QUIET}
        content = {f"{self.prefix}_CONFIG_CONTENT": json.dumps(_configuration(args))}
        return {**super().environment(args, password), **quiet, **content}

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


def _configuration(args: AgentArgs | None) -> dict[str, Any]:
    configuration: dict[str, Any] = {"autoupdate": False, "share": "disabled"}
    if args is None:
        return configuration
    if args.model:
        configuration["model"] = args.model
    if args.mcp_servers:
        configuration["mcp"] = args.mcp_servers
    if args.provider:
        # Only what the deployment pays for, whatever keys the environment holds.
        configuration |= {"provider": args.provider, "enabled_providers": sorted(args.provider)}
    return configuration
