"""The parent of one untrusted command: owns every process the command leaves, and ends with us.

Run as `python -I -S nanny.py FD` it forks a nanny for each message on the socket FD, which brings
four open files: the nanny's control socket and what are to be its stdin, stdout and stderr. It
answers with the nanny's pid, or a negative errno, and ends with the socket.

The control socket is also a nanny's life line: when the runner shuts it down, or dies, everything
the command started is killed, daemons included. As the child subreaper the nanny inherits whatever
is orphaned below it, so "no children left" is proof. A nanny that is killed itself takes the
command along, and leaves the rest of its session to the runner.

Runner → nanny: one JSON line `{argv, env, cwd, uid}`, later `t` to SIGTERM the command's process,
`c` to SIGCONT it and its group.
Nanny → runner: one JSON line `{exit}` (negative for a signal) or `{error}`; `{gone}` when the last
descendant is gone, in one piece with the line before if the command leaves nothing; end of file.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import select
import signal
import socket
import sys
import time
import warnings  # noqa: F401  (os.execvpe wants it when the uid may not read our library any more)

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing and pathlib would take a third of the start, of every command
    from collections.abc import Callable
    from typing import Any, NoReturn

GONE = b'{"gone":true}\n'

_FILES = 4
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_KILL_SECONDS = 5.0
_DEAD = {b"Z", b"X"}


def adopt_orphans() -> None:
    """Become the parent of whatever is orphaned below this process (prctl(2), Linux 3.4)."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _read_line(control: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\n"):
        # No more than the line: what follows it is for the command.
        ahead = control.recv(65536, socket.MSG_PEEK)
        if not ahead:
            sys.exit(0)
        data += control.recv(ahead.find(b"\n") + 1 or len(ahead))
    return data


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:  # noqa: PTH123  (see the imports)
        return stream.read()


def _write(path: str, data: bytes) -> None:
    with open(path, "wb", buffering=0) as stream:  # noqa: PTH123
        stream.write(data)


def _become_user(uid: int) -> None:
    """Take the agent's uid and gid, and give up every right for good; OSError if that fails.

    Only root loses its capabilities with its uid, so they are taken away by hand: effective,
    permitted and inheritable ones, and with these the ambient ones (capabilities(7)). No program
    with a set-user-ID bit or capabilities of its own can then bring any back (prctl(2)).
    """
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if libc.capset(header, nothing) or libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "the runner's rights could not be given up")


def _die_with(nanny: int) -> None:
    """Have the kernel kill this process when its nanny dies, however early that is.

    To be asked for after the change of user, which would undo it (prctl(2)).
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != nanny:
        os._exit(127)


def _become(spec: dict[str, Any], report: int, nanny: int) -> NoReturn:
    """Turn the forked child into the command; what goes wrong is written to `report`."""
    try:
        # A group of its own in the nanny's session: by that the runner finds what a dead one left.
        os.setpgrp()
        # Python ignores SIGPIPE and SIGXFSZ, whoever started the runner may have ignored others.
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        # When memory runs out the work must die, not the runner.
        _write("/proc/self/oom_score_adj", b"500")
        if spec["uid"] is not None:
            _become_user(spec["uid"])
        _die_with(nanny)
        os.umask(0o022)
        os.chdir(spec["cwd"])
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])  # noqa: S606  (no shell is the point)
    except OSError as error:
        os.write(report, _in_words(error, spec).encode(errors="replace"))
    finally:
        os._exit(127)


def _in_words(error: OSError, spec: dict[str, Any]) -> str:
    """Return why a command could not be run, for people who know nothing of execve(2)."""
    program, missing = spec["argv"][0], isinstance(error, (FileNotFoundError, NotADirectoryError))
    if error.filename == spec["cwd"]:
        return "the folder to run it in is gone" if missing else f"{spec['cwd']}: {error.strerror}"
    if missing:
        return f"there is no program {program}" + ("" if "/" in program else " on PATH")
    return f"{program}: {error.strerror}"


def _start(spec: dict[str, Any]) -> tuple[int, str]:
    """Start the command; return its pid and, when it could not be run, why."""
    failure, report = os.pipe()
    nanny = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(spec, report, nanny)
    os.close(report)
    error = b""
    while piece := os.read(failure, 4096):
        error += piece
    os.close(failure)
    return pid, error.decode(errors="replace")


def descendants(root: int | None = None) -> list[int]:
    """Return the pids of all that lives below a process, this one by default."""
    children: dict[int, list[int]] = {}
    for pid, (state, parent, *_) in _processes().items():
        if state not in _DEAD:
            children.setdefault(int(parent), []).append(pid)
    found = list(children.get(root or os.getpid(), []))
    for pid in found:
        found += children.get(pid, [])
    return found


def kill_session(session: int) -> None:
    """Kill all processes of a session (setsid(2)), until none is left alive."""
    _kill_all(lambda: _members(session))


def kill_below(root: int) -> None:
    """Kill all below a process that does nothing, until none is left alive."""
    _kill_all(lambda: descendants(root))


def _kill_all(find: Callable[[], list[int]]) -> None:
    """Kill what is found, again and again: it may fork while the list is read."""
    deadline = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < deadline and (living := find()):
        for pid in living:
            _kill(pid)
        time.sleep(0.005)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        return


def _members(session: int) -> list[int]:
    return [
        pid
        for pid, (state, _parent, _group, its) in _processes().items()
        if int(its) == session and state not in _DEAD
    ]


def _processes() -> dict[int, list[bytes]]:
    """Return state, parent, group and session of each process, by pid (proc(5))."""
    found = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208  (only names are wanted, thousands at times)
        if not entry.isdigit():
            continue
        try:
            stat = _read(f"/proc/{entry}/stat")
        except OSError:
            continue
        found[int(entry)] = stat.rpartition(b")")[2].split()[:4]
    return found


def kill_descendants() -> bool:
    """Kill everything below this process, again and again: it may fork while the list is read.

    Returns whether nothing is left; what forks faster than that for 5 s is.
    """
    deadline = time.monotonic() + _KILL_SECONDS
    while _reap(0)[1]:
        if time.monotonic() > deadline:
            return False
        for pid in descendants():
            _kill(pid)
        time.sleep(0.005)
    return True


def _reap(main_pid: int) -> tuple[bytes, bool]:
    """Collect the dead; return the line about the command's own end, and if any child is left."""
    line = b""
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return line, True
            if pid == main_pid:
                line = b'{"exit":%d}\n' % os.waitstatus_to_exitcode(status)
    except ChildProcessError:
        return line, False


