"""Every call of the API, written once, without I/O: both clients drive these."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, Unpack
from uuid import uuid4

from headstart_client.errors import PreparationFailed
from headstart_client.events import event_of
from headstart_client.models import (
    Archive,
    Changes,
    Created,
    Defaults,
    Diff,
    Event,
    Message,
    Page,
    Session,
    StepLog,
    Stream,
    Summary,
    Taken,
    Text,
    TextPage,
    Warned,
)
from headstart_client.options import PublishOptions, SessionChanges, SessionOptions
from headstart_client.requests import Operation, Request, call, camel, path, post, with_sealed
from headstart_client.transport import WAIT_SECONDS

T = TypeVar("T")

PAGE = 100
"""Sessions in a page of a list at most, which is the API's own limit."""

_GITHUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")

TEXT_SECONDS, TEXT_PAUSE = 30.0, 1.0
"""How long a text may bring nothing new before its end, and between two looks.

Longer than a piece takes, as texts go one after the other and a long one may be before it.
"""


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
    sealed = yield from with_sealed(options)
    body = {"prompt": prompt, "autoInitiate": auto_initiate, **camel(sealed)}
    key = idempotency_key or uuid4().hex
    request = Request("POST", "sessions", body=body, idempotency_key=key)
    return (yield from call(request, Created))


def get(session_id: str) -> Operation[Session]:
    """Return a session as it stands."""
    return (yield from call(Request("GET", path(session_id)), Session))


def archive(session_id: str) -> Operation[Archive]:
    """Return where a session's saved work can be had; NotFound where nothing is saved yet."""
    return (yield from call(Request("GET", path(session_id, "archive")), Archive))


def changes(session_id: str) -> Operation[Changes]:
    """Return what a session changed, as it was saved last; NotFound where nothing is yet."""
    return (yield from call(Request("GET", path(session_id, "changes")), Changes))


def diff(session_id: str) -> Operation[Diff]:
    """Return where the same can be had as a unified diff; NotFound where nothing is saved yet."""
    return (yield from call(Request("GET", path(session_id, "diff")), Diff))


def publish(session_id: str, **options: Unpack[PublishOptions]) -> Operation[Session]:
    """Have the work committed and pushed; its end is told on the stream, and by `publication`.

    It wakes a sleeping session. `secrets` take the place of all it has: for a token that expired.
    Raises Conflict while a turn is active.
    """
    sealed = yield from with_sealed(options)
    return (yield from post(path(session_id, "publish"), Session, camel(sealed)))


def list_page(
    cursor: str | None = None,
    *,
    search: str | None = None,
    repository: str | None = None,
    limit: int | None = None,
) -> Operation[Page[Summary]]:
    """Return one page of the caller's sessions, newest first; a searched one may be empty."""
    asked = {"cursor": cursor, "search": search, "repository": repository, "limit": limit}
    params = {name: value for name, value in asked.items() if value is not None}
    return (yield from call(Request("GET", "sessions", params=params), Page[Summary]))


@dataclass(frozen=True, slots=True)
class Pages(Generic[T]):
    """What makes the call for each page of a list by its cursor, and how many items are wanted."""

    at: Callable[[str | None], Operation[Page[T]]]
    limit: int | None = None


def listing(
    *, search: str | None = None, repository: str | None = None, limit: int | None = None
) -> Pages[Summary]:
    """Iterate over the caller's sessions, newest first, `limit` at most.

    `search` has words that the title or the repository's address must have, all of them;
    `repository` is such an address. Pages are fetched as needed.
    """
    size = PAGE if limit is None else max(1, min(PAGE, limit))
    return Pages(
        lambda cursor: list_page(cursor, search=search, repository=repository, limit=size), limit
    )


def events(session_id: str, after: int = 0) -> Pages[Event]:
    """Iterate over the persisted events after an id, oldest first, up to now."""
    return Pages(lambda cursor: events_page(session_id, cursor or after))


def on_repository(repository: str, options: SessionOptions) -> SessionOptions:
    """Return options with a repository, which is an address or `org/name` on GitHub."""
    if _GITHUB_NAME.fullmatch(repository):
        return {**options, "github_repo": repository}
    return {**options, "git_url": repository}


def messages(session_id: str) -> Operation[list[Message]]:
    """Return all messages of a session with text and status, oldest first."""
    found: list[Message] = []
    params: dict[str, Any] = {}
    while True:
        request = Request("GET", path(session_id, "messages"), params=params)
        page = yield from call(request, Page[Message])
        found += page.items
        if not page.next_cursor:
            return found
        params = {"cursor": page.next_cursor}


def events_page(session_id: str, after: int | str = 0) -> Operation[Page[Event]]:
    """Return the next persisted events after an id, oldest first; empty at the end."""
    request = Request("GET", path(session_id, "events"), params={"after": after})
    page = yield from call(request, Page[Any])
    found = [event for raw in page.items if (event := event_of(raw))]
    return Page[Event].model_construct(items=found, next_cursor=page.next_cursor)


