"""What steps cost beside the work in them: the cloud's part of each, and a runner's start.

`python -m tests.bench steps --old FOLDER` compares with another work tree, by turns: this file runs
in that one, too, on its code and in its environment.
"""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from headstart_local.patches import PatchContext
from tests.bench import in_cloud, report

HERE = Path(__file__).resolve()
SESSION_ID = "ses_dfd84ed1effeEMnWxfp8yPNx64"
PATIENCE = 60.0
SESSIONS = 6
"""How many a cloud prepares in one turn, of which the first is not counted."""

_COMMAND = re.compile(r"SESSION#COMMAND#(1\.\w+\.1)\"")
_TICKS = os.sysconf("SC_CLK_TCK")

Times = dict[str, list[float]]


def cpu_ms(process: int | str) -> float:
    """Return the milliseconds that a process has computed (proc_pid_stat(5))."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / _TICKS


class Watch:
    """When commands were written and sent, and their results came; `install` is a patch."""

    def __init__(self) -> None:
        self.context: PatchContext | None = None
        self.reset()

    def reset(self) -> None:
        """Forget one session."""
        self._written: dict[str, float] = {}
        self._sent: dict[str, float] = {}
        self._answered: list[float] = []

    def install(self, context: PatchContext) -> None:
        """Look at what passes between the server and the emulator."""
        self.context = context
        stock = context.emulator.app.app

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "websocket":
                await stock(scope, self._receiving(receive), self._sending(send))
            elif dict(scope.get("headers", ())).get(b"x-amz-target", b"").endswith(b"WriteItems"):
                await self._write(stock, scope, receive, send)
            else:
                await stock(scope, receive, send)

        context.emulator.app.app = app

    def printed(self, function: str, line: str) -> None:
        """Take no note of logs."""

    async def _write(self, stock: Any, scope: Any, receive: Any, send: Any) -> None:
        body = bytearray()

        async def noted() -> Any:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        await stock(scope, noted, send)
        for name in _COMMAND.findall(body.decode()):
            self._written.setdefault(name, time.perf_counter())

    def _receiving(self, stock: Any) -> Any:
        async def receive() -> Any:
            message = await stock()
            text = message.get("text") or ""
            if '"action":"report"' in text and json.loads(text)["results"]:
                self._answered.append(time.perf_counter())
            return message

        return receive

    def _sending(self, stock: Any) -> Any:
        async def send(message: Any) -> None:
            await stock(message)
            text = message.get("text") or ""
            if text.startswith('{"type":"command"'):
                self._sent.setdefault(json.loads(text)["id"], time.perf_counter())

        return send

    def times(self) -> Iterator[tuple[str, float]]:
        """Yield how long what took, in milliseconds."""
        for name, sent in self._sent.items():
            yield "command written → its frame", (sent - self._written[name]) * 1000
            before = [answered for answered in self._answered if answered < sent]
            if before:
                yield "a step's result → the next command's frame", (sent - before[-1]) * 1000


def measure() -> None:
    """Print as JSON what sessions took in a cloud of this work tree."""
    watch, times = Watch(), dict[str, list[float]]()

    def note(name: str, milliseconds: float) -> None:
        times.setdefault(name, []).append(milliseconds)

    with in_cloud.cloud(watch) as (running, url), in_cloud.client(running) as http:
        for number in range(SESSIONS):
            watch.reset()
            used = _used(watch)
            begun = time.perf_counter()
            session_id, *_ = in_cloud.post(http, url, autoInitiate=False)
            found = in_cloud.wait(http, session_id, "preparing")
            took = (time.perf_counter() - begun) * 1000
            if found["status"] != "prepared":
                raise RuntimeError(f"not prepared: {found}")
            if number:
                note("prepared with the demo agent", took)
                for what, milliseconds in watch.times():
                    note(what, milliseconds)
                for what, milliseconds in _used(watch).items():
                    note(what, milliseconds - used[what])
                note("shell script: clone, branch, setup", in_cloud._shell(url))
            http.delete(f"/sessions/{session_id}")
    sys.stdout.write(f"{json.dumps(times)}\n")


def _used(watch: Watch) -> dict[str, float]:
    workers = watch.context.workers._workers if watch.context else set()
    functions = 0.0
    for worker in list(workers):
        with contextlib.suppress(OSError):
            functions += cpu_ms(worker._process.pid)
    return {
        "CPU of the emulator, a session": cpu_ms("self"),
        "CPU of the functions, a session": functions,
    }


async def _starts(pythons: dict[str, str], samples: int) -> Times:
    """Start runners by turns; a server welcomes them and asks for the disk."""
    times: Times = {}
    began, process, name = 0.0, 0, ""
    over = asyncio.Event()

    def note(what: str, milliseconds: float) -> None:
        times.setdefault(f"{what}{name}", []).append(milliseconds)

    async def answer(socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await converse(socket)

    async def converse(socket: ServerConnection) -> None:
        async for text in socket:
            frame = json.loads(text)
            since = (time.perf_counter() - began) * 1000
            if frame["action"] == "hello":
                note("a runner's start → connected, its hello there", since)
                note("CPU of a runner's start until it is connected", cpu_ms(process))
                await socket.send('{"type":"welcome","viewers":0}')
                disk = {"id": "1.disk.1", "kind": "disk", "args": {"minFreeBytes": 1}}
                await socket.send(json.dumps({"type": "command", "timeout": 9, **disk}))
            elif frame["action"] == "report":
                note("a runner's start → its first step done", since)
                over.set()

    async with serve(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for number in range(samples + 1):
            for name, python in pythons.items():  # noqa: B007  (what `answer` notes it by)
                over.clear()
                with tempfile.TemporaryDirectory(prefix="headstart-bench-") as folder:
                    began = time.perf_counter()
                    runner = await asyncio.create_subprocess_exec(
                        *(python, "-I", "-m", "headstart_runner"),
                        env={
                            "PATH": os.environ["PATH"],
                            "HEADSTART_URL": f"ws://127.0.0.1:{port}",
                            "HEADSTART_SESSION_ID": SESSION_ID,
                            "HEADSTART_KEY": "a-key-of-the-bench",
                            "HEADSTART_ATTEMPT": "1",
                            "HEADSTART_WORKSPACE": f"{folder}/workspace",
                            "HEADSTART_STATE_DIR": f"{folder}/state",
                        },
                        stderr=asyncio.subprocess.DEVNULL,
                    )
                    process = runner.pid
                    async with asyncio.timeout(PATIENCE):
                        await over.wait()
                    runner.terminate()
                    await runner.wait()
            if number == 0:
                times.clear()
    return times


def run(samples: int, old: Path | None) -> None:
    """Print the tables, of another work tree beside this one's where there is one."""
    trees = {"": in_cloud.ROOT} | ({" (old)": old} if old else {})
    pythons = {name: str(tree / ".venv/bin/python") for name, tree in trees.items()}
    times = asyncio.run(_starts(pythons, samples))
    for _ in range(max(1, samples // 3)):
        for name, tree in trees.items():
            code = f"import runpy; runpy.run_path({str(HERE)!r}, run_name='__main__')"
            done = subprocess.run(
                [pythons[name], "-c", code],
                check=True,
                stdout=subprocess.PIPE,
                text=True,
                cwd=tree,
                env={**os.environ, "PYTHONPATH": str(tree)},
            )
            for what, milliseconds in json.loads(done.stdout.splitlines()[-1]).items():
                times.setdefault(f"{what}{name}", []).extend(milliseconds)
    rows = [
        (what, report.median(found), report.percentile(found, 0.99), len(found))
        for what, found in sorted(times.items())
    ]
    report.table("Steps beside the work in them", ("", "p50 ms", "p99 ms", "times"), rows)


if __name__ == "__main__":
    measure()
