"""What this very work tree was at when it was published, kept in its own repository.

Being there, the notes go where the work goes: a copy that is put back has those of its moment. The
agent's user can write them as well; what it forges lets it force over its own session's commits
only, since the cloud names those.
"""

import tempfile
from collections.abc import Collection
from pathlib import Path

from headstart_runner.log import logger
from headstart_runner.repository.git import Git, complaint

_PLACE = "refs/headstart/published/"
_NO_NETWORK = ("-c", "protocol.allow=never")


class Noted:
    """The notes in one repository, a ref a commit: none is pushed, fetched or of a branch."""

    def __init__(self, git: Git, repository: Path) -> None:
        self._git = git
        self._repository = repository

    async def note(self, commit: str, others: Collection[str] = ()) -> None:
        """Note that the work is at a commit; of the earlier ones only `others` stay noted.

        One that can't be noted is no failure: it is then never forced over.
        """
        await self._keep({commit, *others})
        ref = f"{_PLACE}{commit}"
        done = await self._git.run("update-ref", "--no-deref", ref, commit, cwd=self._repository)
        if done.code != 0:
            logger.warning("a commit could not be noted: %s", complaint(done.stderr))

    async def forget(self) -> None:
        """Note nothing any more: the work becomes another session's."""
        await self._keep(set())

    async def had(self, commit: str) -> bool:
        """Say whether the work was once at a commit, or at one that goes on from it."""
        found = await self._git.run(
            *("for-each-ref", "--count=1", f"--contains={commit}", _PLACE),
            cwd=self._repository,
            options=_NO_NETWORK,
        )
        return found.code == 0 and bool(found.stdout.strip())

    async def _keep(self, commits: Collection[str]) -> None:
        listed = await self._git.run(
            "for-each-ref", "--format=%(refname)", _PLACE, cwd=self._repository
        )
        names = [name for name in listed.stdout.split() if name.startswith(_PLACE)]
        gone = [name for name in names if name.removeprefix(_PLACE) not in commits]
        if not gone:
            return
        with tempfile.TemporaryFile() as file:
            file.write("".join(f"delete {name}\n" for name in gone).encode())
            file.seek(0)
            await self._git.run(
                *("update-ref", "--no-deref", "--stdin"),
                cwd=self._repository,
                stdin=file.fileno(),
            )
