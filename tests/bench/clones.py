"""How long a clone takes, and how much it brings: shallow, without blobs, everything."""

import asyncio
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from headstart.domain.command_args import CloneArgs
from headstart_local.git_server import Behaviour, GitServer
from headstart_runner.gateway.gateway import Source, Watch
from headstart_runner.repository.clone import clone
from headstart_runner.repository.git import Git
from headstart_runner.repository.remote import Remote
from tests.bench import report
from tests.bench.gateways import opened

_COMMITS = 20_000
_FILES = 400
_LINES = 120


def run(samples: int) -> None:
    """Clone a repository of our own making in each of the ways, over HTTP on loopback."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _make(folder / "served" / "history.git")
        with GitServer(folder / "served") as server:
            rows = []
            for name, depth, filters in (
                ("shallow (clone.depth 1)", 1, True),
                ("without blobs (the default)", None, True),
                ("everything (the server can't filter)", None, False),
            ):
                server.behaviour = Behaviour(filters=filters)
                url = server.url("history.git")
                taken = [asyncio.run(_clone(folder, url, depth)) for _ in range(samples)]
                seconds = report.median([one for one, _ in taken])
                rows.append((name, f"{seconds:.2f} s", f"{taken[0][1] / 1e6:.1f} MB"))
    head = (f"{_COMMITS} commits of {_FILES} files", "median", ".git")
    report.table(f"Clones, {samples} times", head, rows)


async def _clone(folder: Path, url: str, depth: int | None) -> tuple[float, int]:
    watch = Watch(lambda message, percent: None, lambda: 1200.0)
    args = CloneArgs(git_url=url, depth=depth, allow_private=True)
    target = folder / "clone"
    async with opened(folder, Source(url, allow_private=True)) as by:
        begun = time.perf_counter()
        git = Git(by.launcher, by.gateway)
        remote = await Remote.at(git, url, watch, allow_private=True)
        cloned = await clone(remote, args, target)
        taken = time.perf_counter() - begun
    await asyncio.to_thread(shutil.rmtree, target)
    return taken, cloned.bytes


def _make(bare: Path) -> None:
    git = ("git", "-C", str(bare))
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", bare], check=True)
    with subprocess.Popen([*git, "fast-import", "--quiet"], stdin=subprocess.PIPE) as importing:
        if importing.stdin is not None:
            importing.stdin.writelines(_history(random.Random(7)))
            importing.stdin.close()
    subprocess.run([*git, "repack", "-adq", "--write-bitmap-index"], check=True)


def _history(chance: random.Random) -> Iterator[bytes]:
    """Yield commits that change a line of a file each; the first has all files."""
    files = [[_line(chance) for _ in range(_LINES)] for _ in range(_FILES)]
    for number in range(_COMMITS):
        yield b"commit refs/heads/main\n"
        yield b"committer Ada <ada@example.com> %d +0000\n" % (1_600_000_000 + number * 60)
        yield _data(b"Change %d\n" % number)
        changed = range(_FILES) if number == 0 else [chance.randrange(_FILES)]
        for file in changed:
            files[file][chance.randrange(_LINES)] = _line(chance)
            yield b"M 100644 inline src/part%d/file%d.txt\n" % (file % 20, file)
            yield _data(b"".join(files[file]))


def _line(chance: random.Random) -> bytes:
    return b"%x\n" % chance.getrandbits(160)


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)
