"""What is not committed becomes a commit; the agent's own commits stay as they are."""

import os
import re
import tempfile
from pathlib import Path

from headstart.domain.command_args import PublishArgs
from headstart.domain.errors import DiskFull, PublishFailed, WorkUnfinished
from headstart_runner.repository.git import NO_SPACE, Git, GitResult, complaint
from headstart_runner.repository.words import some
from headstart_runner.wire import head

_UNFINISHED = {
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
}
_SUBJECT_CHARACTERS = 72
_SUBMODULE = "160000"
_NO_COMMIT = re.compile(r"error: '(.+)/' does not have a commit checked out")
_AUTHOR = re.compile(r"(.+?) <(.+)>")
TRAILER = "Headstart-Session"


class Commits:
    """The commits of a session's work tree; hooks are never run, filters are."""

    def __init__(self, git: Git, repository: Path) -> None:
        self._git = git
        self._repository = repository
        self.left_out: list[str] = []

    async def all(self, args: PublishArgs) -> str | None:
        """Commit what is not committed; return HEAD's commit, None before there is any.

        Repositories inside of it that are no submodules are left out, and named in `left_out`.
        Raises WorkUnfinished, PublishFailed, DiskFull.
        """
        await self._refuse_unfinished()
        added = await self._run("add", "--all", "--ignore-errors", "--", ".")
        if added.code != 0:
            self._judge(added, "add all files")
        await self._leave_out_repositories()
        staged = await self._run("diff", "--cached", "--quiet", "--no-ext-diff")
        if staged.code != 0:
            await self._commit(args)
        found = await self._run("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        return found.stdout.strip() or None

    def _judge(self, added: GitResult, what: str) -> None:
        """Raise for what can't be added, but for repositories that have nothing to point at."""
        complaints = re.findall(r"^(?:error|fatal): .*", added.stderr, re.MULTILINE)
        empty = [match[1] for line in complaints if (match := _NO_COMMIT.fullmatch(line))]
        rest = [line for line in complaints if not _NO_COMMIT.fullmatch(line)]
        if NO_SPACE.search(added.stderr):
            raise DiskFull("The sandbox's disk is too small for another commit")
        if not empty or any("adding files failed" not in line for line in rest):
            raise PublishFailed(f"git could not {what}: {complaint(added.stderr)}")
        self.left_out += empty

    async def _refuse_unfinished(self) -> None:
        asked = [word for name in _UNFINISHED for word in ("--git-path", name)]
        places = await self._must("rev-parse", "--path-format=absolute", *asked)
        if name := _first_of(dict(zip(places.splitlines(), _UNFINISHED.values(), strict=True))):
            raise WorkUnfinished(f"A {name} is in the middle: have the agent finish or abort it")
        if await self._must("ls-files", "--unmerged"):
            raise WorkUnfinished("Files have conflicts: have the agent resolve them")

    async def _leave_out_repositories(self) -> None:
        """Take back what would be a submodule that nobody could find."""
        raw = await self._must("diff", "--cached", "--raw", "--no-renames", "-z", "--diff-filter=A")
        words = raw.split("\0")
        new = [
            path
            for fields, path in zip(words[::2], words[1::2], strict=False)
            if fields.split(" ")[1:2] == [_SUBMODULE]
        ]
        if not new:
            return
        known = await self._run(
            "config", "--file", ".gitmodules", "--get-regexp", r"^submodule\..*\.path$"
        )
        paths = {line.partition(" ")[2] for line in known.stdout.splitlines()}
        if lost := [path for path in new if path not in paths]:
            await self._must(
                "--literal-pathspecs", "rm", "--cached", "--force", "--quiet", "--", *lost
            )
            self.left_out += lost

    async def _commit(self, args: PublishArgs) -> None:
        message = args.message or await self._made_up(args.title)
        text = f"{message.rstrip()}\n\n{TRAILER}: {args.session_id}\n"
        with tempfile.TemporaryFile() as file:
            file.write(text.encode("utf-8", "replace"))
            file.seek(0)
            done = await self._git.run(
                *("commit", "--quiet", "--no-verify", "--no-gpg-sign", "--cleanup=whitespace"),
                *("--no-status", "--file=-"),
                cwd=self._repository,
                env=identity(args.author),
                stdin=file.fileno(),
            )
        if done.code != 0:
            if NO_SPACE.search(done.stderr):
                raise DiskFull("The sandbox's disk is too small for another commit")
            raise PublishFailed(f"git could not commit the work: {complaint(done.stderr)}")

    async def _made_up(self, title: str) -> str:
        """Return a message of the session's title and what changed."""
        counted = await self._must("diff", "--cached", "--shortstat", "--no-ext-diff")
        names = await self._must("diff", "--cached", "--name-only", "--no-ext-diff", "-z")
        listed = some([name for name in names.split("\0") if name], "and")
        subject = head(" ".join(title.split()), _SUBJECT_CHARACTERS) or "Work of an agent"
        return f"{subject}\n\n{counted}: {listed}" if counted else subject

    async def _run(self, *arguments: str) -> GitResult:
        return await self._git.run(*arguments, cwd=self._repository)

    async def _must(self, *arguments: str) -> str:
        done = await self._run(*arguments)
        if done.code != 0:
            raise PublishFailed(f"git could not read the work: {complaint(done.stderr)}")
        return done.stdout.strip()


def identity(author: str) -> dict[str, str]:
    """Return the variables by which git knows who commits, of `Name <mail>`."""
    found = _AUTHOR.fullmatch(author)
    name, mail = (found[1], found[2]) if found else (author, "headstart@localhost")
    return {
        f"GIT_{role}_{field}": value
        for role in ("AUTHOR", "COMMITTER")
        for field, value in (("NAME", name), ("EMAIL", mail))
    }


def _first_of(names: dict[str, str]) -> str | None:
    return next((name for place, name in names.items() if os.path.lexists(place)), None)
