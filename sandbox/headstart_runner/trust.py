"""What the runner stands on: nothing that the agent's uid may write.

The runner has rights that the agent lacks. So what it imports, reads and starts as itself must be
out of the agent's reach: the file, each folder above it, each link on the way. That is looked at
twice: at the start, which shows a wrong place of modules before more is imported from there, and
once all is imported, before any process is started. Access control lists are not looked at.
"""

import glob
import importlib
import os
import ssl
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

_LATER = (
    "headstart_runner.workshop",
    "headstart_runner.gateway.git",
    "headstart_runner.gateway.models",
    "cryptography.hazmat.primitives.ciphers.aead",
    "cryptography.hazmat.primitives.constant_time",
    "cryptography.hazmat.primitives.hmac",
    "cryptography.hazmat.primitives.padding",
    "anyio._backends._asyncio",
    "certifi",
    "concurrent.futures.thread",
    "encodings.cp437",
    "encodings.idna",
    "httpcore",
    "importlib.readers",
)
"""What we, and then libraries, import when it is first used, which is after commands have run."""

_WITHOUT = ("h2", "httpx._main")
"""What httpcore and httpx import where it is installed, a tenth of a second for nothing: HTTP/2,
and a command line with colours."""

_NEVER = ("sniffio",)
"""What httpcore looks for again and again and does without."""

_FOR_COMMANDS = {"HEADSTART_WORKSPACE", "PATH", "TEMP", "TMP", "TMPDIR"}
"""Variables that name places of the agent on purpose: the runner looks nothing up there."""

_MOST_LINKS = 40


class Mistrusted(Exception):
    """The runner stands on what the agent may change; the words say on what."""


def leave_out() -> None:
    """Have libraries do without what they would import and we don't use."""
    for name in _WITHOUT:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # so that it is not looked for


def import_the_rest() -> None:
    """Import now what would be imported later."""
    for name in _LATER:
        importlib.import_module(name)
    for name in _NEVER:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # so that it is not looked for


def mistrusted(uid: int | None, state_dir: Path, environ: Mapping[str, str]) -> list[str]:
    """Return in words what the runner can't trust of what it stands on.

    Without another uid for the agent nothing is out of its reach, and only how the interpreter was
    started is looked at.
    """
    problems: dict[str, str] = {}
    if not sys.flags.isolated:
        problems[""] = "start it with python -I: nothing but its own code may be imported"
    if uid is not None:
        agent = _Other(uid)
        for what, path in _stands_on(state_dir, environ):
            if (where := agent.way_to_change(path)) is not None:
                theirs = f"uid {uid}, which runs the agent, may change {where}"
                problems.setdefault(where, f"{what} is {path}, and {theirs}")
    return [*problems.values()]


def _stands_on(state_dir: Path, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what is used as the runner itself, and where it is."""
    here = str(Path.cwd())
    yield "the working directory", here
    yield "the state directory", str(state_dir)
    yield "the home directory", os.path.expanduser("~")  # noqa: PTH111
    yield "the interpreter", sys.executable
    for folder in {sys.prefix, sys.base_prefix}:
        yield "the interpreter's settings", f"{folder}/pyvenv.cfg"
    for entry in sys.path:
        # A relative one, as the empty one is, means the working directory.
        folder = entry if entry.startswith("/") else here
        yield "a place of modules", folder
        for settings in glob.glob(f"{glob.escape(folder)}/*.pth"):  # noqa: PTH207
            yield "a list of places of modules", settings
    for name, module in sorted(sys.modules.items()):
        for file in (getattr(module, "__file__", None), getattr(module, "__cached__", None)):
            if file:
                yield f"the module {name}", file
    for file in sorted(_mapped()):
        yield "a file in its memory", file
    yield "the system's configuration", "/etc"
    trusted = ssl.get_default_verify_paths()
    for file in (trusted.openssl_cafile, trusted.openssl_capath):
        yield "a place of certificates", file
    for name, value in environ.items():
        if name not in _FOR_COMMANDS:
            for part in value.split(os.pathsep):
                if part.startswith("/"):
                    yield f"the variable {name}", part


def _mapped() -> set[str]:
    """Return the files that are mapped into our memory, shared libraries above all (proc(5))."""
    lines = Path("/proc/self/maps").read_text(errors="surrogateescape").splitlines()
    fields = (line.split(maxsplit=5) for line in lines)
    return {field[5] for field in fields if len(field) == 6 and field[5].startswith("/")}


class _Other:
    """Another user, with a group of the same number and no other."""

    def __init__(self, uid: int) -> None:
        self._uid = uid
        self._known: dict[str, os.stat_result | None] = {}

    def way_to_change(self, path: str) -> str | None:
        """Return where the user can change what an absolute path leads to, None if nowhere."""
        place, left, links = "/", _parts(path), 0
        while (now := self._status(place)) is not None:
            if stat.S_ISLNK(now.st_mode):
                links += 1
                if links > _MOST_LINKS:
                    return place
                target = os.readlink(place)  # noqa: PTH115  (as it is, not normalised)
                left += _parts(target)
                place = "/" if target.startswith("/") else _above(place)
            elif self._may_write(now):
                # In a sticky folder such as /tmp what is another's can't be replaced.
                sticky = now.st_mode & stat.S_ISVTX and now.st_uid != self._uid
                next_ = self._status(_below(place, left[-1])) if left and sticky else None
                if next_ is None or next_.st_uid == self._uid:
                    return place
            if not left:
                return None
            part = left.pop()
            place = _above(place) if part == ".." else _below(place, part)
        return None

    def _status(self, place: str) -> os.stat_result | None:
        if place not in self._known:
            try:
                self._known[place] = os.lstat(place)
            except OSError:
                self._known[place] = None
        return self._known[place]

    def _may_write(self, now: os.stat_result) -> bool:
        if stat.S_ISCHR(now.st_mode):
            return False
        of_group = stat.S_IWGRP if now.st_gid == self._uid else 0
        return now.st_uid == self._uid or bool(now.st_mode & (of_group | stat.S_IWOTH))


def _parts(path: str) -> list[str]:
    """Return what a path is made of, the last part first."""
    return [part for part in reversed(path.split("/")) if part not in {"", "."}]


def _below(place: str, part: str) -> str:
    return f"{place.rstrip('/')}/{part}"


def _above(place: str) -> str:
    return place.rpartition("/")[0] or "/"
