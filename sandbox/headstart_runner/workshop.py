"""Where the work is done: the desk and the tools behind it, imported beside the channel."""

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

from headstart_runner.agents.supervisor import Supervisor
from headstart_runner.archives.workspace import prepare
from headstart_runner.config import Config
from headstart_runner.conversation.courier import Courier
from headstart_runner.desk import Desk
from headstart_runner.gateway.credentials import SessionCredentials
from headstart_runner.gateway.door import Door
from headstart_runner.gateway.gateway import Gateway
from headstart_runner.journal import Journal
from headstart_runner.processes.launcher import Launcher
from headstart_runner.redaction import Redactor
from headstart_runner.steps.base import Tools
from headstart_runner.uplink.asking import Asking
from headstart_runner.uplink.reporter import Reporter
from headstart_runner.vault import Vault


class Workshop:
    """What an earlier runner left is taken up at once; no process is started before it is open."""

    def __init__(
        self,
        config: Config,
        journal: Journal,
        redactor: Redactor,
        reporter: Reporter,
        asking: Asking,
    ) -> None:
        self._open = asyncio.Event()
        launcher = Launcher(
            uid=config.agent_uid, home=config.home, path=config.path, allowed=self._open
        )
        _prepare_workspace(config, launcher)
        vault, door = Vault(), Door()
        supervisor = Supervisor(config, journal, redactor, launcher, vault=vault, door=door)
        courier = Courier(journal, redactor, reporter, supervisor)
        credentials = SessionCredentials(vault, asking.credential, redactor)
        gateway = Gateway(door, credentials, journal, launcher, redactor)
        tools = Tools(
            config, journal, redactor, reporter, launcher, supervisor, courier, door, gateway, vault
        )
        self._tools = tools
        self.desk = Desk(tools)
        tools.recall()
        self.desk.recover()

    async def open_when(self, make_sure: Callable[[], None]) -> None:
        """Let processes be started once that has returned, on a thread of its own."""
        await asyncio.to_thread(make_sure)
        self._open.set()
        await self._tools.launcher.get_ready()

    async def close(self) -> None:
        """End the work, the agent and every process."""
        await self.desk.stop()
        await self._tools.supervisor.stop()
        await self._tools.launcher.kill_all()

    async def tidy_up(self) -> None:
        """Leave nothing behind, whatever has ended the runner."""
        await self._tools.launcher.kill_all()
        await self._tools.gateway.close()


def _prepare_workspace(config: Config, launcher: Launcher) -> None:
    if config.agent_uid is not None:
        # A volume may come without the mode of the image's folder, and we share this one.
        Path(tempfile.gettempdir()).chmod(0o1777)
    prepare(config, launcher)
