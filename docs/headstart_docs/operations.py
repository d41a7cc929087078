"""Every call of the HTTP API: what it takes, what it answers and how it can be refused."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from headstart.domain import errors as e
from headstart.domain import requests
from headstart.domain.calls import EFFECTS, Call, Effect
from headstart.domain.model import Model
from headstart.domain.search import REPOSITORY_CHARACTERS, SEARCH_CHARACTERS
from headstart.domain.session import Status
from headstart.usecases.read import PAGE_LIMIT, SEARCHED, WAIT_LIMIT_SECONDS
from headstart_docs import answers

Error = type[e.HeadstartError]


@dataclass(frozen=True, slots=True)
class Query:
    """A parameter of the query; a default of None means it may be left out."""

    name: str
    text: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """One call; `name` is its handler's. An `answer` of a string names a schema made elsewhere."""

    name: str
    method: str
    path: str
    summary: str
    text: str
    status: int
    answer: type[Model] | str
    request: type[Model] | None = None
    call: Call | None = None
    query: tuple[Query, ...] = ()
    keyed: bool = False
    body_required: bool = True
    is_open: bool = False
    function: str = "http_api"
    refusals: tuple[Error, ...] = ()

    @property
    def operation_id(self) -> str:
        """The name in camelCase."""
        first, *rest = self.name.split("_")
        return first + "".join(part.title() for part in rest)

    def path_parameters(self) -> list[str]:
        """Return the names in braces."""
        return re.findall(r"\{(\w+)\}", self.path)

    def refused_by(self) -> dict[int, list[Error]]:
        """Return every error the call can answer, by status."""
        found: dict[int, list[Error]] = {}
        for error in sorted(self._errors(), key=lambda error: error.status):
            found.setdefault(error.status, []).append(error)
        return found

    def _errors(self) -> Iterator[Error]:
        if not self.is_open:
            yield e.Unauthorized
        if self.request:
            yield from (e.MalformedBody, e.BodyTooLarge, e.ValidationFailed)
        elif self.query:
            yield e.ValidationFailed
        if self.keyed:
            yield e.IdempotencyKeyReused
        effects = {EFFECTS[self.call, status] for status in Status} if self.call else set()
        if effects:
            yield e.SessionNotFound
        if Effect.CONFLICT in effects:
            yield e.WrongStatus
        yield from self.refusals
        if effects and self.call is not Call.READ:
            yield e.Conflict
        if not self.is_open:
            yield e.ServiceUnavailable
            yield e.RowUnreadable
        yield e.HeadstartError


def _number(low: int, high: int, default: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high, "default": default}


