"""Saves: compares the work tree with HEAD, byte for byte, and writes what differs."""

import gzip
import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from headstart_runner.snapshots.worktree import FORMAT
from headstart_runner.snapshots.worktree.plumbing import (
    COMMIT,
    EXECUTABLE,
    LINK,
    PLAIN,
    RAW_ATTRIBUTES,
    Plumbing,
    Problem,
    is_sound,
    leads_away,
)

_MOST_SKIPPED = 200
_HEAD, _BRANCH, _INDEX = "refs/saved/head", "refs/saved/branch", "refs/saved/index"


@dataclass(slots=True)
class _Work:
    """What differs from HEAD."""

    changed: dict[str, int] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def save(spec: dict[str, Any], out: IO[bytes]) -> dict[str, Any]:
    """Write the saved work to `out`; returns `{headCommit, skipped, size}`, or raises Problem.

    `spec`: `repository`, `temporary` (a folder of ours), `baseCommit`, `branch`, `maxFileBytes`
    and `maxBytes`, which counts commits and files before compression.
    """
    repository = Path(spec["repository"])
    theirs = Plumbing(repository / ".git", repository)
    head = theirs.line("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    branch = spec.get("branch")
    branch_commit = branch and theirs.line(
        "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}^{{commit}}"
    )
    ref = theirs.line("symbolic-ref", "--quiet", "HEAD")
    ours = _directory(Path(spec["temporary"]) / "git", theirs)
    index = _index_commit(ours, head)
    bundle = Path(spec["temporary"]) / "commits.bundle"
    wanted = {_HEAD: head, _BRANCH: branch_commit, _INDEX: index}
    _bundle(ours, bundle, wanted, spec.get("baseCommit"))
    work = _compare(ours, head, spec["maxFileBytes"])
    bundled = bundle.stat().st_size if bundle.exists() else 0
    size = bundled + sum(work.changed.values())
    if size > spec["maxBytes"]:
        raise Problem(f"the work is {_mega(size)}, more than the {_mega(spec['maxBytes'])} allowed")
    meta = {
        "format": FORMAT,
        "baseCommit": spec.get("baseCommit"),
        "headCommit": head,
        "headRef": ref if theirs.knows_as_branch(ref) else None,
        "branch": branch,
        "branchCommit": branch_commit,
        "indexCommit": index,
        "shallow": _shallow(ours),
        "deleted": work.deleted,
    }
    _write(out, meta, bundle, _entries(repository, work, spec["maxFileBytes"]))
    return {"headCommit": head, "skipped": sorted(work.skipped)[:_MOST_SKIPPED], "size": size}


def _directory(git_dir: Path, theirs: Plumbing) -> Plumbing:
    """Make a git directory of our own over the objects of theirs."""
    ours = Plumbing(git_dir, theirs.work_tree)
    kind = theirs.line("rev-parse", "--show-object-format") or "sha1"
    ours.run("init", "--quiet", "--template=", f"--object-format={kind}")
    info = git_dir / "info"
    info.mkdir()
    (info / "attributes").write_text(RAW_ATTRIBUTES)
    objects = theirs.git_dir.resolve() / "objects"
    (git_dir / "objects" / "info").mkdir(exist_ok=True)
    (git_dir / "objects" / "info" / "alternates").write_text(f"{objects}\n")
    for name in ("shallow", "index", "info/exclude"):
        with suppress(OSError):
            shutil.copyfile(theirs.git_dir / name, git_dir / name)
    for shared in theirs.git_dir.glob("sharedindex.*"):
        with suppress(OSError):
            shutil.copyfile(shared, git_dir / shared.name)
    return ours


def _index_commit(ours: Plumbing, head: str | None) -> str | None:
    """Return a commit of what is staged; None where that is HEAD, or can't be told (a conflict)."""
    tree = ours.line("write-tree")
    if tree is None:
        _forget_index(ours, head)
        return None
    if tree == ours.line("rev-parse", f"{head}^{{tree}}") if head else not ours.tree(tree):
        return None
    parents = ("-p", head) if head else ()
    return ours.line("commit-tree", tree, *parents, "-m", "index")


def _forget_index(ours: Plumbing, head: str | None) -> None:
    """Go on with an index that lists what HEAD has: theirs is broken, or in a conflict."""
    (ours.git_dir / "index").unlink(missing_ok=True)
    if head:
        ours.run("read-tree", head)


def _bundle(ours: Plumbing, file: Path, wanted: dict[str, str | None], base: str | None) -> None:
    """Write the commits that the base does not have, if there are any."""
    refs = {ref: commit for ref, commit in wanted.items() if commit}
    if base and ours.try_run("cat-file", "-e", f"{base}^{{commit}}").returncode != 0:
        raise Problem(f"the commit {base} that the work builds on is gone from the clone")
    for ref, commit in refs.items():
        ours.run("update-ref", ref, commit)
    beyond = ["--not", base] if base else []
    # A ref that the base has already would make git warn, and one that it is refuse.
    new = [r for r, c in refs.items() if ours.run("rev-list", "--max-count=1", c, *beyond).strip()]
    if new:
        ours.run("bundle", "create", "--quiet", str(file), *new, *beyond)


def _shallow(ours: Plumbing) -> list[str]:
    file = ours.git_dir / "shallow"
    return file.read_text().split() if file.exists() else []


def _compare(ours: Plumbing, head: str | None, max_file_bytes: int) -> _Work:
    """Look at every file of HEAD and every one that is not ignored."""
    work, tree = _Work(), ours.tree(head)
    listed = ours.names("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for path in filter(_is_sound, sorted({*listed, *tree})):
        mode, object_id = tree.get(path, ("", ""))
        place = ours.work_tree / path
        if path.endswith("/") or mode == COMMIT:
            # A repository in the repository: its files are not this one's.
            if (place / ".git").exists():
                work.skipped.append(path.rstrip("/"))
            continue
        try:
            now = place.lstat()
        except (FileNotFoundError, NotADirectoryError):
            now = None
        if now is None or stat.S_ISDIR(now.st_mode) or leads_away(ours.work_tree, path):
            if path in tree:
                work.deleted.append(path)
        elif not stat.S_ISLNK(now.st_mode) and (
            not stat.S_ISREG(now.st_mode) or now.st_size > max_file_bytes
        ):
            work.skipped.append(path)
        else:
            _judge(work, ours.work_tree, path, (mode, object_id), max_file_bytes)
    return work


def _is_sound(path: str) -> bool:
    return is_sound(path.removesuffix("/"))


def _judge(work: _Work, root: Path, path: str, known: tuple[str, str], max_file_bytes: int) -> None:
    try:
        mode, content = _read(root / path, max_file_bytes)
    except OSError:
        work.skipped.append(path)
        return
    kind = hashlib.sha256 if len(known[1]) == 64 else hashlib.sha1
    if known != (mode, kind(b"blob %d\0" % len(content) + content).hexdigest()):
        work.changed[path] = len(content)


def _read(place: Path, max_bytes: int) -> tuple[str, bytes]:
    """Return git's mode and the content of a file, of a link where it leads."""
    if place.is_symlink():
        return LINK, os.fsencode(place.readlink())
    handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(handle, "rb") as stream:
        now = os.fstat(handle)
        content = stream.read(max_bytes + 1) if stat.S_ISREG(now.st_mode) else b""
        if not stat.S_ISREG(now.st_mode) or len(content) > max_bytes:
            raise OSError("it has changed meanwhile")
        return (EXECUTABLE if now.st_mode & stat.S_IXUSR else PLAIN), content


def _entries(root: Path, work: _Work, max_bytes: int) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    for path in work.changed:
        try:
            mode, content = _read(root / path, max_bytes)
        except OSError:
            work.skipped.append(path)
            continue
        entry = tarfile.TarInfo(f"work/{path}")
        entry.mode = 0o755 if mode == EXECUTABLE else 0o644
        if mode == LINK:
            entry.type, entry.linkname = tarfile.SYMTYPE, os.fsdecode(content)
            content = b""
        entry.size = len(content)
        yield entry, content


def _write(
    out: IO[bytes],
    meta: dict[str, Any],
    bundle: Path,
    entries: Iterator[tuple[tarfile.TarInfo, bytes]],
) -> None:
    with (
        gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=out, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        described = json.dumps(meta).encode()
        entry = tarfile.TarInfo("meta.json")
        entry.size = len(described)
        archive.addfile(entry, io.BytesIO(described))
        if bundle.exists():
            entry = tarfile.TarInfo("commits.bundle")
            entry.size = bundle.stat().st_size
            with bundle.open("rb") as stream:
                archive.addfile(entry, stream)
        for entry, content in entries:
            archive.addfile(entry, io.BytesIO(content))


def _mega(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
