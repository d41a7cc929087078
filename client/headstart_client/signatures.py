"""What `help`, a prompt and a document show of a method beyond its own code."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, get_args, get_type_hints

M = TypeVar("M", bound=Callable[..., Any])


class _Absent:
    """The default of what is not sent unless it is given."""

    def __repr__(self) -> str:
        return "…"


def documented(method: M, operation: Callable[..., Any], many: Any = None) -> M:
    """Have `help` show an operation's arguments, answer and words for its method.

    `many` is what the method returns of a list's items.
    """
    shown: Any = method
    shown.__name__, shown.__doc__ = operation.__name__, operation.__doc__
    shown.__qualname__ = operation.__name__
    given = inspect.signature(operation)
    me = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    *_, answer = get_args(given.return_annotation)
    answer = None if answer is type(None) else many[answer] if many else answer
    parameters = [me, *(one for p in given.parameters.values() for one in _spelled(p))]
    shown.__signature__ = given.replace(parameters=parameters, return_annotation=answer)
    return method


def spelled(method: M) -> M:
    """Have `help` show each option that a method takes, not the name of all of them."""
    shown: Any = method
    given = inspect.signature(method)
    parameters = [one for p in given.parameters.values() for one in _spelled(p)]
    shown.__signature__ = given.replace(parameters=parameters)
    return method


def _spelled(parameter: inspect.Parameter) -> Iterator[inspect.Parameter]:
    """Yield a parameter as it is, but each field of an unpacked TypedDict by its own name."""
    if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
        yield parameter
        return
    [fields] = get_args(parameter.annotation)
    for name, kind in get_type_hints(fields).items():
        yield inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=_Absent(), annotation=kind
        )
