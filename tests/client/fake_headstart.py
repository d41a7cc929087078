"""A Headstart of real HTTP and real WebSocket on loopback, which does as the tests say.

It keeps sessions, numbers events, replays them in pages and burns tickets; faults are queued by
the tests: canned answers and lost replies for HTTP, a number of frames before a drop for sockets.
"""

import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fake_http import Reply, Seen, handler
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

NOW = "2026-01-02T03:04:05.678Z"
STEPS = ["sandbox", "disk", "clone", "branch", "restore", "setup", "agent", "deliver"]
SESSION_ID = "ses_0123456789abABCDEFGHIJKLMN"

Script = Iterable[tuple[str, dict[str, Any]]]
STATUS_AFTER = {
    "session.preparing": "preparing",
    "session.prepared": "prepared",
    "session.ready": "running",
    "session.failed": "failed",
    "session.asleep": "asleep",
    "turn.completed": "ready",
    "turn.failed": "ready",
    "turn.interrupted": "ready",
}
VOLATILE = {
    "preparing",
    "agent.delta",
    "agent.snapshot",
    "session.deleted",
    "runner.disconnected",
    "turn.retrying",
}
DEFAULTS = {
    "agent": "demo",
    "mode": None,
    "model": None,
    "agents": [{"name": "demo", "modes": ["code"], "models": []}],
    "limits": {"activeSessions": 10, "promptBytes": 100000},
}


@dataclass
class FakeSession:
    """One session: its events, who watches, and what happens once somebody does."""

    session_id: str = SESSION_ID
    title: str = "Say hello"
    status: str = "preparing"
    failure: dict[str, Any] | None = None
    queue: list[dict[str, Any]] = field(default_factory=list)
    active_turn: dict[str, Any] | None = None
    attempt: int = 1
    revision: int = 0
    steps: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    pending_inputs: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    archive: dict[str, Any] | None = None
    changes: dict[str, Any] | None = None
    diff: dict[str, Any] | None = None
    publication: dict[str, Any] | None = None
    counts: dict[str, int] = field(default_factory=lambda: {"envVars": 0})
    publishes: Script = ()
    texts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    logs: list[dict[str, Any]] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    script: Script = ()
    viewers: list["Viewer"] = field(default_factory=list)

    def move(self, kind: str, data: dict[str, Any]) -> None:
        """Let the queue show what an event says of it."""
        status = {"message.held": "held", "message.failed": "held"}.get(kind)
        if kind == "message.queued":
            self.queue.append({"messageId": data["messageId"], "status": "queued"})
        elif kind == "turn.started":
            self.queue = [m for m in self.queue if m["messageId"] != data["messageId"]]
        elif status:
            for message in self.queue:
                if message["messageId"] == data["messageId"]:
                    message["status"] = status

    def view(self) -> dict[str, Any]:
        return {
            "sessionId": self.session_id,
            "title": self.title,
            "status": self.status,
            "createdAt": NOW,
            "updatedAt": NOW,
            "preparedAt": None,
            "initiatedAt": None,
            "lastEventId": len(self.events),
            "repository": {"gitUrl": "https://example.com/r.git", "branch": "session-x"},
            "agent": "demo",
            "mode": "code",
            "model": None,
            "attempt": {
                "number": self.attempt,
                "cause": "created",
                "status": "running",
                "startedAt": NOW,
                "endedAt": None,
                "revision": self.revision,
                "steps": [
                    {"step": name, "status": "pending", **self.steps.get(name, {})}
                    for name in STEPS
                ],
            },
            "failure": self.failure,
            "queue": self.queue,
            "activeTurn": self.active_turn,
            "pendingInputs": self.pending_inputs,
            "leftOut": self.left_out,
            "changes": None,
            "publication": self.publication,
            "counts": self.counts,
        }


class Viewer:
    """One connection; after `budget` frames it drops without a word."""

    def __init__(self, connection: ServerConnection, budget: int | None) -> None:
        self.connection = connection
        self.budget = budget

    def send(self, frame: dict[str, Any]) -> None:
        if self.budget == 0:
            with suppress(OSError):
                self.connection.socket.shutdown(socket.SHUT_RDWR)
            return
        if self.budget is not None:
            self.budget -= 1
        with suppress(ConnectionClosed, OSError):
            self.connection.send(json.dumps(frame))


