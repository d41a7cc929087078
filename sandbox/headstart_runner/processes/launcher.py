"""Starting untrusted commands so that nothing of them is left behind, but by a storm of forks.

Each command runs below a nanny (see nanny.py) in a session of its own, under the agent's uid if
it has one, with an environment built from scratch. Otherwise the commands share our uid: then they
are contained by nothing but this, which is meant for development.
"""

import asyncio
import json
import os
import pwd
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from headstart_runner.processes.fork_server import ForkServer
from headstart_runner.processes.nanny import GONE, kill_below, kill_session

_CHUNK = 64 * 1024
DRAIN_SECONDS = 0.3
"""How long output is still read after a command's end: a daemon may hold its pipes for ever."""

_NANNY_SECONDS = 10.0
"""How long a nanny may take to kill its tree: it takes 5 s at most, if nobody has stopped it."""

Sink = Callable[[bytes], None]


def _discard(data: bytes) -> None:
    pass


class CommandNotStarted(OSError):
    """The command's program could not be executed; why is said in words."""


class _Pipe:
    """The reading end of a command's output: passes on what comes until told to discard it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._transport: asyncio.ReadTransport | None = None
        self.task: asyncio.Task[None] | None = None

    async def open(self) -> int:
        """Begin to read; return the writing end, which the caller closes."""
        reader = asyncio.StreamReader(limit=_CHUNK)
        reading_end, writing_end = os.pipe()
        self._transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading_end, "rb", 0)
        )
        self.task = asyncio.create_task(self._pump(reader))
        return writing_end

    async def _pump(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_CHUNK):
            self._sink(data)

    def discard(self) -> None:
        """Throw away what still comes: a daemon must not die of a closed pipe."""
        self._sink = _discard

    def close(self) -> None:
        """Stop reading."""
        if self._transport is not None:
            self._transport.close()


class Tree:
    """A running command with everything it started."""

    def __init__(self, pipes: list[_Pipe]) -> None:
        self._pipes = pipes
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._writer: asyncio.StreamWriter | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._nanny = 0
        self.gone = False
        """Whether nothing of the command is left, which is known at its end if it left nothing."""

    def attach(
        self, nanny: int, control: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    ) -> None:
        """Begin to watch a nanny, of that pid."""
        reader, self._writer = control
        self._nanny = nanny
        self._watcher = asyncio.create_task(self._watch(reader, self._writer))

    async def _watch(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError):
                line = await reader.readline()
                verdict = json.loads(line or b"{}")
                if "error" in verdict:
                    self._exit.set_exception(CommandNotStarted(verdict["error"]))
                    self._exit.exception()  # marks it as seen: perhaps nobody waits
                elif "exit" in verdict:
                    self._exit.set_result(verdict["exit"])
                # Before anybody hears of the exit, if both came in one piece: no await between.
                self.gone = GONE in (line, await reader.readline())
                await reader.read()
            if not self.gone:
                # The nanny was killed, or broke, and could not see to what it had started.
                await asyncio.to_thread(kill_session, self._nanny)
        finally:
            self.gone = True
            if not self._exit.done():
                self._exit.set_result(-9)
            writer.close()

    def detach(self) -> None:
        """Let go of the nanny, which then kills what is left and says so."""
        # Who gives an order after that, as somebody else may, gives it to nobody.
        writer, self._writer = self._writer, None
        if writer is not None and not writer.is_closing():
            writer.write_eof()

    @property
    def nanny_ended(self) -> bool:
        """Whether its nanny has ended, after whatever it saw to."""
        return self._watcher is not None and self._watcher.done()

    async def wait(self) -> int:
        """Return the command's exit code, negative for a signal; raise CommandNotStarted."""
        return await asyncio.shield(self._exit)

    async def finished(self) -> int:
        """Wait for the command and a moment for its output; what comes later is discarded."""
        try:
            code = await self.wait()
            await self._drained()
        finally:
            for pipe in self._pipes:
                pipe.discard()
        return code

    async def _drained(self) -> None:
        pumps = [pipe.task for pipe in self._pipes if pipe.task is not None]
        await asyncio.wait(pumps, timeout=DRAIN_SECONDS)

    @property
    def alive(self) -> bool:
        """Whether the command's own process still runs."""
        return not self._exit.done()

    def terminate(self) -> None:
        """Ask the command's own process to end (SIGTERM)."""
        self._order(b"t")

    def resume(self) -> None:
        """Have the command's own processes go on if something stopped them (SIGCONT)."""
        self._order(b"c")

    def _order(self, order: bytes) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(order)

    async def end(self, grace: float) -> None:
        """Ask the command to end, which has so many seconds to tidy up, then kill what is left."""
        if grace:
            self.terminate()
            await asyncio.wait([self._exit], timeout=grace)
        await self.kill()

    async def kill(self) -> None:
        """Kill the command and all its descendants, and wait until none is left."""
        self.detach()
        if self._watcher is not None:
            await asyncio.wait([self._watcher], timeout=_NANNY_SECONDS)
            if not self.nanny_ended:
                # Commands of our own uid can send it SIGSTOP.
                await asyncio.to_thread(_kill_from_outside, self._nanny)
                await asyncio.wait([self._watcher])
        await self._drained()
        for pipe in self._pipes:
            pipe.close()