_ONE = "/sessions/{id}"
_CURSOR = Query("cursor", "The `nextCursor` of the page before.", {"type": "string"})

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "create_session", "post", "/sessions", "Create a session",
        "Answers at once; the preparation goes on by itself and is told on the stream. With "
        "`autoInitiate: false` the first message waits for `initiate`. A key goes with its "
        "session: repeated after that was deleted, the request creates another.",
        202, answers.CreatedSession, requests.CreateSession, keyed=True,
        refusals=(e.RepositoryForbidden, e.SessionDeleting, e.QuotaExceeded),
    ),
    Operation(
        "list_sessions", "get", "/sessions", "List sessions",
        "The caller's, newest first, and in short: its steps, what waits in "
        "its queue and what its agent asks is in the answer of `GET /sessions/{id}`; here are "
        "`queueLength` and `pendingInputCount`. With `search` or `repository` a page looks at the "
        f"next {SEARCHED} sessions: it may be short, even empty, while there is a `nextCursor`.",
        200, answers.SessionPage,
        query=(
            Query("limit", "How many at most.", _number(1, PAGE_LIMIT, 20)),
            _CURSOR,
            Query(
                "search", "Words, each of which is in the title or the `gitUrl`, in any case.",
                {"type": "string", "maxLength": SEARCH_CHARACTERS},
            ),
            Query(
                "repository", "The `gitUrl`, exactly.",
                {"type": "string", "maxLength": REPOSITORY_CHARACTERS},
            ),
        ),
    ),
    Operation(
        "get_session", "get", _ONE, "Get a session",
        "Reading wakes nothing.",
        200, answers.SessionView, call=Call.READ,
    ),
    Operation(
        "get_archive", "get", f"{_ONE}/archive", "Get what is saved",
        "Where the saved work can be had, for 15 minutes: see \"Take an archive away\".",
        200, answers.ArchiveView, call=Call.READ, refusals=(e.ArchiveNotFound,),
    ),
    Operation(
        "get_changes", "get", f"{_ONE}/changes", "Get what changed",
        "What the session changed since its branch began, as of when its work was saved last. 1000 "
        "files are named, `total` counts all. Until that was for the first time, 404. See \"What "
        "changed\".",
        200, answers.ChangesView, call=Call.READ, refusals=(e.ArchiveNotFound,),
    ),
    Operation(
        "get_diff", "get", f"{_ONE}/diff", "Get what changed, line by line",
        "Where the same can be had as a unified diff, for 15 minutes; it is cut after 100 000 "
        "lines or 8 MB, and says so in its last line.",
        200, answers.DiffView, call=Call.READ, refusals=(e.ArchiveNotFound,),
    ),
    Operation(
        "wait", "get", f"{_ONE}/wait", "Wait for another status",
        "Answers the session as soon as its status is not `while`, or after `seconds` as it is.",
        200, answers.SessionView, call=Call.READ, function="wait",
        query=(
            Query(
                "while", "The status to wait out.",
                {"type": "string", "enum": [s.value for s in Status], "default": "preparing"},
            ),
            Query(
                "seconds", "How long at most.",
                _number(0, WAIT_LIMIT_SECONDS, WAIT_LIMIT_SECONDS),
            ),
        ),
    ),
    Operation(
        "patch_session", "patch", _ONE, "Change a session",
        "Before its first message is on its way: an absent field stays, null or empty clears it. "
        "What a step already did is not undone. The `title` can be changed at any time, by itself; "
        "until then it is the first prompt's beginning. Another repository, by one of `githubRepo` "
        "and `gitUrl` under the rules of `POST /sessions`, is taken where the preparation failed "
        "before anything was cloned; a retry then begins with it.",
        200, answers.ChangedSession, requests.PatchSession, Call.PATCH,
        refusals=(e.AlreadyInitiated, e.WrongStatus, e.RepositoryForbidden, e.QuotaExceeded),
    ),
    Operation(
        "delete_session", "delete", _ONE, "Delete a session",
        "In any status: stops everything and removes everything.",
        202, answers.Empty, call=Call.DELETE,
    ),
    Operation(
        "initiate", "post", f"{_ONE}/initiate", "Release what is held",
        "The message that is `held`, and with it all that waits behind it. Twice is harmless.",
        202, answers.SessionView, call=Call.INITIATE, refusals=(e.QuotaExceeded,),
    ),
    Operation(
        "list_messages", "get", f"{_ONE}/messages", "List messages",
        "With text and status, oldest first; a page has about 1 MB of text at most.",
        200, answers.MessagePage, call=Call.READ,
        query=(_CURSOR,),
    ),
    Operation(
        "send_message", "post", f"{_ONE}/messages", "Send a message",
        "Takes the last place in the queue, and wakes a sleeping session. `ifBusy: \"reject\"` "
        "asks for 409 while a turn is active. In a session that `failed` it waits for `retry`, and "
        "`warnings` say so.",
        202, answers.SentMessage, requests.SendMessage, Call.MESSAGE, keyed=True,
        refusals=(e.SessionBusy, e.QueueFull, e.QuotaExceeded),
    ),
    Operation(
        "withdraw_message", "delete", f"{_ONE}/messages/{{messageId}}", "Withdraw a message",
        "While it is `queued` or `held`: it keeps its place in the list of messages, and is never "
        "delivered. Twice is harmless. The first message can't be withdrawn before the agent has "
        "had it: its prompt can be changed.",
        202, answers.Empty, call=Call.WITHDRAW,
        refusals=(e.MessageNotFound, e.AlreadyDelivered, e.WrongStatus),
    ),
    Operation(
        "answer_input", "post", f"{_ONE}/inputs/{{requestId}}", "Answer the agent",
        "`reply` to a permission, `answers` to a question (the labels chosen, question by "
        "question), `reject` for either. The first answer counts: the same again is fine, another "
        "one is refused.",
        202, answers.SentInput, requests.AnswerInput, Call.ANSWER,
        refusals=(e.InputNotFound,),
    ),
    Operation(
        "interrupt", "post", f"{_ONE}/interrupt", "Stop the turn",
        "In preparation, cancels the attempt. What is queued then waits for `initiate` or the next "
        "message; in a session that `failed` by it, for `retry`.",
        202, answers.SessionView, call=Call.INTERRUPT,
    ),
    Operation(
        "publish", "post", f"{_ONE}/publish", "Publish the work",
        "Commits what is not committed, pushes it to the session's branch, and opens or updates "
        "the pull request; wakes a sleeping session. `publication` says how far it is, and the "
        "stream tells its end: `work.published`, `work.unchanged` or `work.publish_failed`. The "
        "same again while it goes on is harmless, something else is refused. The body may be "
        "left out, too. Other `encryptedSecrets` have a session that is at rest sleep "
        "and wake first, with them. See \"Publishing\".",
        202, answers.ChangedSession, requests.PublishSession, Call.PUBLISH, body_required=False,
        refusals=(e.SessionBusy, e.QuotaExceeded),
    ),
    Operation(
        "retry", "post", f"{_ONE}/retry", "Try again after a failure",
        "Names the attempt that failed, so that two tabs don't retry twice. A living sandbox "
        "keeps what already succeeded: it waits for ten minutes, unless another session of the "
        "caller's needs its place. In a new one the saved work is put back, unless "
        "`withoutArchive`.",
        202, answers.ChangedSession, requests.RetrySession, Call.RETRY,
        refusals=(e.StaleAttempt, e.QuotaExceeded),
    ),
    Operation(
        "list_events", "get", f"{_ONE}/events", "List events",
        "The persisted ones above `after`, a page at a time.",
        200, "EventPage", call=Call.READ,
        query=(Query("after", "The last event id you have.", _number(0, 10**12 - 1, 0)),),
    ),
    Operation(
        "get_text", "get", f"{_ONE}/texts/{{ref}}", "Get a long text",
        "All of a text whose beginning an event has, or of a step's log, a page at a time: see "
        "\"Long texts\".",
        200, answers.TextPage, call=Call.READ, query=(_CURSOR,), refusals=(e.TextNotFound,),
    ),
    Operation(
        "list_logs", "get", f"{_ONE}/logs", "List the logs of the steps",
        "Those of all attempts' steps that printed something; each is read as a text.",
        200, answers.LogList, call=Call.READ,
    ),
    Operation(
        "stream_ticket", "post", f"{_ONE}/stream-ticket", "Get a stream ticket",
        "One for each connection; good for a minute.",
        200, answers.Stream, call=Call.READ,
    ),
    Operation(
        "defaults", "get", "/defaults", "Get defaults and limits",
        "What a session is where its request says nothing, what it can ask for, and how much: for "
        "forms. `models` are suggestions, none where the deployment names none. Good for five "
        "minutes in a client's own cache.",
        200, answers.Defaults,
    ),
    Operation(
        "encryption_key", "get", "/encryption-key", "Get the key for secrets",
        "Open to all, and good for five minutes in any cache: see \"Send secrets\".",
        200, answers.EncryptionKey, is_open=True,
        refusals=(e.EncryptionKeyNotFound, e.ServiceUnavailable),
    ),
    Operation(
        "health", "get", "/health", "Health",
        "Open to all; touches nothing.",
        200, answers.Health, is_open=True,
    ),
    Operation(
        "openapi", "get", "/openapi.json", "This document",
        "Open to all; OpenAPI 3.1.",
        200, "Document", is_open=True,
    ),
)  # fmt: skip
