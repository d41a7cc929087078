"""Puts saved work back into a fresh clone: commits, branches, index and files, byte for byte."""

import json
import os
import shutil
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from headstart_runner.snapshots.worktree import FORMAT
from headstart_runner.snapshots.worktree.plumbing import (
    RAW_ATTRIBUTES,
    Plumbing,
    Problem,
    is_id,
    is_sound,
    leads_away,
)


def load(spec: dict[str, Any]) -> dict[str, Any]:
    """Put the work back and return `{headCommit}`; raise Problem where that can't be done.

    `spec`: `repository`, `temporary` (a folder of ours), `archive`. Doing it again changes nothing.
    """
    repository, temporary = Path(spec["repository"]), Path(spec["temporary"])
    git = Plumbing(repository / ".git", repository)
    try:
        with tarfile.open(spec["archive"], mode="r|gz") as archive:
            meta = _meta(archive, git)
            attributes = git.git_dir / "info" / "attributes"
            attributes.parent.mkdir(exist_ok=True)
            # The repository's own attributes would change line ends and the like on the way.
            attributes.write_text(RAW_ATTRIBUTES)
            try:
                _files(archive, git, meta, temporary / "commits.bundle")
            finally:
                attributes.unlink()
    except (tarfile.TarError, EOFError, ValueError, KeyError, OSError) as error:
        raise Problem(f"the saved work can't be read: {type(error).__name__}: {error}") from error
    index = meta.get("indexCommit") or meta.get("headCommit")
    # Without -m: what the index knows of sizes is of files that have been written again since.
    git.run("read-tree", *(["--end-of-options", index] if index else ["--empty"]))
    git.try_run("update-index", "-q", "--refresh")
    return {"headCommit": meta.get("headCommit")}


def _meta(archive: tarfile.TarFile, git: Plumbing) -> dict[str, Any]:
    """Return the description, whose every value can only be what it is taken for."""
    first = archive.next()
    stream = archive.extractfile(first) if first and first.name == "meta.json" else None
    if stream is None:
        raise ValueError("its description is missing")
    meta: dict[str, Any] = json.load(stream)
    if meta["format"] > FORMAT:
        raise Problem(f"the work was saved in format {meta['format']}, newer than this sandbox")
    commits = [meta.get(name) for name in ("headCommit", "branchCommit", "indexCommit")]
    branch = meta.get("branch")
    refs = [meta.get("headRef"), branch and f"refs/heads/{branch}"]
    if not all(is_id(commit) for commit in (*filter(None, commits), *meta["shallow"])):
        raise ValueError("its commits make no sense")
    if not all(git.knows_as_branch(ref) for ref in filter(None, refs)):
        raise ValueError("its branches make no sense")
    return meta


def _files(archive: tarfile.TarFile, git: Plumbing, meta: dict[str, Any], bundle: Path) -> None:
    placed = False
    while (entry := archive.next()) is not None:
        if entry.name == "commits.bundle":
            with bundle.open("wb") as out:
                shutil.copyfileobj(_content(archive, entry), out)
            continue
        if not placed:
            _commits(git, meta, bundle)
            placed = True
        _place(git.work_tree, archive, entry)
    if not placed:
        _commits(git, meta, bundle)


def _commits(git: Plumbing, meta: dict[str, Any], bundle: Path) -> None:
    """Put branches and HEAD where they were, the work tree at HEAD, and delete what was deleted."""
    if bundle.exists():
        _deepen(git, meta)
        git.run("bundle", "unbundle", str(bundle))
    before = git.names("ls-files", "-z")
    head, ref = meta.get("headCommit"), meta.get("headRef")
    # A detached HEAD moves no branch while the branches are put in place.
    if head:
        git.run("update-ref", "--no-deref", "--end-of-options", "HEAD", head)
    if meta.get("branch") and meta.get("branchCommit"):
        branch = f"refs/heads/{meta['branch']}"
        git.run("update-ref", "--end-of-options", branch, meta["branchCommit"])
    if ref:
        if head:
            git.run("update-ref", "--end-of-options", ref, head)
        else:
            git.try_run("update-ref", "-d", "--end-of-options", ref)
        git.run("symbolic-ref", "--end-of-options", "HEAD", ref)
    kept = git.tree(head)
    for path in before:
        if path not in kept:
            _remove(git.work_tree, path)
    if any(path.rpartition("/")[2] == ".gitattributes" for path in {*before, *kept}):
        # Files may have been checked out with other bytes than they have in their commit.
        (git.git_dir / "index").unlink(missing_ok=True)
    if head:
        git.run("reset", "--quiet", "--hard", head)
    for path in meta["deleted"]:
        _remove(git.work_tree, path)


def _deepen(git: Plumbing, meta: dict[str, Any]) -> None:
    """Note where the saved history ends: commits fetched later had ends of their own."""
    file = git.git_dir / "shallow"
    known = file.read_text().split() if file.exists() else []
    if added := [commit for commit in meta["shallow"] if commit not in known]:
        file.write_text("".join(f"{commit}\n" for commit in [*known, *added]))


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> Any:
    stream = archive.extractfile(entry) if entry.isreg() else None
    if stream is None:
        raise Problem(f"{entry.name!r} is no file")
    return stream


def _place(root: Path, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
    kind, _, path = entry.name.partition("/")
    if kind != "work" or not (entry.isreg() or entry.issym()):
        raise Problem(f"{entry.name!r} makes no sense")
    if not is_sound(path) or leads_away(root, path):
        raise Problem(f"the path {path!r} makes no sense")
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    _clear(place)
    if entry.issym():
        place.symlink_to(entry.linkname)
        return
    handle = os.open(
        place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, entry.mode & 0o777
    )
    with os.fdopen(handle, "wb") as out:
        shutil.copyfileobj(_content(archive, entry), out)


def _clear(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _remove(root: Path, path: str) -> None:
    """Remove a file, and the directories it leaves empty."""
    if not is_sound(path) or leads_away(root, path):
        return
    place = root / path
    if place.is_symlink() or place.is_file():
        place.unlink()
    with suppress(OSError):
        for parent in place.relative_to(root).parents[:-1]:
            (root / parent).rmdir()
