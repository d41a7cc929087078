"""The HTTP server of the embedded cloud: hypercorn on a thread of its own, loopback only."""

import asyncio
import socket
import threading
from collections.abc import Sequence
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from headstart_local.guard import foreign_host, foreign_page, from_browser, is_link

START_SECONDS = 15.0
STOP_SECONDS = 10.0
# What is deployed has its URLs below this; all else is AWS's own API, which is not for pages.
_DEPLOYED_PATH = "/_aws/execute-api/"
_MANAGEMENT_PATH = "/@connections/"
_SIGNATURE = b"X-Amz-Signature="


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
    """Serves one ASGI application until stopped, to programs and to pages of some origins."""

    def __init__(self, app: Any, listener: socket.socket, origins: Sequence[str] = ()) -> None:
        self._app = app
        self._listener = listener
        self._port = listener.getsockname()[1]
        self._origins = origins
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
        config.loglevel = "WARNING"
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._loop.set_exception_handler(self._note_failure)
        await serve(self._answer, config, shutdown_trigger=self._stop.wait)

    def _note_failure(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # Connections that are open at the end are broken off, which asyncio takes for failures.
        ended = isinstance(context.get("exception"), asyncio.CancelledError)
        if not (ended and self._stop and self._stop.is_set()):
            loop.default_exception_handler(context)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._watch_start(scope, receive, send)
            return
        headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        ]
        path = scope["path"]
        # An address that the API handed out to be fetched, of an object: nothing else is like it.
        signed = scope.get("method") == "GET" and _SIGNATURE in scope.get("query_string", b"")
        deployed = path.startswith(_DEPLOYED_PATH) and _MANAGEMENT_PATH not in path
        origins = self._origins if deployed or signed else ()
        reason = foreign_host(headers, self._port)
        if not (signed and is_link(headers)):
            reason = reason or foreign_page(headers, origins)
        if reason:
            await _refuse(scope["type"], reason, send)
        else:
            await self._app(scope, receive, send if from_browser(headers) else _without_cors(send))

    async def _watch_start(self, scope: Any, receive: Any, send: Any) -> None:
        async def report(message: Any) -> None:
            await send(message)
            if message["type"] == "lifespan.startup.complete":
                self._ready.set()

        await self._app(scope, receive, report)


async def _refuse(kind: str, reason: str, send: Any) -> None:
    prefix = "websocket.http" if kind == "websocket" else "http"
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": f"{prefix}.response.start", "status": 403, "headers": headers})
    await send({"type": f"{prefix}.response.body", "body": f"{reason}\n".encode()})


def _without_cors(send: Any) -> Any:
    """Drop what the emulator says to browsers with every answer: that each of them may read it."""

    async def filtered(message: Any) -> None:
        if message["type"].endswith("response.start"):
            headers = message.get("headers", [])
            kept = [pair for pair in headers if not pair[0].lower().startswith(b"access-control-")]
            message = {**message, "headers": kept}
        await send(message)

    return filtered
