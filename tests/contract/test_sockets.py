"""Posting to many connections: the port in memory, and the one on API Gateway's API over HTTP."""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import pytest

from headstart.adapters.aws import make_client
from headstart.adapters.memory import MemoryPorts, MemorySockets
from headstart.adapters.sockets import AT_ONCE, ApiGatewaySockets
from headstart.domain import channel, events
from headstart.domain.change import Change
from headstart.domain.errors import ConnectionGone
from headstart.usecases.change import change
from headstart.usecases.inbox import receive
from headstart.usecases.ports import Sockets
from tests.unit.helpers import created
from tests.unit.test_viewers import SUBSCRIBE, connected

PATIENCE = 30

Answer = tuple[int, str]
TAKEN: Answer = (200, "")
GONE: Answer = (410, "GoneException")
FORBIDDEN: Answer = (403, "ForbiddenException")


class Gateway(ThreadingHTTPServer):
    """PostToConnection: what each connection was sent, and how many were served at a time.

    A request is answered when `awaits` returns, which is told whose it is.
    """

    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sent: dict[str, list[str]] = defaultdict(list)
        self.answers: dict[str, Answer] = {}
        self.awaits: Callable[[str], object] = lambda _: None
        self.most = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def serve(self, connection_id: str, text: str) -> Answer:
        """Take a message, or not."""
        with self._lock:
            self._at_once += 1
            self.most = max(self.most, self._at_once)
        self.awaits(connection_id)
        answer = self.answers.get(connection_id, TAKEN)
        with self._lock:
            self._at_once -= 1
            if answer is TAKEN:
                self.sent[connection_id].append(text)
        return answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Gateway

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        try:
            status, error = self.server.serve(unquote(self.path.rpartition("/")[2]), body)
        except threading.BrokenBarrierError:
            status, error = 400, "NobodyElseCame"
        self.send_response(status)
        if error:
            self.send_header("x-amzn-ErrorType", error)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join(PATIENCE)


@pytest.fixture
def client(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    made = make_client("apigatewaymanagementapi", f"http://127.0.0.1:{gateway.server_port}/live")
    yield made
    made.close()


@pytest.fixture(params=["memory", "gateway"])
def sockets(request: pytest.FixtureRequest) -> Sockets:
    if request.param == "memory":
        return MemorySockets()
    return ApiGatewaySockets(request.getfixturevalue("client"))


def names(count: int) -> list[str]:
    return [f"v{number}" for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 2, AT_ONCE + 1])
def test_what_came_of_each_comes_in_order(sockets: Sockets, count: int) -> None:
    assert sockets.for_each(names(count), str.upper) == [n.upper() for n in names(count)]


@pytest.mark.parametrize("count", [1, AT_ONCE * 3])
def test_it_is_done_for_all_before_an_error_is_raised(sockets: Sockets, count: int) -> None:
    done = []

    def do(name: str) -> None:
        if name in {"v0", "v9"}:
            raise ConnectionGone(name)
        done.append(name)

    with pytest.raises(ConnectionGone, match="v0"):
        sockets.for_each(names(count), do)
    assert sorted(done) == sorted(set(names(count)) - {"v0", "v9"})


def test_one_connection_takes_no_thread(client: Any) -> None:
    took = ApiGatewaySockets(client).for_each(["v0"], lambda _: threading.current_thread())
    assert took == [threading.current_thread()]


def test_no_thread_outlives_the_call(client: Any) -> None:
    before = set(threading.enumerate())
    took = ApiGatewaySockets(client).for_each(names(50), lambda _: threading.current_thread())
    assert not [thread for thread in set(took) - before if thread.is_alive()]
    assert 1 < len(set(took) - before) <= AT_ONCE


# Viewers.


@pytest.fixture
def ports(client: Any) -> MemoryPorts:
    ports = MemoryPorts()
    ports.sockets = ApiGatewaySockets(client)  # type: ignore[assignment]  the real one
    return ports


def watched(ports: MemoryPorts, gateway: Gateway, viewers: int) -> str:
    """Return a session that has viewers, who were sent nothing yet."""
    session_id = created(ports)
    for name in names(viewers):
        connected(ports, session_id, name)
        receive(ports, name, SUBSCRIBE)
    gateway.sent.clear()
    gateway.most = 0
    ports.metrics.measured.clear()
    return session_id


def say_two_frames(ports: MemoryPorts, session_id: str) -> None:
    """Make a change whose events need two frames."""

    def decide(work: Change) -> None:
        for letter in "ab":
            work.emit(events.SessionAsleep(reason=letter * (channel.BATCH_BYTES - 1000)))

    change(ports, session_id, decide)


def first_letters(texts: list[str]) -> list[str]:
    return [json.loads(text)["events"][0]["data"]["reason"][0] for text in texts]


def test_viewers_are_posted_to_a_few_at_a_time_and_each_in_order(
    ports: MemoryPorts, gateway: Gateway
) -> None:
    session_id = watched(ports, gateway, AT_ONCE * 5)
    together = threading.Barrier(AT_ONCE)
    gateway.awaits = lambda _: together.wait(PATIENCE)
    say_two_frames(ports, session_id)
    assert gateway.most == AT_ONCE
    assert {name: first_letters(texts) for name, texts in gateway.sent.items()} == {
        name: ["a", "b"] for name in names(AT_ONCE * 5)
    }
    assert ports.metrics.measured == []


def test_a_slow_viewer_holds_up_no_other_and_is_waited_for(
    ports: MemoryPorts, gateway: Gateway
) -> None:
    session_id = watched(ports, gateway, 50)
    others = threading.Semaphore(0)

    def awaits(name: str) -> None:
        if name != "v0":
            others.release()
        elif not gateway.sent["v0"]:
            for _ in range(2 * 49):
                assert others.acquire(timeout=PATIENCE)

    gateway.awaits = awaits
    say_two_frames(ports, session_id)
    assert first_letters(gateway.sent["v0"]) == ["a", "b"]
    assert sum(map(len, gateway.sent.values())) == 100


def test_what_ails_some_is_counted_once_each_and_ails_no_other(
    ports: MemoryPorts, gateway: Gateway
) -> None:
    session_id = watched(ports, gateway, 50)
    gone, refused = names(50)[5:25], names(50)[30:33]
    gateway.answers = dict.fromkeys(gone, GONE) | dict.fromkeys(refused, FORBIDDEN)
    say_two_frames(ports, session_id)
    assert sorted(gateway.sent) == sorted(set(names(50)) - {*gone, *refused})
    assert ports.metrics.measured == [
        ("GoneSockets", 20, {"Role": "viewer"}),
        ("PostsFailed", 3, {"Role": "viewer"}),
    ]
    assert sorted(ports.store.known) == sorted(set(names(50)) - set(gone))


def test_no_two_threads_make_the_classes_of_errors(client: Any, gateway: Gateway) -> None:
    """Each would catch its own ones only, and take a connection that is gone for a failure."""
    load, made_by = client._load_exceptions, []

    def noted() -> Any:
        made_by.append(threading.current_thread())
        return load()

    client._load_exceptions = noted
    gateway.answers = dict.fromkeys(names(50), GONE)
    sockets = ApiGatewaySockets(client)
    with pytest.raises(ConnectionGone):
        sockets.for_each(names(50), lambda name: sockets.post(name, "text"))
    assert made_by == [threading.current_thread()]