class FakeHeadstart:
    """The server; `url` is the API's. Everything the tests look at is a plain attribute."""

    def __init__(self) -> None:
        self.sessions: dict[str, FakeSession] = {}
        self.seen: list[Seen] = []
        self.canned: deque[Reply] = deque()
        self.drops: deque[int] = deque()
        self.next_session: FakeSession = FakeSession()
        self.wait_statuses: deque[str] = deque()
        self.page_size = 3
        self.list_size = 2
        self.messages = 1
        self.prompt = ""
        self.pings = 0
        self.answers_pings = True
        self.on_ping: Callable[[int], None] = lambda count: None
        self.tickets: set[str] = set()
        self.tickets_made = 0
        self.lock = threading.RLock()
        self.idempotent: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.key: dict[str, Any] = {}
        self.warnings: list[dict[str, Any]] = []

    # What tests do.

    def add(self, session: FakeSession) -> FakeSession:
        self.sessions[session.session_id] = session
        return session

    def emit(self, session: FakeSession, kind: str, data: dict[str, Any]) -> None:
        """Let something happen, for the record and for all who watch."""
        with self.lock:
            event: dict[str, Any] = {
                "eventId": None if kind in VOLATILE else len(session.events) + 1,
                "sessionId": session.session_id,
                "type": kind,
                "timestamp": NOW,
                "data": data,
            }
            if event["eventId"]:
                session.events.append(event)
            session.status = STATUS_AFTER.get(kind, session.status)
            if kind == "session.failed":
                session.failure = data["failure"]
            session.move(kind, data)
            for viewer in session.viewers:
                viewer.send({"type": "events", "events": [event]})

    def requests(self, method: str, ending: str) -> list[Seen]:
        return [s for s in self.seen if s.method == method and s.path.endswith(ending)]

    # HTTP.

    def answer(self, request: Seen) -> Reply:
        parts = request.path.strip("/").split("/")[1:]
        match parts:
            case ["defaults" | "health" | "encryption-key" as name]:
                open_to_all = {"health": {"status": "ok"}, "encryption-key": self.key}
                body = open_to_all.get(name, DEFAULTS)
                return Reply(200, body, {"date": formatdate(usegmt=True)})
            case [_, session_id, "logs" | "texts" | "messages" as what, *ref] if (
                request.method == "DELETE" or what != "messages"
            ):
                return self._kept(self.sessions[session_id], what, ref)
            case ["files", name]:
                return Reply(200, self.files[name])
            case [_, session_id, "archive" | "changes" | "diff" as what]:
                archive = getattr(self.sessions[session_id], what)
                nothing = problem(404, "ArchiveNotFound", "Nothing is saved")
                return Reply(200, archive) if archive else nothing
            case [_, session_id, "publish"]:
                session = self.sessions[session_id]
                for kind, data in session.publishes:
                    self.emit(session, kind, data)
                return Reply(202, session.view())
            case _:
                return self._answer(request, parts)

    def _answer(self, request: Seen, parts: list[str]) -> Reply:
        if len(parts) == 1:
            listing = request.method == "GET"
            return Reply(200, self._list(request)) if listing else Reply(202, self._create(request))
        session = self.sessions.get(parts[1])
        if session is None:
            return problem(404, "SessionNotFound", "No such session")
        body: Any = {}
        match request.method, parts[2:]:
            case "GET" | "PATCH", []:
                session.title = (request.body or {}).get("title", session.title)
                body = session.view()
            case "GET", ["wait"]:
                with self.lock:
                    if self.wait_statuses:
                        session.status = self.wait_statuses.popleft()
                body = session.view()
            case "GET", ["events"]:
                after = int(request.query["after"][0])
                page = session.events[after : after + self.page_size]
                end = after + len(page)
                body = {
                    "items": page,
                    "nextCursor": str(end) if end < len(session.events) else None,
                }
            case "GET", ["messages"]:
                at = int(request.query.get("cursor", ["1"])[0])
                named = f"msg_{at}"
                status = "withdrawn" if named in session.withdrawn else "held"
                item = {"messageId": named, "text": self.prompt, "status": status, "createdAt": NOW}
                following = str(at + 1) if at < self.messages else None
                body = {"items": [item], "nextCursor": following}
            case "POST", ["stream-ticket"]:
                body = self.stream(session)
            case "POST", ["messages"]:
                data = {"messageId": "msg_2", "position": 1, "text": request.body["prompt"]}
                self.emit(session, "message.queued", data)
                body = {"messageId": "msg_2", "status": "queued", "createdAt": NOW}
            case "POST", ["initiate"]:
                for message in session.queue:
                    message["status"] = "queued"
        return Reply(202, body)

    def _create(self, request: Seen) -> dict[str, Any]:
        key = request.headers["idempotency-key"]
        with self.lock:
            if key not in self.idempotent:
                session = self.add(self.next_session)
                self.idempotent[key] = {
                    "sessionId": session.session_id,
                    "status": "preparing",
                    "attemptNumber": 1,
                    "createdAt": NOW,
                }
        body = self.idempotent[key]
        stream = self.stream(self.sessions[body["sessionId"]])
        return body | {"stream": stream, "warnings": self.warnings}

    def _list(self, request: Seen) -> dict[str, Any]:
        items = [summary(session) for session in self.sessions.values()]
        words = request.query.get("search", [""])[0].lower().split()
        items = [i for i in items if all(word in i["title"].lower() for word in words)]
        at = int(request.query.get("cursor", ["0"])[0])
        end = at + self.list_size
        following = str(end) if end < len(items) else None
        return {"items": items[at:end], "nextCursor": following}

    def _kept(self, session: FakeSession, what: str, ref: list[str]) -> Reply:
        """Answer one scripted page of a text after the other; the last one again and again."""
        if what == "logs":
            return Reply(200, {"items": session.logs, "nextCursor": None})
        if what == "messages":
            if ref[0] not in session.withdrawn:
                session.withdrawn.append(ref[0])
                self.emit(session, "message.withdrawn", {"messageId": ref[0]})
            return Reply(202, {})
        pages = session.texts.get(ref[0])
        if pages is None:
            return problem(404, "TextNotFound", "There is no such text")
        return Reply(200, pages.pop(0) if len(pages) > 1 else pages[0])

    def stream(self, session: FakeSession) -> dict[str, Any]:
        with self.lock:
            self.tickets_made += 1
            ticket = f"{session.session_id}.{self.tickets_made}"
            self.tickets.add(ticket)
        return {"url": self.stream_url, "ticket": ticket, "expiresAt": NOW}

    # WebSocket.

    def admit(self, connection: ServerConnection, request: Any) -> Any:
        ticket = parse_qs(urlsplit(request.path).query).get("ticket", [""])[0]
        with self.lock:
            if ticket not in self.tickets:
                return connection.respond(401, "refused")
            self.tickets.discard(ticket)
        return None

    def serve_viewer(self, connection: ServerConnection) -> None:
        ticket = parse_qs(urlsplit(connection.request.path).query)["ticket"][0]
        session = self.sessions[ticket.split(".")[0]]
        with self.lock:
            viewer = Viewer(connection, self.drops.popleft() if self.drops else None)
        try:
            for raw in connection:
                self._take(session, viewer, json.loads(raw))
        except (ConnectionClosed, OSError):
            pass
        finally:
            with self.lock:
                if viewer in session.viewers:
                    session.viewers.remove(viewer)

    def _take(self, session: FakeSession, viewer: Viewer, frame: dict[str, Any]) -> None:
        if frame["action"] == "ping":
            self.pings += 1
            if self.answers_pings:
                viewer.send({"type": "pong", "lastEventId": len(session.events)})
            self.on_ping(self.pings)
            return
        with self.lock:
            if viewer not in session.viewers:
                session.viewers.append(viewer)
            self._replay(session, viewer, frame["after"])
            script, session.script = session.script, ()
        for kind, data in script:
            self.emit(session, kind, data)

    def _replay(self, session: FakeSession, viewer: Viewer, after: int) -> None:
        page = session.events[after : after + self.page_size]
        through = after + len(page)
        snapshot = {
            "eventId": None,
            "sessionId": session.session_id,
            "type": "session.snapshot",
            "timestamp": NOW,
            "data": session.view(),
        }
        viewer.send({"type": "events", "events": [snapshot]})
        if page:
            viewer.send({"type": "events", "events": page})
        more = through < len(session.events)
        viewer.send({"type": "replayed", "through": through, "more": more})


