"""`python -I -m headstart_runner`: ends with 0 on SIGTERM, 64 refused, 65 offline, 66 rejected.

78 is a configuration that makes no sense, or one that the agent's uid could change.
"""

import asyncio
import ctypes
import os
import sys
from typing import NoReturn

from pydantic import ValidationError

from headstart_runner.config import Config
from headstart_runner.processes.nanny import adopt_orphans, kill_descendants
from headstart_runner.runner import main
from headstart_runner.trust import Mistrusted, import_the_rest, leave_out, mistrusted

_EXIT_CONFIG = 78
_PR_SET_DUMPABLE = 4


def _protect() -> None:
    """Keep processes of our own uid out of our memory and environment (prctl(2), proc(5))."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _configure() -> Config:
    """Return the configuration; exit when it makes no sense."""
    try:
        return Config.take(os.environ)
    except ValidationError as invalid:
        _give_up("; ".join(f"{item['loc'][0]}: {item['msg']}" for item in invalid.errors()))


def _look(config: Config) -> None:
    """Raise Mistrusted where what we stand on, as far as it is imported, can't be trusted."""
    if problems := mistrusted(config.agent_uid, config.state_dir, os.environ):
        raise Mistrusted("; ".join(problems))


def _give_up(why: object) -> NoReturn:
    sys.stderr.write(f"headstart_runner: {why}\n")
    sys.exit(_EXIT_CONFIG)


if __name__ == "__main__":
    _protect()
    adopt_orphans()
    configuration = _configure()

    def make_sure() -> None:
        import_the_rest()
        _look(configuration)

    leave_out()
    try:
        _look(configuration)
        status = asyncio.run(main(configuration, make_sure))
    except Mistrusted as problems:
        kill_descendants()
        _give_up(problems)
    kill_descendants()
    sys.exit(status)
