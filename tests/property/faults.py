"""What may go wrong with any call to a port, and who may come in between two of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Literal

from headstart.domain.errors import HeadstartError, ServiceUnavailable

When = Literal["call", "commit", "read"]
"""When a rival comes: right before a call, or a commit, or in the middle of a read."""


class Crash(BaseException):
    """The process stopped right here; nothing in it gets to clean up."""


class Mishap(StrEnum):
    """How a call goes wrong. After its effect the caller can't know what became of it."""

    DIES = "the caller dies before"
    DIES_AFTER = "the caller dies after"
    FAILS = "it fails"
    FAILS_AFTER = "it fails after its effect"

    def __repr__(self) -> str:
        return f"Mishap.{self.name}"


class Faults:
    """One mishap and one rival at most wait for a call of a function, counted over all ports.

    Functions go by the name of what invokes them; the empty one is any.
    """

    def __init__(self) -> None:
        self.happened = 0
        self.rivals = 0
        """How often somebody came in between."""
        self._functions: list[str] = [""]
        self._mishap: tuple[Mishap, str] | None = None
        self._calls = 0
        self._rival: tuple[Callable[[], None], str] | None = None
        self._rival_calls = 0
        self._when: When = "commit"

    def arm(self, mishap: Mishap, function: str, calls: int) -> None:
        """Have it happen to the function's call after that many."""
        self._mishap, self._calls = (mishap, function), calls

    def arm_rival(
        self, act: Callable[[], None], function: str, calls: int, when: When = "commit"
    ) -> None:
        """Have someone act when the function has made that many calls of that kind."""
        self._rival, self._rival_calls, self._when = (act, function), calls, when

    def disarm(self) -> None:
        """Let nothing happen any more."""
        self._mishap = self._rival = None

    @contextmanager
    def within(self, function: str) -> Iterator[None]:
        """Know whose calls are made."""
        self._functions.append(function)
        try:
            yield
        finally:
            self._functions.pop()

    def around(self, port: Any, **errors: type[HeadstartError]) -> Any:
        """Return the port, its calls exposed to what is armed; `errors` by the call's name."""
        return _Exposed(port, self, errors)

    def before(self, name: str) -> Mishap | None:
        """Let a rival in; return what happens to this call."""
        if self._when == "call" or self._when == "commit" == name:
            self.let_rival_in()
        if self._mishap is None or self._mishap[1] not in self._here:
            return None
        self._calls -= 1
        if self._calls >= 0:
            return None
        mishap, self._mishap = self._mishap[0], None
        self.happened += 1
        return mishap

    @property
    def _here(self) -> set[str]:
        return {"", self._functions[-1]}

    def is_read_torn(self) -> bool:
        """Say whether a rival waits for a read of this function."""
        return self._when == "read" and self._rival is not None and self._rival[1] in self._here

    def let_rival_in(self) -> None:
        """Let a rival act whose time has come."""
        if self._rival is None or self._rival[1] not in self._here:
            return
        self._rival_calls -= 1
        if self._rival_calls >= 0:
            return
        act, self._rival = self._rival[0], None
        self.rivals += 1
        mishap, self._mishap = self._mishap, None  # it waits for the calls of who is interrupted
        act()
        self._mishap = self._mishap or mishap


class _Exposed:
    def __init__(self, port: Any, faults: Faults, errors: dict[str, type[HeadstartError]]) -> None:
        self._port = port
        self._faults = faults
        self._errors = errors

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not callable(found):
            return found

        error = self._errors.get(name, ServiceUnavailable)

        def call(*args: Any, **kwargs: Any) -> Any:
            mishap = self._faults.before(name)
            if mishap is Mishap.DIES:
                raise Crash()
            if mishap is Mishap.FAILS:
                raise error("no answer")
            result = found(*args, **kwargs)
            if mishap is Mishap.DIES_AFTER:
                raise Crash()
            if mishap is Mishap.FAILS_AFTER:
                raise error("no answer")
            return result

        self.__dict__[name] = call
        return call
