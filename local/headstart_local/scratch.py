"""Temporary folders that outlive nobody for long: the next start removes those of the killed."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

_PREFIX = "headstart-"
_LOCK = ".lock"


class Scratch:
    """A folder in the temporary directory, gone when it is closed or when its process is killed.

    The latter at the next start: the folder has a lock, which the kernel gives up for the dead.
    """

    def __init__(self, kind: str) -> None:
        """Make `headstart-KIND-…`; raises OSError."""
        _sweep()
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{kind}-"))
        unlocked = self.path / "lock"
        self._lock = os.open(unlocked, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # Found by others only once it is held.
        unlocked.rename(self.path / _LOCK)

    def close(self) -> None:
        """Remove the folder with all that is in it; never raises."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _sweep() -> None:
    """Remove our user's folders whose processes are dead."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        # Somebody else's, or one that another start removes at this moment.
        with contextlib.suppress(OSError):
            _remove_if_dead(lock)


def _remove_if_dead(lock: Path) -> None:
    if lock.parent.lstat().st_uid != os.getuid():
        return
    held = os.open(lock, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(lock.parent, ignore_errors=True)
    finally:
        os.close(held)
