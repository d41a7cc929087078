"""The folders that agents' servers are started in: nobody but the runner can write in them."""

import secrets
import shutil
import tempfile
from pathlib import Path

from headstart_runner.journal import Journal

_FOLDERS = "agent.started_in"
_MOST = 4
"""How many are remembered: there are two at a time, when one takes another's place."""

_INSTRUCTIONS = "instructions"
"""A file with the path of what the repository tells agents: read when a repository is opened."""


class Folders:
    """Makes them; those that an earlier runner was killed beside are removed first."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        for left in journal.remembered(_FOLDERS):
            shutil.rmtree(left, ignore_errors=True)

    def make(self, instructions: Path) -> "Folder":
        """Make one; OSError where that can't be."""
        path = Path(tempfile.gettempdir()) / f"headstart-agent-{secrets.token_hex(8)}"
        # First: a runner may be killed between any two lines.
        self._journal.remember(_FOLDERS, str(path), _MOST)
        folder = Folder(path)
        try:
            path.mkdir()
            path.chmod(0o755)
            folder.name(instructions)
        except BaseException:
            folder.remove()
            raise
        return folder


class Folder:
    """One of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.instructions = path / _INSTRUCTIONS

    def name(self, instructions: Path) -> None:
        """Write down where the repository's instructions are; OSError."""
        self.instructions.write_text(f"{instructions}\n", encoding="utf-8")
        self.instructions.chmod(0o644)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
