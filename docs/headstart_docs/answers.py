"""The bodies that calls answer with: for the OpenAPI document, and for tests to check answers by.

`headstart.domain.views` makes them; the tests fail where the two differ.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from headstart.domain.attempt import AttemptStatus
from headstart.domain.failure import Failure
from headstart.domain.message import MessageStatus
from headstart.domain.model import Model
from headstart.domain.session import CallbackStatus, Cause, Status
from headstart.domain.steps import StepName, StepStatus
from headstart.domain.work import PublicationStatus

Time = Annotated[
    datetime,
    Field(description="UTC, ISO 8601 with milliseconds.", examples=["2026-11-22T10:50:00.123Z"]),
]


class Stream(Model):
    """Where to open a WebSocket: `url?ticket=…`, once, before `expiresAt`."""

    url: str
    ticket: str
    expires_at: Time


class Warned(Model):
    """What is to be known of a field that was taken all the same; nothing of it is quoted."""

    loc: list[int | str] = Field(
        description="Where it is, field by field.", examples=[["envVars", "API_TOKEN"]]
    )
    msg: str


Warnings = Annotated[
    list[Warned],
    Field(
        description="What looks like a credential and is kept in the open: 20 at most. Of a "
        "message to a session that `failed` also that it waits for `retry`."
    ),
]


class CreatedSession(Model):
    """A session that exists from now on, whatever becomes of its preparation."""

    session_id: str
    status: Status
    attempt_number: int
    created_at: Time
    stream: Stream
    warnings: Warnings


class Repository(Model):
    """What was cloned, and the session's own branch."""

    git_url: str
    branch: str


class StepView(Model):
    """One step of an attempt; all of them are listed from the start."""

    step: StepName
    status: StepStatus
    started_at: Time | None
    ended_at: Time | None
    message: str = Field(
        default="", description="What it does just now, or why it failed: 4000 characters."
    )
    percent: int = Field(default=0, ge=0, le=100)
    output: str = Field(default="", description="The end of what it printed: 64 KB if it failed.")


class AttemptView(Model):
    """One run of the preparation."""

    number: int
    cause: Cause
    status: AttemptStatus
    started_at: Time
    ended_at: Time | None
    steps: list[StepView]


class SnapshotAttemptView(AttemptView):
    """An attempt in a `session.snapshot`; `revision` says which `preparing` events are older."""

    revision: int


class QueuedMessage(Model):
    """A message that is not delivered yet."""

    message_id: str
    status: MessageStatus
    created_at: Time


class ActiveTurn(Model):
    """The message that the agent works on; `startedAt` is null until it has it."""

    turn_id: str
    message_id: str
    started_at: Time | None


class PendingInput(Model):
    """What the agent asks, and waits for: answered by `POST …/inputs/{requestId}`."""

    request_id: str
    turn_id: str
    kind: str = Field(description="`permission` or `question`.")
    body: dict[str, Any] = Field(description="The agent's own words.")
    truncated: bool = Field(
        default=False,
        description="`true` where all that is asked is too much to show: the body has short texts "
        "then, or is empty. All together have 1 MB, 48 KB in a `session.snapshot`.",
    )
    created_at: Time


class CallbackView(Model):
    """How the session's receiver takes its callbacks; see Callbacks."""

    status: CallbackStatus = Field(description="`stopped` once it answered 410.")
    failure: Failure | None = Field(
        description="The last callback that was given up, or why there are no more; null again "
        "after the next that is delivered."
    )


class Counted(Model):
    """How many files are different, and lines in those that are text."""

    files: int
    additions: int
    deletions: int


class PullRequestView(Model):
    """The pull request of the session's branch."""

    number: int
    url: str


class PublicationView(Model):
    """How far the session's work has come to the remote."""

    status: PublicationStatus
    branch: str
    commit: str | None = Field(description="What the remote was last seen to have.")
    url: str | None = Field(description="A page about the branch, where there is one.")
    pull_request: PullRequestView | None
    note: str | None = Field(description="What was not done, in words.")
    failure: Failure | None = Field(
        description="Why the work, or its pull request, is not where it should be."
    )