def text_page(
    session_id: str, ref: str, *, cursor: str | None = None, delay: float = 0.0
) -> Operation[TextPage]:
    """Return a page of a long text, by the `text_ref` of an event or the `ref` of a log.

    Pieces are in order. The same `cursor` again has what came since, in a text that grows; `delay`
    is in seconds, before it is asked for.
    """
    params = {"cursor": cursor} if cursor else {}
    request = Request("GET", path(session_id, "texts", ref), params=params, delay=delay)
    return (yield from call(request, TextPage))


def text(session_id: str, ref: str, *, patience: float = TEXT_SECONDS) -> Operation[Text]:
    """Return the whole of a long text; it is over when nothing new comes for `patience` seconds.

    An event may come before all of its text is kept. What is not there in time is not in it, and
    `complete` says so.
    """
    page = yield from text_page(session_id, ref)
    whole, silent = bytearray(), 0.0
    _write(whole, page)
    while page.next_cursor and (page.items or silent < patience):
        pause = 0.0 if page.items else min(TEXT_PAUSE, patience - silent)
        silent = silent + pause if pause else 0.0
        cursor = page.next_cursor
        page = yield from text_page(session_id, ref, cursor=cursor, delay=pause)
        _write(whole, page)
    found = whole.decode(errors="replace")
    return Text(text=found, complete=not page.next_cursor, truncated=page.truncated)


def _write(whole: bytearray, page: TextPage) -> None:
    for piece in page.items:
        # One that was begun anew meanwhile is told from where it began.
        whole[piece.offset :] = piece.text.encode(errors="replace")


def logs(session_id: str) -> Operation[list[StepLog]]:
    """Return the logs that the steps left, attempt by attempt; `text` has what is in one."""
    return (yield from call(Request("GET", path(session_id, "logs")), Page[StepLog])).items


def defaults() -> Operation[Defaults]:
    """Return what sessions are created with, the agents there are, and the limits."""
    return (yield from call(Request("GET", "defaults"), Defaults))


def rename(session_id: str, title: str) -> Operation[Session]:
    """Give a session another title, in any status."""
    request = Request("PATCH", path(session_id), body={"title": title})
    return (yield from call(request, Session))


def withdraw(session_id: str, message_id: str) -> Operation[None]:
    """Take a message back that waits; twice is harmless.

    Raises Conflict for one on its way, and for the first message before its delivery: that is
    changed by `patch`.
    """
    yield from call(Request("DELETE", path(session_id, "messages", message_id)), Taken)


def stream_ticket(session_id: str) -> Operation[Stream]:
    """Return a ticket for one viewer connection."""
    return (yield from post(path(session_id, "stream-ticket"), Stream, asks=True))


def send_message(
    session_id: str, prompt: str, *, if_busy: Literal["queue", "reject"] = "queue"
) -> Operation[Message]:
    """Queue a message; it wakes a sleeping session. `reject` raises Conflict while a turn runs."""
    body = {"prompt": prompt, "ifBusy": if_busy}
    return (yield from post(path(session_id, "messages"), Message, body))


def initiate(session_id: str) -> Operation[None]:
    """Release the held first message, or a queue that paused; twice is harmless."""
    yield from post(path(session_id, "initiate"), Taken)


def wait(
    session_id: str, *, while_status: str = "preparing", seconds: int = WAIT_SECONDS
) -> Operation[Session]:
    """Return when the status is not `while_status`, or after `seconds`, the session as it is."""
    request = Request(
        "GET", path(session_id, "wait"), params={"while": while_status, "seconds": seconds}
    )
    return (yield from call(request, Session))


def delete(session_id: str) -> Operation[None]:
    """Stop everything and remove everything, in any status."""
    yield from call(Request("DELETE", path(session_id)), Taken)


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
    sealed = yield from with_sealed(given)
    body = {"attemptNumber": attempt_number, **camel(sealed)}
    return (yield from post(path(session_id, "retry"), Taken, body, repeatable=False)).warnings


def interrupt(session_id: str) -> Operation[None]:
    """Stop the active turn; in preparation, cancel the attempt."""
    yield from post(path(session_id, "interrupt"), Taken, repeatable=False)


def answer_input(session_id: str, request_id: str, answer: Mapping[str, Any]) -> Operation[None]:
    """Answer what the agent asks: `request_id` is of its `input.requested` or `pending_inputs`.

    To a permission `{"reply": "once"}`, or "always" or "reject"; to questions
    `{"answers": [["label"], …]}`, for each in order the labels that are chosen, or words of your
    own; to either `{"reject": True}`.
    """
    yield from post(path(session_id, "inputs", request_id), Taken, answer, repeatable=False)


def patch(session_id: str, **changes: Unpack[SessionChanges]) -> Operation[Session]:
    """Change what a session was asked for, before its first message is delivered."""
    sealed = yield from with_sealed(changes)
    request = Request("PATCH", path(session_id), body=camel(sealed))
    return (yield from call(request, Session))


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
