"""The tasks that Step Functions waits with: answered and kept alive by their tokens.

What is over by then, or was answered before, is fine each time.
"""

import logging
from collections.abc import Iterable

from headstart.domain.errors import StepError, TaskTokenGone
from headstart.usecases.ports import Ports

_log = logging.getLogger(__name__)


def succeed(ports: Ports, tokens: Iterable[str]) -> None:
    """Tell the machine that a step is done."""
    for token in tokens:
        try:
            ports.machine.succeed(token)
        except TaskTokenGone:
            _log.info("the task was answered before or is over")


def fail(ports: Ports, tokens: Iterable[str], error: StepError) -> None:
    """Tell the machine that a step failed: by the error's name and its fixed sentence.

    Executions keep what they are told. What a command printed, and with it perhaps a secret, is in
    the reason, which stays in the table.
    """
    for token in tokens:
        try:
            ports.machine.fail(token, error.code, error.title)
        except TaskTokenGone:
            _log.info("the task was answered before or is over")


def beat(ports: Ports, tokens: Iterable[str]) -> None:
    """Tell the machine that a step is being worked on."""
    for token in tokens:
        try:
            ports.machine.beat(token)
        except TaskTokenGone:
            _log.info("a heartbeat came for a task that no longer waits")
