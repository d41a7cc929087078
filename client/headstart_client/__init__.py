"""The typed client of Headstart; names load on first use, so that `headstart up` starts fast."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstart_client.client import AsyncHeadstart, AsyncTurn, Headstart, Turn
    from headstart_client.errors import (
        ApiError,
        Conflict,
        HeadstartError,
        Interrupted,
        NotFound,
        NotHeadstart,
        PreparationFailed,
        RateLimited,
        TransportFailed,
        TurnFailed,
        Unauthorized,
        Unavailable,
        ValidationFailed,
    )
    from headstart_client.models import Answer, Event, Message, Session, Summary, Text

__version__ = "0.2.0"

__all__ = [
    "Answer",
    "ApiError",
    "AsyncHeadstart",
    "AsyncTurn",
    "Conflict",
    "Event",
    "Headstart",
    "HeadstartError",
    "Interrupted",
    "Message",
    "NotFound",
    "NotHeadstart",
    "PreparationFailed",
    "RateLimited",
    "Session",
    "Summary",
    "Text",
    "TransportFailed",
    "Turn",
    "TurnFailed",
    "Unauthorized",
    "Unavailable",
    "ValidationFailed",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only when a name is first used

    for module in ("client", "errors", "models"):
        found = getattr(import_module(f"{__name__}.{module}"), name, None)
        if found is not None:
            return found
    raise AttributeError(name)
