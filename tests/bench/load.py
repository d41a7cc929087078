"""`make bench BENCH=load`: sessions created as fast as they are answered, and all ready."""

import asyncio
import tempfile
import threading
import time
from collections import Counter, defaultdict
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from headstart_client import AsyncHeadstart, NotFound
from headstart_client.models import Session
from tests.bench import census, report
from tests.flow.conftest import Cloud, running

USERS = ("ada", "grace", "linus", "margaret")
AT_ONCE = 16
"""Requests under way at a time: each is followed by the next as soon as it is answered."""

PATIENCE = 1800.0
LOOK_SECONDS = 2.0


def run(sessions: int) -> None:
    """Print how many sessions became ready, how long it took, and the memory it took."""
    with tempfile.TemporaryDirectory(prefix="load-") as folder:
        log = Path(folder) / "log"
        with running(log, "--parameter", "ActiveSessions=1000") as cloud:
            asyncio.run(_Load(cloud, sessions).run())


class _Memory:
    """What the cloud's processes need, looked at each second on a thread of its own."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.most: dict[str, float] = defaultdict(float)

    def __enter__(self) -> "_Memory":
        self.look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def look(self) -> dict[str, float]:
        """Return megabytes by kind of process."""
        pids: dict[str, list[int]] = {"the cloud's process": [self._cloud.pid]}
        for kind, pid in census.processes(self._cloud):
            name = "workers of functions" if kind == "worker" else "sandboxes"
            pids.setdefault(name, []).append(pid)
        found = {name: census.megabytes(these) for name, these in pids.items()}
        for name, megabytes in found.items():
            self.most[name] = max(self.most[name], megabytes)
        return found

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self.look()


class _Load:
    def __init__(self, cloud: Cloud, sessions: int) -> None:
        self._cloud = cloud
        self._left = sessions
        self._sessions = sessions
        self._answers: list[float] = []
        self._created: set[str] = set()
        self._ready: dict[str, float] = {}
        self._began = 0.0

    async def run(self) -> None:
        async with AsyncExitStack() as stack:
            url = self._cloud.info["httpUrl"]
            clients = [AsyncHeadstart(url, self._cloud.token(user)) for user in USERS]
            for client in clients:
                await stack.enter_async_context(client)
            with _Memory(self._cloud) as memory:
                before = memory.look()
                self._began = time.monotonic()
                await asyncio.gather(*(self._create(clients[n % 4]) for n in range(AT_ONCE)))
                answered = time.monotonic() - self._began
                await self._watch(clients)
                after_all = time.monotonic() - self._began
                last = await self._all(clients)
                for client in clients:
                    await self._delete(client)
                await self._gone()
                after = memory.look()
            self._tell(answered, after_all, last)
            rows = [
                (name, before.get(name, 0.0), most, after.get(name, 0.0))
                for name, most in memory.most.items()
            ]
            report.table("Memory of its own, MB", ("", "before", "at most", "deleted"), rows)

    async def _create(self, client: AsyncHeadstart) -> None:
        while self._left:
            self._left -= 1
            began = time.monotonic()
            created = await client.create_session(
                "What is in here?", git_url=self._cloud.info["gitUrl"]
            )
            self._answers.append((time.monotonic() - began) * 1000)
            self._created.add(created.session_id)

    async def _watch(self, clients: list[AsyncHeadstart]) -> None:
        """Return when no session is being prepared any more."""
        while True:
            found = [summary for client in clients async for summary in client.list()]
            now = time.monotonic() - self._began
            for summary in found:
                if summary.status != "preparing":
                    self._ready.setdefault(summary.session_id, now)
            if len(self._ready) >= len(self._created) or now > PATIENCE:
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _all(self, clients: list[AsyncHeadstart]) -> dict[str, Session]:
        return {
            summary.session_id: await client.get(summary.session_id)
            for client in clients
            async for summary in client.list()
        }

    async def _delete(self, client: AsyncHeadstart) -> None:
        async for session in client.list():
            with suppress(NotFound):
                await client.delete(session.session_id)

    async def _gone(self) -> None:
        end = time.monotonic() + PATIENCE
        while any(kind == "runner" for kind, _ in census.processes(self._cloud)):
            if time.monotonic() > end:
                report.show("sandboxes of deleted sessions go on")
                return
            await asyncio.sleep(LOOK_SECONDS)

    def _tell(self, answered: float, after_all: float, last: dict[str, Session]) -> None:
        times = sorted(self._ready.values())
        rows = [
            ("answers to POST: p50, s", f"{report.median(self._answers) / 1000:.2f}"),
            ("answers to POST: p99, s", f"{report.percentile(self._answers, 0.99) / 1000:.2f}"),
            ("all answered after, s", f"{answered:.0f}"),
            ("half of them at rest after, s", f"{report.median(times):.0f}"),
            ("all at rest after, s", f"{after_all:.0f}"),
            ("lost", len(self._created - last.keys())),
        ]
        title = f"{self._sessions} sessions, {AT_ONCE} requests at a time, {len(USERS)} users"
        report.table(title, ("", ""), rows)
        ends: Counter[tuple[str, str]] = Counter()
        for session in last.values():
            tries = session.attempt.number if session.attempt else 0
            failed = session.failure
            why = f"{failed.step}: {failed.code}" if failed else ""
            ends[f"{session.status}, attempt {tries}", why] += 1
        report.table(
            "How they stand", ("", "why", "sessions"), [(*end, n) for end, n in ends.items()]
        )
