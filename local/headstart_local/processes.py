"""Finds and kills process trees on Linux; standard library only, container_init runs it too."""

import ctypes
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_DEAD = {"Z", "X"}
_LOOK_SECONDS = 0.005


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


def kill_below(root: int, seconds: float) -> None:
    """Kill everything that lives below another process, which may be stopped; new forks too."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and (living := descendants(root)):
        for process in living:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(_LOOK_SECONDS)


def kill_descendants(seconds: float) -> None:
    """Kill and reap everything below this process, which must adopt orphans; new forks too."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for process in descendants(os.getpid()):
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        except ChildProcessError:
            return
        # The kernel needs a moment to end what was killed; there is no event for grandchildren.
        time.sleep(_LOOK_SECONDS)
