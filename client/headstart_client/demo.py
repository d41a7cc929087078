"""`headstart demo`: an embedded cloud of its own, one session in it, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from headstart_client import commands
from headstart_client.arguments import parser
from headstart_client.terminal import Terminal

PROMPT = "Look around in this repository and add a short health check."

STOP_SECONDS = 30
"""How long the embedded cloud may take to stop before it is killed."""

_LOG_LINES = 10


def demo(args: Namespace) -> int:
    """Start a cloud, run one session in it and stop the cloud; the exit code is the session's."""
    # A supervisor that ends the demo must not leave the cloud running.
    signal.signal(signal.SIGTERM, _exit_on_signal)
    terminal = Terminal(lasting=False)
    with tempfile.TemporaryFile() as log:
        command = [sys.executable, "-m", "headstart_client.cli", "up", "--json"]
        command += ["--port", str(args.port), *_allowed_source(args.repo)]
        # The key for them takes a second to make.
        command += ["--parameter", "Secrets=false"]
        # A group of its own, so that Ctrl-C ends the session first and the cloud afterwards.
        cloud = subprocess.Popen(  # noqa: S603 - our own command line
            command, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
        try:
            with _waiting(terminal.out, "Starting the embedded cloud"):
                where = _address(cloud)
            if where is None:
                log.seek(0)
                said = log.read().decode(errors="replace").splitlines()
                terminal.excerpt(said[-_LOG_LINES:])
                return terminal.fail("The embedded cloud did not start; its last words are above.")
            repository = args.repo or where["gitUrl"]
            session = parser().parse_args(["run", f"--repo={repository}"])
            session.command, session.prompt = "demo", args.prompt or PROMPT
            terminal.command = f"HEADSTART_URL={where['httpUrl']} headstart"
            return commands.execute(
                commands.COMMANDS["run"], terminal, session, where["httpUrl"], where["token"]
            )
        except KeyboardInterrupt:
            return 130
        finally:
            with _waiting(terminal.out, "Stopping the embedded cloud"):
                _stop(cloud)


def _allowed_source(repo: str) -> list[str]:
    try:
        parts = urlsplit(repo)
    except ValueError:
        return []  # for the cloud to refuse, in words
    if not parts.scheme or parts.scheme == "https":
        return []
    return ["--allow-git", f"{parts.scheme}://{parts.netloc}"]


def _address(cloud: subprocess.Popen[bytes]) -> dict[str, Any] | None:
    line = cloud.stdout.readline() if cloud.stdout else b""
    try:
        where: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return where


def _stop(cloud: subprocess.Popen[bytes]) -> None:
    cloud.send_signal(signal.SIGTERM)
    try:
        cloud.communicate(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(cloud.pid, signal.SIGKILL)
        cloud.communicate()


@contextmanager
def _waiting(console: Console, what: str) -> Iterator[None]:
    """Show that something takes its time, and afterwards how much it took."""
    began = time.monotonic()

    def line() -> Spinner:
        return Spinner("dots", Text(f"{what}… {time.monotonic() - began:.0f} s", "dim"))

    if console.is_terminal:
        with Live(get_renderable=line, console=console, transient=True, refresh_per_second=8):
            yield
    else:
        console.print(f"{what}…")
        yield
    console.print(f"{what}: {time.monotonic() - began:.1f} s", style="dim")


def _exit_on_signal(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)
