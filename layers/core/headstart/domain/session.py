"""What a session is made of, and the one table of how its status may change."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from headstart.domain.archive import Kept
from headstart.domain.errors import WrongStatus
from headstart.domain.failure import Failure
from headstart.domain.model import RowModel, Timestamp
from headstart.domain.steps import StepName
from headstart.domain.work import Beginning, Counted, Publication, PullRequestOptions


class Status(StrEnum):
    """Where a session stands."""

    PREPARING = "preparing"
    PREPARED = "prepared"
    READY = "ready"
    RUNNING = "running"
    STOPPING = "stopping"
    ASLEEP = "asleep"
    FAILED = "failed"
    DELETING = "deleting"


_TITLE_CHARACTERS = 80

_S = Status
TRANSITIONS: dict[Status, frozenset[Status]] = {
    _S.PREPARING: frozenset({_S.READY, _S.RUNNING, _S.PREPARED, _S.ASLEEP, _S.FAILED, _S.DELETING}),
    _S.PREPARED: frozenset({_S.RUNNING, _S.STOPPING, _S.ASLEEP, _S.DELETING}),
    _S.READY: frozenset({_S.RUNNING, _S.STOPPING, _S.ASLEEP, _S.DELETING}),
    _S.RUNNING: frozenset({_S.READY, _S.ASLEEP, _S.DELETING}),
    _S.STOPPING: frozenset({_S.ASLEEP, _S.DELETING}),
    _S.ASLEEP: frozenset({_S.PREPARING, _S.DELETING}),
    _S.FAILED: frozenset({_S.PREPARING, _S.DELETING}),
    _S.DELETING: frozenset(),
}


ACTIVE = frozenset({_S.PREPARING, _S.PREPARED, _S.READY, _S.RUNNING, _S.STOPPING})
"""The statuses in which a session has, or is about to have, a container."""


class Cause(StrEnum):
    """Why an attempt was made."""

    CREATED = "created"
    RETRY = "retry"
    WAKE = "wake"


class CallbackStatus(StrEnum):
    """Whether a session's receiver is called; an answer of 410 stops it for good."""

    ACTIVE = "active"
    STOPPED = "stopped"


class Callback(RowModel):
    """How a session's receiver takes its callbacks; `failure` is the last one given up.

    `given_up` is the event it was for.
    """

    status: CallbackStatus = CallbackStatus.ACTIVE
    failure: Failure | None = None
    given_up: int | None = None

    def misses(self, event_id: int) -> bool:
        """Whether what it shows as given up is an event's callback.

        Rows of earlier versions don't say which: there it is any.
        """
        return self.failure is not None and self.given_up in {None, event_id}


class Hold(StrEnum):
    """Why the queue waits though nothing is active.

    `initiate` is lifted by POST …/initiate alone: the caller wanted it so, or it is not known
    whether the head was delivered. `paused` is lifted by the next message too.
    """

    INITIATE = "initiate"
    PAUSED = "paused"


class Turn(RowModel):
    """The active turn: claimed when its message is `delivering`, started once it is delivered.

    `command_id` is the command that delivers it. `released` once someone asked, after an interrupt,
    for the queue to go on when it has ended. `missing_since` the runner does not name it.
    """

    turn_id: str
    message_id: str
    message_number: int
    command_id: str = ""
    claimed_at: Timestamp
    started_at: Timestamp | None = None
    released: bool = False
    missing_since: Timestamp | None = None

    def is_by(self, command_id: str) -> bool:
        """Say whether a command is the one that delivers this turn's message."""
        if self.command_id:
            return command_id == self.command_id
        return command_id.startswith(f"{self.message_id}.prompt.")  # a row of before


_AGENT = ["envVars", "mcpServers", "appendSystemPrompt", "encryptedSecrets"]
_TOLD = {
    StepName.CLONE: ["upstreamBranch", "clone", "setupInputs", *_AGENT],
    StepName.RESTORE: ["envVars"],
    StepName.SETUP: ["setupCommands"],
    StepName.AGENT: _AGENT,
}
"""What of the config, by its counts, the steps' arguments hold."""


PreparedTree = Literal["use", "refresh", "off"]

Run = tuple[int, int]


def _runs(told: Iterable[int | Run]) -> list[Run]:
    """Return runs of numbers in order, joined where they touch; a version before told numbers."""
    found: list[Run] = []
    for first, last in sorted((n, n) if isinstance(n, int) else tuple(n) for n in told):
        if found and found[-1][1] + 1 >= first:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return found


