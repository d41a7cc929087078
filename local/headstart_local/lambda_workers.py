"""Runs Lambda functions in warm worker processes, a bounded number for each function.

Replaces ministack's workers: they lose the error type, die of a handler's exception, wait 50 ms
for logs that never come, inherit this process's environment and grow without limit.
"""

import contextlib
import hashlib
import io
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from headstart_local import emulator, lambda_bootstrap

INIT_SECONDS = 20.0
LOG_SECONDS = 2.0
LogSink = Callable[[str, str], None]


@dataclass(frozen=True)
class FunctionSpec:
    """What is needed to start a function: taken from its configuration and code."""

    name: str
    arn: str
    version: str
    handler: str
    memory_mb: int
    timeout_seconds: float
    log_group: str
    environment: dict[str, str]
    code: bytes = field(repr=False)
    layers: tuple[bytes, ...] = field(repr=False)
    revision: str
    max_workers: int


@dataclass(frozen=True)
class Outcome:
    """The end of an invocation: a result or an error as Lambda reports it, and the log."""

    result: Any
    error: dict[str, Any] | None
    log: str


class WorkerExitedError(Exception):
    """The worker process ended without an answer."""


class Worker:
    """One execution environment of a function."""

    def __init__(self, spec: FunctionSpec, environment: dict[str, str], paths: list[str]) -> None:
        self._spec = spec
        self._buffer = b""
        self._log: list[str] = []
        self._log_ended = threading.Condition()
        self._ended_calls: set[str] = set()
        self._closing = threading.Lock()
        self._answers, answers_end = os.pipe()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
                [sys.executable, "-Iu", lambda_bootstrap.__file__, str(answers_end)],
                cwd=paths[0],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[answers_end],
                # A Ctrl-C at the terminal is for the cloud, which ends its workers itself.
                start_new_session=True,
            )
        except BaseException:
            os.close(self._answers)
            raise
        finally:
            os.close(answers_end)
        self._send({"code": paths[0], "layers": paths[1:], "handler": spec.handler})

    def follow_log(self, sink: LogSink) -> None:
        """Start collecting what the function prints."""
        threading.Thread(target=self._read_log, args=(sink,), daemon=True).start()

    def initialise(self) -> Outcome | None:
        """Wait until the handler is imported; a failed import is an Outcome, success is None."""
        answer = self._receive(INIT_SECONDS)
        if answer is None:
            return self._failed("Sandbox.Timedout", f"Init timed out after {INIT_SECONDS:.0f} s")
        return Outcome(None, answer["error"], self._take_log()) if "error" in answer else None

    def invoke(self, event: Any, request_id: str, trace_id: str | None) -> Outcome:
        """Run the handler once; errors of the function are part of the Outcome."""
        timeout = self._spec.timeout_seconds
        call = {"event": event, "request_id": request_id, "arn": self._spec.arn}
        try:
            self._send({**call, "timeout": timeout, "trace_id": trace_id})
            answer = self._receive(timeout)
        except WorkerExitedError:
            code = self._process.wait(LOG_SECONDS)
            return self._failed("Runtime.ExitError", f"Runtime exited with status {code}")
        if answer is None:
            self.close()
            return self._failed("Sandbox.Timedout", f"Task timed out after {timeout:.2f} seconds")
        with self._log_ended:
            self._log_ended.wait_for(lambda: request_id in self._ended_calls, LOG_SECONDS)
            self._ended_calls.discard(request_id)
        return Outcome(answer.get("result"), answer.get("error"), self._take_log())

    @property
    def alive(self) -> bool:
        """Whether the process can take another invocation."""
        return self._process.poll() is None

    def close(self) -> None:
        """Kill the process; what it was doing is lost, as in Lambda."""
        with self._closing:
            if self._answers < 0:
                return
            self._process.kill()
            self._process.wait(LOG_SECONDS)
            os.close(self._answers)
            self._answers = -1
            if self._process.stdin:
                with contextlib.suppress(BrokenPipeError):
                    self._process.stdin.close()

    def _failed(self, error_type: str, message: str) -> Outcome:
        return Outcome(None, {"errorType": error_type, "errorMessage": message}, self._take_log())

    def _send(self, message: dict[str, Any]) -> None:
        if not self._process.stdin:
            raise WorkerExitedError
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise WorkerExitedError from error

    def _receive(self, seconds: float) -> dict[str, Any] | None:
        deadline = time.monotonic() + seconds
        poller = select.poll()
        poller.register(self._answers, select.POLLIN)
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not poller.poll(left * 1000):
                return None
            try:
                chunk = os.read(self._answers, 1 << 16)
            except OSError:
                chunk = b""  # closed by another thread: the cloud is stopping
            if not chunk:
                raise WorkerExitedError
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _read_log(self, sink: LogSink) -> None:
        output = self._process.stdout
        if output is None:
            return
        with output:
            for raw in output:
                line = raw.decode(errors="replace").rstrip("\n")
                if line.startswith(lambda_bootstrap.LOG_END):
                    with self._log_ended:
                        self._ended_calls.add(line.removeprefix(lambda_bootstrap.LOG_END))
                        self._log_ended.notify_all()
                    continue
                self._log.append(line)
                sink(self._spec.name, line)

    def _take_log(self) -> str:
        taken, self._log = self._log, []
        return "\n".join(taken)


