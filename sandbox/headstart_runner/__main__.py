"""`python -I -m headstart_runner`: ends with 0 on SIGTERM, 64 refused, 65 offline, 66 rejected.

78 is a configuration that makes no sense, or one that the agent's uid could change.
"""

import asyncio
import ctypes
import os
import sys

from pydantic import ValidationError

from headstart_runner.config import Config
from headstart_runner.processes.nanny import adopt_orphans, kill_descendants
from headstart_runner.runner import main
from headstart_runner.trust import import_the_rest, mistrusted

_EXIT_CONFIG = 78
_PR_SET_DUMPABLE = 4


def _protect() -> None:
    """Keep processes of our own uid out of our memory and environment (prctl(2), proc(5))."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _configure() -> Config:
    """Return the configuration; exit when it makes no sense or can't be trusted."""
    try:
        config = Config.take(os.environ)
        problems = mistrusted(config.agent_uid, config.state_dir, os.environ)
    except ValidationError as invalid:
        problems = [f"{item['loc'][0]}: {item['msg']}" for item in invalid.errors()]
    if problems:
        sys.stderr.write(f"headstart_runner: {'; '.join(problems)}\n")
        sys.exit(_EXIT_CONFIG)
    return config


if __name__ == "__main__":
    _protect()
    adopt_orphans()
    import_the_rest()
    configuration = _configure()
    status = asyncio.run(main(configuration))
    kill_descendants()
    sys.exit(status)
