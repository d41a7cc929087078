"""HTTP as the fake Headstart speaks it: requests as they came, answers, and those that get lost."""

import json
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

# The API has these for the page's origin on each answer of its own, preflights included.
CORS = {
    "access-control-allow-origin": "*",
    "access-control-allow-headers": "authorization, content-type, idempotency-key",
    "access-control-allow-methods": "GET, POST, PATCH, DELETE",
    "access-control-expose-headers": "retry-after",
}


@dataclass
class Seen:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


@dataclass
class Reply:
    """A canned answer; a status of 0 closes the connection without one.

    A page of another origin can't read a `hidden` one: a gateway refused before the API was asked.
    """

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    hidden: bool = False


class Answering(Protocol):
    """Who answers: canned replies first."""

    lock: threading.RLock
    seen: list[Seen]
    canned: deque[Reply]

    def answer(self, request: Seen) -> Reply: ...


def handler(fake: Answering) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # A body goes after its headers, and would wait for somebody to have seen those.
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", 0))
            raw = self.rfile.read(length)
            address = urlsplit(self.path)
            request = Seen(
                self.command,
                address.path,
                parse_qs(address.query),
                {name.lower(): value for name, value in self.headers.items()},
                json.loads(raw) if raw else None,
            )
            with fake.lock:
                fake.seen.append(request)
                reply = fake.canned.popleft() if fake.canned else None
            reply = reply or fake.answer(request)
            if reply.status == 0:
                fake.answer(request)
                self.close_connection = True
                return
            body = reply.body if isinstance(reply.body, bytes) else b""
            if not isinstance(reply.body, bytes | None):
                body = json.dumps(reply.body).encode()
            self.send_response(reply.status)
            told = {"content-length": str(len(body))} | reply.headers
            for name, value in (told | ({} if reply.hidden else CORS)).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PATCH = do_DELETE = do_GET

        def do_OPTIONS(self) -> None:
            """Answer a browser's preflight, which no test has to do with."""
            self.send_response(204)
            for name, value in CORS.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Tests look at `seen`."""

    return Handler
