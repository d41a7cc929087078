"""A git server over real smart HTTP on loopback: `git http-backend` behind a small bridge.

For demos and tests: it can ask for credentials, answer as told instead, be slow and break off in
the middle, and it notes what it was asked.
"""

import base64
import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
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
MOST_ASKED = 1_000
"""Requests that are remembered, 2 KB each."""

_OF_A_REPOSITORY = re.compile(r"/(?:info/refs|info/lfs/.*|git-upload-pack|git-receive-pack|HEAD)$")


@dataclass(frozen=True)
class Behaviour:
    """How the server treats fetches: seconds before the answer, speed, when it breaks off.

    Without `filters` it leaves nothing out, whatever a partial clone asks for.
    """

    delay_seconds: float = 0.0
    bytes_per_second: int | None = None
    close_after_bytes: int | None = None
    filters: bool = True


@dataclass
class Asked:
    """A request: `repository` is its path without slashes around it and without `.git`.

    `user` and `password` are what HTTP Basic brought, "" for nothing; `received` and `sent` count
    the bytes of the bodies, and grow while they pass.
    """

    method: str
    path: str
    repository: str
    write: bool
    headers: Mapping[str, str]
    user: str = ""
    password: str = field(default="", repr=False)
    received: int = 0
    sent: int = 0


@dataclass(frozen=True)
class Reply:
    """An answer in the place of git's own."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


Authorize = Callable[[str, str, str, bool], bool]
"""Whether a user with a password may use a repository, for writing or only for reading."""


class GitServer:
    """Serves the bare repositories of a folder, and of folders in it, while it is entered.

    `authorize` says who is let in, the others get a 401; without it that is `credentials`, which
    maps a repository's path to the users it lets in, name to password; other repositories are
    open. `reply` may answer in git's place. `authorize`, `reply` and `behaviour` may be set while
    the server runs, for what starts later. `asked` is what was asked last, in order.
    """

    def __init__(
        self,
        folder: Path,
        *,
        credentials: Mapping[str, Mapping[str, str]] | None = None,
        authorize: Authorize | None = None,
        behaviour: Behaviour | None = None,
    ) -> None:
        self.folder = folder
        self.credentials = dict(credentials or {})
        self.authorize = authorize or self._authorize
        self.reply: Callable[[Asked], Reply | None] = lambda asked: None
        self.behaviour = behaviour or Behaviour()
        self.asked: list[Asked] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._backends: set[subprocess.Popen[bytes]] = set()
        server = self

        class Handler(_Handler):
            git = server

        self._httpd = _Server(("127.0.0.1", 0), Handler)
        self._httpd.daemon_threads = True
        self._thread = threading.Thread(target=self._httpd.serve_forever, args=(0.05,), daemon=True)

    @property
    def base_url(self) -> str:
        """The URL that all repositories are below."""
        return f"http://127.0.0.1:{self._httpd.server_address[1]}"

    def url(self, name: str) -> str:
        """Return the clone URL of a repository, a folder name such as `sample.git`."""
        return f"{self.base_url}/{name}"

    def _authorize(self, user: str, password: str, repository: str, write: bool) -> bool:
        allowed = self.credentials.get(f"{repository}.git", self.credentials.get(repository))
        return allowed is None or (user in allowed and allowed[user] == password)

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


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up, as one that is killed does."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


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
        asked = self._asked()
        self.git.asked.append(asked)
        del self.git.asked[:-MOST_ASKED]
        reply = self.git.reply(asked)
        if reply is None and not self.git.authorize(
            asked.user, asked.password, asked.repository, asked.write
        ):
            reply = Reply(401, {"WWW-Authenticate": 'Basic realm="git"'})
        if reply is not None:
            self._reply(reply, asked)
            return
        behaviour = self.git.behaviour
        if behaviour.delay_seconds and self.git.stopping.wait(behaviour.delay_seconds):
            return
        with self.git.backend(self._environment(asked.user)) as process:
            if process.stdin is None or not isinstance(process.stdout, BufferedReader):
                return
            with process.stdin, process.stdout:
                feeding = (process.stdin, asked)
                feeder = threading.Thread(target=self._feed, args=feeding, daemon=True)
                feeder.start()
                try:
                    self._answer(process.stdout, behaviour, asked)
                except OSError:
                    self.close_connection = True
                feeder.join(_JOIN_SECONDS)

    def _asked(self) -> Asked:
        parts = urlsplit(self.path)
        repository = _OF_A_REPOSITORY.sub("", unquote(parts.path)).strip("/").removesuffix(".git")
        user, password = self._credentials()
        write = "git-receive-pack" in (
            parts.path.rpartition("/")[2],
            parts.query.rpartition("=")[2],
        )
        return Asked(self.command, self.path, repository, write, dict(self.headers), user, password)

    def _credentials(self) -> tuple[str, str]:
        """Return who asks and how that is shown (RFC 7617), "" twice for nobody in particular."""
        scheme, _, encoded = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return "", ""
        try:
            user, _, password = base64.b64decode(encoded).decode().partition(":")
        except ValueError:
            return "", ""
        return user, password

    def _reply(self, reply: Reply, asked: Asked) -> None:
        # Whoever still sends when the connection ends never sees the answer.
        for chunk in self._body():
            asked.received += len(chunk)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

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

    def _feed(self, sink: IO[bytes], asked: Asked) -> None:
        with contextlib.suppress(OSError, ValueError), sink:
            for chunk in self._body():
                asked.received += len(chunk)
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

    def _answer(self, source: BufferedReader, behaviour: Behaviour, asked: Asked) -> None:
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
        self._stream(source, behaviour if fetch else Behaviour(), asked)

    def _stream(self, source: BufferedReader, behaviour: Behaviour, asked: Asked) -> None:
        started = time.monotonic()
        rate, limit = behaviour.bytes_per_second, behaviour.close_after_bytes
        # Small pieces make a slow answer flow instead of stutter.
        size = max(1, min(_CHUNK, rate // 10)) if rate else _CHUNK
        while chunk := source.read1(size):
            if limit is not None and asked.sent + len(chunk) > limit:
                self._break_off()
                return
            self.wfile.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            self.wfile.flush()
            asked.sent += len(chunk)
            pause = max(0, asked.sent / rate - (time.monotonic() - started)) if rate else 0
            if pause and self.git.stopping.wait(pause):
                self._break_off()
                return
        self.wfile.write(b"0\r\n\r\n")

    def _break_off(self) -> None:
        """Reset the connection, as a network that fails does."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
