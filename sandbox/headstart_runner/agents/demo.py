"""The built-in demo agent: needs no model, and reads the repository for real."""

import sys
from collections.abc import Mapping
from pathlib import Path

import headstart_runner
from headstart.domain.command_args import RestoreArgs
from headstart_runner.agents.base import ServerArgs
from headstart_runner.agents.http import HttpAgent


class DemoAgent(HttpAgent):
    """Runs headstart_demo_agent as a process of its own."""

    name = "demo"
    user = "demo"
    # The working directory is an untrusted repository: neither it nor HOME is on the import path.
    program = (sys.executable, "-s", "-P", "-m", "headstart_demo_agent")
    prefix = "DEMO_AGENT"
    data = "demo-agent"

    def environment(
        self,
        args: ServerArgs | RestoreArgs,
        instructions: str,
        obeyed: Mapping[str, bytes],
        password: str,
    ) -> dict[str, str]:
        """Add where our own package is, for an interpreter without our environment."""
        source = Path(headstart_runner.__file__).parent.parent
        variables = super().environment(args, instructions, obeyed, password)
        return {**variables, "PYTHONPATH": str(source)}
