"""What the tests of saved work share: saving in one sandbox, waking in another, looking at both."""

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fake_cloud import FakeCloud, Json, fake_cloud
from object_store import ObjectStore
from runner_kit import BRANCH, SESSION_ID, Sandbox, agent_args, clone_args, git, started


def snapshot_args(**more: int) -> Json:
    """Return the arguments of a snapshot."""
    limits = {"maxFileBytes": 100_000, "maxBytes": 1_000_000}
    return {"agent": "demo", "sessionId": SESSION_ID, **limits, **more}


def upload_args(store: ObjectStore, made: Json, key: str = "work") -> Json:
    """Return the arguments of the upload of a snapshot that was made."""
    size, sha256 = made["output"]["bytes"], made["output"]["sha256"]
    headers = {"Content-Length": str(size), "x-amz-checksum-sha256": sha256}
    return {"sha256": sha256, "url": store.url(key), "headers": headers}


def restore_args(store: ObjectStore, made: Json | None = None, key: str = "work") -> Json:
    """Return the arguments of a restore, of a snapshot if there is one."""
    args: Json = {"agent": "demo", "sessionId": SESSION_ID, "title": "Health"}
    if made:
        output = made["output"]
        args["snapshot"] = {
            "url": store.url(key),
            "bytes": output["bytes"],
            "sha256": output["sha256"],
        }
    return args


async def done(cloud: FakeCloud, kind: str, args: Json, *, name: str = "") -> Json:
    """Run a command that must complete."""
    result = await cloud.do(kind, args, name=name)
    assert result["status"] == "completed", result
    return result


async def begin(cloud: FakeCloud, store: ObjectStore, url: str) -> None:
    """Prepare a first attempt, with its branch and its agent."""
    await done(cloud, "clone", clone_args(url))
    await done(cloud, "branch", {"branch": BRANCH})
    await done(cloud, "restore", restore_args(store))
    await done(cloud, "agent", agent_args())


async def save(cloud: FakeCloud, store: ObjectStore, **limits: int) -> Json:
    """Make a snapshot and upload it."""
    made = await done(cloud, "snapshot", snapshot_args(**limits))
    await done(cloud, "upload", upload_args(store, made))
    return made


async def wake(cloud: FakeCloud, store: ObjectStore, url: str, made: Json) -> Json:
    """Do what a wake-up does up to the restore, and return its result."""
    await done(cloud, "clone", clone_args(url, baseCommit=made["output"]["baseCommit"]))
    await done(cloud, "branch", {"branch": BRANCH})
    return await cloud.do("restore", restore_args(store, made))


@asynccontextmanager
async def another(folder: Path) -> AsyncIterator[tuple[FakeCloud, Sandbox]]:
    """Run another sandbox, with a cloud of its own."""
    async with fake_cloud() as cloud, started(cloud, folder) as box:
        yield cloud, box


def files_of(repository: Path) -> dict[str, tuple[str, str]]:
    """Return kind and content of every file of a work tree."""
    found = {}
    for path in sorted(repository.rglob("*")):
        name = str(path.relative_to(repository))
        if name == ".git" or name.startswith(".git/"):
            continue
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_file():
            kind = "executable" if path.stat().st_mode & 0o100 else "file"
            found[name] = (kind, hashlib.sha256(path.read_bytes()).hexdigest())
    return found


def state_of(repository: Path) -> Json:
    """Return what a person sees of a work tree and its history."""
    return {
        "files": files_of(repository),
        "status": git("status", "--porcelain", "--untracked-files=all", cwd=repository),
        "branch": git("symbolic-ref", "HEAD", cwd=repository),
        "log": git("log", "--all", "--format=%H %s %an", f"refs/heads/{BRANCH}", cwd=repository)
        if git("branch", "--list", BRANCH, cwd=repository)
        else "",
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
