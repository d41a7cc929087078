"""What the API answers, as frozen objects; fields a newer API adds are ignored.

Statuses, codes and types stay strings: an older client must not break on a new one.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

T = TypeVar("T")


def _as_sent(time: datetime) -> str:
    utc = time.astimezone(UTC).isoformat(timespec="milliseconds")
    return utc.replace("+00:00", "Z")


Time = Annotated[datetime, PlainSerializer(_as_sent, when_used="json-unless-none")]
"""A moment, in JSON as the cloud writes it: UTC with milliseconds."""


class Model(BaseModel):
    """A camelCase JSON object, read into snake_case attributes."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        # Each is built when it is first needed: a command needs few of them.
        defer_build=True,
    )


class Stream(Model):
    """Where to connect as a viewer; the ticket is good for one connection, about a minute long."""

    url: str
    ticket: str = Field(repr=False)
    expires_at: Time


class Warned(Model):
    """What of a request looks like a credential in the open: where, field by field, and why."""

    loc: list[str | int]
    msg: str


class Taken(Model):
    """The answer to what is done by and by; the rest of it nobody here reads."""

    warnings: list[Warned] = Field(default_factory=list)


class Created(Model):
    """The answer to POST /sessions."""

    session_id: str
    status: str
    attempt_number: int
    created_at: Time
    stream: Stream
    warnings: list[Warned] = Field(default_factory=list)


class Failure(Model):
    """Why a session or a message failed: `reason` is a sentence, `code` its stable name."""

    step: str | None = None
    code: str
    reason: str
    retryable: bool = False


class StepState(Model):
    """How one step of an attempt stands; `output` is the tail of what it printed."""

    step: str
    status: str
    started_at: Time | None = None
    ended_at: Time | None = None
    message: str | None = None
    percent: int | None = None
    output: str | None = None


class Attempt(Model):
    """One run of the preparation; `revision` comes with snapshots only."""

    number: int
    cause: str
    status: str
    revision: int = 0
    started_at: Time
    ended_at: Time | None = None
    steps: list[StepState] = Field(default_factory=list)


class SavedFile(Model):
    """A file of saved work: its address for a few minutes, and its `sha256` in base64."""

    url: str = Field(repr=False)
    bytes: int
    sha256: str


class Archive(Model):
    """A session's saved work: a base, and what became different since, None where nothing did.

    `left_out` names files that are not in it, `missing` says what else it is without.
    """

    saved_at: Time
    base: SavedFile
    difference: SavedFile | None = None
    left_out: list[str] = Field(default_factory=list)
    missing: str | None = None


class Counted(Model):
    """How many files are different, and lines in those that are text."""

    files: int
    additions: int
    deletions: int


class ChangedFile(Model):
    """A file that is different; lines are None in a binary one, `source` is where it was before."""

    path: str
    status: str
    source: str | None = None
    additions: int | None = None
    deletions: int | None = None
    mode: str | None = None


class Changes(Model):
    """What a session changed since its branch began; `truncated` where not all files are named."""

    saved_at: Time
    base: str | None = None
    head: str | None = None
    files: list[ChangedFile]
    total: Counted
    truncated: bool = False


class Diff(SavedFile):
    """Where the same can be had as a unified diff."""

    saved_at: Time


class PullRequest(Model):
    """The pull request of a session's branch."""

    number: int
    url: str


class Publication(Model):
    """How far a session's work has come; `commit` is what the remote was last seen to have."""

    status: str
    branch: str
    commit: str | None = None
    url: str | None = None
    pull_request: PullRequest | None = None
    note: str | None = None
    failure: Failure | None = None


class Message(Model):
    """A prompt in the session's queue; `text` is None where the API lists only its place."""

    message_id: str
    status: str
    created_at: Time | None = None
    delivered_at: Time | None = None
    text: str | None = None
    failure: Failure | None = None
    warnings: list[Warned] = Field(default_factory=list)


class Turn(Model):
    """The turn the agent works on; not started until its message is delivered."""

    turn_id: str
    message_id: str
    started_at: Time | None = None


