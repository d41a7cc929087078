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
    from headstart_client.follow import Timing
    from headstart_client.models import (
        Answer,
        Archive,
        Changes,
        Created,
        Defaults,
        Diff,
        Event,
        Failure,
        Message,
        PendingInput,
        Session,
        StepLog,
        Stream,
        Summary,
        Text,
        TextPage,
        Warned,
    )
    from headstart_client.options import (
        Clone,
        PublishOptions,
        PullRequestOptions,
        SessionChanges,
        SessionOptions,
    )

__version__ = "0.2.0"

__all__ = [
    "Answer",
    "ApiError",
    "Archive",
    "AsyncHeadstart",
    "AsyncTurn",
    "Changes",
    "Clone",
    "Conflict",
    "Created",
    "Defaults",
    "Diff",
    "Event",
    "Failure",
    "Headstart",
    "HeadstartError",
    "Interrupted",
    "Message",
    "NotFound",
    "NotHeadstart",
    "PendingInput",
    "PreparationFailed",
    "PublishOptions",
    "PullRequestOptions",
    "RateLimited",
    "Session",
    "SessionChanges",
    "SessionOptions",
    "StepLog",
    "Stream",
    "Summary",
    "Text",
    "TextPage",
    "Timing",
    "TransportFailed",
    "Turn",
    "TurnFailed",
    "Unauthorized",
    "Unavailable",
    "ValidationFailed",
    "Warned",
]


if not TYPE_CHECKING:
    # Hidden from type checkers, which otherwise take any name for one of this package.

    def __getattr__(name: str) -> Any:
        if name in __all__:
            from importlib import import_module  # noqa: PLC0415 - only when a name is first used

            for module in ("client", "errors", "models", "options", "follow"):
                if found := vars(import_module(f"{__name__}.{module}")).get(name):
                    return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
