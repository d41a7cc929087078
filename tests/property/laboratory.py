"""What every walk stands on: no chance but its own, no waiting, no defect passed over."""

import logging
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from headstart.domain import errors, ids
from headstart.domain.model import Model
from headstart.usecases.commit import decided
from tests.property.copies import copied
from tests.property.judge import judged
from tests.property.violation import Violation


class _Predictable:
    """In place of `secrets`: what a walk seeds anew."""

    @staticmethod
    def choice(characters: str) -> str:
        return random.choice(characters)

    @staticmethod
    def token_urlsafe(size: int) -> str:
        return f"{random.getrandbits(8 * size):x}"


class _Defects(logging.Handler):
    """Raises what a function logs and survives, unless it is an error that was meant."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        name = type(error).__name__ if error else vars(record).get("error")
        if name and not hasattr(errors, name):
            place = "".join(vars(record).get("place", []))
            raise Violation(f"a defect was survived: {name}\n{place}") from error


@contextmanager
def laboratory() -> Iterator[None]:
    """Make the product predictable, quick and strict for as long as it is in use here."""
    log, defects = logging.getLogger("headstart"), _Defects(logging.ERROR)
    before = log.propagate, log.level
    log.addHandler(defects)
    log.propagate = False
    log.setLevel(logging.ERROR)
    with ExitStack() as patches:
        patches.enter_context(patch.object(ids, "secrets", _Predictable))
        patches.enter_context(patch("headstart.usecases.retry.time.sleep", lambda _: None))
        patches.enter_context(patch.object(Model, "__deepcopy__", copied))
        patches.enter_context(patch("headstart.usecases.commit.decided", judged(decided)))
        try:
            yield
        finally:
            log.removeHandler(defects)
            log.propagate, log.level = before[0], log.level
            log.setLevel(before[1])
