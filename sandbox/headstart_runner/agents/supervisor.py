"""Keeps an agent's server running and passes on what it says."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from headstart.domain.command_args import AgentArgs, PromptArgs, RestoreArgs
from headstart.domain.errors import AgentStartFailed
from headstart_runner.agents import find_agent
from headstart_runner.agents.base import AgentAdapter, ServerArgs
from headstart_runner.agents.early import EarlyServer
from headstart_runner.agents.environment import folder_of, know_secrets
from headstart_runner.agents.folder import Folders
from headstart_runner.agents.http import AgentClient
from headstart_runner.agents.importing import import_session
from headstart_runner.agents.model_keys import ModelKeys
from headstart_runner.agents.monitor import AgentListener, Monitor
from headstart_runner.agents.server import AgentServer
from headstart_runner.clock import awake_sleep
from headstart_runner.config import Config
from headstart_runner.gateway.door import Door
from headstart_runner.journal import Journal
from headstart_runner.log import logger
from headstart_runner.processes.launcher import Launcher
from headstart_runner.processes.shell import Shell
from headstart_runner.redaction import Redactor
from headstart_runner.vault import Vault

_EARLY_SECONDS = 90.0
"""How long one that gets ready may take: half of what the agent's step has, which may wait for it
and then start another."""

_TO_STOP_SECONDS = 5.0
"""What of a step's time is kept to stop a server that is given up: then the step says what it saw,
not only that its time is over."""

_RESTARTS = 3
_RESTART_SPAN = 600.0
_RESTART_SECONDS = 80.0
_DOUBT_SECONDS = 10.0
"""How long who waits for a server's answer does so before that is asked whether it answers at all:
until then it could be a long session, or a starved machine."""

_AGENT, _FOLDERS = "agent", "agent.folders"
_MOST_FOLDERS = 8

Show = Callable[[str], None]


class Supervisor:
    """At most one server; a dead one is started again, 3 times in 10 minutes unless asked for."""

    def __init__(
        self,
        config: Config,
        journal: Journal,
        redactor: Redactor,
        launcher: Launcher,
        *,
        vault: Vault,
        door: Door,
    ) -> None:
        self._vault = vault
        self._config = config
        self._journal = journal
        self._redactor = redactor
        self._launcher = launcher
        self._shell = Shell(launcher, redactor, config.home)
        self._keys = ModelKeys(door)
        self._in = Folders(journal)
        self._variables: dict[str, str] = {}
        self._lock = asyncio.Lock()
        self._server: AgentServer | None = None
        self._early = EarlyServer(self._get_ready)
        self._monitor: Monitor | None = None
        self._recovery: asyncio.Task[None] | None = None
        self._restarts: deque[float] = deque(maxlen=_RESTARTS)
        self.listener: AgentListener | None = None

    async def restore(
        self, args: RestoreArgs, show: Show, say: Show, saved: dict[str, Any] | None = None
    ) -> None:
        """Import a session, an empty one without a saved export, into the agent's database.

        A server that gets ready is waited for: while it makes its database nobody else may.
        """
        adapter = self._adapter(args.agent)
        self._know_folder(adapter, args.env)
        await self._early_settled(args.agent, show)
        await import_session(self._launcher, self._config, adapter, args, saved, say=say)

    def get_ready(self, args: AgentArgs | None) -> None:
        """Have a server get ready in the background, unless there is one; `start` takes it over.

        What is wrong with it is logged, and told by `start`, which then tries again.
        """
        if args is not None and self._server is None:
            self._early.begin(args, self._vault.values)

    async def stop_early(self) -> None:
        """Stop the server that gets ready, or got ready and was not taken over."""
        async with self._lock:
            await self._early.stop()

    async def _early_settled(self, agent: str, show: Show) -> None:
        if self._early.unsettled:
            show(f"Waiting for {agent}, which is getting ready")
            await self._early.settled()

    async def _get_ready(self, args: AgentArgs) -> AgentServer:
        args = self._with_secrets(args)
        know_secrets(self._redactor, args)
        told = await self._keys.kept_from(args)
        variables = await self._left_by_setup(args)
        adapter = self._adapter(args.agent)
        self._know_folder(adapter, args.env)
        server = AgentServer(adapter, self._config, self._redactor, self._in)
        await server.start(self._launcher, told, variables, seconds=_EARLY_SECONDS, warm=True)
        return server

    async def start(
        self,
        args: AgentArgs,
        show: Show,
        say: Show,
        seconds_left: Callable[[], float],
        *,
        new: bool,
    ) -> str:
        """Return the version of the server once it has opened the session, a `new` one made it.

        One that runs already with the same arguments, and after the same setup, stays; with others
        it is replaced. `say` is told what it prints; `seconds_left` says how long the step may
        still take.
        """
        await self._end_recovery()
        await self._early_settled(args.agent, show)
        async with self._lock:
            # As it came: what is written down holds no secret's value.
            wanted = json.dumps(args.to_json())
            args = self._with_secrets(args)
            variables = await self._left_by_setup(args)
            same = self._journal.get(_AGENT) == wanted and self._variables == variables
            if self._server is not None and self._server.alive and same:
                return self._server.version
            await self._stop()
            self._variables = variables
            self._journal.put(_AGENT, wanted)
            self._restarts.clear()
            self._know_folder(self._adapter(args.agent), args.env)
            return await self._begin(args, show, say, seconds_left, new=new)

    async def _begin(
        self,
        args: AgentArgs,
        show: Show,
        say: Show,
        seconds_left: Callable[[], float],
        *,
        new: bool,
    ) -> str:
        """Take the server that got ready, if it is as one that is started now; else start one."""
        server = self._early.server
        if server is not None:
            told = await self._keys.kept_from(args)
            if await server.is_as_if_started_now(self._launcher, told, self._variables):
                show(f"Opening the session in {args.agent}")
                server.output.log_to(say)
                try:
                    version = await self._open(server, told, seconds_left() / 2, new=new)
                    self._early.taken()
                except AgentStartFailed as error:
                    logger.warning("the agent that got ready is replaced: %s", error.reason)
                else:
                    return version
            else:
                logger.info("the agent that got ready is replaced: what it read is not what it was")
        await self._early.stop()
        show(f"Starting {args.agent}")
        return await self._start(args, seconds_left, say, new=new)

    @property
    def folders(self) -> list[Path]:
        """Where agents keep their sessions in this sandbox."""
        return [Path(folder) for folder in self._journal.remembered(_FOLDERS)]

    def creates(self, agent: str) -> bool:
        """Return whether an agent's server makes new sessions; AgentStartFailed for no agent."""
        return self._adapter(agent).creates

    def _know_folder(self, adapter: AgentAdapter, env: dict[str, str]) -> None:
        folder = str(folder_of(adapter, env, self._config.home))
        if folder not in self._journal.remembered(_FOLDERS):
            self._journal.remember(_FOLDERS, folder, _MOST_FOLDERS)

    async def _left_by_setup(self, args: AgentArgs) -> dict[str, str]:
        variables = await self._shell.variables(args.env)
        for note in self._shell.notes():
            logger.warning("the agent's environment: %s", note)
        return variables

    def trust_again(self) -> None:
        """Let a server that crashed too often be started again: the limit is against ourselves."""
        self._restarts.clear()

    async def client(self) -> AgentClient:
        """Return the running server's client; one that is down is started if it still may be."""
        async with self._lock:
            if self._server is not None and not self._server.alive:
                await self._bury(self._server)
            if self._server is None:
                await self._restart()
            assert self._server is not None  # noqa: S101  (_restart raises otherwise)
            return self._server.client

    def prompt_body(self, args: PromptArgs, agent_message_id: str) -> dict[str, Any]:
        """Return a message as the agent that was started last wants it."""
        started = self._with_secrets(self._started())
        return self._adapter(started.agent).prompt_body(args, agent_message_id, started)

    def _adapter(self, agent: str) -> AgentAdapter:
        return find_agent(agent, self._config.path)

    def _started(self) -> AgentArgs:
        stored = self._journal.get(_AGENT)
        if stored is None:
            raise AgentStartFailed("The agent was never started in this sandbox")
        return AgentArgs.model_validate_json(stored)

    def _with_secrets(self, args: AgentArgs) -> AgentArgs:
        """Return what the agent gets: secrets as variables, and where its settings name them."""
        vault = self._vault
        given = {
            "env": {**args.env, **vault.variables},
            "mcp_servers": vault.filled(args.mcp_servers),
            "append_system_prompt": vault.filled(args.append_system_prompt),
        }
        return args.model_copy(update=given)

    async def stop(self) -> None:
        """Stop the server for good."""
        await self._end_recovery()
        async with self._lock:
            await self._early.stop()
            await self._stop()
            await self._keys.close()

    async def _end_recovery(self) -> None:
        if self._recovery is not None:
            self._recovery.cancel()
            await asyncio.gather(self._recovery, return_exceptions=True)

    async def _stop(self) -> None:
        server, self._server = self._server, None
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            monitor.stop()
        if server is not None:
            await server.stop()

    async def _start(
        self,
        args: AgentArgs,
        seconds_left: Callable[[], float],
        say: Show | None = None,
        *,
        new: bool = False,
    ) -> str:
        told = await self._keys.kept_from(args)
        server = AgentServer(self._adapter(args.agent), self._config, self._redactor, self._in)
        if say is not None:
            server.output.log_to(say)
        await server.start(
            self._launcher, told, self._variables, seconds=_for_the_server(seconds_left)
        )
        return await self._open(server, told, _for_the_server(seconds_left), new=new)

    async def _open(
        self, server: AgentServer, told: ServerArgs, seconds: float, *, new: bool
    ) -> str:
        """Have a server open the session and tell its events from then on; else it is stopped."""
        until = asyncio.get_running_loop().time() + seconds
        monitor = Monitor(server, self.listener, self._died)
        try:
            await server.open(told, seconds, new=new)
            await monitor.begin(told.agent, until - asyncio.get_running_loop().time())
        except BaseException:
            monitor.stop()
            await server.stop()
            raise
        self._server, self._monitor = server, monitor
        return server.version

    def _died(self) -> None:
        self._recovery = asyncio.create_task(self._recover())

    async def _restart(self) -> None:
        args = self._with_secrets(self._started())
        now = asyncio.get_running_loop().time()
        if len(self._restarts) == _RESTARTS and now - self._restarts[0] < _RESTART_SPAN:
            raise AgentStartFailed(f"The agent crashed more than {_RESTARTS} times in 10 minutes")
        self._restarts.append(now)
        know_secrets(self._redactor, args)
        await self._early.stop()
        self._variables = await self._left_by_setup(args)
        until = asyncio.get_running_loop().time() + _RESTART_SECONDS
        await self._start(args, lambda: until - asyncio.get_running_loop().time())

    @asynccontextmanager
    async def doubted(self) -> AsyncIterator[None]:
        """Have the server looked at while somebody waits for what it answers.

        One that was only stopped goes on; one that does not even say how it is is killed.
        """
        doubting = asyncio.create_task(self._doubt())
        try:
            yield
        finally:
            doubting.cancel()

    async def _doubt(self) -> None:
        await awake_sleep(_DOUBT_SECONDS)
        if self._monitor is not None:
            await self._monitor.doubt()

    async def _bury(self, server: AgentServer) -> None:
        reason = await server.end()
        await self._stop()
        if self.listener:
            self.listener.agent_crashed(reason)

    async def _recover(self) -> None:
        try:
            await self.client()
        except AgentStartFailed as error:
            logger.warning("the agent stays down: %s", error.reason)


def _for_the_server(seconds_left: Callable[[], float]) -> float:
    return max(0.0, seconds_left() - _TO_STOP_SECONDS)