def _kill_from_outside(nanny: int) -> None:
    """Kill all below a nanny that does nothing, then itself: orphans would be lost sight of."""
    kill_below(nanny)
    with suppress(ProcessLookupError):
        os.kill(nanny, signal.SIGKILL)


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "agent"


class Launcher:
    """Starts commands, and remembers those with anything left alive."""

    def __init__(
        self, *, uid: int | None, home: Path, path: str, allowed: asyncio.Event | None = None
    ) -> None:
        self._uid = uid
        self._path = path
        self._home = home
        self._user = _name_of(os.getuid() if uid is None else uid)
        self._trees: set[Tree] = set()
        self._forks = ForkServer()
        self.common: dict[str, str] = {}
        """Variables that every command finds, unless it is given others."""
        self._allowed = allowed

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        """Return a command's whole environment: nothing is inherited from the runner."""
        return {
            "PATH": self._path,
            "HOME": str(self._home),
            "USER": self._user,
            "LOGNAME": self._user,
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            **self.common,
            **extra,
        }

    async def start(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: int | None = None,
        stdout: Sink = _discard,
        stderr: Sink | None = None,
    ) -> Tree:
        """Start a command; without `stderr` both streams go to `stdout`, in their order.

        It reads from the open file `stdin`, if there is one, and else nothing. Waits until commands
        are allowed at all, for as long as the caller does.
        """
        if self._allowed is not None:
            await self._allowed.wait()
        pipes = [_Pipe(stdout)] + ([_Pipe(stderr)] if stderr else [])
        tree = Tree(pipes)
        ends: list[int] = []
        try:
            for pipe in pipes:
                ends.append(await pipe.open())
            if stdin is None:
                stdin = os.open(os.devnull, os.O_RDONLY)
                ends.append(stdin)
            nanny, ours = await self._forks.nanny(stdin, ends[0], ends[len(pipes) - 1])
            control = await asyncio.open_connection(sock=ours)
        except BaseException:
            for pipe in pipes:
                pipe.close()
            raise
        finally:
            for end in ends:
                os.close(end)
        tree.attach(nanny, control)
        # Until its nanny has ended, too: nobody else would keep the task that waits for that.
        self._trees = {known for known in self._trees if not known.nanny_ended} | {tree}
        spec = {
            "argv": list(argv),
            "env": self.environment(env),
            "cwd": str(cwd),
            "uid": self._uid,
        }
        control[1].write(json.dumps(spec).encode() + b"\n")
        return tree

    async def get_ready(self) -> None:
        """Start ahead of the first command what it would wait for, if that can be."""
        with suppress(OSError):
            await self._forks.get_ready()

    @asynccontextmanager
    async def running(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: int | None = None,
        stdout: Sink = _discard,
        stderr: Sink | None = None,
        grace: float = 0.0,
    ) -> AsyncIterator[Tree]:
        """Start a command that is killed, with all it started, if the block is left by an error.

        It is asked first where it has a `grace`, in seconds.
        """
        tree = await self.start(argv, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr)
        try:
            yield tree
        except BaseException:
            await asyncio.shield(tree.end(grace))
            raise

    async def kill_all(self) -> None:
        """Kill every command and every daemon one of them left."""
        await asyncio.gather(*(tree.kill() for tree in self._trees))
        self._trees = set()
        await self._forks.close()

    def own(self, place: Path | int) -> None:
        """Give a path, or an open file, of ours to the uid of the commands.

        A path must be where that uid can put nothing else in its place, as in a sticky folder.
        """
        if self._uid is not None and isinstance(place, int):
            os.fchown(place, self._uid, self._uid)
        elif self._uid is not None:
            os.chown(place, self._uid, self._uid, follow_symlinks=False)
