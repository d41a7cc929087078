"""Whole flows: the real template in the embedded cloud, driven from outside as a caller would."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import boto3
import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from headstart_local.git_server import GitServer
from headstart_local.processes import wait_for_an_end

PATIENCE = 60.0
"""Seconds any flow may take: an attempt must end within a minute whatever dies."""


def long(*values: Any) -> list[Any]:
    """Mark parameters whose tests do not block a merge."""
    return [pytest.param(value, marks=pytest.mark.long) for value in values]


@dataclass
class Cloud:
    """A running embedded cloud and how to call it."""

    info: dict[str, str]
    pid: int
    log: Path
    clients: dict[str, httpx.Client] = field(default_factory=dict)
    created: list[tuple[str, str]] = field(default_factory=list)
    looks: dict[tuple[str, str], Any] = field(default_factory=dict, repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def client(self, sub: str = "demo") -> httpx.Client:
        """Return an HTTP client that calls as that user."""
        with self.lock:
            if sub not in self.clients:
                token = self.info["token"] if sub == "demo" else self.token(sub)
                self.clients[sub] = httpx.Client(
                    base_url=self.info["httpUrl"],
                    headers={"Authorization": f"Bearer {token}"},
                    timeout=PATIENCE,
                )
            return self.clients[sub]

    def token(self, sub: str, *groups: str) -> str:
        """Return a token for a user, who joins these groups."""
        joins = [word for group in groups for word in ("--group", group)]
        return subprocess.run(
            [sys.executable, "-m", "headstart_client.cli", "token", "--sub", sub, *joins],
            env={**os.environ, "HEADSTART_URL": self.info["httpUrl"]},
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        ).stdout.strip()

    def create(self, sub: str = "demo", **body: Any) -> dict[str, Any]:
        """Create a session and return the answer to the POST."""
        body = {"prompt": "What is in here?", "gitUrl": self.info["gitUrl"], **body}
        answer = self.client(sub).post("/sessions", json=body)
        assert answer.status_code == 202, answer.text
        created: dict[str, Any] = answer.json()
        self.created.append((sub, created["sessionId"]))
        return created

    def aws(self, service: str, endpoint: str | None = None) -> Any:
        """Return a client that looks into the cloud, the same one each time."""
        parts = urlsplit(self.info["httpUrl"])
        url = endpoint or f"{parts.scheme}://{parts.netloc}"
        with self.lock:
            if (service, url) not in self.looks:
                self.looks[service, url] = boto3.client(
                    service,
                    endpoint_url=url,
                    region_name="us-east-1",
                    aws_access_key_id="000000000000",
                    aws_secret_access_key="test",
                )
            return self.looks[service, url]

    def delete_created(self) -> None:
        """Delete what was created, so that quotas and processes are free for the next test."""
        while self.created:
            sub, session_id = self.created.pop()
            self.client(sub).delete(f"/sessions/{session_id}")

    def get(self, session_id: str) -> dict[str, Any]:
        """Return a session."""
        found: dict[str, Any] = self.client().get(f"/sessions/{session_id}").json()
        return found

    def wait(self, session_id: str, status: str = "preparing") -> dict[str, Any]:
        """Return the session once its status is another."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            path = f"/sessions/{session_id}/wait"
            query = {"while": status, "seconds": "20"}
            answer = self.client().get(path, params=query)
            if answer.status_code >= 500:  # the worker was killed under us; reads are repeated
                continue
            found: dict[str, Any] = answer.json()
            if found["status"] != status:
                return found
        pytest.fail(f"{session_id} was {status} for more than a minute")

    def events(self, session_id: str) -> list[dict[str, Any]]:
        """Return all persisted events."""
        items: list[dict[str, Any]] = []
        cursor: str | None = "0"
        while cursor:
            path = f"/sessions/{session_id}/events"
            page = self.client().get(path, params={"after": cursor}).json()
            items += page["items"]
            cursor = page["nextCursor"]
        return items

    @contextlib.contextmanager
    def watch(self, session_id: str, after: int = 0) -> "Iterator[Viewer]":
        """Connect a viewer with a fresh ticket, and subscribe."""
        stream = self.client().post(f"/sessions/{session_id}/stream-ticket").json()
        with connect(f"{stream['url']}?ticket={stream['ticket']}") as socket:
            viewer = Viewer(socket)
            viewer.send({"action": "subscribe", "after": after})
            yield viewer


