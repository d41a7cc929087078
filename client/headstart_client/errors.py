"""One tree of everything the client raises: `except HeadstartError` catches it all."""

from collections.abc import Mapping
from typing import Any

from headstart_client.shapes import Shape, maybe, shaped, words


class HeadstartError(Exception):
    """Anything that keeps a call from its answer.

    `unsure` says that a change which was asked for may have been made all the same: an answer was
    lost, the last one or that of an earlier try.
    """

    unsure = False


class TransportFailed(HeadstartError):
    """No answer came; `sent` is False when the last try never left.

    `silent` says that somebody was there, and did not answer in time.
    """

    def __init__(self, reason: str, *, sent: bool, silent: bool = False) -> None:
        super().__init__(reason)
        self.sent = sent
        self.silent = silent


class NotHeadstart(TransportFailed):
    """What answered is no Headstart that this client knows: another API, a portal, a proxy."""

    def __init__(self, what: str) -> None:
        said = f"what answers there is no Headstart that this client knows: {what}"
        super().__init__(said, sent=True)


class ApiError(HeadstartError):
    """The API refused: `code` names the reason, `detail` says it, `errors` lists `{loc, msg}`.

    `retry_after` is in seconds, None when the API did not say.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], retry_after: float | None) -> None:
        # Another API at a wrong address refuses too, in a shape of its own.
        said = shaped(_PROBLEM, problem)
        # API Gateway itself (authorizer, throttle) answers only {"message": …}.
        self.detail: str = (
            said["detail"] or said["message"] or said["title"] or f"the API answered {status}"
        )
        super().__init__(self.detail)
        self.status = status
        self.code: str = said["code"] or type(self).__name__
        self.retryable = bool(problem.get("retryable", status in _TRANSIENT))
        self.errors: list[dict[str, Any]] = said["errors"]
        self.request_id: str | None = said["requestId"]
        self.retry_after = retry_after


class Unauthorized(ApiError):
    """The token is missing, wrong or expired (401)."""


class NotFound(ApiError):
    """No such session for this user (404); a deleted one too."""


class Conflict(ApiError):
    """The call does not fit the session's status, or is stale (409)."""


class ValidationFailed(ApiError):
    """The request is wrong as it stands (400, 413, 422)."""


class RateLimited(ApiError):
    """Too many requests, sessions or queued messages (429)."""


class Unavailable(ApiError):
    """A service under the API did not answer (502, 503, 504)."""


class PreparationFailed(HeadstartError):
    """`prepare` ended badly: in which step (None if none began), the code and the reason."""

    def __init__(self, session_id: str, step: str | None, code: str, reason: str) -> None:
        super().__init__(f"{step or 'preparation'}: {reason} ({code})")
        self.session_id = session_id
        self.step = step
        self.code = code
        self.reason = reason


class TurnFailed(HeadstartError):
    """A message came to no answer: the code and the reason.

    That is the turn's own failure, or MessageHeld, MessageWithdrawn or SessionDeleted.
    """

    def __init__(self, session_id: str, code: str, reason: str) -> None:
        super().__init__(f"{reason} ({code})")
        self.session_id = session_id
        self.code = code
        self.reason = reason


class Interrupted(TurnFailed):
    """A person stopped the turn."""


def _place(value: Any) -> list[str | int]:
    """Read where in a request something is; a number counts the parts of a list."""
    parts = value if isinstance(value, list) else []
    return [part if isinstance(part, int) else words(part) for part in parts]


_PROBLEM: dict[str, Shape] = {
    **dict.fromkeys(("detail", "message", "title", "code"), words),
    "requestId": maybe(words),
    "errors": [{"loc": _place, "msg": words}],
}

_TRANSIENT = frozenset({429, 500, 502, 503, 504})
"""Statuses of answers that don't say whether they are `retryable`: API Gateway's own.

Its 500 is a function that died at the request ("Troubleshooting HTTP API Lambda integrations").
"""

_BY_STATUS: dict[int, type[ApiError]] = {
    400: ValidationFailed,
    401: Unauthorized,
    404: NotFound,
    409: Conflict,
    413: ValidationFailed,
    422: ValidationFailed,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def api_error(status: int, body: Any, retry_after: float | None = None) -> ApiError:
    """Return the error for a status and a problem document (RFC 9457), whatever the body is."""
    problem = body if isinstance(body, Mapping) else {}
    return _BY_STATUS.get(status, ApiError)(status, problem, retry_after)
