"""The command line on a terminal of its own, as a person has it."""

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

import pytest

SECONDS = 20


class Terminal:
    """The command line on a terminal of its own."""

    def __init__(self, *arguments: str, columns: int = 80, **environment: str) -> None:
        self.fd, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, columns))
        self._before = termios.tcgetattr(self.fd)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "headstart_client.cli", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={
                **{name: value for name, value in os.environ.items() if name != "COLUMNS"},
                "TERM": "xterm",
                "NO_COLOR": "1",
                **environment,
            },
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = self.all = ""

    def until(self, text: str) -> None:
        """Read on until a text is shown."""
        end = time.monotonic() + SECONDS
        while text not in self.shown:
            # What moves by itself is never silent.
            more = self._read() if time.monotonic() < end else ""
            if not more:
                pytest.fail(f"{text!r} is not in {self.shown!r}")
            self.shown += more
        self.shown = self.shown.partition(text)[2]

    def type(self, line: str) -> None:
        os.write(self.fd, f"{line}\n".encode())

    def interrupt(self) -> None:
        """Press Ctrl-C, as a terminal takes it: for all who run in it."""
        os.killpg(self.process.pid, signal.SIGINT)

    def is_as_it_was(self) -> bool:
        """Say whether the keyboard works as before, and the cursor is to be seen."""
        seen = self.all.count("\x1b[?25h") == self.all.count("\x1b[?25l")
        return seen and termios.tcgetattr(self.fd) == self._before

    def end(self) -> int:
        """Read to the end; return the exit code."""
        while more := self._read():
            self.shown += more
        return self.process.wait(SECONDS)

    def _read(self) -> str:
        ready, _, _ = select.select([self.fd], [], [], SECONDS)
        if not ready:
            pytest.fail(f"nothing more came after {self.shown!r}")
        try:
            more = os.read(self.fd, 4096).decode(errors="replace")
        except OSError:  # how Linux tells that nobody writes any more
            return ""
        self.all += more
        return more

    def close(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS)
        os.close(self.fd)
