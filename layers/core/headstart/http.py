"""HTTP in and out: bodies to requests, errors to RFC 9457 problem documents."""

import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.utilities.data_classes import APIGatewayProxyEventV2
from pydantic import ValidationError

from headstart.domain.access import groups_of
from headstart.domain.errors import (
    BodyTooLarge,
    HeadstartError,
    MalformedBody,
    RouteNotFound,
    SessionNotFound,
    Unauthorized,
    ValidationFailed,
)
from headstart.domain.ids import SESSION_ID_PATTERN
from headstart.domain.model import Model
from headstart.domain.requests import BODY_BYTES, RAW_BODY_BYTES

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_log = logging.getLogger(__name__)
_M = TypeVar("_M", bound=Model)
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_SESSION_ID = re.compile(SESSION_ID_PATTERN)
RETRY_AFTER_SECONDS = {429: 10, 503: 1}
_DIGITS = 20
_ERRORS = 20
_NAME_CHARACTERS = 100
_TOO_LARGE = f"The body must be at most {BODY_BYTES} bytes, needless escapes not counted"


def new_app() -> APIGatewayHttpResolver:
    """Return a resolver that answers every failure with a problem document."""
    app = APIGatewayHttpResolver()

    def refused(error: HeadstartError) -> Response[str]:
        if error.status >= 500:
            _log.error("failed", exc_info=error)
        return _problem(app, error)

    def broken(error: Exception) -> Response[str]:
        _log.error("unexpected", exc_info=error)
        return _problem(app, HeadstartError())

    def no_route(_: Exception) -> Response[str]:
        return _problem(app, RouteNotFound())

    app.exception_handler(HeadstartError)(refused)
    app.exception_handler(Exception)(broken)
    app.not_found(no_route)
    return app


def _problem(app: APIGatewayHttpResolver, error: HeadstartError) -> Response[str]:
    body: dict[str, Any] = {
        "type": f"urn:headstart:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.reason,
        "code": error.code,
        "retryable": error.retryable,
        "requestId": app.current_event.request_context.request_id,
    }
    if isinstance(error, ValidationFailed):
        body["errors"] = error.errors
    headers = {"Cache-Control": "no-store"}
    if error.retryable and error.status in RETRY_AFTER_SECONDS:
        body["retryAfter"] = RETRY_AFTER_SECONDS[error.status]
        headers["Retry-After"] = str(body["retryAfter"])
    return Response(
        status_code=error.status,
        content_type="application/problem+json",
        body=json.dumps(body),
        headers=headers,
    )


def answer(
    body: object, status: int = 200, *, cached_seconds: int = 0, by: str = "public"
) -> Response[str]:
    """Return a JSON answer, which no cache may keep unless all whom it serves get the same."""
    kept = f"{by}, max-age={cached_seconds}" if cached_seconds else "no-store"
    return Response(
        status_code=status,
        content_type="application/json",
        body=json.dumps(body, separators=(",", ":")),
        headers={"Cache-Control": kept},
    )


def document() -> Response[str]:
    """Return the OpenAPI document that ships beside this module; `make docs` makes it."""
    return Response(
        status_code=200,
        content_type="application/json",
        body=Path(__file__).with_name("openapi.json").read_text(),
        headers={"Cache-Control": "public, max-age=300"},
    )


def owner(event: APIGatewayProxyEventV2) -> str:
    """Return the caller's `sub`, which the JWT authorizer has checked; raises Unauthorized."""
    authorizer = event.request_context.authorizer
    claims = authorizer.jwt_claim if authorizer else None
    subject = (claims or {}).get("sub")
    if not subject:
        raise Unauthorized()
    return str(subject)


def groups(event: APIGatewayProxyEventV2, claim: str) -> frozenset[str]:
    """Return the groups that a claim of the caller's token names."""
    authorizer = event.request_context.authorizer
    claims = authorizer.jwt_claim if authorizer else None
    return groups_of((claims or {}).get(claim))


def session_id(text: str) -> str:
    """Return a session id; anything that can't be one is SessionNotFound, without a read."""
    if not _SESSION_ID.fullmatch(text):
        raise SessionNotFound()
    return text


def idempotency_key(event: APIGatewayProxyEventV2) -> str | None:
    """Return the Idempotency-Key header; raises ValidationFailed."""
    key = event.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        message = "must be 1 to 255 printable ASCII characters"
        raise ValidationFailed([{"loc": ["header", "Idempotency-Key"], "msg": message}])
    return key


def whole_number(
    event: APIGatewayProxyEventV2, name: str, default: int, *, low: int = 0, high: int
) -> int:
    """Return a whole number from the query; raises ValidationFailed naming it."""
    text = event.query_string_parameters.get(name)
    if text is None:
        return default
    # int() itself refuses thousands of digits, so their number is looked at first.
    digits = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    if not digits or not low <= int(text) <= high:
        message = f"must be a whole number from {low} to {high}"
        raise ValidationFailed([{"loc": ["query", name], "msg": message}])
    return int(text)


def body(event: APIGatewayProxyEventV2, model: type[_M], *, may_lack: bool = False) -> _M:
    """Return the request in the body, one that `may_lack` as if it were {}.

    Raises BodyTooLarge, MalformedBody, ValidationFailed.
    """
    try:
        text = event.decoded_body or ""
    except ValueError as error:
        raise MalformedBody("The body is not UTF-8") from error
    size = _bytes(text)
    if size > RAW_BODY_BYTES:
        raise BodyTooLarge(_TOO_LARGE)
    try:
        found = json.loads(
            text or ("{}" if may_lack else "null"),
            parse_constant=_refuse_constant,
            object_pairs_hook=_unambiguous,
        )
        if size > BODY_BYTES:
            size = _bytes(json.dumps(found, ensure_ascii=False, separators=(",", ":")))
    except (ValueError, RecursionError) as error:
        raise MalformedBody("The body is not valid JSON") from error
    if size > BODY_BYTES:
        raise BodyTooLarge(_TOO_LARGE)
    if not isinstance(found, dict):
        raise MalformedBody("The body must be a JSON object")
    try:
        return model.model_validate(found, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise ValidationFailed(_errors(error)) from None


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Readers differ on which of the two counts; a proxy may have checked the other.
        raise ValueError("a field is there twice")
    return found


def _errors(error: ValidationError) -> list[dict[str, object]]:
    """Return what is wrong, field by field, without the values: they may be secrets.

    The first 20, with names cut to 100 characters: a body of nothing but wrong fields would
    otherwise make an answer many times its size.
    """
    found = error.errors(include_input=False, include_url=False)
    return [
        {"loc": [_cut(part) for part in item["loc"]] or ["body"], "msg": _said(item)}
        for item in found[:_ERRORS]
    ]


_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not known here",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters",
    "too_long": "must have at most {max_length} entries",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "has a character that may not be there: it must match {pattern}",
}
"""Pydantic's errors by type, as forms show them beside a field ("Validation Errors", pydantic)."""


def _said(item: "ErrorDetails") -> str:
    words = _WORDS.get(item["type"])
    # Of the context only limits: the rest may quote what was sent.
    return words.format_map(item.get("ctx", {})) if words else item["msg"].removeprefix(_PREFIX)


_PREFIX = "Value error, "


def _cut(part: int | str) -> int | str:
    return part if isinstance(part, int) else part[:_NAME_CHARACTERS]
