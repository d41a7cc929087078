"""Every call of the API, written once, without I/O: the blocking and the async client drive these.

An operation is a generator: it yields requests, is sent the replies (or has TransportFailed
thrown in) and returns the typed result.
"""

import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypedDict, TypeVar, Unpack
from urllib.parse import quote
from uuid import uuid4

from pydantic.alias_generators import to_camel

from headstart_client.errors import ApiError, PreparationFailed, TransportFailed, api_error
from headstart_client.models import (
    Archive,
    Changed,
    Changes,
    Created,
    Diff,
    Event,
    Message,
    Page,
    Session,
    Stream,
    Warned,
)
from headstart_client.sealing import seal

T = TypeVar("T")

TRIES = 4
"""How often a request is sent at most."""

RETRY_BASE, RETRY_CAP = 0.5, 8.0
"""Seconds before the second try at most, and before any; each pause is jittered."""

RETRY_AFTER_LIMIT = 30.0
"""Seconds of Retry-After that are waited out; what asks for more is raised to the caller."""

FULL = frozenset({"QueueFull", "QuotaExceeded"})
"""Codes that no pause lifts: a place is free when a person ends a session or a turn ends."""

WAIT_SECONDS = 25
"""How long one long poll may take; API Gateway ends any request after 30 s."""

_jitter = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, to be sent after `delay` seconds.

    One that is not `repeatable` is sent again only when it surely had no effect: repeating an
    interrupt whose answer was lost could stop the next turn.
    """

    method: str
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    idempotency_key: str | None = None
    repeatable: bool = True
    delay: float = 0.0


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


class Clone(TypedDict, total=False):
    """How much of the repository is cloned; without a `depth`, or with None, all of its history."""

    depth: int | None
    submodules: bool


class PullRequestOptions(TypedDict, total=False):
    """The pull request that publishing opens; it is a draft unless `draft` is False."""

    title: str | None
    base: str | None
    draft: bool


class PublishOptions(TypedDict, total=False):
    """How to publish: without `pull_request` as the session was asked for, with None none."""

    message: str
    pull_request: PullRequestOptions | None
    secrets: dict[str, str] | None
    encrypted_secrets: dict[str, Any] | None


class SessionOptions(TypedDict, total=False):
    """What a session may be created with beside its prompt; see POST /sessions."""

    github_repo: str
    git_url: str
    upstream_branch: str
    agent: str
    mode: str
    model: str
    clone: Clone
    setup_commands: list[str]
    setup_inputs: list[str]
    prepared_tree: Literal["use", "refresh", "off"]
    env_vars: dict[str, str]
    secrets: dict[str, str]
    encrypted_secrets: dict[str, Any]
    mcp_servers: dict[str, Any]
    append_system_prompt: str
    auto_commit: bool
    pull_request: PullRequestOptions
    callback_target: dict[str, Any]


class SessionChanges(TypedDict, total=False):
    """What PATCH may change: absent leaves, None or empty clears."""

    prompt: str
    upstream_branch: str | None
    mode: str | None
    model: str | None
    setup_commands: list[str] | None
    env_vars: dict[str, str] | None
    secrets: dict[str, str] | None
    encrypted_secrets: dict[str, Any] | None
    mcp_servers: dict[str, Any] | None
    append_system_prompt: str | None
    auto_initiate: bool | None
    auto_commit: bool | None
    pull_request: PullRequestOptions | None
    callback_target: dict[str, Any] | None


def backoff(failures: int, base: float = RETRY_BASE, cap: float = RETRY_CAP) -> float:
    """Return the seconds to wait after so many failures in a row: it doubles, half is random."""
    ceiling: float = min(cap, base * 2 ** min(failures - 1, 16))
    return ceiling * _jitter.uniform(0.5, 1.0)


def _call(request: Request) -> Operation[Any]:
    return (yield from _reply(request)).body


def _reply(request: Request) -> Operation[Reply]:
    failures = 0
    while True:
        failure: ApiError | TransportFailed
        try:
            reply = yield request
        except TransportFailed as error:
            failure, pause = error, backoff(failures + 1)
            again = request.repeatable or not error.sent
        else:
            if reply.status < 400:
                return reply
            failure = api_error(reply.status, reply.body, reply.retry_after)
            again = failure.retryable and failure.status in {429, 503} and failure.code not in FULL
            lost = failure.retryable and failure.status in {500, 502, 504}
            again = again or (lost and request.repeatable)
            pause = failure.retry_after or backoff(failures + 1)
        failures += 1
        if not again or failures == TRIES or pause > RETRY_AFTER_LIMIT:
            raise failure
        request = replace(request, delay=pause)


def _post(path: str, body: Mapping[str, Any] | None = None, **options: Any) -> Operation[Any]:
    return _call(Request("POST", path, body=body, idempotency_key=uuid4().hex, **options))


def _path(session_id: str, *rest: str) -> str:
    return "/".join(["sessions", *(quote(part, safe="") for part in (session_id, *rest))])


def _camel(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {to_camel(name): value for name, value in fields.items()}


def _sealed(fields: Mapping[str, Any]) -> Operation[dict[str, Any]]:
    """Return fields with `encrypted_secrets` in the place of `secrets`, sealed for the caller."""
    given = dict(fields)
    secrets = given.pop("secrets", None)
    if secrets:
        reply = yield from _reply(Request("GET", "encryption-key"))
        given["encrypted_secrets"] = seal(secrets, reply.body, reply.token)
    elif "secrets" in fields:
        given["encrypted_secrets"] = None
    return given


def create_session(
    prompt: str,
    *,
    auto_initiate: bool = True,
    idempotency_key: str | None = None,
    **options: Unpack[SessionOptions],
) -> Operation[Created]:
    """Create a session; it answers at once and prepares by itself.

    Give `github_repo` or `git_url`. With `auto_initiate` False the prompt is held until `initiate`.
    An `idempotency_key` of your own makes the call repeatable beyond this process, for 24 hours;
    `secrets` are sealed anew by each call, so that it repeats one with `encrypted_secrets` only.
    """
    sealed = yield from _sealed(options)
    body = {"prompt": prompt, "autoInitiate": auto_initiate, **_camel(sealed)}
    key = idempotency_key or uuid4().hex
    return Created.model_validate(
        (yield from _call(Request("POST", "sessions", body=body, idempotency_key=key)))
    )


def get(session_id: str) -> Operation[Session]:
    """Return a session as it stands."""
    return Session.model_validate((yield from _call(Request("GET", _path(session_id)))))


def archive(session_id: str) -> Operation[Archive]:
    """Return where a session's saved work can be had; NotFound where nothing is saved yet."""
    return Archive.model_validate((yield from _call(Request("GET", _path(session_id, "archive")))))


