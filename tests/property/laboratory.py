"""What every walk stands on: no chance but its own, no waiting, no defect passed over."""

import logging
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from headstart.domain import errors, ids
from headstart.domain.model import Model
from tests.property.violation import Violation

_WITH_PARTS = (Model, list, dict)


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


def _copied(value: Any, memo: object = None) -> Any:
    """Return a deep copy; copy.deepcopy takes ten times as long for a model, most of a walk."""
    if isinstance(value, Model):
        twin = value.__copy__()
        for name, part in value.__dict__.items():
            if isinstance(part, _WITH_PARTS):
                twin.__dict__[name] = _copied(part)
        return twin
    if isinstance(value, list):
        return [_copied(part) for part in value]
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return value


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
        patches.enter_context(patch.object(Model, "__deepcopy__", _copied))
        try:
            yield
        finally:
            log.removeHandler(defects)
            log.propagate, log.level = before[0], log.level
            log.setLevel(before[1])
