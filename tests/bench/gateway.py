"""What the gateway costs: time of small calls, throughput of large ones, memory meanwhile."""

import asyncio
import multiprocessing
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from headstart_local.git_server import GitServer
from headstart_runner.gateway.credentials import Credential, SessionCredentials
from headstart_runner.gateway.door import Door
from headstart_runner.gateway.gateway import Gateway, Source
from headstart_runner.journal import Journal
from headstart_runner.processes.launcher import Launcher
from headstart_runner.redaction import Redactor
from headstart_runner.vault import Vault
from tests.bench import report

_BRANCH = "session/bench"
_CREDENTIAL = Credential("x-access-token", "password-0123456789")
_PIECE = 1024 * 1024


def run(samples: int, megabytes: int) -> None:
    """Push and clone a large file, and list refs, directly and by the gateway, side by side."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        served = folder / "served"
        _git("init", "--quiet", "--bare", "--initial-branch=main", str(served / "large.git"))
        ours, theirs = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        server = context.Process(target=_serve, args=(served, theirs), daemon=True)
        server.start()
        try:
            asyncio.run(_measure(folder, ours.recv(), samples, megabytes))
        finally:
            server.terminate()
            server.join()


def _serve(folder: Path, told: Connection) -> None:
    """Run the server in a process of its own: what it takes is not the gateway's."""

    def authorize(user: str, password: str, repository: str, write: bool) -> bool:
        return (user, password) == (_CREDENTIAL.username, _CREDENTIAL.password)

    with GitServer(folder, authorize=authorize) as server:
        told.send(server.url("large.git"))
        server.stopping.wait()


async def _measure(folder: Path, url: str, samples: int, megabytes: int) -> None:
    direct = url.replace("//", f"//{_CREDENTIAL.username}:{_CREDENTIAL.password}@")
    work = folder / "work"
    _git("init", "--quiet", f"--initial-branch={_BRANCH}", str(work))
    with (work / "noise").open("wb") as file:
        for _ in range(megabytes):
            file.write(os.urandom(_PIECE))
    _git("-C", str(work), "add", ".")
    _git("-C", str(work), "commit", "--quiet", "--message=Noise")
    async with _opened(folder, url) as launcher:
        ways = {"directly": (direct, dict(os.environ)), "by the gateway": (url, _through(launcher))}
        rows = []
        for name, (address, env) in ways.items():
            _peak(reset=True)
            used = time.process_time()
            push = await _timed(env, "-C", str(work), "push", "--quiet", address, f"HEAD:{_BRANCH}")
            clone = await _timed(env, "clone", "--quiet", "--bare", address, str(folder / "copy"))
            peak, used = _peak(), time.process_time() - used
            small = [await _timed(env, "ls-remote", "--quiet", address) for _ in range(samples * 5)]
            rows.append((
                name,
                f"{megabytes / push:,.0f} MB/s",
                f"{megabytes / clone:,.0f} MB/s",
                f"{report.median(small) * 1000:.0f} ms",
                f"{peak:+.0f} MB",
                f"{used * 1000 / (2 * megabytes):.1f} s",
            ))  # fmt: skip
            await asyncio.to_thread(_forget, folder)
    head = (f"{megabytes} MB of noise", "push", "clone", "ls-remote", "its memory", "its CPU a GB")
    report.table("The gateway, with a server that wants a credential", head, rows)


def _forget(folder: Path) -> None:
    """Let nothing of a push or a clone be there for the next."""
    bare = folder / "served" / "large.git"
    for gone in (folder / "copy", bare):
        shutil.rmtree(gone)
    _git("init", "--quiet", "--bare", "--initial-branch=main", str(bare))


@asynccontextmanager
async def _opened(folder: Path, url: str) -> AsyncIterator[Launcher]:
    async def ask(host: str, repository: str, write: bool) -> Credential:
        return _CREDENTIAL

    journal, redactor = Journal(folder), Redactor()
    launcher = Launcher(uid=None, home=folder, path=os.environ["PATH"])
    credentials = SessionCredentials(Vault(), ask, redactor)
    gateway = Gateway(Door(), credentials, journal, launcher, redactor)
    await gateway.open(Source(url, _BRANCH, allow_private=True))
    try:
        yield launcher
    finally:
        await gateway.close()
        journal.close()


def _through(launcher: Launcher) -> dict[str, str]:
    return launcher.environment({})


async def _timed(env: dict[str, str], *arguments: str) -> float:
    begun = time.perf_counter()
    command = ("git", "-c", "core.bigFileThreshold=1m", "-c", "core.compression=0", *arguments)
    process = await asyncio.create_subprocess_exec(*command, env=env, stdout=subprocess.DEVNULL)
    if await process.wait():
        raise SystemExit("git failed")
    return time.perf_counter() - begun


_BEFORE = 0.0


def _peak(*, reset: bool = False) -> float:
    """Return by how many MB this process's memory grew at most since a reset (proc(5))."""
    global _BEFORE  # noqa: PLW0603  (one process, one peak)
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    high = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    if reset:
        _BEFORE = high
    return high - _BEFORE


def _git(*arguments: str) -> None:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    settings = ("-c", "core.bigFileThreshold=1m", "-c", "core.compression=0")
    subprocess.run(["git", *identity, *settings, *arguments], check=True)
