"""A cloud of a few lines for the runner: speaks headstart.domain.channel over a real socket.

It keeps what a real one would (each batch once, by `seq`) beside everything that came, and can be
told to misbehave: refuse, forget acks, drop connections, send frames in parts.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from headstart.domain.channel import (
    FRAME_BYTES,
    UP_FRAME,
    Ack,
    Cancel,
    Command,
    CredentialAnswer,
    CredentialRequest,
    Heard,
    Heartbeat,
    Hello,
    Leave,
    Leaving,
    Refused,
    Report,
    Viewers,
    Welcome,
    encode,
)
from headstart.domain.model import OpenModel

WAIT = 20.0
BOOTSTRAP_KEY = "bootstrap-key-0123456789abcdef"
RESUME_KEY = "resume-key-0123456789abcdef"

Json = dict[str, Any]


def nothing_to_give(asked: CredentialRequest) -> CredentialAnswer:
    """Answer as a deployment without a GitHub App does."""
    return CredentialAnswer(request_id=asked.request_id)


class FakeCloud:
    """One session's end of the channel."""

    def __init__(self, server: Server | None = None) -> None:
        self.server = server
        self.keys = {BOOTSTRAP_KEY}
        self.viewers = 1
        self.refusal: Refused | None = None
        self.resume_key: str | None = RESUME_KEY
        self.keys_used: list[str] = []
        self.hellos: list[Hello] = []
        self.heartbeats: list[Heartbeat] = []
        self.answers_heartbeats = True
        self.on_heartbeat: Callable[[int], list[OpenModel]] = lambda _: self.heard()
        self.raw_reports: list[str] = []
        self.events: list[Json] = []
        self.results: dict[str, Json] = {}
        self.order: list[Json] = []
        self.rejected = 0
        self.on_hello: Callable[[ServerConnection, int], bool] = lambda *_: True
        self.named: set[tuple[str, str | None]] = set()
        self.leavings = 0
        self.delivering: list[list[str] | None] = []
        self.on_leaving: Callable[[int], bool] = lambda _: True
        self.questions: list[CredentialRequest] = []
        self.on_credential: Callable[[CredentialRequest], CredentialAnswer | None] = nothing_to_give
        self.on_report: Callable[[Report, int], bool | None] = lambda *_: True
        self._last_seq = 0
        self._connection: ServerConnection | None = None
        self._changed = asyncio.Condition()

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    @property
    def beats(self) -> list[list[str]]:
        """What each heartbeat named as running."""
        return [beat.running for beat in self.heartbeats]

    @property
    def turns(self) -> list[str | None]:
        """The turn that each heartbeat named."""
        return [beat.turn for beat in self.heartbeats]

    def heard(self) -> list[OpenModel]:
        """Return how a heartbeat is answered when nothing got lost."""
        return [Heard(viewers=self.viewers)]

    def check(self, _: ServerConnection, request: Request) -> Response | None:
        key = request.headers["Authorization"].removeprefix("Bearer ")
        if key not in self.keys:
            self.rejected += 1
            return Response(HTTPStatus.UNAUTHORIZED, "Unauthorized", request.headers.__class__())
        self.keys_used.append(key)
        if key == self.resume_key:
            self.keys.discard(BOOTSTRAP_KEY)
        return None

    async def serve(self, connection: ServerConnection) -> None:
        try:
            async for message in connection:
                assert len(message) <= FRAME_BYTES
                await self._take(connection, str(message))
        except ConnectionClosed:
            pass
        finally:
            if self._connection is connection:
                self._connection = None

    async def _take(self, connection: ServerConnection, message: str) -> None:
        frame = UP_FRAME.validate_json(message)
        if not isinstance(frame, Hello):
            self.named.add((frame.action, frame.session_id))
        match frame:
            case Hello():
                await self._hello(connection, frame)
            case Heartbeat():
                self.heartbeats.append(frame)
                if self.answers_heartbeats:
                    for answer in self.on_heartbeat(len(self.heartbeats)):
                        await self._send(connection, answer)
            case Report():
                await self._report(connection, frame, message)
            case CredentialRequest():
                self.questions.append(frame)
                if (answer := self.on_credential(frame)) is not None:
                    await self._send(connection, answer)
            case Leaving():
                self.leavings += 1
                self.delivering.append(frame.delivering)
                if self.on_leaving(self.leavings):
                    await self._send(connection, Leave())
        await self._notify()

    async def _hello(self, connection: ServerConnection, hello: Hello) -> None:
        self.hellos.append(hello)
        if self.refusal is not None:
            await self._send(connection, self.refusal)
        elif self.on_hello(connection, len(self.hellos)):
            if self.resume_key:
                self.keys.add(self.resume_key)
            welcome = Welcome(
                resume_key=self.resume_key,
                viewers=self.viewers,
                answers_heartbeats=self.answers_heartbeats,
            )
            await self._send(connection, welcome)
            self._connection = connection
        else:
            await connection.close()

    async def _report(self, connection: ServerConnection, report: Report, message: str) -> None:
        self.raw_reports.append(message)
        verdict = self.on_report(report, len(self.raw_reports))
        if verdict is None:
            return
        if report.seq > self._last_seq:
            assert report.seq == self._last_seq + 1, "a batch was skipped"
            self._last_seq = report.seq
            if verdict:
                events = [event.to_json() for event in report.events]
                results = [result.to_json() for result in report.results]
                assert events or results, "an empty batch costs money"
                self.events += events
                self.order += events + results
                self.results |= {str(result["commandId"]): result for result in results}
        await self._send(connection, Ack(seq=report.seq, accepted=verdict))

    async def _send(self, connection: ServerConnection, frame: OpenModel) -> None:
        for text in encode(frame):
            await connection.send(text)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], Any], seconds: float = WAIT) -> Any:
        """Wait until a condition of what came holds, and return its value."""
        async with asyncio.timeout(seconds), self._changed:
            return await self._changed.wait_for(condition)

    async def connected(self) -> ServerConnection:
        return await self.until(lambda: self._connection)

    async def connected_anew(self, old: ServerConnection) -> None:
        """Wait until another connection has taken an old one's place."""
        await self.until(lambda: self._connection not in {None, old})

    async def send(self, frame: OpenModel) -> None:
        await self._send(await self.connected(), frame)

    async def send_raw(self, text: str) -> None:
        await (await self.connected()).send(text)

    async def drop(self) -> None:
        """Cut the connection without a goodbye."""
        (await self.connected()).transport.abort()
        self._connection = None

    async def let_go(self) -> None:
        """Tell the runner that it is not needed any more."""
        await self.send(Leave())

    async def watch(self, viewers: int) -> None:
        self.viewers = viewers
        await self.send(Viewers(count=viewers))

    async def start(self, kind: str, args: Json, *, name: str = "", limit: int = 60) -> str:
        command_id = name or f"1.{kind}.1"
        await self.send(
            Command(id=command_id, kind=kind, timeout=limit, args=args)  # type: ignore[arg-type]
        )
        return command_id

    async def cancel(self, command_id: str) -> None:
        await self.send(Cancel(id=command_id))

    async def result(self, command_id: str, seconds: float = WAIT) -> Json:
        found: Json = await self.until(lambda: self.results.get(command_id), seconds)
        return found

    async def do(self, kind: str, args: Json, *, name: str = "", limit: int = 60) -> Json:
        """Run a command to its end."""
        return await self.result(await self.start(kind, args, name=name, limit=limit))

    def of(self, kind: str, **fields: Any) -> list[Json]:
        """Return the events of a type that have these fields."""
        return [
            event
            for event in self.events
            if event["type"] == kind and all(event.get(k) == v for k, v in fields.items())
        ]

    async def turn_ended(self, turn_id: str) -> Json:
        await self.until(lambda: self.of("turn.ended", turnId=turn_id))
        [ended] = self.of("turn.ended", turnId=turn_id)
        return ended

    def everything(self) -> str:
        """Return all that ever came, as text."""
        return "\n".join(self.raw_reports) + json.dumps(self.order)


@asynccontextmanager
async def fake_cloud() -> AsyncIterator[FakeCloud]:
    cloud = FakeCloud()
    async with serve(
        cloud.serve,
        "127.0.0.1",
        0,
        process_request=cloud.check,
        close_timeout=0.2,
        ping_interval=None,
    ) as server:
        cloud.server = server
        yield cloud
