"""The frames between the cloud and a sandbox's runner: one JSON object a WebSocket message.

Upward frames carry `action` (the WebSocket API routes by it), downward ones `type`. A downward
frame over PART_BYTES travels as `part` frames; everything upward is kept under BATCH_BYTES.
Peers may be of different versions, so unknown fields are dropped and unknown types ignored.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, TypeAdapter, model_serializer

from headstart.domain.command_kinds import CommandKind
from headstart.domain.errors import StepError
from headstart.domain.ids import new_id
from headstart.domain.long_texts import Piece
from headstart.domain.model import OpenModel, Timestamp
from headstart.domain.naming import step_error

FRAME_BYTES = 32 * 1024
"""API Gateway's WebSocket frame quota ("Amazon API Gateway endpoints and quotas")."""

BATCH_BYTES = 24 * 1024
PART_BYTES = 24 * 1024

OUTPUT_TAIL_BYTES = 64 * 1024
"""How much of a failed step's output is kept."""


class ErrorInfo(OpenModel):
    """A step error on the wire; `code` is a class name of headstart.domain.errors.

    Of the long reason of a turn's end it has the beginning, with `text_bytes`, and `text_ref` by
    which all of it is sent in pieces, afterwards.
    """

    code: str
    reason: str
    retryable: bool = False
    text_ref: str | None = None
    text_bytes: int | None = None

    @model_serializer(mode="wrap")
    def _without_absent_text(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        body: dict[str, Any] = handler(self)
        return {name: value for name, value in body.items() if value is not None}

    @classmethod
    def of(cls, error: StepError) -> "ErrorInfo":
        """Return an error as it goes over the wire."""
        return cls(code=error.code, reason=error.reason, retryable=error.retryable)

    def error(self) -> StepError:
        """Return the error that a peer named."""
        return step_error(self.code, self.reason)


# Runner → cloud.


class Hello(OpenModel):
    """The first frame of every connection; `process` is random and lives as long as the runner.

    `connection` counts the connections of this process from 1: hellos may be served late and in any
    order, and only a higher number takes the channel over. 0 is a runner that does not count.
    """

    action: Literal["hello"] = "hello"
    attempt_number: int
    process: str
    connection: int = 0
    last_seq: int = 0


class Progress(OpenModel):
    """How a step is going; volatile. `output` begins at byte `output_offset` of all output."""

    type: Literal["progress"] = "progress"
    command_id: str
    message: str
    percent: int | None = None
    elapsed_ms: int
    output: str | None = None
    output_offset: int | None = None


class Output(OpenModel):
    """A piece of the retained output of a failed step, sent before its result."""

    type: Literal["output"] = "output"
    command_id: str
    offset: int
    text: str


class AgentEvent(OpenModel):
    """The final state of a part of the agent's answer, or the start of a tool; persisted.

    `data` holds `kind` (text, reasoning, tool, patch, usage, error, other), `messageId`, `partId`
    and what the kind needs: `text`; `tool`, `status`, `title`, `input`, `output`, `exitCode`;
    `files`. Of a long `text` or `output` the beginning, with `textBytes`, and `textRef` by which
    all of it is sent in pieces, afterwards; of a long `input` the same with `inputBytes` and
    `inputRef`.
    """

    type: Literal["agent.event"] = "agent.event"
    turn_id: str
    data: dict[str, Any]


class AgentDelta(OpenModel):
    """Text that an open part grew by, from character `offset`; volatile."""

    type: Literal["agent.delta"] = "agent.delta"
    turn_id: str
    part_id: str
    offset: int
    text: str


class AgentSnapshot(OpenModel):
    """The parts still open, sent when a viewer joins in mid-answer; volatile."""

    type: Literal["agent.snapshot"] = "agent.snapshot"
    turn_id: str
    parts: list[dict[str, Any]]


class TurnRetrying(OpenModel):
    """The model provider failed and the agent tries again; volatile."""

    type: Literal["turn.retrying"] = "turn.retrying"
    turn_id: str
    reason: str


class InputRequested(OpenModel):
    """The agent asks for a permission or an answer; the turn waits for it; persisted.

    `body` is what a person needs to decide: for a permission `{title, patterns, metadata}`, for a
    question `{questions: [{question, header, options: [{label, description}]}]}`.
    """

    type: Literal["input.requested"] = "input.requested"
    turn_id: str
    request_id: str
    kind: Literal["permission", "question"]
    body: dict[str, Any]


class InputResolved(OpenModel):
    """A request was answered, rejected or withdrawn by the agent; persisted."""

    type: Literal["input.resolved"] = "input.resolved"
    turn_id: str
    request_id: str
    outcome: Literal["answered", "rejected", "expired", "withdrawn"]


class TurnEnded(OpenModel):
    """A turn's one and only end; neither `error` nor `interrupted` when it completed."""

    type: Literal["turn.ended"] = "turn.ended"
    turn_id: str
    message_id: str
    usage: dict[str, Any] = Field(default_factory=dict)
    error: ErrorInfo | None = None
    interrupted: bool = False


class WorkChanged(OpenModel):
    """What is different from where the branch began, before a copy is made; persisted if new."""

    type: Literal["work.changed"] = "work.changed"
    command_id: str
    files: int
    additions: int
    deletions: int


class WorkPushed(OpenModel):
    """A commit is about to be pushed, which makes it the session's own; waited for before that."""

    type: Literal["work.pushed"] = "work.pushed"
    command_id: str
    commit: str


RunnerEvent = Annotated[
    Progress
    | Output
    | Piece
    | AgentEvent
    | AgentDelta
    | AgentSnapshot
    | TurnRetrying
    | InputRequested
    | InputResolved
    | TurnEnded
    | WorkChanged
    | WorkPushed,
    Field(discriminator="type"),
]


RUNNER_EVENT: TypeAdapter[RunnerEvent] = TypeAdapter(RunnerEvent, config={"defer_build": True})


class CommandResult(OpenModel):
    """How a command ended. `output` is what its kind answers; `error` is set when it failed."""

    command_id: str
    status: Literal["completed", "failed", "skipped"]
    output: dict[str, Any] = Field(default_factory=dict)
    error: ErrorInfo | None = None
    elapsed_ms: int = 0


class Report(OpenModel):
    """One batch, at most BATCH_BYTES; the next is sent only after this one's ack.

    Its events happened before its results: what follows a result (the turn that an accepted
    prompt begins) goes into a later batch. `session_id` names the runner's own session, which
    spares a look at whose the connection is; None is a runner that does not say.
    """

    action: Literal["report"] = "report"
    session_id: str | None = None
    seq: int
    events: list[RunnerEvent] = Field(default_factory=list)
    results: list[CommandResult] = Field(default_factory=list)


class Heartbeat(OpenModel):
    """Sent every HEARTBEAT_INTERVAL seconds, and a second into a command: what the runner has.

    `running` are the ids of the commands being worked on, a prompt's as long as its turn; `turn`
    the turn that goes on; `last_seq` the newest batch made; `backlog` how many items, of that batch
    or after it, wait to be acknowledged; `viewers` how many the runner believes to watch. A runner
    that says no `last_seq` is of an older version: what it does not name may still be there.
    `session_id` is as in a report.

    The cloud sends what should run and does not, cancels what runs and should not, and ends with
    `heard`.
    """

    action: Literal["heartbeat"] = "heartbeat"
    session_id: str | None = None
    running: list[str] = Field(default_factory=list)
    turn: str | None = None
    last_seq: int | None = None
    backlog: int = 0
    viewers: int | None = None


class Leaving(OpenModel):
    """The sandbox must stop within seconds: what is not saved yet must be saved now.

    Said on every connection until the cloud's `leave`. `delivering` are the ids of the prompts
    whose outcome the runner does not know: they may have reached the agent. A prompt that is not
    among them and was not answered never will be. None is a runner that does not say.
    `session_id` is as in a report.
    """

    action: Literal["leaving"] = "leaving"
    session_id: str | None = None
    delivering: list[str] | None = None


class CredentialRequest(OpenModel):
    """What opens a repository is needed, for reading or for writing too; answered by `credential`.

    `host` is as in the repository's address, with its port if it names one; `repository` its path
    there, without slashes around it and without `.git`: `org/name`. `session_id` is as in a report.
    """

    action: Literal["credential"] = "credential"
    session_id: str | None = None
    request_id: str
    host: str
    repository: str
    write: bool = False


UpFrame = Annotated[
    Hello | Report | Heartbeat | Leaving | CredentialRequest, Field(discriminator="action")
]
UP_FRAME: TypeAdapter[Hello | Report | Heartbeat | Leaving | CredentialRequest] = TypeAdapter(
    UpFrame, config={"defer_build": True}
)


# Cloud → runner.


class Welcome(OpenModel):
    """The answer to hello. `resume_key` replaces the key for every later connection.

    `answers_heartbeats` says that each heartbeat is answered with `heard`: a connection on which it
    stays away is dead.
    """

    type: Literal["welcome"] = "welcome"
    resume_key: str | None = None
    viewers: int
    answers_heartbeats: bool = False


class Heard(OpenModel):
    """The end of the answer to a heartbeat; `viewers` is how many really watch."""

    type: Literal["heard"] = "heard"
    viewers: int


class Refused(OpenModel):
    """This process is not the session's sandbox; the runner stops at once."""

    type: Literal["refused"] = "refused"
    code: str
    reason: str


class Ack(OpenModel):
    """The batch was taken, or makes no sense and is dropped (`accepted` false); the next may go."""

    type: Literal["ack"] = "ack"
    seq: int
    accepted: bool


class Command(OpenModel):
    """Do `kind` with `args`. The same id again is answered from the journal, never done twice.

    A command of the same step with a new id replaces the older one: what is left of the older one
    is killed first. `timeout` is in seconds and enforced by the runner.
    """

    type: Literal["command"] = "command"
    id: str
    kind: CommandKind
    timeout: int
    args: dict[str, Any]


class Cancel(OpenModel):
    """Kill what the command runs, a prompt's turn too; its result is not awaited.

    An id that is not known yet is remembered: should its command come later, it does not begin.
    """

    type: Literal["cancel"] = "cancel"
    id: str


class Viewers(OpenModel):
    """How many viewers watch; with none the runner sends no volatile events but slow progress."""

    type: Literal["viewers"] = "viewers"
    count: int


class CredentialAnswer(OpenModel):
    """What opens the repository that a request named, until `expires_at`, or why nothing does.

    With neither username nor error there is nothing to give: what is public needs nothing.
    """

    type: Literal["credential"] = "credential"
    request_id: str
    username: str | None = None
    password: str | None = Field(default=None, repr=False)
    expires_at: Timestamp | None = None
    error: ErrorInfo | None = None


class Leave(OpenModel):
    """Nothing needs the sandbox any more: the runner ends."""

    type: Literal["leave"] = "leave"


class Part(OpenModel):
    """Piece `index` of `count` of the JSON text of a larger frame."""

    type: Literal["part"] = "part"
    id: str
    index: int
    count: int
    data: str


DownFrame = Annotated[
    Welcome | Heard | Refused | Ack | Command | Cancel | Viewers | CredentialAnswer | Leave | Part,
    Field(discriminator="type"),
]
DOWN_FRAME: TypeAdapter[
    Welcome | Heard | Refused | Ack | Command | Cancel | Viewers | CredentialAnswer | Leave | Part
] = TypeAdapter(DownFrame, config={"defer_build": True})


def encode(frame: OpenModel) -> list[str]:
    """Return the WebSocket messages that carry a downward frame: one, or several parts."""
    text = json.dumps(frame.to_json(), separators=(",", ":"))  # ASCII, so bytes are characters
    if len(text) <= PART_BYTES:
        return [text]
    pieces = [text[i : i + PART_BYTES // 2] for i in range(0, len(text), PART_BYTES // 2)]
    part_id = new_id("part")
    return [
        json.dumps(
            Part(id=part_id, index=index, count=len(pieces), data=piece).to_json(),
            separators=(",", ":"),
        )
        for index, piece in enumerate(pieces)
    ]
