"""`python -m headstart_runner`: ends with 0 on SIGTERM, 64 refused, 65 offline, 66 rejected."""

import asyncio
import ctypes
import os
import sys

from pydantic import ValidationError

from headstart_runner.config import Config
from headstart_runner.processes.nanny import adopt_orphans, kill_descendants
from headstart_runner.runner import main

_EXIT_CONFIG = 78
_PR_SET_DUMPABLE = 4


def _protect() -> None:
    """Keep processes of our own uid out of our memory and environment (prctl(2), proc(5))."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


if __name__ == "__main__":
    _protect()
    adopt_orphans()
    try:
        configuration = Config.take(os.environ)
    except ValidationError as invalid:
        problems = [f"{item['loc'][0]}: {item['msg']}" for item in invalid.errors()]
        sys.stderr.write(f"headstart_runner: {'; '.join(problems)}\n")
        sys.exit(_EXIT_CONFIG)
    status = asyncio.run(main(configuration))
    kill_descendants()
    sys.exit(status)
