"""What a runner answers when the work is to be saved, and the bucket that it is sent to."""

from typing import Any

from headstart.adapters.memory import MemoryPorts
from headstart.domain.archive import Archive
from tests.unit.helpers import Runner

BASE = {"bytes": 9, "sha256": "base"}
SAVED: dict[str, Any] = {
    "base": BASE,
    "difference": {"bytes": 7, "sha256": "hash"},
    "leftOut": [],
    "missing": None,
}
"""The answer of a sandbox that had to make a base."""


def last(runner: Runner, kind: str) -> dict[str, Any]:
    """Return the newest command of a kind."""
    return [frame for frame in runner.frames() if frame.get("kind") == kind][-1]


def make(runner: Runner, asked: dict[str, Any], sha256: str = "hash", **more: object) -> None:
    """Make a copy that was asked for, with a base where the cloud has none."""
    base = None if asked["args"]["base"] else BASE
    difference = {"bytes": 7, "sha256": sha256}
    runner.complete(asked["id"], **{**SAVED, "base": base, "difference": difference, **more})


def key_of(file: dict[str, Any]) -> str:
    """Return the key of a file that is to be sent."""
    return str(file["url"]).removeprefix("https://objects.test/")


def put(ports: MemoryPorts, upload: dict[str, Any]) -> None:
    """Have the files of an upload arrive in the bucket."""
    for file in upload["args"]["files"]:
        size = 9 if key_of(file).endswith("/base") else 7
        ports.objects.stored[key_of(file)] = (size, file["sha256"])


def save(ports: MemoryPorts, runner: Runner, **more: object) -> None:
    """Do the copy that was asked for last, and its upload; it answers `more` than others."""
    make(runner, last(runner, "archive"), **more)  # type: ignore[arg-type]
    upload = last(runner, "upload")
    put(ports, upload)
    runner.complete(upload["id"])


def archive_of(ports: MemoryPorts, session_id: str) -> Archive:
    """Return what is kept of a session's work."""
    kept = ports.store.archive(session_id)
    assert kept
    return kept


def differs(ports: MemoryPorts, session_id: str) -> str | None:
    """Return the hash of the difference that is kept."""
    kept = archive_of(ports, session_id)
    return kept.difference and kept.difference.sha256


def keys(kept: Archive) -> set[str]:
    """Return the objects that an archive needs."""
    return {file.key for file in kept.files}
