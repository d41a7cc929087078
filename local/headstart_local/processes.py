"""Finds and kills process trees on Linux; standard library only, container_init runs it too."""

import ctypes
import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_DEAD = {"Z", "X"}
_LOOK_SECONDS = 0.005
"""How long to wait for what a kernel before Linux 5.3 can't tell."""


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def adopt_orphans() -> None:
    """Make this process the parent of its descendants' orphans, so that none can get away."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def descendants(root: int) -> list[int]:
    """Return the ids of all processes that live below `root`, nearest first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            state, parent = stat.rpartition(")")[2].split()[:2]
            if state not in _DEAD:
                children.setdefault(int(parent), []).append(int(entry.name))
    found = list(children.get(root, []))
    for process in found:
        found += children.get(process, [])
    return found


def wait_for_an_end(processes: Iterable[int], seconds: float) -> None:
    """Wait until one of these processes has ended, whoever its parent is, some seconds at most."""
    poll, watched = select.poll(), ExitStack()
    with watched:
        opened = 0
        for process in processes:
            try:
                end = os.pidfd_open(process)
            except ProcessLookupError:
                return
            except OSError:
                continue
            watched.callback(os.close, end)
            poll.register(end, select.POLLIN)
            opened += 1
        poll.poll(1000 * max(0.0, seconds if opened else min(seconds, _LOOK_SECONDS)))


def kill_below(root: int, seconds: float) -> None:
    """Kill everything that lives below another process, which may be stopped; new forks too."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and (living := descendants(root)):
        for process in living:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        wait_for_an_end(living, deadline - time.monotonic())


def kill_descendants(seconds: float) -> None:
    """Kill and reap everything below this process, which must adopt orphans; new forks too."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        living = descendants(os.getpid())
        for process in living:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        # The kernel needs a moment to end what was killed.
        wait_for_an_end(living, deadline - time.monotonic())
