"""The embedded cloud measured: POST's latency, and the time to prepare."""

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import httpx

from headstart_local import sample_repo, tokens
from headstart_local.cloud import Cloud
from headstart_local.git_server import GitServer
from headstart_local.patches import PATCHES, PatchContext
from tests.bench import report
from tests.bench.counting import Meter

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "template.yaml"
SETUP = ["python3 -m compileall -q .", "git log --oneline -5"]
PATIENCE = 60.0
SHELL = """\
set -e
git clone --quiet "$1" work
cd work
git checkout --quiet -b session/bench
python3 -m compileall -q .
git log --oneline -5 > /dev/null
"""


class Onlooker(Protocol):
    """Who looks at what passes in a cloud."""

    def install(self, context: PatchContext) -> None:
        """Be a patch of the emulator."""

    def printed(self, function: str, line: str) -> None:
        """Take a line of a function's log."""


@contextlib.contextmanager
def cloud(onlooker: Onlooker) -> Iterator[tuple[Cloud, str]]:
    """Start an embedded cloud with a sample repository; yields it and the repository's URL."""
    with tempfile.TemporaryDirectory(prefix="headstart-bench-") as folder:
        sample_repo.create(Path(folder) / "sample.git")
        with GitServer(Path(folder)) as git:
            parameters = {"AllowedGitSources": f"{git.base_url}/*", "ActiveSessions": "1000"}
            patches = [*PATCHES, onlooker.install]
            with Cloud(
                TEMPLATE, parameters=parameters, patches=patches, on_log=onlooker.printed
            ) as running:
                yield running, git.url("sample.git")


def client(running: Cloud) -> httpx.Client:
    """Return an HTTP client that calls as a user of the cloud."""
    token = tokens.issue(running.endpoint, "demo")
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=running.http_url, headers=headers, timeout=PATIENCE)


def post(http: httpx.Client, url: str, **more: Any) -> tuple[str, float, dict[str, Any]]:
    """Create a session; returns its id, the milliseconds it took, and the answer."""
    body = {"prompt": "What is in here?", "gitUrl": url, **more}
    begun = time.perf_counter()
    answer = http.post("/sessions", json=body)
    elapsed = (time.perf_counter() - begun) * 1000
    answer.raise_for_status()
    created: dict[str, Any] = answer.json()
    return created["sessionId"], elapsed, created


def wait(http: httpx.Client, session_id: str, status: str) -> dict[str, Any]:
    """Return the session once it is in another status."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        path, query = f"/sessions/{session_id}/wait", {"while": status, "seconds": "20"}
        found: dict[str, Any] = http.get(path, params=query).json()
        if found["status"] != status:
            return found
    raise TimeoutError(f"{session_id} stayed {status}")


def first_request() -> None:
    """Print the milliseconds of the first POST that a fresh cloud ever gets."""
    with cloud(Meter()) as (running, url), client(running) as http:
        sys.stdout.write(f"{post(http, url)[1]}\n")


def run(requests: int, samples: int) -> None:
    """Print all tables of the embedded cloud."""
    command = [sys.executable, "-m", "tests.bench", "first-request"]
    cold = [
        float(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout)
        for _ in range(samples)
    ]
    with cloud(Meter()) as (running, url), client(running) as http:
        warm = _warm(http, url, requests)
        head = ("POST /sessions", "p50 ms", "p99 ms", "requests")
        rows = [
            ("warm", report.median(warm), report.percentile(warm, 0.99), len(warm)),
            ("first after a start", report.median(cold), max(cold), len(cold)),
        ]
        report.table("The answer to POST /sessions, in the embedded cloud", head, rows)
        _preparation(http, url, samples)


def _warm(http: httpx.Client, url: str, requests: int) -> list[float]:
    """Measure one request at a time; between them the session is deleted and its sandbox goes."""
    times = []
    for _ in range(requests + 5):
        session_id, elapsed, _ = post(http, url, autoInitiate=False)
        times.append(elapsed)
        http.delete(f"/sessions/{session_id}")
        time.sleep(0.1)
    return times[5:]


def _preparation(http: httpx.Client, url: str, samples: int) -> None:
    ours, first_line, bare = [], [], []
    for _ in range(samples):
        begun = time.perf_counter()
        session_id, answered, _ = post(http, url, autoInitiate=False, setupCommands=SETUP)
        found = wait(http, session_id, "preparing")
        if found["status"] != "prepared":
            raise RuntimeError(f"not prepared: {found}")
        ours.append((time.perf_counter() - begun) * 1000)
        first_line.append(answered)
        http.delete(f"/sessions/{session_id}")
        bare.append(_shell(url))
    rows = [
        ("bare shell script: clone, branch, setup", report.median(bare), max(bare)),
        ("Headstart: answer with the id", report.median(first_line), max(first_line)),
        ("Headstart: prepared, agent server up", report.median(ours), max(ours)),
    ]
    title = f"Preparing the sample repository, {samples} times"
    report.table(title, ("", "median ms", "slowest ms"), rows)


def _shell(url: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        subprocess.run(["sh", "-c", SHELL, "sh", url], check=True, cwd=folder)
        return (time.perf_counter() - begun) * 1000
