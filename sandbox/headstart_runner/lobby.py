"""What the cloud asks for before there is anybody to do it: kept, in order, and handed over."""

from collections.abc import Callable
from typing import TypeVar

from headstart.domain.channel import Command
from headstart_runner.journal import Journal
from headstart_runner.log import logger
from headstart_runner.uplink.channel import CommandHandler

_MOST = 256
"""What is above that is lost, as on a lost connection: the next heartbeat is answered with it."""

_Handler = TypeVar("_Handler", bound=CommandHandler)


class Lobby:
    """The CommandHandler of a runner that is still importing what does the work."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: list[tuple[str, Callable[[CommandHandler], None]]] = []

    def hand_over(self, desk: _Handler, viewers: int) -> _Handler:
        """Have the desk do all that came so far, and return it; who watches it learns first."""
        desk.viewers_changed(0, viewers)
        for _, ask in self._waiting:
            ask(desk)
        self._waiting.clear()
        return desk

    def _keep(self, command_id: str, ask: Callable[[CommandHandler], None]) -> None:
        if len(self._waiting) < _MOST:
            self._waiting.append((command_id, ask))
        else:
            logger.warning("%s came too early and was dropped", command_id)

    def start(self, command: Command) -> None:
        """Keep a command."""
        self._keep(command.id, lambda desk: desk.start(command))

    def cancel(self, command_id: str) -> None:
        """Keep that a command is to be killed."""
        self._keep(command_id, lambda desk: desk.cancel(command_id))

    def running(self) -> list[str]:
        """Return what will be worked on, what an earlier runner left included."""
        left = [row.id for row in self._journal.running_commands()]
        return sorted({*left, *(command_id for command_id, _ in self._waiting)})

    def turn(self) -> str | None:
        """Return no turn: what an earlier runner knew of them is looked at by the desk."""
        return None

    def delivering(self) -> list[str]:
        """Return no prompt: nothing was given to an agent."""
        return []

    def viewers_changed(self, before: int, now: int) -> None:
        """Take note of nothing: the desk learns how many there are then."""
