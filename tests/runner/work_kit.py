"""What the tests of saved work share: saving in one sandbox, waking in another, looking at both."""

import hashlib
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fake_cloud import FakeCloud, Json, fake_cloud
from object_store import ObjectStore
from runner_kit import BRANCH, SESSION_ID, Sandbox, agent_args, clone_args, git, started

MOST_BYTES = 20_000_000


def archive_args(saved: Json | None = None, **more: Any) -> Json:
    """Return the arguments of a save, on top of what was saved before."""
    base = saved["base"]["sha256"] if saved else None
    return {
        "agent": "demo", "sessionId": SESSION_ID, "base": base, "maxBytes": MOST_BYTES, **more
    }  # fmt: skip


def upload_args(store: ObjectStore, made: Json, key: str = "work") -> Json:
    """Return the arguments of the upload of what a save made."""
    files = []
    for part in ("base", "difference"):
        if file := made["output"].get(part):
            headers = {
                "Content-Length": str(file["bytes"]), "x-amz-checksum-sha256": file["sha256"]
            }  # fmt: skip
            url = store.url(f"{key}/{part}")
            files.append({"sha256": file["sha256"], "url": url, "headers": headers})
    return {"files": files}


def archive_ref(
    store: ObjectStore, made: Json, before: Json | None = None, key: str = "work"
) -> Json:
    """Return what a clone is told of a saved workspace."""
    found: Json = dict(before or {})
    for part in ("base", "difference"):
        if file := made["output"].get(part):
            found[part] = {**file, "url": store.url(f"{key}/{part}")}
    return found


def restore_args() -> Json:
    """Return the arguments of a restore."""
    return {"agent": "demo", "sessionId": SESSION_ID, "title": "Health"}


async def done(cloud: FakeCloud, kind: str, args: Json, *, name: str = "") -> Json:
    """Run a command that must complete."""
    result = await cloud.do(kind, args, name=name)
    assert result["status"] == "completed", result
    return result


async def begin(cloud: FakeCloud, url: str) -> None:
    """Prepare a first attempt, with its branch and its agent."""
    await done(cloud, "clone", clone_args(url))
    await done(cloud, "branch", {"branch": BRANCH})
    await done(cloud, "restore", restore_args())
    await done(cloud, "agent", agent_args())


async def save(
    cloud: FakeCloud, store: ObjectStore, before: Json | None = None, **more: Any
) -> Json:
    """Save the workspace, send it, and return what a clone is told of it."""
    number = 1 + sum(name.endswith(".archive") for name in cloud.results)
    made = await done(cloud, "archive", archive_args(before, **more), name=f"{number}.archive")
    await done(cloud, "upload", upload_args(store, made), name=f"{number}.upload")
    return archive_ref(store, made, before)


async def wake(cloud: FakeCloud, url: str, saved: Json) -> Json:
    """Do what a wake-up does up to the restore, and return its result."""
    await done(cloud, "clone", clone_args(url, archive=saved))
    return await done(cloud, "restore", restore_args())


@asynccontextmanager
async def another(folder: Path) -> AsyncIterator[tuple[FakeCloud, Sandbox]]:
    """Run another sandbox, with a cloud of its own."""
    async with fake_cloud() as cloud, started(cloud, folder) as box:
        yield cloud, box


Manifest = dict[bytes, tuple[Any, ...]]


def manifest_of(folder: Path, *, without: tuple[bytes, ...] = ()) -> Manifest:
    """Return all that there is to know of each path below a folder.

    That is kind and mode, time in nanoseconds, size, target, content, and the names it goes by.
    """
    found: Manifest = {}
    names: dict[int, list[bytes]] = {}
    root = os.fsencode(folder) + b"/"

    def look(folder: Path) -> None:
        for path in sorted(folder.iterdir()):
            told = path.lstat()
            key = os.fsencode(path)[len(root) :]
            if key in without:
                continue
            if stat.S_ISREG(told.st_mode):
                names.setdefault(told.st_ino, []).append(key)
            found[key] = (oct(told.st_mode), told.st_mtime_ns, *_content(path, told))
            if stat.S_ISDIR(told.st_mode):
                look(path)

    look(folder)
    for same in names.values():
        for key in same:
            found[key] += (tuple(same),)
    return found


def _content(path: Path, told: os.stat_result) -> tuple[Any, ...]:
    if stat.S_ISLNK(told.st_mode):
        return (os.readlink(path),)  # noqa: PTH115  (as it is, not normalised)
    if stat.S_ISREG(told.st_mode):
        return (told.st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    return ()


SESSIONS = (b"home/.local/share/demo-agent",)
"""Where the demo agent keeps its sessions, which travel as its export."""


def differences(before: Manifest, after: Manifest) -> dict[bytes, tuple[Any, Any]]:
    """Return what is not the same, for a message that can be read."""
    return {
        path: (before.get(path), after.get(path))
        for path in sorted(before.keys() | after.keys())
        if before.get(path) != after.get(path)
    }


def work_on(repository: Path) -> None:
    """Leave every kind of change behind."""
    (repository / "src/app.py").write_bytes(b"changed\r\nwith\0bytes\xff\n")
    (repository / "README.md").unlink()
    (repository / "new file ünï.txt").write_text("new\n")
    run = repository / "run.sh"
    run.write_text("#!/bin/sh\n")
    run.chmod(0o755)
    (repository / "link").symlink_to("src/app.py")
    (repository / "away").symlink_to("/etc/passwd")
    (repository / "tests/test_app.py").chmod(0o755)
    (repository / ".gitignore").write_text("*.log\n")
    (repository / "debug.log").write_text("ignored\n")
    (repository / "deep/er").mkdir(parents=True)
    (repository / "deep/er/committed").write_bytes(bytes(range(256)) * 16)
    git("add", "deep", cwd=repository)
    git("commit", "--quiet", "--message", "Unpushed", cwd=repository)
    (repository / "staged").write_text("staged\n")
    (repository / "deep/er/committed").write_text("staged, then\n")
    git("add", "staged", "deep", cwd=repository)
    (repository / "deep/er/committed").write_text("changed again\n")
    git("mv", "src/grüße und mehr.txt", "moved", cwd=repository)
    (repository / os.fsdecode(b"not utf-8 \xff")).write_text("x")


def files_in(folder: Path) -> set[str]:
    """Return the names of what is in a folder."""
    return {path.name for path in folder.iterdir()}
