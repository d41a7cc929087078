"""Following a session over WebSocket: what the reducer asks for, done with tickets and sockets.

Beside the cloud's events it yields two volatile ones of its own: `client.caught_up` when all that
had happened is applied, and `client.reconnecting` (`reason`, `seconds`) when the connection broke.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from math import inf
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from headstart_client.errors import ApiError, TransportFailed
from headstart_client.events import made
from headstart_client.models import Event, Stream
from headstart_client.reducer import CAUGHT_UP, Reducer
from headstart_client.requests import backoff
from headstart_client.shapes import words

RECONNECTING = "client.reconnecting"

CLOSE_SECONDS = 1.0
"""How long the cloud's goodbye is waited for: it is not read where frames before it are not."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds: how often to ping (API Gateway closes after 10 idle minutes), how long to wait."""

    ping_every: float = 30.0
    pong_within: float = 10.0
    reconnect_base: float = 0.5
    reconnect_cap: float = 20.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


DEFAULT_TIMING = Timing()


class _StreamBroken(Exception):
    """The stream answered with an error, or not at all; a new connection is the remedy."""


async def follow(
    new_ticket: Callable[[], Awaitable[Stream]],
    after: int = 0,
    stream: Stream | None = None,
    timing: Timing = DEFAULT_TIMING,
) -> AsyncGenerator[Event, None]:
    """Yield events until the session is deleted; `new_ticket` decides whether one may go on.

    Why a handshake was refused can't be seen from outside, so a ticket is fetched before every
    connection and what that call raises for good (401, 404) is raised here.
    """
    reducer = Reducer(after)
    failures = 0
    while True:
        try:
            stream = stream or await new_ticket()
            url = f"{stream.url}?ticket={quote(stream.ticket, safe='')}"
            async with connect(url, ping_interval=None, close_timeout=CLOSE_SECONDS) as socket:
                connection = _Connection(socket, reducer, timing)
                await connection.subscribe()
                # A socket that says nothing from its beginning is noticed by this alone.
                await connection.ping()
                while not reducer.deleted:
                    for event in await connection.receive():
                        if event.event_id is not None or event.type == CAUGHT_UP:
                            failures = 0
                        yield event
                return
        except ApiError as error:
            if not error.retryable:
                raise
            reason = str(error)
        except (TransportFailed, WebSocketException, OSError, _StreamBroken) as error:
            reason = _said(error)
        stream = None
        failures += 1
        pause = backoff(failures, timing.reconnect_base, timing.reconnect_cap)
        yield made(RECONNECTING, data={"reason": reason, "seconds": pause})
        await timing.sleep(pause)


def _said(error: Exception) -> str:
    match error:
        case ConnectionClosed():
            return "the connection broke"
        case InvalidStatus():
            return f"the connection was refused with {error.response.status_code}"
        case _:
            return str(error) or type(error).__name__


class _Connection:
    """One open socket, and when (on the loop's clock) what is due on it."""

    def __init__(self, socket: ClientConnection, reducer: Reducer, timing: Timing) -> None:
        self._socket = socket
        self._reducer = reducer
        self._timing = timing
        self._now = asyncio.get_running_loop().time
        self._subscribe_at = inf
        self._ping_at = self._now() + timing.ping_every
        self._pong_by = inf

    async def subscribe(self) -> None:
        """Ask for all that is missing."""
        self._subscribe_at = inf
        await self._send(self._reducer.subscribe())

    async def ping(self) -> None:
        """Ask whether somebody is there."""
        self._ping_at = self._now() + self._timing.ping_every
        self._pong_by = self._now() + self._timing.pong_within
        await self._send({"action": "ping"})

    async def receive(self) -> list[Event]:
        """Return what the next frame gives to apply, doing what falls due before it comes."""
        while True:
            try:
                async with asyncio.timeout_at(
                    min(self._subscribe_at, self._ping_at, self._pong_by)
                ):
                    text = await self._socket.recv()
            except TimeoutError:
                await self._do_what_is_due()
            else:
                return self._take(_frame(text))

    async def _do_what_is_due(self) -> None:
        now = self._now()
        if now >= self._pong_by:
            raise _StreamBroken("the cloud stopped answering")
        if now >= self._subscribe_at:
            self._subscribe_at = inf
            if self._reducer.incomplete:
                await self.subscribe()
        if now >= self._ping_at:
            await self.ping()

    def _take(self, frame: dict[str, Any]) -> list[Event]:
        if frame["type"] == "pong":
            self._pong_by = inf
        events, seconds = self._reducer.feed(frame)
        if seconds is not None:
            self._subscribe_at = min(self._subscribe_at, self._now() + seconds)
        return events

    async def _send(self, frame: dict[str, Any]) -> None:
        await self._socket.send(json.dumps(frame))


def _frame(text: str | bytes) -> dict[str, Any]:
    """Read a frame that is news; anything else means that the connection is of no use any more."""
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _StreamBroken("the cloud sent what is no frame") from error
    if not isinstance(frame, dict):
        raise _StreamBroken("the cloud sent what is no frame")
    # API Gateway's own failures carry a message and no type.
    if frame.get("type", "error") == "error":
        raise _StreamBroken(words(frame.get("message")) or "the cloud reported an error")
    return frame
