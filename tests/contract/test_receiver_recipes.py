"""The receivers of docs/api.md, run as they stand there and called as we call."""

import base64
import re
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from headstart.adapters.receivers import HttpReceivers
from headstart.domain.callbacks import payload, signed_headers
from headstart.domain.events import TurnCompleted

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
SECTION = PAGE.partition("\n## Callbacks\n")[2].partition("\n## ")[0]
SECRET = bytes(range(33))
PATIENCE = 30.0


def recipe(language: str, port: int) -> str:
    [code] = re.findall(rf"```{language}\n(.*?)```", SECTION, re.S)
    assert "8000" in code
    secret = "whsec_" + base64.b64encode(SECRET).decode()
    return str(code).replace("8000", str(port)).replace("whsec_…", secret)


@contextmanager
def running(command: list[str], port: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < end
        yield process
    finally:
        process.kill()
        process.communicate()


def called(port: int, secrets: list[bytes], age: timedelta = timedelta(), more: bytes = b"") -> int:
    now = datetime.now(UTC) - age
    body = payload(TurnCompleted(turn_id="t", message_id="ü").event("ses_1", now, 7, "t"))
    headers = signed_headers("ses_1_7", now, body, secrets)
    receivers = HttpReceivers(["http://127.0.0.1:*"])
    return receivers.post("alice", f"http://127.0.0.1:{port}/hook", headers, body + more)


def broken_off(port: int) -> None:
    """Begin a call and reset the connection in the middle of its body."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as caller:
        caller.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        # Closed while it lingers for no time, a socket sends a reset: socket(7).
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize("language", ["python", "js"])
def test_a_receiver_of_the_page_takes_ours_and_nobody_elses(language: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = tmp_path / ("receiver.py" if language == "python" else "receiver.mjs")
    program.write_text(recipe(language, port))
    runner = sys.executable if language == "python" else shutil.which("node")
    if runner is None:
        pytest.skip("node is not on PATH")
    with running([runner, str(program)], port) as process:
        for _ in range(5):
            broken_off(port)
        assert called(port, [SECRET]) == 204
        assert called(port, [b"x" * 24, SECRET]) == 204
        assert called(port, [b"x" * 24]) == 401
        assert called(port, [SECRET], more=b" ") == 401
        assert called(port, [SECRET], age=timedelta(minutes=10)) == 401
        assert process.stdout
        assert "turn.completed" in process.stdout.readline()
