"""`make bench BENCH=streaming`: an agent that writes without a pause, and many viewers."""

import asyncio
import json
import math
import sqlite3
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect

from headstart_client import AsyncHeadstart
from headstart_client.models import Event
from headstart_client.reducer import CAUGHT_UP, Reducer
from tests.bench import report
from tests.bench.prices import PRICES
from tests.flow.conftest import Cloud, running

QUEUED = 3
"""Messages in line: the next turn begins as soon as a copy is made of the one before."""

ANSWER_SECONDS = 3.0
"""Of the demo agent for its 240 deltas: 80 a second, as fast models write."""

CATCH_UP_SECONDS = 60.0
DATABASES = "headstart-cloud-*/tasks/*/workspace/home/.local/share/demo-agent/demo-agent.db"
"""Of demo agents in sandboxes, in the folder for temporary files."""

MESSAGE_BYTES = 32 * 1024
"""What API Gateway charges as one message."""


def run(viewers: int, seconds: float) -> None:
    """Print what the viewers got, how late, and what API Gateway takes for it."""
    with tempfile.TemporaryDirectory(prefix="streaming-") as folder:
        log = Path(folder) / "log"
        with running(log) as cloud:
            seen = asyncio.run(_stream(cloud, viewers, seconds))
        _tell(seen)


Written = dict[str, tuple[float, float, int]]
"""When an agent began and ended to write each part of its answers, and how many letters it has."""


