"""How long a workspace takes to be saved and to be put back, and how much is sent."""

import asyncio
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

from pydantic import SecretStr

from headstart.domain.archive import MOST_BYTES
from headstart.domain.command_args import ArchiveRef, FileRef
from headstart_runner.archives.files import About, Files, Made, write_difference
from headstart_runner.archives.putting_back import PuttingBack
from headstart_runner.archives.saving import Saving
from headstart_runner.archives.workspace import prepare
from headstart_runner.config import Config
from headstart_runner.journal import Journal, prepare_state_dir
from headstart_runner.processes.launcher import Launcher
from headstart_runner.redaction import Redactor
from tests.bench import report

_SESSION_ID = "ses_dfd84ed1effeEMnWxfp8yPNx64"
_FILES, _FOLDERS, _BYTES = 28_700, 3_900, 392_000_000
"""What `npm install` leaves of webpack, typescript, eslint, @angular/cli, react, vite and jest."""

_PATH = "/usr/local/bin:/usr/bin:/bin"
_T = TypeVar("_T")


def run(samples: int) -> None:
    """Save and put back a workspace of our own making, beside plain tar and zstd."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows = asyncio.run(_measure(folder, samples))
    report.table(
        f"A workspace of {_FILES:,} files and {_BYTES / 1e6:,.0f} MB: medians of {samples}",
        ("", "seconds", "MB sent"),
        rows,
    )


class _Box:
    """A workspace, and what the runner keeps beside it."""

    def __init__(self, folder: Path, served: Path, url: str) -> None:
        self.config = Config(
            url="ws://127.0.0.1",
            session_id=_SESSION_ID,
            key=SecretStr("key"),
            attempt=1,
            workspace=folder / "workspace",
            state_dir=folder / "state",
            path=_PATH,
        )
        folder.mkdir()
        prepare_state_dir(self.config.state_dir)
        self.files = Files(self.config, Journal(self.config.state_dir))
        self.launcher = Launcher(uid=None, home=self.config.home, path=_PATH)
        self._served, self._url = served, url
        prepare(self.config, self.launcher)

    async def base(self) -> FileRef:
        """Save everything."""
        base = await Saving(self.config, self.launcher, self.files, ()).base(MOST_BYTES)
        return self._serve(base.made)

    async def difference(self) -> FileRef:
        """Save what is not as it was in the base."""
        base, files = self.files.held(), self.files
        assert base is not None
        saving = Saving(self.config, self.launcher, files, ())
        with files.partial() as work, files.partial() as gone, files.partial() as file:
            await saving.difference(base, work, gone, MOST_BYTES)
            about = About(_SESSION_ID, base.made.sha256, None)
            await write_difference(file, about, gone, work, None)
            made = await files.keep_difference(file)
        return self._serve(made)

    async def put_back(self, archive: ArchiveRef) -> None:
        """Put an archive back."""
        back = PuttingBack(
            self.config, self.launcher, Redactor(), self.files, lambda *_: None
        )  # fmt: skip
        await back.archive(archive, _SESSION_ID, self.config.state_dir / "session.json")

    def _serve(self, made: Made) -> FileRef:
        file = self.files.find(made.sha256)
        shutil.copy(file, self._served / file.name)
        return FileRef(url=f"{self._url}/{file.name}", bytes=made.bytes, sha256=made.sha256)

    def change(self) -> None:
        """Change one file."""
        with (self.config.repository / "package.json").open("a") as stream:
            stream.write("\n")


async def _measure(folder: Path, samples: int) -> list[tuple[object, ...]]:
    with _serving(folder / "served") as url:
        first = _Box(folder / "first", folder / "served", url)
        _fill(first.config.repository)
        bases, differences, wakes, laters = [], [], [], []
        packs, unpacks = [], []
        for number in range(samples):
            taken, base = await _timed(first.base())
            bases.append(taken)
            first.change()
            taken, difference = await _timed(first.difference())
            differences.append(taken)
            other = _Box(folder / f"other-{number}", folder / "served", url)
            taken, _ = await _timed(other.put_back(ArchiveRef(base=base, difference=difference)))
            wakes.append(taken)
            other.change()
            taken, _ = await _timed(other.difference())
            laters.append(taken)
            await asyncio.to_thread(shutil.rmtree, folder / f"other-{number}")
            packed, there = folder / "plain.tar.zst", folder / f"there-{number}"
            there.mkdir()
            work = folder / "first" / "workspace"
            taken, _ = await _timed(_shell(f"tar -c -C {work} . | zstd -q -f -1 -o {packed}"))
            packs.append(taken)
            taken, _ = await _timed(_shell(f"zstd -q -d -c {packed} | tar -x -p -C {there}"))
            unpacks.append(taken)
            await asyncio.to_thread(shutil.rmtree, there)
    mb = f"{base.bytes / 1e6:,.1f}", f"{difference.bytes / 1e6:,.3f}"
    return [
        ("save all of it (once a session)", _shown(bases), mb[0]),
        ("save after a turn that changed one file", _shown(differences), mb[1]),
        ("wake: fetch and put back", _shown(wakes), ""),
        ("save in the next sandbox", _shown(laters), mb[1]),
        ("for comparison: tar | zstd -1", _shown(packs), ""),
        ("for comparison: zstd -d | tar -x", _shown(unpacks), ""),
    ]


async def _timed(work: Awaitable[_T]) -> tuple[float, _T]:
    # What was written before is not written on while this is timed.
    await asyncio.to_thread(os.sync)
    begun = time.perf_counter()
    result = await work
    return time.perf_counter() - begun, result


def _shown(seconds: list[float]) -> str:
    return f"{report.median(seconds):.2f}"


async def _shell(script: str) -> None:
    process = await asyncio.create_subprocess_shell(script)
    await process.wait()


def _fill(repository: Path) -> None:
    """Make as many files, folders and bytes as there are of packages, as compressible as code."""
    chance = random.Random(7)
    letters = "etaoinshrdlu_.()"
    words = ["".join(chance.choices(letters, k=chance.randint(2, 9))) for _ in range(3000)]
    mean = _BYTES / _FILES
    for number in range(_FILES):
        place = repository / "node_modules" / f"p{number % _FOLDERS}" / f"f{number}.js"
        place.parent.mkdir(parents=True, exist_ok=True)
        size = int(chance.expovariate(1 / mean))
        line = " ".join(chance.choices(words, k=120))
        text = (line + "\n") * (size // (3 * len(line)) + 1)
        place.write_text("".join(chance.choices(words, k=size // 9)) + text)
    (repository / "package.json").write_text("{}\n")


@contextmanager
def _serving(folder: Path) -> Iterator[str]:
    """Serve a folder on loopback, as a bucket would."""
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
