"""Kilo (npm `@kilocode/cli`, MIT): a fork of opencode with services of its own to silence."""

from typing import ClassVar

from headstart.domain.channel import AgentArgs
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