class Counts(Model):
    """How many of each were given; the values themselves are never answered."""

    env_vars: int
    encrypted_secrets: int
    setup_commands: int
    mcp_servers: int


class SessionView(Model):
    """A session. What its sandbox says has limits: see `truncated` and the steps' texts."""

    session_id: str
    title: str = Field(description="The first prompt's beginning, until a person gives another.")
    status: Status
    created_at: Time
    updated_at: Time
    prepared_at: Time | None
    initiated_at: Time | None = Field(description="When the agent accepted the first message.")
    last_event_id: int = Field(description="The last persisted event's id; 0 before any.")
    repository: Repository
    agent: str
    mode: str
    model: str | None
    attempt: AttemptView
    failure: Failure | None
    active_turn: ActiveTurn | None
    left_out: list[str] = Field(
        description="The first files that a limit kept out of what is saved of it, and how many "
        "more: the last archive's."
    )
    callback: CallbackView | None = Field(description="Null without a `callbackTarget`.")
    changes: Counted | None = Field(
        description="What the last `work.changed` told; null before there was one."
    )
    publication: PublicationView | None = Field(description="Null before any was asked for.")
    counts: Counts
    queue: list[QueuedMessage]
    pending_inputs: list[PendingInput]


class ChangedSession(SessionView):
    """A session after a change of what was asked for."""

    warnings: Warnings


class EncryptionKey(Model):
    """What secrets are encrypted with."""

    key_id: str = Field(description="For the envelope's `keyId`.")
    algorithm: Annotated[str, Field(pattern="^RSA-OAEP-256$")]
    public_key: str = Field(description="SubjectPublicKeyInfo in DER, in base64.")


class SessionSummary(Model):
    """A session in the list: what one looks for it by, and where it stands."""

    session_id: str
    title: str
    status: Status
    created_at: Time
    updated_at: Time
    repository: Repository
    agent: str
    mode: str
    queue_length: int = Field(description="How many messages are not delivered yet.")
    pending_input_count: int = Field(description="How many answers the agent waits for.")
    failure: Failure | None = Field(description="Its `reason` has 500 characters at most.")


class OfferedAgent(Model):
    """An agent that a session can have."""

    name: str
    modes: list[str]
    models: list[str] = Field(description="Suggestions, as provider/model.")


class Limits(Model):
    """How much a session may ask for."""

    active_sessions: int
    prompt_bytes: int
    env_vars: int
    setup_commands: int
    setup_command_characters: int
    mcp_servers: int
    append_system_prompt_characters: int
    body_bytes: int


class Defaults(Model):
    """What a session is where nothing is said, what can be said, and how much."""

    agent: str
    mode: str | None = Field(description="Null is the agent's own.")
    model: str | None = Field(description="Null is the agent's own.")
    agents: list[OfferedAgent]
    limits: Limits


class SessionSnapshotView(SessionView):
    """A session as `session.snapshot` has it; a failed step's output is its last 4 KB."""

    attempt: SnapshotAttemptView


class ArchivedFile(Model):
    """A file that can be had for 15 minutes, and what it is."""

    url: str
    bytes: int
    sha256: str = Field(description="In base64.")


class ArchiveView(Model):
    """What is saved of a session's workspace: a base, and what is different since then."""

    saved_at: Time = Field(description="The moment whose work it is.")
    base: ArchivedFile = Field(description="A tar of `/workspace`, compressed with zstd.")
    difference: ArchivedFile | None = Field(
        description="A zip of `gone`, `difference.tar.zst` and `session.json`; null where nothing "
        "was saved since the base."
    )
    left_out: list[str] = Field(
        description="Files that a limit kept out: 20 at most, then how many more."
    )
    missing: str | None = Field(description="What else it is without, in words.")


