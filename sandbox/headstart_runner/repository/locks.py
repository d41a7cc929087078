"""Locks that a killed git left in the repository: while one is there, no other git gets anywhere.

git removes none itself, since it can't know whose they are. Here that can be known: what is older
than the question, open nowhere and of no running git is nobody's. All of it is looked for, and
removed, as the agent's user, whose repository it is.
"""

import asyncio
import time
from pathlib import Path

from headstart_runner.log import logger
from headstart_runner.processes.launcher import Launcher

_SECONDS = 10.0
_SAID_BYTES = 1024 * 1024
# Elsewhere (objects, hooks, submodules) are others' locks, which keep nobody from a commit.
_LOCKS = (
    *("find", ".git", "-mindepth", "1", "-type", "d"),
    *("!", "-path", ".git/refs", "!", "-path", ".git/refs/*", "-prune"),
    *("-o", "-type", "f", "-name", "*.lock"),
)
_IN_USE = (
    *("find", "/proc", "-mindepth", "2", "-maxdepth", "3"),
    *(
        "(",
        "-path",
        "/proc/[0-9]*/fd/*",
        "-lname",
        "*.lock",
        "-o",
        "-path",
        "/proc/[0-9]*/cwd",
        ")",
    ),
    *("-printf", r"%p\0%l\0"),
)


async def remove_stale(launcher: Launcher, repository: Path) -> None:
    """Remove the locks of a work tree that are nobody's; where that can't be told they stay."""
    try:
        async with asyncio.timeout(_SECONDS):
            await _remove(launcher, repository)
    except (TimeoutError, OSError) as error:
        logger.warning("stale locks of git can't be looked for: %s", error or "it takes too long")


async def _remove(launcher: Launcher, repository: Path) -> None:
    # git may take one at any moment: a later one than this is somebody's.
    locks = (*_LOCKS, "!", "-newermt", f"@{time.time():.6f}")
    found = await _said(launcher, repository, *locks, "-print0")
    if not found:
        return
    held = {str(repository / name) for name in found}
    links = await _said(launcher, repository, *_IN_USE)
    for place, target in zip(links[::2], links[1::2], strict=False):
        is_fd = not place.endswith("/cwd")
        if target in held if is_fd else _is_git_in(repository, place, target):
            return
    logger.info("removing locks that a killed git left: %d", len(found))
    await _said(launcher, repository, *locks, "-exec", "rm", "-f", "--", "{}", "+")


def _is_git_in(repository: Path, place: str, folder: str) -> bool:
    """Whether a process's `cwd` in /proc is that of a git at work in the repository.

    It closes a lock that it still holds while an editor or a hook runs.
    """
    try:
        name = Path(place).with_name("comm").read_text(errors="replace")
    except OSError:
        return False
    return name.startswith("git") and Path(folder).is_relative_to(repository)


async def _said(launcher: Launcher, repository: Path, *command: str) -> list[str]:
    """Return what a command prints, parted by NUL."""
    out = bytearray()

    def take(data: bytes) -> None:
        out.extend(data[: _SAID_BYTES - len(out)])

    async with launcher.running(
        command, cwd=repository, env={}, stdout=take, stderr=lambda _: None
    ) as tree:
        await tree.finished()
    # A process that has just ended leads nowhere: an empty word is one, too.
    return out.decode(errors="surrogateescape").split("\0")[:-1]