class Session(RowModel):
    """The root of everything a session owns; kept under 4 KB.

    Every write to any row of a session goes together with this row, on the condition that
    `version` is what the writer read: so no writer can act on a state that is over. `saving` names
    the newest copy of the work that was asked for and is not done yet, `kept` what is said here of
    the archive; `without_archive` has it begin without one until the next is kept. `recipe` is a
    hash of all that its workspace is made by, None where prepared trees are not its business.
    `set_up` says that the setup commands need not run again in the workspace as it is, or is put
    back.
    `text_bytes` counts what is kept of long texts.
    `began` is where its branch began; `changed` what was last told of its work against that.
    `withdrawn` are numbers of messages behind the head that are not delivered any more, each run of
    them by its first and its last: so there are no more runs than messages that wait.
    `waiting_since` is when it began to wait for a place; `in_line` is whether its owner's line
    knows it, as it does not of one that an earlier version let wait.
    """

    session_id: str
    version: int = 0
    owner: str
    status: Status
    title: str
    created_at: Timestamp
    updated_at: Timestamp
    prepared_at: Timestamp | None = None
    initiated_at: Timestamp | None = None
    last_event_id: int = 0
    git_url: str
    branch: str
    agent: str
    mode: str
    model: str | None = None
    attempt_number: int = 1
    attempt_cause: Cause = Cause.CREATED
    message_count: int = 0
    next_message: int = 1
    withdrawn: Annotated[list[Run], BeforeValidator(_runs)] = Field(default_factory=list)
    hold: Hold | None = None
    active_turn: Turn | None = None
    pending_inputs: list[str] = Field(default_factory=list)
    saving: str | None = None
    kept: Kept | None = None
    without_archive: bool = False
    prepared_tree: PreparedTree = "use"
    recipe: str | None = None
    set_up: bool = False
    began: Beginning | None = None
    changed: Counted | None = None
    publication: Publication | None = None
    failure: Failure | None = None
    runner_seq: int = 0
    text_bytes: int = 0
    due_at: Timestamp | None = None
    waiting_since: Timestamp | None = None
    in_line: bool = False
    callback: Callback | None = None
    counts: dict[str, int] = Field(default_factory=dict)

    def move_to(self, status: Status, now: datetime) -> None:
        """Change the status by the table; raises WrongStatus for anything else."""
        if status is not self.status:
            if status not in TRANSITIONS[self.status]:
                raise WrongStatus(f"a session can't go from {self.status} to {status}")
            self.status = status
        self.updated_at = now

    def is_told(self, step: StepName) -> bool:
        """Say whether a step's arguments hold something of the config, for which it is read.

        What an earlier version did not count may be there.
        """
        return any(self.counts.get(name, 1) for name in _TOLD.get(step, ()))

    @property
    def put_back(self) -> Kept | None:
        """What its next workspace is made of, None where it is cloned."""
        return None if self.without_archive else self.kept

    @property
    def waits_in_line(self) -> bool:
        """Whether it waits for a place in its owner's line."""
        return self.in_line and self.waiting_since is not None and self.status is Status.PREPARING

    @property
    def queue_length(self) -> int:
        """How many messages are not yet delivered."""
        gone = sum(last - first + 1 for first, last in self.withdrawn)
        return self.message_count - self.next_message + 1 - gone

    @property
    def waiting(self) -> Iterator[int]:
        """The numbers of the messages that are not yet delivered, in order."""
        number = self.next_message
        while number <= self.message_count:
            yield number
            number = self.number_after(number)

    def number_after(self, number: int) -> int:
        """Return the number of the first message behind one that is not withdrawn."""
        behind = number + 1
        return next((last + 1 for first, last in self.withdrawn if first == behind), behind)

    def pass_head(self) -> None:
        """Have the queue begin with the message behind its head."""
        self.next_message = self.number_after(self.next_message)
        self.withdrawn = [run for run in self.withdrawn if run[0] > self.next_message]

    def withdraw(self, number: int) -> None:
        """Take a message out of the queue, wherever it waits there."""
        if number == self.next_message:
            self.pass_head()
        else:
            self.withdrawn = _runs([*self.withdrawn, (number, number)])

    @property
    def can_deliver(self) -> bool:
        """Whether the head of the queue may be claimed, as far as the queue is concerned."""
        return self.active_turn is None and self.queue_length > 0 and self.hold is None


def title_of(prompt: str) -> str:
    """Return a session's title: the beginning of its first prompt, on one line."""
    line = " ".join(prompt.split())
    return line if len(line) <= _TITLE_CHARACTERS else line[: _TITLE_CHARACTERS - 1] + "…"


CONFIG_BYTES = 384 * 1024
"""The most of what was asked for together: a row has 400 KB at most ("Quotas in DynamoDB")."""


class CloneOptions(RowModel):
    """How much of a repository is cloned: without `depth` the whole history."""

    depth: int | None = None
    submodules: bool = False


class SessionConfig(RowModel):
    """What was asked for; it may hold the user's values, so it never leaves for logs or inputs.

    `access` are the patterns of repositories that the access rules gave the caller.
    """

    upstream_branch: str | None = None
    clone: CloneOptions = Field(default_factory=CloneOptions)
    setup_commands: list[str] = Field(default_factory=list)
    setup_inputs: list[str] = Field(default_factory=list)
    env_vars: dict[str, str] = Field(default_factory=dict)
    encrypted_secrets: dict[str, Any] | None = None
    mcp_servers: dict[str, Any] = Field(default_factory=dict)
    append_system_prompt: str | None = None
    auto_initiate: bool = True
    auto_commit: bool = False
    pull_request: PullRequestOptions | None = None
    access: list[str] = Field(default_factory=list)
    callback_target: dict[str, Any] | None = None

    def size(self) -> int:
        """Return how many bytes its row has."""
        return len(self.model_dump_json(by_alias=True, exclude_none=True).encode())

    def counts(self) -> dict[str, int]:
        """Return how many of each there are: all that a session's own row says of it."""
        names = (self.encrypted_secrets or {}).get("names", [])
        return {
            "envVars": len(self.env_vars),
            "encryptedSecrets": len(names),
            "setupCommands": len(self.setup_commands),
            "setupInputs": len(self.setup_inputs),
            "mcpServers": len(self.mcp_servers),
            "upstreamBranch": int(self.upstream_branch is not None),
            "clone": int(self.clone != CloneOptions()),
            "appendSystemPrompt": int(self.append_system_prompt is not None),
            "autoCommit": int(self.auto_commit),
        }


class Waiting(RowModel):
    """A session's place in its owner's line; who waits longest is first."""

    session_id: str
    since: Timestamp

    @classmethod
    def of(cls, session: Session) -> "Waiting | None":
        """Return the place in line that a session has."""
        if not session.waits_in_line or session.waiting_since is None:
            return None
        return cls(session_id=session.session_id, since=session.waiting_since)