@dataclass
class Viewer:
    """One WebSocket client; every frame it got is kept."""

    socket: ClientConnection
    frames: list[dict[str, Any]] = field(default_factory=list)

    def send(self, frame: dict[str, Any]) -> None:
        """Send a frame."""
        self.socket.send(json.dumps(frame))

    def next(self) -> dict[str, Any]:
        """Return the next frame."""
        frame: dict[str, Any] = json.loads(self.socket.recv(timeout=PATIENCE))
        self.frames.append(frame)
        return frame

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read on until an event is wanted; returns it."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for event in self.next().get("events", []):
                if wanted(event):
                    found: dict[str, Any] = event
                    return found
        pytest.fail("the event never came")

    def until_type(self, *types: str) -> dict[str, Any]:
        """Read on until an event of one of these types."""
        return self.until(lambda event: event["type"] in types)

    def until_step(self, step: str) -> dict[str, Any]:
        """Read on until a step has begun; it may have done so before the viewer came."""

        def has_begun(event: dict[str, Any]) -> bool:
            data = event["data"]
            if event["type"] == "snapshot":
                known = {state["step"]: state["status"] for state in data["attempt"]["steps"]}
                return known[step] != "pending"
            return bool(event["type"] == "preparing" and data["step"] == step)

        return self.until(has_begun)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every event so far."""
        return [event for frame in self.frames for event in frame.get("events", [])]


def processes_of(session_id: str) -> list[int]:
    """Return the process ids of a session's runner: its environment names the session."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            environment = (folder / "environ").read_bytes()
            command = (folder / "cmdline").read_bytes().split(b"\0")
            marked = f"HEADSTART_SESSION_ID={session_id}".encode() in environment
            if marked and b"headstart_runner" in command:
                found.append(int(folder.name))
    return found


def runner_is_gone(session_id: str) -> bool:
    """Wait for the end of a session's runner; returns whether there is none."""
    end = time.monotonic() + PATIENCE
    while living := processes_of(session_id):
        if time.monotonic() > end:
            return False
        wait_for_an_end(living, end - time.monotonic())
    return True


def kill_runner(session_id: str) -> None:
    """Kill a session's runner as the kernel's out-of-memory killer would."""
    end = time.monotonic() + PATIENCE
    while not (pids := processes_of(session_id)):
        assert time.monotonic() < end, "the runner never started"
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


CALLBACKS = ("--parameter", "AllowedCallbackTargets=http://127.0.0.1:*")
"""Receivers of tests are here, and speak no TLS."""


@pytest.fixture(scope="session")
def running_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("cloud") / "log") as cloud:
        yield cloud


@contextlib.contextmanager
def running(log: Path, *arguments: str) -> Iterator[Cloud]:
    """Run an embedded cloud of its own; its log, those of its functions included, is a file."""
    command = [sys.executable, "-m", "headstart_client.cli", "up", "--json", "--verbose"]
    with log.open("w") as errors:
        process = subprocess.Popen(
            [*command, "--port", "0", "--allow-git", "http://127.0.0.1:*", *CALLBACKS, *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        assert process.stdout
        line = process.stdout.readline()
        assert line, log.read_text()
        cloud = Cloud(json.loads(line), process.pid, log)
        try:
            yield cloud
        finally:
            for client in cloud.clients.values():
                client.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
            process.stdout.close()


@pytest.fixture
def cloud(running_cloud: Cloud) -> Iterator[Cloud]:
    yield running_cloud
    running_cloud.delete_created()


def git(folder: Path, *arguments: str) -> str:
    """Run git with an author of our own and no configuration of the machine's."""
    names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        **dict.fromkeys(names, "test@example.com"),
    }
    return subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True, text=True
    ).stdout


@dataclass
class Repositories:
    """Bare repositories served over real HTTP."""

    root: Path
    server: GitServer

    def make(self, name: str, files: dict[str, str], branch: str = "main") -> str:
        """Make a repository of one commit, or an empty one; returns its URL."""
        bare = self.root / f"{name}.git"
        git(self.root, "init", "--quiet", "--bare", f"--initial-branch={branch}", str(bare))
        if files:
            work = self.root / f"{name}-work"
            git(self.root, "clone", "--quiet", str(bare), str(work))
            for path, text in files.items():
                target = work / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)
            git(work, "add", "--all")
            git(work, "commit", "--quiet", "--message=Begin")
            git(work, "push", "--quiet", "origin", f"HEAD:{branch}")
        return self.server.url(quote(f"{name}.git"))


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repositories]:
    root = tmp_path_factory.mktemp("repositories")
    with GitServer(root) as server:
        yield Repositories(root, server)
