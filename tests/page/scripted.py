"""A cloud that does as a test says, for what no demo agent does: odd answers at a given moment.

The client's fake is this already, on real sockets; a browser asks it for some more.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import fake_headstart
from fake_headstart import NOW, FakeHeadstart, FakeSession, Reply, Seen, Viewer, problem
from playwright.sync_api import Page, expect

from headstart_local.page_server import PageServer
from tests.page.browser import PATIENCE

WEB = Path(__file__).parents[2] / "web"
PIECE = 16 * 1024

DEFAULTS = {
    "agent": "opencode",
    "mode": None,
    "model": None,
    "agents": [
        {"name": "opencode", "modes": ["build", "plan"], "models": ["stub/small", "stub/large"]},
        {"name": "demo", "modes": ["build"], "models": []},
    ],
    "limits": {
        "activeSessions": 10,
        "promptBytes": 100_000,
        "envVars": 50,
        "setupCommands": 20,
        "setupCommandCharacters": 10_000,
        "mcpServers": 20,
        "appendSystemPromptCharacters": 10_000,
        "bodyBytes": 262_144,
    },
}
LISTED = (
    "sessionId",
    "title",
    "status",
    "createdAt",
    "updatedAt",
    "repository",
    "agent",
    "failure",
)


def listed(session: FakeSession) -> dict[str, Any]:
    """Return a session as a list has it, which is without its steps."""
    view = session.view()
    return {name: view[name] for name in LISTED} | {
        "queueLength": len(session.queue),
        "pendingInputCount": len(session.pending_inputs),
        "failure": session.failure,
    }


def matches(one: dict[str, Any], asked: dict[str, str]) -> bool:
    """Say whether a list that is asked for so has a session."""
    url = one["repository"]["gitUrl"]
    text = f"{one['title']} {url}".lower()
    words = asked.get("search", "").lower().split()
    return all(word in text for word in words) and asked.get("repository", url) == url


class ScriptedCloud(FakeHeadstart):
    """The client's fake with the calls that only the page makes."""

    def __init__(self) -> None:
        super().__init__()
        self.page_size = 1_000
        self.joined = threading.Condition(self.lock)
        self.texts: dict[str, str] = {}
        """Long texts, those of logs included, by their references."""
        self.whole: dict[str, str] = {}
        """The whole of messages, by their ids."""
        self.open_texts: set[str] = set()
        """The references of texts to which more may come."""
        self.followed: set[str] = set()
        """The ids of sessions whose script somebody has seen."""
        self.unreachable = False
        """Whether requests get no answer at all."""
        self.refuses = False
        """Whether all tokens are refused, as API Gateway does it: a page can't read that."""

    def forget(self) -> None:
        """Be as at the beginning, at the same address."""
        new = vars(ScriptedCloud())
        with self.lock:
            vars(self).pop("answer", None)
            vars(self).update({name: new[name] for name in new if name not in {"lock", "joined"}})

    def answer(self, request: Seen) -> Reply:
        if self.unreachable:
            return Reply(0)
        if self.refuses and "authorization" in request.headers:
            return Reply(401, {"message": "Unauthorized"}, hidden=True)
        parts = request.path.strip("/").split("/")[1:]
        match request.method, parts:
            case "GET", ["health"]:
                body: Any = {"status": "ok"}
            case "GET", ["defaults"]:
                body = DEFAULTS
            case "GET", ["sessions"]:
                body = self._page({name: values[0] for name, values in request.query.items()})
            case "GET", ["sessions", _, "messages"]:
                told = {"status": "delivered", "createdAt": NOW}
                items = [{"messageId": name, "text": t, **told} for name, t in self.whole.items()]
                body = {"items": items, "nextCursor": None}
            case "GET", ["sessions", _, "logs"]:
                body = {"items": [self._log(ref) for ref in self.texts if ref.startswith("log.")]}
            case "GET", ["sessions", _, "texts", ref]:
                if ref not in self.texts:
                    return problem(404, "TextNotFound", "There is no such text")
                body = self.text_of(ref, int(request.query.get("cursor", ["0"])[0]))
            case "PATCH", ["sessions", session_id] if "title" in request.body:
                session = self.sessions[session_id]
                session.title = request.body["title"]
                self.emit(session, "session.renamed", {"title": session.title})
                body = session.view()
            case "DELETE", ["sessions", session_id, "messages", message_id]:
                session = self.sessions[session_id]
                session.queue = [m for m in session.queue if m["messageId"] != message_id]
                self.emit(session, "message.withdrawn", {"messageId": message_id})
                body = {}
            case _:
                return super().answer(request)
        return Reply(200, body)

    def _answer(self, request: Seen, parts: list[str]) -> Reply:
        reply = super()._answer(request, parts)
        if request.method == "DELETE" and (gone := self.sessions.pop(parts[1], None)):
            self.emit(gone, "session.deleted", {})
        return reply

    def _page(self, asked: dict[str, str]) -> dict[str, Any]:
        found = [one for one in map(listed, self.sessions.values()) if matches(one, asked)]
        at, limit = int(asked.get("cursor", "0")), int(asked.get("limit", "20"))
        following = str(at + limit) if at + limit < len(found) else None
        return {"items": found[at : at + limit], "nextCursor": following}

    def _log(self, ref: str) -> dict[str, Any]:
        _, attempt, step = ref.split(".")
        return {
            "attemptNumber": int(attempt),
            "step": step,
            "ref": ref,
            "bytes": len(self.texts[ref].encode()),
            "complete": ref not in self.open_texts,
            "truncated": False,
        }

    def text_of(self, ref: str, cursor: int = 0) -> dict[str, Any]:
        """Return a page of a long text."""
        whole = self.texts[ref].encode()
        complete = ref not in self.open_texts
        end = min(cursor + 10 * PIECE, len(whole))
        return {
            "items": [
                {"offset": start, "text": whole[start : min(start + PIECE, end)].decode()}
                for start in range(cursor, end, PIECE)
            ],
            "bytes": len(whole),
            "complete": complete,
            "truncated": False,
            "nextCursor": str(end) if end < len(whole) or not complete else None,
        }

    def _take(self, session: FakeSession, viewer: Viewer, frame: dict[str, Any]) -> None:
        super()._take(session, viewer, frame)
        if frame["action"] == "subscribe":
            with self.joined:
                self.followed.add(session.session_id)
                self.joined.notify_all()

    @contextmanager
    def watched(self, session: FakeSession) -> Iterator[None]:
        """Wait until what is done here has somebody follow a session and see its script."""
        self.followed.discard(session.session_id)
        yield
        with self.joined:
            seen = self.joined.wait_for(lambda: session.session_id in self.followed, PATIENCE)
        assert seen, "nobody followed the session"


