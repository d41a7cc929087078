"""The process that nannies are forked from: starting Python anew for each command is slow."""

import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

_NANNY = Path(__file__).with_name("nanny.py")
_SECONDS = 10.0
"""How long a nanny may take to be there: a fork takes a millisecond."""

_TRIES = 2


class _Broken(Exception):
    """The server does not answer, or answers nonsense."""


class ForkServer:
    """Started when it is needed, and again when it has gone; it knows nothing of any command."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._orders: socket.socket | None = None

    async def get_ready(self) -> None:
        """Start it ahead of the first command; OSError when there can be none."""
        async with self._lock:
            if self._orders is None:
                await self._begin()

    async def nanny(self, stdin: int, stdout: int, stderr: int) -> tuple[int, socket.socket]:
        """Return the pid of a new nanny with these open files, and the socket that controls it.

        It leads a session of its own, and ends with the socket. OSError when there can be none.
        """
        async with self._lock:
            for _ in range(_TRIES):
                # One for each try: a nanny whose pid never came would hear the next one's orders.
                ours, theirs = socket.socketpair()
                try:
                    orders = self._orders or await self._begin()
                    pid = await _ask(orders, (theirs.fileno(), stdin, stdout, stderr))
                except _Broken:
                    ours.close()
                    await self._end()
                except BaseException:
                    ours.close()
                    # Its answer would be taken for the next one's.
                    await asyncio.shield(self._end())
                    raise
                else:
                    return pid, ours
                finally:
                    theirs.close()
        raise OSError("no process can be started")

    async def close(self) -> None:
        """End it; nannies that there are live on."""
        async with self._lock:
            await self._end()

    async def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_NANNY), str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd="/",
                env={},
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._orders = ours
        return ours

    async def _end(self) -> None:
        process, self._process = self._process, None
        orders, self._orders = self._orders, None
        if orders is not None:
            orders.close()
        if process is not None:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _ask(orders: socket.socket, files: Sequence[int]) -> int:
    loop = asyncio.get_running_loop()
    try:
        socket.send_fds(orders, [b"fork"], files)
        async with asyncio.timeout(_SECONDS):
            answer = int(await loop.sock_recv(orders, 64))
    except (OSError, TimeoutError, ValueError) as error:
        raise _Broken from error
    if answer < 0:
        raise OSError(-answer, os.strerror(-answer))
    return answer
