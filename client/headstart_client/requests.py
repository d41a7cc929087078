"""How a call becomes requests, without I/O: what is sent again, after which pause, and until when.

An operation is a generator: it yields requests, is sent the replies (or has TransportFailed
thrown in) and returns the typed result.
"""

import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import quote
from uuid import uuid4

from pydantic import BaseModel, ValidationError
from pydantic.alias_generators import to_camel

from headstart_client.errors import (
    ApiError,
    HeadstartError,
    NotHeadstart,
    TransportFailed,
    api_error,
)
from headstart_client.models import EncryptionKey, Taken
from headstart_client.sealing import seal

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

TRIES = 4
"""How often a request is sent at most."""

TRIES_IN_SILENCE = 2
"""The same where each time is as long as one waits for an answer."""

RETRY_BASE, RETRY_CAP = 0.5, 8.0
"""Seconds before the second try at most, and before any; each pause is jittered."""

RETRY_AFTER_LIMIT = 30.0
"""Seconds of Retry-After that are waited out; what asks for more is raised to the caller."""

FULL = frozenset({"QueueFull", "QuotaExceeded"})
"""Codes that no pause lifts: a place is free when a person ends a session or a turn ends."""

_jitter = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, to be sent after `delay` seconds.

    One that is not `repeatable` is sent again only when it surely had no effect: repeating an
    interrupt whose answer was lost could stop the next turn. One that `asks`, as each GET does,
    changes nothing that anybody would look for.
    """

    method: str
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    idempotency_key: str | None = None
    repeatable: bool = True
    asks: bool = False
    delay: float = 0.0

    @property
    def changes(self) -> bool:
        """Whether it may leave something behind, also where no answer comes."""
        return self.method != "GET" and not self.asks


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; `body` is the parsed JSON, None when there was none.

    `token` is what the request was sent with.
    """

    status: int
    body: Any
    retry_after: float | None = None
    token: str = field(default="", repr=False)


Operation = Generator[Request, Reply, T]


def went_on(operation: Operation[Any], outcome: Reply | TransportFailed) -> Request:
    """Return an operation's next request; raises StopIteration with what it came to."""
    if isinstance(outcome, TransportFailed):
        return operation.throw(outcome)
    return operation.send(outcome)


def backoff(failures: int, base: float = RETRY_BASE, cap: float = RETRY_CAP) -> float:
    """Return the seconds to wait after so many failures in a row: it doubles, half is random."""
    ceiling: float = min(cap, base * 2 ** min(failures - 1, 16))
    return ceiling * _jitter.uniform(0.5, 1.0)


def call(request: Request, model: type[M]) -> Operation[M]:
    """Return the answer, after so many tries as the request bears; raises what the API refused."""
    return (yield from answer_to(request, model))[0]


def answer_to(request: Request, model: type[M]) -> Operation[tuple[M, str]]:
    """Return the answer, and the token that it was asked for with."""
    failures, unsure = 0, False
    while True:
        failure: ApiError | TransportFailed
        try:
            reply = yield request
            # Of a DELETE whose answer was lost, this is the answer.
            if unsure and request.method == "DELETE" and reply.status == 404:
                reply = Reply(202, {})
            if reply.status < 400:
                return _read(reply, model), reply.token
        except TransportFailed as error:
            failure, pause = error, backoff(failures + 1)
            again = request.repeatable or not error.sent
            unsure = unsure or error.sent
        else:
            failure = api_error(reply.status, reply.body, reply.retry_after)
            again = failure.retryable and failure.status in {429, 503} and failure.code not in FULL
            lost = failure.retryable and failure.status in {500, 502, 504}
            again = again or (lost and request.repeatable)
            unsure = unsure or lost
            pause = failure.retry_after or backoff(failures + 1)
        silent = isinstance(failure, TransportFailed) and failure.silent
        failures += TRIES // TRIES_IN_SILENCE if silent else 1
        if not again or failures >= TRIES or pause > RETRY_AFTER_LIMIT:
            elsewhere = isinstance(failure, NotHeadstart)
            failure.unsure = unsure and request.changes and not elsewhere
            raise failure
        request = replace(request, delay=pause)


def _read(reply: Reply, model: type[M]) -> M:
    """Return an answer that is no refusal; raises NotHeadstart, as other servers say 200 too."""
    if reply.status >= 300 or not isinstance(reply.body, Mapping):
        raise NotHeadstart(f"HTTP {reply.status} and no JSON object")
    # Nothing else tells it from any other object.
    if model is Taken and reply.status != 202:
        raise NotHeadstart(f"HTTP {reply.status} instead of 202")
    try:
        return model.model_validate(reply.body)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise NotHeadstart(f"HTTP {reply.status} without a proper {where}") from error


def post(
    to: str, model: type[M], body: Mapping[str, Any] | None = None, **options: Any
) -> Operation[M]:
    """Post with a key that makes the same request harmless twice; return the answer."""
    return call(Request("POST", to, body=body, idempotency_key=uuid4().hex, **options), model)


def path(session_id: str, *rest: str) -> str:
    """Return the path of a session, or of something in it."""
    for part in (session_id, *rest):
        # HTTP clients resolve these, and the address would be that of another call.
        if part in {"", ".", ".."}:
            raise HeadstartError(f'"{part}" can\'t be an id')
    return "/".join(["sessions", *(quote(part, safe="") for part in (session_id, *rest))])


def camel(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields by the names that the API has for them."""
    return {to_camel(name): value for name, value in fields.items()}


def with_sealed(fields: Mapping[str, Any]) -> Operation[dict[str, Any]]:
    """Return fields with `encrypted_secrets` in the place of `secrets`, sealed for the caller."""
    given = dict(fields)
    secrets = given.pop("secrets", None)
    if secrets:
        key, token = yield from answer_to(Request("GET", "encryption-key"), EncryptionKey)
        given["encrypted_secrets"] = seal(secrets, key, token)
    elif "secrets" in fields:
        given["encrypted_secrets"] = None
    return given
