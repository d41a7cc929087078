"""`make bench BENCH=soak HOURS=1`: sessions of every fate at a steady rate, and what they leave.

Each minute is a line of what the cloud holds, and at the end, when every session is deleted, what
is left is listed by name. What is drawn by lot comes from a seed that is printed.
"""

import asyncio
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

from headstart_client import AsyncHeadstart, HeadstartError, NotFound
from headstart_local import tokens
from tests.bench import census, report
from tests.bench.lives import LIVES, Life, Unsettled
from tests.flow.conftest import Cloud, running
from tests.flow.test_sleep import sweep

USERS = ("ada", "grace", "linus")
TOKEN_SECONDS = 20 * 60
"""A new token well before Cognito's hour is over."""

MOST_AT_WORK = 24
"""Sessions at a time: above it none is created, so that a slow machine is not run over."""

QUIET_SECONDS = 180
"""How long what was deleted may take to be gone."""

SHOWN = (
    "runner",
    "agent",
    "worker",
    "process",
    "row",
    "row that expires",
    "object",
    "task",
    "task folder",
    "execution",
    "place",
    "queue",
    "failure told",
    "file",
)
_HEAD = ("minute", "begun", "alive", "cloud MB", "workers MB", "files", "threads", *SHOWN)


def run(hours: float, a_minute: float, seed: int | None) -> None:
    """Run for that long and print what happens and what is left."""
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    report.show(
        f"\nAn hour of soak: {hours:g} hours, {a_minute:g} sessions a minute, seed {seed}\n"
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
        before, os.environ["TMPDIR"] = os.environ.get("TMPDIR"), str(folder)
        stack.callback(_set, "TMPDIR", before)
        log = stack.enter_context(tempfile.TemporaryDirectory(prefix="soak-log-"))
        with running(Path(log) / "log", "--parameter", "ActiveSessions=1000") as cloud:
            soak = _Soak(cloud, folder, random.Random(seed))
            asyncio.run(soak.run(hours * 3600, a_minute))
        _tell_leaks({"file": {str(path) for path in folder.rglob("*")}}, "after the cloud's end")


def _set(name: str, value: str | None) -> None:
    os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value


def _tell_leaks(left: census.Things, when: str) -> None:
    names = [f"{kind} {name}" for kind, found in sorted(left.items()) for name in sorted(found)]
    report.show(f"\n{when}: " + ("leaked: " if names else "nothing leaked"))
    for name in names:
        report.show(f"  {name}")


class _Soak:
    def __init__(self, cloud: Cloud, folder: Path, lots: random.Random) -> None:
        self._cloud = cloud
        self._folder = folder
        self._lots = lots
        self._ended: Counter[tuple[str, str]] = Counter()
        self._at_work: set[asyncio.Task[None]] = set()
        self._begun = 0
        self._memory: list[tuple[float, float]] = []
        self._clients = [AsyncHeadstart(cloud.info["httpUrl"], self._token(u)) for u in USERS]

    async def run(self, seconds: float, a_minute: float) -> None:
        first = await asyncio.to_thread(census.things, self._cloud, self._folder)
        report.show("  ".join(_HEAD))
        began = time.monotonic()
        telling = asyncio.create_task(self._tell_each_minute(began))
        while (left := began + seconds - time.monotonic()) > 0:
            await asyncio.sleep(min(left, self._lots.expovariate(a_minute / 60)))
            if len(self._at_work) < MOST_AT_WORK:
                self._begin()
        if self._at_work:
            await asyncio.wait(self._at_work)
        telling.cancel()
        await self._line(began)
        await self._delete_all()
        left_over = await self._quiet(first)
        await self._line(began)
        rows = [(life, how, count) for (life, how), count in sorted(self._ended.items())]
        report.table("How they ended", ("life", "end", "times"), rows)
        self._tell_growth()
        _tell_leaks(left_over, "after all was deleted")
        for client in self._clients:
            await client.close()

    def _begin(self) -> None:
        name = self._lots.choice(sorted(LIVES))
        lots = random.Random(self._lots.random())
        life = Life(self._cloud, lots.choice(self._clients), lots)
        task = asyncio.create_task(self._live(name, life))
        self._begun += 1
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)

    async def _live(self, name: str, life: Life) -> None:
        try:
            how = await LIVES[name](life)
            await life.check()
            await life.client.delete(life.session_id)
        except NotFound:
            how = "gone"
        except (HeadstartError, Unsettled) as error:
            how = f"{type(error).__name__}: {error}"
            report.show(f"{name} {life.session_id}: {how}")
        self._ended[name, how] += 1

    async def _tell_each_minute(self, began: float) -> None:
        while True:
            await asyncio.sleep(60 - (time.monotonic() - began) % 60)
            await self._line(began)

    async def _line(self, began: float) -> None:
        things = await asyncio.to_thread(census.things, self._cloud, self._folder)
        minute = (time.monotonic() - began) / 60
        workers = [int(pid) for pid in things.get("worker", ())]
        memory = census.megabytes([self._cloud.pid])
        self._memory.append((minute, memory))
        cells = (
            f"{minute:.1f}",
            self._begun,
            len(self._at_work),
            f"{memory:.0f}",
            f"{census.megabytes(workers):.0f}",
            census.open_files(self._cloud.pid),
            census.threads(self._cloud.pid),
            *(len(things.get(kind, ())) for kind in SHOWN),
        )
        report.show("  ".join(str(c).rjust(len(h)) for c, h in zip(cells, _HEAD, strict=True)))

    def _tell_growth(self) -> None:
        """Say what a session adds to the cloud's own process once it is warm."""
        warm = [(m, mb) for m, mb in self._memory if m >= self._memory[-1][0] / 4]
        grown, minutes = warm[-1][1] - warm[0][1], warm[-1][0] - warm[0][0]
        sessions = max(1.0, self._begun * minutes / self._memory[-1][0])
        report.show(
            f"\nThe cloud's process: {self._memory[0][1]:.0f} MB in the first minute, "
            f"{warm[0][1]:.0f} MB after a quarter, {warm[-1][1]:.0f} MB at the end: "
            f"{grown / sessions:+.2f} MB a session"
        )

    async def _delete_all(self) -> None:
        for client in self._clients:
            async for session in client.list():
                with suppress(NotFound):
                    await client.delete(session.session_id)

    async def _quiet(self, first: census.Things) -> census.Things:
        """Return what is there beside what was at first, once it is nothing or time is over."""
        end = time.monotonic() + QUIET_SECONDS
        while True:
            with suppress(AssertionError):
                await asyncio.to_thread(sweep, self._cloud)
            found = await asyncio.to_thread(census.things, self._cloud, self._folder)
            left = {
                kind: found[kind] - first.get(kind, set()) for kind in found.keys() - census.KEPT
            }
            if not any(left.values()) or time.monotonic() > end:
                return left
            await asyncio.sleep(2)

    def _token(self, user: str) -> Callable[[], str]:
        parts = urlsplit(self._cloud.info["httpUrl"])
        issued: list[tuple[float, str]] = []

        def token() -> str:
            if not issued or time.monotonic() - issued[-1][0] > TOKEN_SECONDS:
                found = tokens.issue(f"{parts.scheme}://{parts.netloc}", user)
                issued.append((time.monotonic(), found))
            return issued[-1][1]

        return token
