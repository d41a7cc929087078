"""A git server over real smart HTTP on loopback: `git http-backend` behind a small bridge.

For demos and tests: it can ask for credentials, be slow and break off in the middle.
"""

import base64
import contextlib
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import unquote, urlsplit

from headstart_local.guard import GuardedHandler

_CHUNK = 16 * 1024
_JOIN_SECONDS = 5.0
_TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Behaviour:
    """How the server treats fetches: seconds before the answer, speed, when it breaks off.

    Without `filters` it leaves nothing out, whatever a partial clone asks for.
    """

    delay_seconds: float = 0.0
    bytes_per_second: int | None = None
    close_after_bytes: int | None = None
    filters: bool = True


class GitServer:
    """Serves the bare repositories of a folder while it is entered.

    `credentials` maps a repository's name to the users it lets in, name to password; other
    repositories are open. `behaviour` may be set while the server runs, for what starts later.
    """

    def __init__(
        self,
        folder: Path,
        *,
        credentials: Mapping[str, Mapping[str, str]] | None = None,
        behaviour: Behaviour | None = None,
    ) -> None:
        self.folder = folder
        self.credentials = dict(credentials or {})
        self.behaviour = behaviour or Behaviour()
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._backends: set[subprocess.Popen[bytes]] = set()
        server = self

        class Handler(_Handler):
            git = server

        self._httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._httpd.daemon_threads = True
        self._thread = threading.Thread(target=self._httpd.serve_forever, args=(0.05,), daemon=True)

    @property
    def base_url(self) -> str:
        """The URL that all repositories are below."""
        return f"http://127.0.0.1:{self._httpd.server_address[1]}"

    def url(self, name: str) -> str:
        """Return the clone URL of a repository, a folder name such as `sample.git`."""
        return f"{self.base_url}/{name}"

    def __enter__(self) -> "GitServer":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self._httpd.shutdown()
        self._thread.join(_JOIN_SECONDS)
        self._httpd.server_close()
        with self._lock:
            backends = list(self._backends)
        for backend in backends:
            _kill(backend)

    @contextlib.contextmanager
    def backend(self, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
        """Run `git http-backend` for one request; nothing of it is left afterwards."""
        process = subprocess.Popen(
            ["git", "http-backend"],  # noqa: S607 - the git on the PATH is the one wanted
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        with self._lock:
            self._backends.add(process)
        try:
            yield process
        finally:
            _kill(process)
            with self._lock:
                self._backends.discard(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_JOIN_SECONDS)


class _Handler(GuardedHandler):
    """Translates one HTTP request to CGI and back, streaming both ways."""

    protocol_version = "HTTP/1.1"
    timeout = _TIMEOUT_SECONDS
    git: GitServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited name
        """Say nothing; tests and demos own the terminal."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        user = self._user()
        if user is None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            return
        behaviour = self.git.behaviour
        if behaviour.delay_seconds and self.git.stopping.wait(behaviour.delay_seconds):
            return
        with self.git.backend(self._environment(user)) as process:
            if process.stdin is None or not isinstance(process.stdout, BufferedReader):
                return
            with process.stdin, process.stdout:
                feeder = threading.Thread(target=self._feed, args=(process.stdin,), daemon=True)
                feeder.start()
                try:
                    self._answer(process.stdout, behaviour)
                except OSError:
                    self.close_connection = True
                feeder.join(_JOIN_SECONDS)

    def _user(self) -> str | None:
        """Return who asks, "" for nobody in particular, None for who may not."""
        repository = urlsplit(self.path).path.strip("/").partition("/")[0]
        allowed = self.git.credentials.get(repository)
        if allowed is None:
            return ""
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            user, _, password = base64.b64decode(encoded).decode().partition(":")
        except ValueError:
            return None
        return user if allowed.get(user) == password else None

    def _environment(self, user: str) -> dict[str, str]:
        parts = urlsplit(self.path)
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "GIT_PROJECT_ROOT": str(self.git.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            # Pushes are let in, and repositories of another owner, as a test's may be.
            "GIT_CONFIG_COUNT": "3",
            "GIT_CONFIG_KEY_0": "http.receivepack",
            "GIT_CONFIG_VALUE_0": "true",
            "GIT_CONFIG_KEY_1": "safe.directory",
            "GIT_CONFIG_VALUE_1": "*",
            "GIT_CONFIG_KEY_2": "uploadpack.allowFilter",
            "GIT_CONFIG_VALUE_2": str(self.git.behaviour.filters).lower(),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": unquote(parts.path),
            "QUERY_STRING": parts.query,
            "REMOTE_ADDR": self.client_address[0],
            "REMOTE_USER": user,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
        }
        for header in ("Content-Encoding", "Git-Protocol"):
            if value := self.headers.get(header):
                environment[f"HTTP_{header.upper().replace('-', '_')}"] = value
        if length := self.headers.get("Content-Length"):
            environment["CONTENT_LENGTH"] = length
        return environment

    def _feed(self, sink: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError), sink:
            for chunk in self._body():
                sink.write(chunk)

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left and (chunk := self.rfile.read(min(left, _CHUNK))):
            left -= len(chunk)
            yield chunk

    def _answer(self, source: BufferedReader, behaviour: Behaviour) -> None:
        status, headers = 200, []
        while line := source.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            if name.lower() == "status":
                status = int(value.split()[0])
            else:
                headers.append((name, value.strip()))
        self.send_response(status)
        for name, value in headers:
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        fetch = urlsplit(self.path).path.endswith("/git-upload-pack")
        self._stream(source, behaviour if fetch else Behaviour())

    def _stream(self, source: BufferedReader, behaviour: Behaviour) -> None:
        sent, started = 0, time.monotonic()
        rate, limit = behaviour.bytes_per_second, behaviour.close_after_bytes
        # Small pieces make a slow answer flow instead of stutter.
        size = max(1, min(_CHUNK, rate // 10)) if rate else _CHUNK
        while chunk := source.read1(size):
            if limit is not None and sent + len(chunk) > limit:
                self._break_off()
                return
            self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            self.wfile.flush()
            sent += len(chunk)
            pause = max(0, sent / rate - (time.monotonic() - started)) if rate else 0
            if pause and self.git.stopping.wait(pause):
                self._break_off()
                return
        self.wfile.write(b"0\r\n\r\n")

    def _break_off(self) -> None:
        """Reset the connection, as a network that fails does."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
