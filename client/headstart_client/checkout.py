"""The repository that somebody stands in: where it comes from, and what of it is not there yet."""

import re
import subprocess
from dataclasses import dataclass
from urllib.parse import urlsplit

from headstart_client.amounts import counted

_SECONDS = 10.0
"""What one git command may take; none of them uses the network."""

_SCP = re.compile(r"(?:[\w.-]+@)?(?P<host>[\w.-]+):(?!/)(?P<path>.+)")


class NoCheckoutError(Exception):
    """There is nothing here that a session could be created on."""


@dataclass(frozen=True)
class Checkout:
    """An origin and a branch of it; `notes` say what a session will not see."""

    repository: str
    branch: str
    notes: list[str]


def here() -> Checkout:
    """Return what the current folder is a checkout of; raises NoCheckoutError."""
    try:
        origin = _git("remote", "get-url", "origin")
    except OSError:
        origin = None
    if not origin:
        raise NoCheckoutError("This folder is no checkout with an `origin` to begin from")
    branch = _git("branch", "--show-current")
    if not branch:
        raise NoCheckoutError("No branch is checked out here: check one out")
    there = f"refs/remotes/origin/{branch}"
    if _git("rev-parse", "--verify", "--quiet", there) is None:
        raise NoCheckoutError(
            f"The branch {branch} is not at the origin: push it (git push -u origin {branch})"
        )
    notes = []
    ahead = _git("rev-list", "--count", f"{there}..HEAD")
    if ahead and ahead != "0":
        notes.append(
            f"Not pushed, so not in the session: {counted(int(ahead), 'commit')} of {branch}"
        )
    if dirty := _git("status", "--porcelain"):
        files = counted(len(dirty.splitlines()), "file")
        notes.append(f"Not committed, so not in the session: {files}")
    return Checkout(address(origin), branch, notes)


def address(origin: str) -> str:
    """Return a remote's address as one over HTTPS, and without the credentials that it may have.

    An address of this machine stays what it is: the API says what it allows.
    """
    if "://" not in origin and (match := _SCP.fullmatch(origin)):
        return f"https://{match['host']}/{match['path']}"
    parts = urlsplit(origin)
    if parts.scheme in {"ssh", "git"}:
        return f"https://{parts.hostname}{parts.path}"
    if parts.scheme in {"http", "https"}:
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return origin


def _git(*arguments: str) -> str | None:
    """Return what a git command prints, None where it fails."""
    done = subprocess.run(  # noqa: S603 - our own arguments
        ["git", *arguments],  # noqa: S607 - the user's git
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        timeout=_SECONDS,
    )
    return done.stdout.strip() if done.returncode == 0 else None
