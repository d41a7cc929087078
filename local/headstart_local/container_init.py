"""The first process of a local container; started by containers, never imported.

It plays the part of the container's boundary: whatever the container's process leaves behind is
killed, also what has called setsid, and everything dies with the cloud. Orders come as JSON lines
on standard input: what to start, then `{"stop": seconds}`; the end of the input means kill.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any

from headstart_local import processes

KILL_SECONDS = 10.0
NICE = 10
"""On AWS a container has processors of its own. Here many would keep the cloud from answering, and
itself from hearing them in time."""

COULD_NOT_START = 127


class Container:
    """The container's own process and when it has to be gone."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.process = subprocess.Popen(  # noqa: S603 - the image's command is the point
            order["argv"],
            env=order["env"],
            cwd=order["cwd"],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=processes.die_with_parent,  # noqa: PLW1509 - this process has one thread
        )
        self.deadline: float | None = None

    def stop(self, seconds: float) -> None:
        """Ask it to end; after `seconds` it is killed."""
        self.process.send_signal(signal.SIGTERM)
        self.deadline = time.monotonic() + seconds

    def watch(self, orders: int, wake: int) -> int:
        """Wait for its end; reap orphans meanwhile; return the exit status as Docker shows it."""
        pending = b""
        while (status := self.reaped()) is None:
            left = None if self.deadline is None else max(0.0, self.deadline - time.monotonic())
            if left == 0.0:
                self.process.kill()
                self.deadline, left = None, None
            ready, _, _ = select.select([orders, wake], [], [], left)
            if wake in ready:
                os.read(wake, 4096)
            if orders in ready:
                chunk = os.read(orders, 4096)
                if not chunk:
                    return 128 + signal.SIGKILL
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    self.stop(json.loads(line)["stop"])
        return status

    def reaped(self) -> int | None:
        """Collect whatever has ended; the status of the container's own process, if it has."""
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return COULD_NOT_START
            if process == 0:
                return None
            if process == self.process.pid:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code


def read_order(orders: int) -> dict[str, Any]:
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(orders, 1)
        if not byte:
            sys.exit(COULD_NOT_START)
        line += byte
    order: dict[str, Any] = json.loads(line)
    return order


def main() -> int:
    os.nice(NICE)
    processes.adopt_orphans()
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    try:
        container = Container(read_order(0))
    except OSError as error:
        sys.stderr.write(f"CannotStartContainerError: {error}\n")
        return COULD_NOT_START
    try:
        return container.watch(0, wake)
    finally:
        processes.kill_descendants(KILL_SECONDS)


if __name__ == "__main__":
    # Popen would warn about a process that this one reaps itself.
    code = main()
    sys.stdout.flush()
    os._exit(code)
