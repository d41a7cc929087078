"""What an agent's server read when it started, as far as that can be seen from outside.

It may have been started before the setup commands ran, and what these leave in HOME is to be obeyed
as if it had been started after them.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path

from headstart_runner.agents.base import AgentAdapter
from headstart_runner.agents.environment import folder_of

_MOST = 2000
"""How many files are looked at: more than that is taken for something that changes all the time."""

Seen = tuple[str, int, int, int]

_ITS_OWN = {
    ".gitignore",
    "bun.lock",
    "node_modules",
    "package-lock.json",
    "package.json",
}
"""What opencode and Kilo put into their folders themselves whenever they read them; a plugin that
needs more than that comes with a file of its own."""


def look(adapter: AgentAdapter, env: Mapping[str, str], home: Path) -> tuple[object, ...]:
    """Return something that is equal as long as what a server reads at its start is the same.

    Of each entry of the adapter's `settings`: `config:` is below XDG_CONFIG_HOME, `home:` below
    HOME, `data:` in the agent's own folder of data, and `named:` is where a variable leads. What is
    looked at is an untrusted user's, and none of it is read but what may be of the server's making.
    """
    places = _places(adapter, env, home)
    below = chain.from_iterable(_below(place, adapter.makes) for place in places)
    found = [*islice(below, _MOST)]
    return tuple(filter(None, found)) if len(found) < _MOST else (object(),)


def _places(adapter: AgentAdapter, env: Mapping[str, str], home: Path) -> Iterator[Path]:
    base = Path(env.get("HOME") or home)
    for entry in adapter.settings:
        kind, _, name = entry.partition(":")
        match kind:
            case "config":
                yield Path(env.get("XDG_CONFIG_HOME") or base / ".config") / name
            case "home":
                yield base / name
            case "data":
                yield folder_of(adapter, env, home) / name
            case "named":
                if place := env.get(name):
                    yield base / place


def _below(top: Path, made: Mapping[str, bytes]) -> Iterator[Seen | None]:
    """Yield how what is there looks from outside, links followed: such folders are often links."""
    yield _seen(top)
    for folder, folders, files in os.walk(top, followlinks=True):
        folders[:] = sorted(name for name in folders if name not in _ITS_OWN)
        # The folders, too: links may lead in a circle.
        for name in sorted({*folders, *files} - _ITS_OWN):
            file = Path(folder) / name
            if not (name in made and _holds(file, made[name])):
                yield _seen(file)


def _seen(file: Path) -> Seen | None:
    """Return what a file looks like, None for a folder: agents make those that they look for."""
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    if stat.S_ISDIR(status.st_mode):
        return None
    return (str(file), status.st_ino, status.st_mtime_ns, status.st_size)


def _holds(file: Path, content: bytes) -> bool:
    """Return whether a file has this content and no more; it may be anything, a pipe too."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError):
        return False
    with os.fdopen(handle, "rb", buffering=0) as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return False
        return stream.read(len(content) + 1) == content
