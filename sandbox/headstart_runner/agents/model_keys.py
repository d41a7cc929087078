"""Keeps the keys of model providers from the agent: it gets placeholders, and the door for them."""

import secrets
from collections import defaultdict
from typing import TYPE_CHECKING

from headstart.domain.command_args import AgentArgs
from headstart_runner.agents.base import ServerArgs
from headstart_runner.agents.providers import keyed, through, unused
from headstart_runner.gateway.door import Door
from headstart_runner.log import logger

if TYPE_CHECKING:
    from headstart_runner.gateway.models import Models

_HANDLER = "model"
_PLACEHOLDER_BYTES = 24


class ModelKeys:
    """The keys that the agent works with and doesn't have."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._models: Models | None = None
        # One a variable, for as long as this runner lives: an agent that is started again is told
        # the same.
        self._placeholders: dict[str, str] = defaultdict(_drawn)

    async def kept_from(self, args: AgentArgs) -> ServerArgs:
        """Return what the agent's program is told, and lead to its providers from now on.

        AgentStartFailed for a provider that can't be led to.
        """
        found = keyed(args)
        if left := unused(args, found):
            logger.warning(
                "variables of the deployment's provider secret that belong to no provider, and "
                "are given to nobody: %s",
                ", ".join(left),
            )
        if not found and self._models is None:
            return through(args, found, "", {})
        models = await self._opened()
        models.lead({one.provider: one.route(args.secrets, self._placeholders) for one in found})
        return through(args, found, f"{self._door.address}/{_HANDLER}", self._placeholders)

    async def close(self) -> None:
        """Let no request through, until keys are kept again."""
        models, self._models = self._models, None
        if models is not None:
            await models.close()

    async def _opened(self) -> "Models":
        if self._models is None:
            # Only sandboxes with keys pay for the import of an HTTP server and client.
            from headstart_runner.gateway.models import Models  # noqa: PLC0415

            await self._door.open()
            self._models = Models()
            self._door.serve(_HANDLER, self._models.answer)
        return self._models


def _drawn() -> str:
    return f"headstart-{secrets.token_urlsafe(_PLACEHOLDER_BYTES)}"
