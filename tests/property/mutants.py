"""Defects put into the product in memory, to see that walks find them."""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mutant:
    """One function with some of its text replaced, and what is wrong then."""

    what: str
    function: Callable[..., Any]
    text: str
    instead: str

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Have everybody who calls the function call the mutant."""
        source = textwrap.dedent(inspect.getsource(self.function))
        assert source.count(self.text) == 1, f"{self.what}: the function reads otherwise now"
        made: dict[str, Any] = {}
        exec(source.replace(self.text, self.instead), dict(self.function.__globals__), made)  # noqa: S102  our own text
        function: Any = self.function
        before = function.__code__
        function.__code__ = made[function.__name__].__code__
        try:
            yield
        finally:
            function.__code__ = before
