"""What the runner asks of a coding agent: one adapter module an agent.

All known agents speak the HTTP API of opencode (and its fork Kilo), so an adapter mostly says what
differs: how the program is called and configured. `HttpAgent` in http.py has the rest.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from headstart.domain.command_args import AgentArgs, PromptArgs, RestoreArgs


class ServerArgs(AgentArgs):
    """What an agent's program is told of its arguments: `secrets` are placeholders, and no key.

    `provider` leads to the runner's door, which has the keys. With `only_provider` no provider but
    those is used.
    """

    only_provider: bool


class AgentAdapter(Protocol):
    """One kind of agent."""

    name: str
    user: str
    """The user name of HTTP Basic authentication."""
    data: str
    """The folder below XDG_DATA_HOME where it keeps its sessions: these travel as its export."""
    always_obeyed: tuple[str, ...]
    """Configuration of a repository that no switch of the program turns off."""
    creates: bool
    """Whether its server makes a session under an id of ours: else it is imported, an empty one."""
    settings: tuple[str, ...]
    """What the server reads once, in words that `look` in settings.py knows."""
    makes: Mapping[str, bytes]
    """Files that it makes among these where there are none, by name, as it makes them."""
    warms: bool
    """Whether listing its modes has the server load what its first message would wait for."""

    def import_document(self, session_id: str, title: str, directory: Path) -> dict[str, Any]:
        """Return what the agent's own `import` reads to know an empty session."""

    def import_command(self, file: Path) -> list[str]:
        """Return the command that imports a file; run in the repository."""

    def imported(self, session_id: str, stdout: str) -> bool:
        """Return whether the import's output says that it worked: exit codes can't be trusted."""

    def serve_command(self, port: int) -> list[str]:
        """Return the command that serves the HTTP API on 127.0.0.1; run outside of repositories."""

    def listening(self, port: int) -> str:
        """Return what that command prints once the port is its own, up to the line's end.

        Nobody is asked there before: whoever took the port first would be told the password.
        """

    def instructions(self, repository: Path) -> Path:
        """Return what tells agents about a repository in plain words; it need not be there."""

    def environment(
        self,
        args: ServerArgs | RestoreArgs,
        instructions: str,
        obeyed: Mapping[str, bytes],
        password: str,
    ) -> dict[str, str]:
        """Return the variables the program needs, for an import or for the server.

        `instructions` is the path of the repository's, or `{file:PATH}` of a file that will name it
        when a repository is opened. `obeyed` are the `always_obeyed` that there are and that must
        do nothing; AgentStartFailed where that can't be had.
        """

    def mode(self, mode: str) -> str | None:
        """Return what the server calls a mode; None where it has none to choose from."""

    def prompt_body(
        self, args: PromptArgs, agent_message_id: str, agent: AgentArgs
    ) -> dict[str, Any]:
        """Return the body of `POST /session/:id/prompt_async`; `agent` is what it runs with."""