def changes(session_id: str) -> Operation[Changes]:
    """Return what a session changed, as it was saved last; NotFound where nothing is yet."""
    return Changes.model_validate((yield from _call(Request("GET", _path(session_id, "changes")))))


def diff(session_id: str) -> Operation[Diff]:
    """Return where the same can be had as a unified diff; NotFound where nothing is saved yet."""
    return Diff.model_validate((yield from _call(Request("GET", _path(session_id, "diff")))))


def publish(session_id: str, **options: Unpack[PublishOptions]) -> Operation[Session]:
    """Have the work committed and pushed; its end is told on the stream, and by `publication`.

    It wakes a sleeping session. `secrets` take the place of all it has: for a token that expired.
    Raises Conflict while a turn is active.
    """
    sealed = yield from _sealed(options)
    body = yield from _post(_path(session_id, "publish"), _camel(sealed))
    return Session.model_validate(body)


def list_page(cursor: str | None = None) -> Operation[Page[Session]]:
    """Return one page of the caller's sessions, newest first."""
    params = {"cursor": cursor} if cursor else {}
    body = yield from _call(Request("GET", "sessions", params=params))
    return Page[Session].model_validate(body)


def messages(session_id: str) -> Operation[list[Message]]:
    """Return all messages of a session with text and status, oldest first."""
    found: list[Message] = []
    params: dict[str, Any] = {}
    while True:
        body = yield from _call(Request("GET", _path(session_id, "messages"), params=params))
        page = Page[Message].model_validate(body)
        found += page.items
        if not page.next_cursor:
            return found
        params = {"cursor": page.next_cursor}


