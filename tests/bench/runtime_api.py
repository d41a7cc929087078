"""Times a function the honest way: the real runtime client against a Runtime API of our own.

`python -m awslambdaric app.lambda_handler` is what runs in Lambda's managed Python. It asks
`/runtime/invocation/next` when initialisation is over, so the time from spawn to the first
`/next` is the whole of it: interpreter, runtime client, imports ("Using the Lambda runtime API
for custom runtimes", Lambda Developer Guide).
"""

import json
import queue
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_API = "/2018-06-01/runtime"
_SECONDS = 60.0


@dataclass(frozen=True)
class Start:
    """One cold start: milliseconds, and the most memory the process has held, in MiB.

    `cpu_ms` is what the process worked in both parts, which other work on the machine leaves alone.
    """

    init_ms: float
    first_ms: float
    cpu_ms: float
    memory_mib: float
    answer: Any


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events: queue.Queue[bytes] = queue.Queue()
        self.said: queue.Queue[tuple[str, float, bytes]] = queue.Queue()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a function that was ended mid-request is what always happens here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        if self.path == f"{_API}/restore/next":
            # A snapshot was taken, and this process is the one that was started from it.
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.server.said.put(("next", time.perf_counter(), b""))
        event = self.server.events.get()
        self.send_response(200)
        headers = {
            "Lambda-Runtime-Aws-Request-Id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
            "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 60_000),
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:1:function:b",
            "Content-Type": "application/json",
            "Content-Length": str(len(event)),
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(event)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        kind = self.path.rpartition("/")[2]
        self.server.said.put((kind, time.perf_counter(), body))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  inherited name
        """Say nothing."""


def cold_start(
    python: Path, task: Path, paths: list[Path], environment: Mapping[str, str], event: Any
) -> Start:
    """Start a function's process, give it one event, and end it; raises what the function said.

    `task` is the function's folder, `paths` what the interpreter finds beside it (/opt/python).
    """
    with _Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        process_environment = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_address[1]}",
            "AWS_LAMBDA_FUNCTION_NAME": "bench",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1024",
            "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.13",
            # Without it the X-Ray SDK takes its slow path for what isn't Lambda.
            "LAMBDA_TASK_ROOT": str(task),
            "PYTHONPATH": ":".join(str(path) for path in (task, *paths)),
            "PYTHONDONTWRITEBYTECODE": "1",  # /opt and /var/task are read-only
            "LANG": "C.UTF-8",
            **environment,
        }
        spawned = time.perf_counter()
        process = subprocess.Popen(
            [python, "-m", "awslambdaric", "app.lambda_handler"],
            cwd=task,
            env=process_environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            kind, ready, body = server.said.get(timeout=_SECONDS)
            if kind != "next":
                raise RuntimeError(f"initialisation failed: {body.decode()}")
            asked = time.perf_counter()
            server.events.put(json.dumps(event).encode())
            kind, done, body = server.said.get(timeout=_SECONDS)
            if kind != "response":
                raise RuntimeError(f"the invocation failed: {body.decode()}")
            memory, cpu_ms = _peak_mib(process.pid), _cpu_ms(process.pid)
        finally:
            process.kill()
            process.communicate()
            server.shutdown()
    init_ms, first_ms = (ready - spawned) * 1000, (done - asked) * 1000
    return Start(init_ms, first_ms, cpu_ms, memory, json.loads(body))


def _peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _cpu_ms(pid: int) -> float:
    """Return the CPU time of a process's threads; the first field counts nanoseconds (proc(5))."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(path.read_text().split()[0]) for path in threads) / 1e6