@dataclass
class _Viewer:
    """One socket, read as a client reads it, and when what came."""

    socket: ClientConnection
    reducer: Reducer = field(default_factory=lambda: Reducer(0))
    applied: list[int] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    deltas: list[tuple[float, str, int, int]] = field(default_factory=list)
    frames: int = 0
    charged: int = 0
    size: int = 0
    again: int = 0
    live: bool = False
    _asking: asyncio.Task[None] | None = None

    async def watch(self) -> None:
        await self._subscribe(0)
        async for text in self.socket:
            now = time.time()
            self.frames += 1
            self.size += len(text)
            self.charged += math.ceil(len(text) / MESSAGE_BYTES)
            frame = json.loads(text)
            events, seconds = self.reducer.feed(frame)
            for event in events:
                self._note(event, now)
            if seconds is not None and (self._asking is None or self._asking.done()):
                self._asking = asyncio.create_task(self._subscribe(seconds))

    async def until(self, last: int, end: float) -> None:
        """Return when an event has been applied, or when it is too late."""
        while time.monotonic() < end:
            if self.applied and self.applied[-1] >= last:
                return
            await asyncio.sleep(0.2)

    async def _subscribe(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self.reducer.incomplete or seconds == 0:
            self.again += 1
            await self.socket.send(json.dumps(self.reducer.subscribe()))

    def _note(self, event: Event, now: float) -> None:
        if event.event_id is not None:
            self.applied.append(event.event_id)
        self.live = self.live or event.type == CAUGHT_UP
        if event.type == "agent.delta":
            part, text = event.data["partId"], event.data["text"]
            self.deltas.append((now, part, event.data["offset"], len(text)))
        # What is replayed is old, and not late.
        elif self.live and event.timestamp and event.event_id is not None:
            self.late.append((now - event.timestamp.timestamp()) * 1000)

    def added(self, written: Written) -> list[float]:
        """Return how long after its writing each piece of an answer came, in ms, by ten letters."""
        return [
            (now - began - (ended - began) * place / length) * 1000
            for now, part, offset, count in self.deltas
            for began, ended, length in [written[part]]
            for place in range(offset, offset + count, 10)
        ]


@dataclass(frozen=True)
class _Seen:
    """Who watched a session, and what there was to see."""

    watching: list[_Viewer]
    persisted: list[int]
    turns: int
    written: Written
    seconds: float


async def _stream(cloud: Cloud, viewers: int, seconds: float) -> _Seen:
    async with AsyncHeadstart(cloud.info["httpUrl"], cloud.info["token"]) as client:
        variables = {"DEMO_AGENT_SECONDS": str(ANSWER_SECONDS)}
        created = await client.prepare(
            "What is in here?", git_url=cloud.info["gitUrl"], env_vars=variables
        )
        session_id = created.session_id
        watching = [await _opened(client, session_id) for _ in range(viewers)]
        tasks = [asyncio.create_task(viewer.watch()) for viewer in watching]
        began = time.monotonic()
        await client.initiate(session_id)
        turns = await _keep_writing(client, session_id, time.monotonic() + seconds)
        streamed = time.monotonic() - began
        persisted = [e.event_id async for e in client.events(session_id) if e.event_id]
        end = time.monotonic() + CATCH_UP_SECONDS
        for viewer in watching:
            await viewer.until(persisted[-1], end)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for viewer in watching:
            await viewer.socket.close()
        written = _written(session_id)
        await client.delete(session_id)
    return _Seen(watching, persisted, turns, written, streamed)


def _written(session_id: str) -> Written:
    """Return what the session's agent wrote, which sends its pieces at even distances."""
    for path in Path(tempfile.gettempdir()).glob(DATABASES):
        with closing(sqlite3.connect(path)) as database:
            parts = database.execute(
                "SELECT data FROM part JOIN message ON part.message_id = message.id"
                " WHERE session_id = ? AND data ->> 'type' = 'text' AND data ->> '$.time.end'",
                (session_id,),
            )
            found = [json.loads(data) for (data,) in parts]
        if found:
            return {
                part["id"]: (
                    part["time"]["start"] / 1000,
                    part["time"]["end"] / 1000,
                    len(part["text"]),
                )
                for part in found
            }
    return {}


async def _opened(client: AsyncHeadstart, session_id: str) -> _Viewer:
    stream = await client.stream_ticket(session_id)
    url = f"{stream.url}?ticket={stream.ticket}"
    return _Viewer(await connect(url, ping_interval=None, max_queue=None))


async def _keep_writing(client: AsyncHeadstart, session_id: str, end: float) -> int:
    """Keep messages in line until the time is over; returns how many turns there were."""
    turns = 1
    while time.monotonic() < end:
        session = await client.get(session_id)
        for _ in range(QUEUED - len(session.queue)):
            await client.send(session_id, "And now?")
            turns += 1
        await asyncio.sleep(1)
    while (found := await client.get(session_id)).queue or found.active_turn:
        await client.wait(session_id, while_status="running", seconds=10)
    return turns


def _tell(seen: _Seen) -> None:
    watching, persisted = seen.watching, seen.persisted
    whole = sum(viewer.applied == persisted for viewer in watching)
    # The runner's own messages are a viewer's: `costs` counts them.
    messages = sum(viewer.charged + viewer.again for viewer in watching)
    minutes = len(watching) * seen.seconds / 60
    late = {
        "a letter, after it was written": [
            late for viewer in watching for late in viewer.added(seen.written)
        ],
        "a persisted event, after its commit": [
            late for viewer in watching for late in viewer.late
        ],
    }
    title = f"{len(watching)} viewers, {seen.turns} turns in {seen.seconds:.0f} s"
    rows: list[tuple[str, object]] = [
        ("viewers that got every persisted event in order", f"{whole} of {len(watching)}"),
        ("persisted events", len(persisted)),
        ("deltas a viewer", sum(len(v.deltas) for v in watching) // len(watching)),
        ("frames a viewer", max(viewer.frames for viewer in watching)),
        ("bytes a frame", sum(v.size for v in watching) / sum(v.frames for v in watching)),
        ("asked again for what was missing", sum(viewer.again - 1 for viewer in watching)),
    ]
    for kind, values in late.items():
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            rows.append((f"{kind}, ms, {name}", report.percentile(values, share)))
    dollars = messages * PRICES["WebSocket messages"]
    dollars += minutes * PRICES["WebSocket connection minutes"]
    rows += [
        ("frames of all", sum(viewer.frames for viewer in watching)),
        ("messages of 32 KB, and what viewers asked", messages),
        ("dollars for the viewers' messages and connections", f"{dollars:.4f}"),
        ("dollars an hour, at that rate", f"{dollars / seen.seconds * 3600:.2f}"),
    ]
    report.table(title, ("", ""), rows)
