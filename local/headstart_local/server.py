"""The HTTP server of the embedded cloud: hypercorn on a thread of its own, loopback only."""

import asyncio
import socket
import threading
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

START_SECONDS = 15.0
STOP_SECONDS = 10.0
# API Gateway's limit of a WebSocket message ("Amazon API Gateway quotas").
MAX_WEBSOCKET_MESSAGE_BYTES = 128 * 1024


class PortInUseError(OSError):
    """The port asked for is taken."""


def listen(port: int) -> socket.socket:
    """Return a socket listening on a loopback port, 0 for any free one.

    Listening before anything is deployed fixes the port, so that URLs can be parameters.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise PortInUseError(f"port {port} of 127.0.0.1 is not free: {error.strerror}") from error
    return listener


class Server:
    """Serves one ASGI application until stopped."""

    def __init__(self, app: Any, listener: socket.socket) -> None:
        self._app = app
        self._listener = listener
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="cloud-server", daemon=True)

    def start(self) -> None:
        """Start and return when the application has finished its start-up."""
        self._thread.start()
        if not self._ready.wait(START_SECONDS):
            raise TimeoutError(f"the server was not up after {START_SECONDS:.0f} s")
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        """Close every connection and wait for the thread, 10 s at most."""
        if self._loop and self._stop and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        config = Config()
        config.bind = [f"fd://{self._listener.detach()}"]
        config.keep_alive_timeout = 75
        config.graceful_timeout = 0.2
        config.websocket_max_message_size = MAX_WEBSOCKET_MESSAGE_BYTES
        config.loglevel = "WARNING"
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await serve(self._watch_start, config, shutdown_trigger=self._stop.wait)

    async def _watch_start(self, scope: Any, receive: Any, send: Any) -> None:
        async def report(message: Any) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                self._ready.set()

        await self._app(scope, receive, report if scope["type"] == "lifespan" else send)