class ChangedFileView(Model):
    """A file that is different from what it was when the branch began."""

    path: str
    status: Literal["added", "modified", "deleted", "renamed", "copied", "retyped", "unmerged"]
    source: str | None = Field(description="Where a renamed or copied one was.")
    additions: int | None = Field(description="Lines; null in a binary file.")
    deletions: int | None
    mode: str | None = Field(description="Before and after, where that changed.")


class ChangesView(Model):
    """What a session changed since its branch began."""

    saved_at: Time = Field(description="The moment whose work it is.")
    base: str | None = Field(description="The commit it is compared with; null is an empty tree.")
    head: str | None = Field(description="The work's last commit; what follows it counts as well.")
    files: list[ChangedFileView]
    total: Counted
    truncated: bool = Field(description="Whether there are more files than are named.")


class DiffView(ArchivedFile):
    """Where a session's changes can be had as a unified diff, without its secrets."""

    saved_at: Time = Field(description="The moment whose work it is.")


class SessionPage(Model):
    """Sessions, newest first."""

    items: list[SessionSummary]
    next_cursor: str | None = Field(description="The next page's `cursor`; null on the last.")


class MessageView(Model):
    """A message, in its place in the session's queue."""

    message_id: str
    text: str
    status: MessageStatus
    created_at: Time
    delivered_at: Time | None
    failure: Failure | None


class SentMessage(MessageView):
    """A message that has its place in the queue."""

    warnings: Warnings


class MessagePage(Model):
    """Messages, oldest first."""

    items: list[MessageView]
    next_cursor: str | None = Field(description="The next page's `cursor`; null on the last.")


class TextPieceView(Model):
    """A piece of a text."""

    offset: int = Field(description="The byte of the text, in UTF-8, with which it begins.")
    text: str


class _TextState(Model):
    bytes: int = Field(description="What is there by now, in UTF-8.")
    complete: bool = Field(description="Whether nothing more is to come.")
    truncated: bool = Field(
        description="Whether something is gone for good: it was more than is kept, or the sandbox "
        "ended in the middle."
    )


class TextPage(_TextState):
    """A page of a text: pieces in order, without a hole, 1 MB at most."""

    items: list[TextPieceView]
    next_cursor: str | None = Field(
        description="Where to go on, now or, of a text that is not complete, later; null at the "
        "end of a complete one."
    )


class LogView(_TextState):
    """A step's log; of several tries the newest one's."""

    attempt_number: int
    step: StepName
    ref: str = Field(description="By what `GET /sessions/{id}/texts/{ref}` has it.")


class LogList(Model):
    """Logs, in the order of attempts and steps."""

    items: list[LogView]


class SentInput(Model):
    """The answer is on its way; `input.resolved` tells when the agent has it."""

    request_id: str
    status: Annotated[str, Field(pattern="^sent$")]


class Empty(Model):
    """Nothing to tell."""


class Health(Model):
    """The API answers."""

    status: Annotated[str, Field(pattern="^ok$")]


class FieldError(Model):
    """One field that is wrong, without its value."""

    loc: list[int | str] = Field(
        description="Where it is: field by field, or `header` or `query` and a name.",
        examples=[["setupCommands", 0]],
    )
    msg: str


class Problem(Model):
    """RFC 9457. Branch on `code`; show `detail`."""

    type: str = Field(description="`urn:headstart:error:` and the code.")
    title: str
    status: int
    detail: str = Field(description="What a person can act on.")
    code: str
    retryable: bool = Field(description="Whether the same call may succeed later.")
    request_id: str = Field(description="Names the call in the logs.")
    errors: list[FieldError] = Field(
        default_factory=list, description="Only with ValidationFailed; at most 20."
    )
    retry_after: int | None = Field(
        default=None, description="Seconds after which to try again; with 429 and 503."
    )


class GatewayMessage(Model):
    """What API Gateway answers by itself, before a request reaches Headstart."""

    message: str | None