@dataclass
class Place:
    """The page on a server of its own, and the cloud that it may connect to."""

    cloud: ScriptedCloud
    origin: str
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def link(self) -> str:
        """The link that connects the page, as `headstart up` prints it."""
        return f"{self.origin}/#api={self.cloud.url}&token=token"

    def session(self, **told: Any) -> FakeSession:
        """Put a session there, with an id of its own."""
        told.setdefault("session_id", f"ses_{next(self.numbers):026d}")
        return self.cloud.add(FakeSession(**told))

    def connect(self, tab: Page) -> None:
        """Connect a tab by the link."""
        tab.goto(self.link)
        expect(tab.locator("#create [name=prompt]")).to_be_visible()

    def open(self, tab: Page, session: FakeSession) -> None:
        """Connect a tab and go to a session's address; returns when it is followed."""
        self.connect(tab)
        self.go(tab, session)

    def go(self, tab: Page, session: FakeSession) -> None:
        """Go to another session's address, as its link in the list does."""
        # What a test answers in a file's place comes only while it waits for the browser.
        tab.evaluate("import('./session.js').then(() => null)")
        with self.cloud.watched(session):
            tab.evaluate("id => { location.hash = id; }", session.session_id)

    def lose(self, method: str, ending: str) -> None:
        """Have the next such call done, and its answer lost."""
        answer, lost = self.cloud.answer, iter([Reply(0)])

        def losing(seen: Seen) -> Reply:
            asked = seen.method == method and seen.path.endswith(ending)
            return (next(lost, None) if asked else None) or answer(seen)

        self.cloud.answer = losing

    def cut(self, session: FakeSession) -> None:
        """Cut the connection of all who follow a session, and answer no request any more."""
        self.cloud.unreachable = True
        with self.cloud.lock:
            for viewer in session.viewers:
                viewer.budget = 0
        self.tell(session, ("runner.disconnected", {}))

    def tell(self, session: FakeSession, *events: tuple[str, dict[str, Any]]) -> None:
        """Let these events happen."""
        for kind, data in events:
            self.cloud.emit(session, kind, data)


@contextmanager
def place() -> Iterator[Place]:
    """Serve both until the end of the block."""
    cloud = ScriptedCloud()
    with (
        fake_headstart.running(cloud),
        PageServer(WEB) as server,
        server.serving([f"{cloud.url}/", cloud.stream_url]),
    ):
        yield Place(cloud, server.origin)
