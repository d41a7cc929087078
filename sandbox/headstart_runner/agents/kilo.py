"""Kilo (npm `@kilocode/cli`, MIT): a fork of opencode with services of its own to silence."""

from typing import Any, ClassVar

from headstart.domain.command_args import AgentArgs, PromptArgs
from headstart_runner.agents.opencode import OpencodeAgent


class KiloAgent(OpencodeAgent):
    """Runs the `kilo` on PATH; its modes have our names."""

    name = "kilo"
    user = "kilo"
    program = ("kilo",)
    prefix = "KILO"
    modes: ClassVar[dict[str, str]] = {}

    def environment(self, args: AgentArgs | None, password: str) -> dict[str, str]:
        """Add what keeps Kilo from telling its makers about the session."""
        return {
            **super().environment(args, password),
            "KILO_DISABLE_CODEBASE_INDEXING": "1",
            "KILO_DISABLE_PRESENCE": "1",
            "KILO_DISABLE_SESSION_INGEST": "1",
            "KILO_TELEMETRY_LEVEL": "off",
        }

    def prompt_body(
        self, args: PromptArgs, agent_message_id: str, agent: AgentArgs
    ) -> dict[str, Any]:
        """Add that a slow snapshot is waited for: Kilo would ask the user, and wait for them."""
        body = super().prompt_body(args, agent_message_id, agent)
        return {**body, "snapshotInitialization": "wait"}
