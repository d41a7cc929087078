"""One running process of an agent's server."""

import asyncio
import os
import secrets
import shutil
import signal
import socket
from contextlib import suppress

from headstart.domain.errors import AgentStartFailed, AgentUnavailable
from headstart_runner.agents import start_error
from headstart_runner.agents.base import AgentAdapter, ServerArgs
from headstart_runner.agents.environment import environment_of
from headstart_runner.agents.folder import Folder, Folders
from headstart_runner.agents.http import AgentClient, AgentRefused, AgentSilent
from headstart_runner.agents.settings import look
from headstart_runner.config import Config
from headstart_runner.ending import to_its_end
from headstart_runner.log import Oddities
from headstart_runner.processes.launcher import CommandNotStarted, Launcher
from headstart_runner.processes.output import StepOutput
from headstart_runner.redaction import Redactor

_POLL_SECONDS = 0.05
_STOP_SECONDS = 3.0

_WARMING_SECONDS = 5.0
"""How long opening the session waits for what is being loaded: it would load that itself."""

_REHEARSAL = "ses_000000000000HeadstartWarms"
"""The one session that is opened and deleted beside the clone: always the same, so that none stays
behind when a server dies with it."""


class AgentServer:
    """The process, its password-protected port on 127.0.0.1, and what it printed last."""

    def __init__(
        self, adapter: AgentAdapter, config: Config, redactor: Redactor, folders: Folders
    ) -> None:
        self._adapter = adapter
        self._config = config
        self._folders = folders
        password = secrets.token_urlsafe(24)
        redactor.add(password)
        self._password = password
        self._held = _held_port()
        self._port: int = self._held.getsockname()[1]
        self.output = StepOutput(redactor, asyncio.get_running_loop().time)
        self.oddities = Oddities()
        self.client = AgentClient(
            self._port, adapter.user, password, self.oddities, config.repository
        )
        self._folder: Folder | None = None
        self._given: object = None
        self._modes: list[str] = []
        self._warming: asyncio.Task[None] | None = None
        self._wanted = False
        self._said = b""
        self._listens = False
        self.stopping = False
        self._given_up: str | None = None

    async def start(
        self,
        launcher: Launcher,
        args: ServerArgs,
        variables: dict[str, str],
        *,
        seconds: float,
        warm: bool = False,
    ) -> None:
        """Start the process and return once it is healthy; else AgentStartFailed.

        `variables` are what the setup commands left. The repository need not be there. A `warm`
        server goes on with loading what its first message would wait for.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._begin(launcher, args, variables)
                try:
                    self.version = await self._healthy()
                    # Above the folder there may be configuration of anybody's.
                    if warm and self._adapter.warms and not args.repository_config:
                        self._warming = asyncio.create_task(self._warm(args.title))
                except BaseException:
                    await self.stop()
                    raise
        except TimeoutError:
            how = self._with_last_line(f"did not become healthy within {seconds:.0f} s")
            raise AgentStartFailed(f"{self._adapter.name} {how}") from None
        finally:
            self._held.close()

    async def _warm(self, title: str) -> None:
        """Do once, beside the clone, what is slow when a program does it for the first time.

        The modes are kept: where no repository adds to them they stay these. A session is opened
        in the folder that the server was started in, and deleted; one that an earlier server died
        with is deleted as well.
        """
        where = self._where.path
        with suppress(AgentRefused, AgentSilent):
            self._modes = await self.client.modes(where)
        if self._wanted:
            return
        with suppress(AgentRefused, AgentSilent):
            await self.client.create(_REHEARSAL, title, where)
            if not self._wanted:
                await self.client.knows(_REHEARSAL, where)
        with suppress(AgentRefused, AgentSilent):
            await self.client.forget(_REHEARSAL, where)

    async def _end_warming(self, seconds: float) -> None:
        """Let it come to the end of what it has begun, if that does not take longer."""
        self._wanted = True
        if self._warming is not None:
            await asyncio.wait({self._warming}, timeout=seconds)
            self._warming.cancel()
            await asyncio.wait({self._warming})

    async def _begin(self, launcher: Launcher, args: ServerArgs, variables: dict[str, str]) -> None:
        try:
            self._folder = self._folders.make(self._adapter.instructions(self._config.repository))
        except OSError as error:
            raise _no_folder(self._adapter.name, error) from error
        try:
            argv, env = await self._command(launcher, args, variables)
            self._given = (argv, env, await self._look(env))
            self._tree = await launcher.start(
                argv, cwd=self._folder.path, env=env, stdout=self._keep
            )
        except OSError as error:
            self._folder.remove()
            why = f"{self._adapter.name} could not be started: {error.strerror or error}"
            raise AgentStartFailed(why) from error
        except BaseException:
            self._folder.remove()
            raise

    def _keep(self, data: bytes) -> None:
        self.output.feed(data, watched=False)
        if not self._listens:
            line = self._adapter.listening(self._port).encode()
            self._listens = line in self._said + data
            self._said = (self._said + data)[-len(line) :]

    async def _healthy(self) -> str:
        while not self._listens or (version := await self.client.health()) is None:
            if not self._tree.alive:
                raise await self.not_started()
            await asyncio.sleep(_POLL_SECONDS)
        return version

    async def is_as_if_started_now(
        self, launcher: Launcher, args: ServerArgs, variables: dict[str, str]
    ) -> bool:
        """Say whether it runs, and was given all that it would be given now."""
        argv, env = await self._command(launcher, args, variables)
        return self.alive and self._given == (argv, env, await self._look(env))

    async def _command(
        self, launcher: Launcher, args: ServerArgs, variables: dict[str, str]
    ) -> tuple[tuple[str, ...], dict[str, str]]:
        # The program is the session's own, whatever a command put on PATH under its name.
        self._path = launcher.environment(args.env)["PATH"]
        program, *rest = self._adapter.serve_command(self._port)
        grown = args.model_copy(update={"env": {**args.env, **variables}})
        env = await environment_of(
            self._adapter,
            launcher,
            self._config.repository,
            grown,
            self._password,
            instructions=f"{{file:{self._where.instructions}}}",
        )
        return (_absolute(program, self._path), *rest), env

    async def _look(self, env: dict[str, str]) -> object:
        return await asyncio.to_thread(look, self._adapter, env, self._config.home)

    @property
    def _where(self) -> Folder:
        assert self._folder is not None  # noqa: S101  (made before anything is started)
        return self._folder

    async def open(self, args: ServerArgs, seconds: float, *, new: bool) -> None:
        """Have the server open the session, a new one make it; AgentStartFailed when it can't.

        It may take seconds: a repository that may configure opencode has it install packages.
        Its mode is looked for, too: opencode takes a message in an unknown one with 204 and then
        says only in an event that it is lost.
        """
        agent, mode = self._adapter.name, self._adapter.mode(args.mode)
        try:
            async with asyncio.timeout(seconds):
                await self._end_warming(_WARMING_SECONDS)
                self._where.name(self._adapter.instructions(self._config.repository))
                if new:
                    await self.client.create(args.session_id, args.title, seconds=seconds)
                await self.client.knows(args.session_id, seconds=seconds)
                is_known = not mode or mode in self._modes
                modes = self._modes if is_known else await self.client.modes(seconds=seconds)
        except TimeoutError:
            why = f"{agent} has not opened the session within {seconds:.0f} s"
            raise AgentStartFailed(why) from None
        except OSError as error:
            raise _no_folder(agent, error) from error
        except (AgentRefused, AgentSilent) as error:
            raise AgentStartFailed(f"{agent} can't open the session: {error}") from error
        if mode and mode not in modes:
            known = ", ".join(sorted(modes))
            raise AgentUnavailable(f"{agent} has no mode {args.mode} here: there are {known}")

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._tree.alive

    async def exited(self) -> None:
        """Wait for the process to end."""
        await self._tree.wait()

    async def end(self) -> str:
        """Wait for the process to end and return how it did, for a person to read."""
        try:
            code = await self._tree.finished()
        except CommandNotStarted as error:
            return str(error)
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        # One that ends by itself while it is asked how it is answers nothing, either.
        killed = self._given_up if code == -signal.SIGKILL else None
        return self._with_last_line(killed or how)

    def _with_last_line(self, how: str) -> str:
        self.output.finish(watched=False)
        last = self.output.last_line()
        # Quoted, because it need not have anything to do with what happened.
        return f'{how}; the last it printed was "{last}"' if last else how

    def resume(self) -> None:
        """Have the process go on if something stopped it: nothing of a turn is lost by that."""
        self._tree.resume()

    async def give_up(self, reason: str) -> None:
        """Kill the process and its descendants; the reason is how it ended."""
        self._given_up = reason
        await self._tree.kill()

    async def not_started(self) -> AgentStartFailed:
        """Return the error of a process that ended before it served, if it ever began."""
        try:
            await self._tree.wait()
        except CommandNotStarted as error:
            return start_error(self._adapter.name, str(error), self._path)
        return AgentStartFailed(f"{self._adapter.name} ended while starting: {await self.end()}")

    async def stop(self) -> None:
        """End the process: SIGTERM, and SIGKILL for it and its descendants after 3 s.

        Whole: a caller that is cancelled meanwhile goes when nothing is left.
        """
        self.stopping = True
        await to_its_end(self._stop())

    async def _stop(self) -> None:
        await self._end_warming(0)
        self._tree.terminate()
        with suppress(TimeoutError, CommandNotStarted):
            async with asyncio.timeout(_STOP_SECONDS):
                await self._tree.wait()
        await self._tree.kill()
        await self.client.close()
        await asyncio.to_thread(self._where.remove)


def _no_folder(agent: str, error: OSError) -> AgentStartFailed:
    return AgentStartFailed(f"{agent} has no folder to be started in: {error}")


def _absolute(program: str, path: str) -> str:
    """Return where a program is on a PATH, itself where that depends on who asks."""
    found = shutil.which(program, path=path)
    return found if found and os.path.isabs(found) else program  # noqa: PTH117  (a name)


def _held_port() -> socket.socket:
    """Return a socket bound to a port that nobody is given meanwhile, and who names it can take.

    An address that is bound and not listened on can be bound again where both sockets have
    SO_REUSEADDR, which asyncio, Node and Bun set before they listen; socket(7).
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held