class Repository(Model):
    """Where the work is and the branch it goes to."""

    git_url: str
    branch: str


class PendingInput(Model):
    """What the agent asks and waits for; `kind` is permission or question, `body` its own words."""

    request_id: str
    kind: str
    body: dict[str, Any] = Field(default_factory=dict)


class Callback(Model):
    """How a session's receiver takes its callbacks: `status` active or stopped, by a 410."""

    status: str
    failure: Failure | None = None


class Summary(Model):
    """A session in a list: what waits and what the agent asks is only counted."""

    session_id: str
    title: str
    status: str
    created_at: Time
    updated_at: Time
    repository: Repository
    agent: str
    queue_length: int = 0
    pending_input_count: int = 0
    failure: Failure | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as the cloud sent it, without what this client does not know."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Session(Model):
    """A session as it stands; `warnings` are of the change that answered it."""

    session_id: str
    title: str
    status: str
    created_at: Time
    updated_at: Time
    prepared_at: Time | None = None
    initiated_at: Time | None = None
    last_event_id: int = 0
    repository: Repository
    agent: str
    mode: str
    model: str | None = None
    attempt: Attempt | None = None
    failure: Failure | None = None
    queue: list[Message] = Field(default_factory=list)
    active_turn: Turn | None = None
    pending_inputs: list[PendingInput] = Field(default_factory=list)
    callback: Callback | None = None
    left_out: list[str] = Field(default_factory=list)
    changes: Counted | None = None
    publication: Publication | None = None
    counts: dict[str, int] = Field(default_factory=dict)
    warnings: list[Warned] = Field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the session as the cloud sent it, without what this client does not know."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Event(Model):
    """Something that happened; `event_id` is None for a volatile event, which is never replayed."""

    event_id: int | None = None
    session_id: str = ""
    type: str
    timestamp: Time | None = None
    turn_id: str | None = None
    data: dict[str, Any] = Field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the event as the cloud sent it."""
        turn = {} if self.turn_id is None else {"turnId": self.turn_id}
        return {
            "eventId": self.event_id,
            "sessionId": self.session_id,
            "type": self.type,
            "timestamp": self.timestamp and _as_sent(self.timestamp),
            **turn,
            "data": self.data,
        }


class AgentOffer(Model):
    """An agent of the deployment's; `models` are suggestions, and may be none."""

    name: str
    modes: list[str] = Field(default_factory=list)
    models: list[str] = Field(default_factory=list)


class Defaults(Model):
    """What a session is created with unless it says otherwise, and the deployment's limits."""

    agent: str
    mode: str | None = None
    model: str | None = None
    agents: list[AgentOffer] = Field(default_factory=list)
    limits: dict[str, int] = Field(default_factory=dict)


class EncryptionKey(Model):
    """What secrets are sealed with: a SubjectPublicKeyInfo in DER, in base64."""

    key_id: str
    algorithm: str
    public_key: str


class StepLog(Model):
    """What a step's commands printed; `ref` is where the text is."""

    attempt_number: int
    step: str
    ref: str
    bytes: int = 0
    complete: bool = False
    truncated: bool = False


class Piece(Model):
    """A part of a long text; `offset` is in bytes of UTF-8."""

    offset: int
    text: str


class TextPage(Model):
    """A page of a long text, of which there are `bytes` so far.

    `next_cursor` is where to go on: where more is there, and where it is not `complete` yet.
    """

    items: list[Piece]
    bytes: int = 0
    complete: bool = False
    truncated: bool = False
    next_cursor: str | None = None


class Text(Model):
    """A long text as far as it was there; `truncated` where something of it is gone for good."""

    text: str
    complete: bool
    truncated: bool


class Answer(Model):
    """What came of a message: the text of the agent's last message, and what the turn cost.

    `changes` is what the session changed since it began, None where that is nothing.
    """

    session_id: str
    message_id: str
    text: str
    usage: dict[str, Any] = Field(default_factory=dict)
    changes: Counted | None = None
    truncated: bool = False


class Page(Model, Generic[T]):
    """One page of a list; `next_cursor` is None on the last."""

    items: list[T]
    next_cursor: str | None = None
