"""git without the configuration of anybody, and paths that stay inside."""

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    # Missing objects of a partial clone are not fetched from wherever its configuration says.
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_LAZY_FETCH": "1",
    "LC_ALL": "C",
    # Commits that only carry a tree are the same whenever they are made.
    "GIT_AUTHOR_NAME": "Headstart",
    "GIT_AUTHOR_EMAIL": "headstart@localhost",
    "GIT_AUTHOR_DATE": "@0 +0000",
    "GIT_COMMITTER_NAME": "Headstart",
    "GIT_COMMITTER_EMAIL": "headstart@localhost",
    "GIT_COMMITTER_DATE": "@0 +0000",
}
_OPTIONS = (
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.autocrlf=false"),
    *("-c", "core.fileMode=true"),
    *("-c", "core.symlinks=true"),
    *("-c", "diff.ignoreSubmodules=all"),
    *("-c", "submodule.recurse=false"),
    *("-c", "gc.auto=0"),
)

RAW_ATTRIBUTES = "* -text -eol -ident -filter -working-tree-encoding\n"
"""In info/attributes these stand above every .gitattributes: bytes go in and out unchanged."""

_MOST_SECONDS = 110
"""How long one command may take: a pipe in the place of one of git's files holds it up for ever."""

LINK, EXECUTABLE, PLAIN, COMMIT = "120000", "100755", "100644", "160000"
"""git's modes of what a tree holds (git-fast-import(1))."""


class Problem(Exception):
    """What a person is told."""


class Plumbing:
    """git with one directory and one work tree."""

    def __init__(self, git_dir: Path, work_tree: Path) -> None:
        self.git_dir = git_dir
        self.work_tree = work_tree
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": "/nonexistent",
            "GIT_DIR": str(git_dir),
            "GIT_WORK_TREE": str(work_tree),
            **_ENVIRONMENT,
        }

    def try_run(
        self, *arguments: str, given: bytes = b"", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a git command to its end, whatever that is; raise Problem if it comes to none."""
        with subprocess.Popen(  # noqa: S603  (arguments are ours, and no shell is between)
            ["git", *_OPTIONS, *arguments],  # noqa: S607  (the sandbox image's git)
            cwd=self.work_tree,
            env={**self._environment, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        ) as git:
            try:
                out, err = git.communicate(given, timeout=_MOST_SECONDS)
            except BaseException as error:
                # A child of git's may be what does not end.
                os.killpg(git.pid, signal.SIGKILL)
                if isinstance(error, subprocess.TimeoutExpired):
                    said = f"git {arguments[0]} took more than {_MOST_SECONDS} seconds"
                    raise Problem(said) from None
                raise
        return subprocess.CompletedProcess(git.args, git.returncode, out, err)

    def run(self, *arguments: str, given: bytes = b"") -> bytes:
        """Run a git command and return what it prints; raise Problem with its last words."""
        done = self.try_run(*arguments, given=given)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            last = said[-1] if said else f"exit status {done.returncode}"
            raise Problem(f"git {arguments[0]} failed: {last}")
        return done.stdout

    def line(self, *arguments: str) -> str | None:
        """Return the one line a git command prints, None when it fails or prints none."""
        done = self.try_run(*arguments)
        return os.fsdecode(done.stdout).strip() or None if done.returncode == 0 else None

    def names(self, *arguments: str) -> list[str]:
        """Return the NUL-terminated names that a git command prints."""
        return [os.fsdecode(name) for name in self.run(*arguments).split(b"\0") if name]

    def tree(self, commit: str | None) -> dict[str, tuple[str, str]]:
        """Return mode and object id of each path of a commit; of no commit, nothing."""
        if commit is None:
            return {}
        found = {}
        for entry in self.names("ls-tree", "-r", "-z", "--full-tree", "--end-of-options", commit):
            about, _, path = entry.partition("\t")
            mode, _, object_id = about.split(" ")
            found[path] = (mode, object_id)
        return found

    def knows_as_branch(self, ref: object) -> bool:
        """Return whether a value can be the whole name of a branch (git-check-ref-format(1))."""
        if not isinstance(ref, str) or not ref.startswith("refs/heads/") or "\0" in ref:
            return False
        return self.try_run("check-ref-format", ref).returncode == 0


def is_id(text: object) -> bool:
    """Return whether a value can only be the whole id of an object."""
    return (
        isinstance(text, str) and len(text) in {40, 64} and not set(text) - set("0123456789abcdef")
    )


def is_sound(path: str) -> bool:
    """Return whether a path can only mean a place below where it begins, and none of git's own."""
    return not {"", ".", "..", ".git"} & set(path.split("/"))


def leads_away(root: Path, path: str) -> bool:
    """Return whether a parent of a path is a link, or anything else that is no directory."""
    place = root
    for part in path.split("/")[:-1]:
        place = place / part
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            return True
    return False
