"""`python -m headstart_runner.snapshots.worktree save|load SPEC`: the answer is a JSON line."""

import ctypes
import json
import sys
from typing import IO, Any, cast

from headstart_runner.snapshots.worktree.load import load
from headstart_runner.snapshots.worktree.plumbing import Problem
from headstart_runner.snapshots.worktree.save import save

_PR_SET_DUMPABLE = 4


class _Counted:
    """Standard output, and how many bytes went there: a reader can tell that it has them all."""

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, data: bytes) -> int:
        self.bytes += len(data)
        return sys.stdout.buffer.write(data)


def _keep_to_ourselves() -> None:
    """Keep other processes of our uid from our memory and our pipes (prctl(2), ptrace(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def main(what: str, spec: dict[str, Any]) -> int:
    """Save or load, and say how it went."""
    try:
        if what == "save":
            out = _Counted()
            answer = save(spec, cast(IO[bytes], out))  # tarfile only writes to it
            sys.stdout.buffer.flush()
            answer["bytes"] = out.bytes
        else:
            answer = load(spec)
    except (Problem, OSError) as problem:
        answer = {"error": str(problem)}
    sys.stderr.write(json.dumps(answer) + "\n")
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    _keep_to_ourselves()
    sys.exit(main(sys.argv[1], json.loads(sys.argv[2])))
