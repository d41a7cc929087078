"""What follows a commit, going astray: never done, done twice, or when others were done already."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import patch

from headstart.domain.change import Change
from headstart.domain.errands import Errand
from headstart.domain.errors import ServiceUnavailable
from headstart.usecases.change import AWAITED, DOERS, Doer
from headstart.usecases.ports import Ports

if TYPE_CHECKING:
    from tests.property.world import World


class How(StrEnum):
    """How an errand goes astray; late ones come out of order, too."""

    NEVER = "never"
    TWICE = "twice"
    LATE = "late"

    def __repr__(self) -> str:
        return f"How.{self.name}"


class Astray:
    """Stands between what is decided and who does it."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._how: dict[str, How] = {}
        self._left: Counter[str] = Counter()
        self._delay = timedelta()
        self.happened = 0

    def arm(self, kind: str, how: How, count: int, seconds: int) -> None:
        """Have it happen to the next errands of a kind."""
        self._how[kind], self._left[kind] = how, count
        self._delay = timedelta(seconds=seconds)

    def disarm(self) -> None:
        """Let all be done as it should be."""
        self._left.clear()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Stand there."""
        ours = {kind: partial(self._do, doer) for kind, doer in DOERS.items()}
        with patch.dict(DOERS, ours):
            yield

    def _do(self, doer: Doer, ports: Ports, work: Change, errand: Errand) -> None:
        kind = type(errand).__name__
        if not self._left[kind]:
            doer(ports, work, errand)
            return
        self._left[kind] -= 1
        self.happened += 1
        how, again = self._how[kind], partial(doer, ports, work, errand)
        if how is How.NEVER:
            if isinstance(errand, AWAITED):
                # Whoever waits for it is told nothing.
                raise ServiceUnavailable("no answer")
            return
        if how is How.TWICE or isinstance(errand, AWAITED):
            again()
        if how is How.TWICE:
            again()
        else:
            self._world.later(self._delay, lambda: self._later(again))

    def _later(self, again: partial[None]) -> None:
        self._world.invoke("errand", again)