def summary(session: FakeSession) -> dict[str, Any]:
    """Return a session as a list has it: what waits and what is asked is only counted."""
    view = session.view()
    names = ["sessionId", "title", "status", "createdAt", "updatedAt", "repository", "agent"]
    return {
        **{name: view[name] for name in names},
        "queueLength": len(view["queue"]),
        "pendingInputCount": len(view["pendingInputs"]),
        "failure": view["failure"],
    }


def page(*texts: str, offset: int = 0, cursor: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a page of a long text; one with a `cursor` has another behind it."""
    items = []
    for text in texts:
        items.append({"offset": offset, "text": text})
        offset += len(text.encode())
    said = {"complete": cursor is None, "truncated": False, "nextCursor": cursor} | more
    return {"items": items, "bytes": offset, **said}


def problem(status: int, code: str, detail: str, **more: Any) -> Reply:
    """Return a problem document as the API writes them."""
    body = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code}
    body |= {"retryable": status in {429, 503}, "requestId": "req-1"} | more
    return Reply(status, body, {"content-type": "application/problem+json"})


@contextmanager
def running(fake: FakeHeadstart | None = None) -> Iterator[FakeHeadstart]:
    """Serve on two free ports until the end of the block."""
    fake = fake or FakeHeadstart()
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler(fake))
    http.daemon_threads = True
    http.block_on_close = False
    sockets = serve(fake.serve_viewer, "127.0.0.1", 0, process_request=fake.admit)
    fake.url = f"http://127.0.0.1:{http.server_port}/stage"
    fake.stream_url = f"ws://127.0.0.1:{sockets.socket.getsockname()[1]}/stage"
    servers: list[ThreadingHTTPServer | Server] = [http, sockets]
    threads = [
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True),
        threading.Thread(target=sockets.serve_forever, daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        yield fake
    finally:
        for server in servers:
            server.shutdown()
        http.server_close()
        for thread in threads:
            thread.join()