@dataclass
class _Pool:
    slots: threading.Semaphore
    revision: str
    idle: list[Worker] = field(default_factory=list)


class WorkerPools:
    """All workers of the cloud; invocations beyond a function's limit wait in line."""

    def __init__(self, root: Path, endpoint: str, region: str, sink: LogSink) -> None:
        self._root = root
        self._endpoint = endpoint
        self._region = region
        self._sink = sink
        self._lock = threading.Lock()
        self._pools: dict[str, _Pool] = {}
        self._workers: set[Worker] = set()
        self._closed = False

    def invoke(self, spec: FunctionSpec, event: Any, request_id: str, trace: str | None) -> Outcome:
        """Run a function on an idle or new worker, after waiting for a free slot."""
        pool = self._pool(spec)
        with pool.slots:
            with self._lock:
                worker = pool.idle.pop() if pool.idle else None
            if worker is not None and not worker.alive:
                self._discard(worker)
                worker = None
            if worker is None:
                worker = self._started(spec)
                if failure := worker.initialise():
                    self._discard(worker)
                    return failure
            outcome = worker.invoke(event, request_id, trace)
            with self._lock:
                reusable = worker.alive and not self._closed and pool.revision == spec.revision
                if reusable:
                    pool.idle.append(worker)
            if not reusable:
                self._discard(worker)
            return outcome

    def close(self) -> None:
        """Kill every worker and start no more."""
        with self._lock:
            self._closed = True
            workers = list(self._workers)
        for worker in workers:
            self._discard(worker)

    def processes(self) -> int:
        """Return how many workers are alive."""
        with self._lock:
            return sum(worker.alive for worker in self._workers)

    def _pool(self, spec: FunctionSpec) -> _Pool:
        with self._lock:
            pool = self._pools.get(spec.arn)
            if pool is None or pool.revision != spec.revision:
                for worker in pool.idle if pool else []:
                    worker.close()
                    self._workers.discard(worker)
                pool = _Pool(threading.Semaphore(spec.max_workers), spec.revision)
                self._pools[spec.arn] = pool
            return pool

    def _started(self, spec: FunctionSpec) -> Worker:
        with self._lock:
            if self._closed:
                raise WorkerExitedError("the cloud is stopping")
            code = self._unpacked(spec.code)
            layers = [self._unpacked(layer) / "python" for layer in spec.layers]
            paths = [str(path) for path in (code, *layers)]
            worker = Worker(spec, self._environment(spec, paths[0]), paths)
            self._workers.add(worker)
        worker.follow_log(self._sink)
        return worker

    def _discard(self, worker: Worker) -> None:
        worker.close()
        with self._lock:
            self._workers.discard(worker)

    def _unpacked(self, archive: bytes) -> Path:
        """Unpack a package once; its workers share it, and the byte code they write beside it."""
        folder = self._root / "packages" / hashlib.sha256(archive).hexdigest()[:32]
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(dir=folder.parent))
            with zipfile.ZipFile(io.BytesIO(archive)) as package:
                package.extractall(partial)
            partial.chmod(0o755)
            shutil.move(partial, folder)
        return folder

    def _environment(self, spec: FunctionSpec, code_dir: str) -> dict[str, str]:
        """Return what Lambda defines ("Defined runtime environment variables") and no more."""
        home = self._root / "lambda-home"
        home.mkdir(exist_ok=True)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LANG": "C.UTF-8",
            "TZ": ":UTC",
            # No file of the developer's home, such as ~/.aws/config, may change a function.
            "HOME": str(home),
            "TMPDIR": str(home),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": self._endpoint,
            **spec.environment,
            "AWS_REGION": self._region,
            "AWS_DEFAULT_REGION": self._region,
            **emulator.CREDENTIALS,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info[0]}.{sys.version_info[1]}",
            "AWS_LAMBDA_FUNCTION_NAME": spec.name,
            "AWS_LAMBDA_FUNCTION_VERSION": spec.version,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": spec.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": f"[{spec.version}]{uuid4().hex}",
            "LAMBDA_TASK_ROOT": code_dir,
            "_HANDLER": spec.handler,
        }