def _watch(control: socket.socket, main_pid: int, wakeup: int) -> bytes:
    """See to a command until nothing of it is left, or nobody wants it; return the untold line."""
    runs = True
    while True:
        line, left = _reap(main_pid)
        if not left:
            return line
        control.sendall(line)
        runs = runs and not line
        readable, _, _ = select.select([control.fileno(), wakeup], [], [])
        if wakeup in readable and (signal.SIGTERM in os.read(wakeup, 4096)):
            return b""
        if control.fileno() in readable:
            orders = control.recv(64)
            if not orders:
                return b""
            if runs:  # and else its pid may be another's by now
                _obey(orders, main_pid)


def _obey(orders: bytes, main_pid: int) -> None:
    if b"c" in orders:
        os.kill(main_pid, signal.SIGCONT)
        with contextlib.suppress(ProcessLookupError):  # it may have left the group it was given
            os.killpg(main_pid, signal.SIGCONT)
    if b"t" in orders:
        os.kill(main_pid, signal.SIGTERM)


def _forked(orders: socket.socket) -> socket.socket:
    """Fork nannies; return in each of them, with its control socket; exit with the other end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel collects those that ended
    while True:
        message, files = b"", list[int]()
        with contextlib.suppress(ConnectionError):  # it went without reading an answer
            message, files, _, _ = socket.recv_fds(orders, 16, _FILES)
        if not message:
            sys.exit(0)
        try:
            answer = os.fork() if len(files) == _FILES else -errno.EMFILE
        except OSError as error:
            answer = -(error.errno or 1)
        if answer == 0:
            orders.close()
            os.setsid()
            for standard, file in enumerate(files[1:]):
                os.dup2(file, standard)
                os.close(file)
            control = socket.socket(fileno=files[0])
            control.set_inheritable(False)
            return control
        for file in files:
            os.close(file)
        orders.send(b"%d" % answer)


def _see_to(control: socket.socket) -> None:
    """Run one command to its end, or to the runner's."""
    spec = json.loads(_read_line(control))
    adopt_orphans()
    wakeup, wakeup_end = os.pipe()
    os.set_blocking(wakeup_end, False)
    signal.set_wakeup_fd(wakeup_end, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        pid, error = _start(spec)
    except OSError as failure:
        pid, error = 0, f"no process can be started: {failure.strerror}"
    # The command's pipes must reach their end when the command's processes are gone.
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    line = b""
    try:
        if error:
            line = json.dumps({"error": error}).encode() + b"\n"
        else:
            line = _watch(control, pid, wakeup)
    except BrokenPipeError:
        pass
    finally:
        gone = kill_descendants()
    with contextlib.suppress(OSError):
        control.sendall(line + (GONE if gone else b""))


if __name__ == "__main__":
    _see_to(_forked(socket.socket(fileno=int(sys.argv[1]))))