def events_page(session_id: str, after: int = 0) -> Operation[Page[Event]]:
    """Return the next persisted events after an id, oldest first; empty at the end."""
    request = Request("GET", _path(session_id, "events"), params={"after": after})
    return Page[Event].model_validate((yield from _call(request)))


def stream_ticket(session_id: str) -> Operation[Stream]:
    """Return a ticket for one viewer connection."""
    return Stream.model_validate((yield from _post(_path(session_id, "stream-ticket"))))


def send_message(
    session_id: str, prompt: str, *, if_busy: Literal["queue", "reject"] = "queue"
) -> Operation[Message]:
    """Queue a message; it wakes a sleeping session. `reject` raises Conflict while a turn runs."""
    body = {"prompt": prompt, "ifBusy": if_busy}
    return Message.model_validate((yield from _post(_path(session_id, "messages"), body)))


def initiate(session_id: str) -> Operation[None]:
    """Release the held first message, or a queue that paused; twice is harmless."""
    yield from _post(_path(session_id, "initiate"))


def wait(
    session_id: str, *, while_status: str = "preparing", seconds: int = WAIT_SECONDS
) -> Operation[Session]:
    """Return when the status is not `while_status`, or after `seconds`, the session as it is."""
    request = Request(
        "GET", _path(session_id, "wait"), params={"while": while_status, "seconds": seconds}
    )
    return Session.model_validate((yield from _call(request)))


def delete(session_id: str) -> Operation[None]:
    """Stop everything and remove everything, in any status."""
    yield from _call(Request("DELETE", _path(session_id)))


def retry(
    session_id: str,
    attempt_number: int,
    *,
    setup_commands: list[str] | None = None,
    env_vars: dict[str, str] | None = None,
    secrets: dict[str, str] | None = None,
    encrypted_secrets: dict[str, Any] | None = None,
    without_archive: bool = False,
) -> Operation[list[Warned]]:
    """Prepare a failed session again; `attempt_number` is the failed one, another is Conflict.

    Returns what of the changes looks like a credential in the open.

    With `without_archive` it begins anew, without the saved work; what is saved next replaces that.
    """
    changes = {
        "setup_commands": setup_commands,
        "env_vars": env_vars,
        "secrets": secrets,
        "encrypted_secrets": encrypted_secrets,
        "without_archive": without_archive or None,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    sealed = yield from _sealed(given)
    body = {"attemptNumber": attempt_number, **_camel(sealed)}
    answer = yield from _post(_path(session_id, "retry"), body, repeatable=False)
    return Changed.model_validate(answer or {}).warnings


def interrupt(session_id: str) -> Operation[None]:
    """Stop the active turn; in preparation, cancel the attempt."""
    yield from _post(_path(session_id, "interrupt"), repeatable=False)


def answer_input(session_id: str, request_id: str, answer: Mapping[str, Any]) -> Operation[None]:
    """Answer what the agent asks: `request_id` is of its `input.requested` or `pending_inputs`.

    To a permission `{"reply": "once"}`, or "always" or "reject"; to questions
    `{"answers": [["label"], …]}`, for each in order the labels that are chosen, or words of your
    own; to either `{"reject": True}`.
    """
    yield from _post(_path(session_id, "inputs", request_id), answer, repeatable=False)


def patch(session_id: str, **changes: Unpack[SessionChanges]) -> Operation[Session]:
    """Change what a session was asked for, before its first message is delivered."""
    sealed = yield from _sealed(changes)
    request = Request("PATCH", _path(session_id), body=_camel(sealed))
    return Session.model_validate((yield from _call(request)))


def prepare(
    prompt: str, *, idempotency_key: str | None = None, **options: Unpack[SessionOptions]
) -> Operation[Session]:
    """Create a session, wait until it is prepared and return it, its prompt held for `initiate`.

    Raises PreparationFailed when the preparation failed or was cancelled. It waits as long as the
    preparation makes progress: the cloud ends one that does not.
    """
    created = yield from create_session(
        prompt, auto_initiate=False, idempotency_key=idempotency_key, **options
    )
    session = yield from wait(created.session_id)
    while session.status == "preparing":
        session = yield from wait(created.session_id)
    if session.failure and session.status == "failed":
        failure = session.failure
        raise PreparationFailed(session.session_id, failure.step, failure.code, failure.reason)
    return session
