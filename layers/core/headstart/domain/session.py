"""What a session is made of, and the one table of how its status may change."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from headstart.domain.command_kinds import CommandKind
from headstart.domain.errors import StepError, WrongStatus, step_error
from headstart.domain.model import RowModel, Timestamp
from headstart.domain.steps import STEPS, StepName, StepStatus


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


class AttemptStatus(StrEnum):
    """Where an attempt stands; all but running are final."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class MessageStatus(StrEnum):
    """Where a message stands. `held` waits for a person: initiate, retry or the next message."""

    QUEUED = "queued"
    HELD = "held"
    DELIVERING = "delivering"
    DELIVERED = "delivered"


class Failure(RowModel):
    """Why a session or message failed: `code` is an error class name, `reason` a sentence."""

    step: StepName | None = None
    code: str
    reason: str
    retryable: bool

    @classmethod
    def of(cls, error: StepError, step: StepName | None = None) -> "Failure":
        """Return the failure that a step's error makes."""
        return cls(step=step, code=error.code, reason=error.reason, retryable=error.retryable)

    def error(self) -> StepError:
        """Return the error that it was made of."""
        return step_error(self.code, self.reason)


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


class Session(RowModel):
    """The root of everything a session owns; kept under 2 KB.

    Every write to any row of a session goes together with this row, on the condition that
    `version` is what the writer read: so no writer can act on a state that is over. `saving` names
    the newest snapshot that was asked for and is not done yet. `waiting_since` is when it began to
    wait for a place; `in_line` is whether its owner's line knows it, as it does not of one that an
    earlier version let wait.
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
    hold: Hold | None = None
    active_turn: Turn | None = None
    pending_inputs: list[str] = Field(default_factory=list)
    saving: str | None = None
    failure: Failure | None = None
    runner_seq: int = 0
    due_at: Timestamp | None = None
    waiting_since: Timestamp | None = None
    in_line: bool = False
    counts: dict[str, int] = Field(default_factory=dict)

    def move_to(self, status: Status, now: datetime) -> None:
        """Change the status by the table; raises WrongStatus for anything else."""
        if status is not self.status:
            if status not in TRANSITIONS[self.status]:
                raise WrongStatus(f"a session can't go from {self.status} to {status}")
            self.status = status
        self.updated_at = now

    @property
    def waits_in_line(self) -> bool:
        """Whether it waits for a place in its owner's line."""
        return self.in_line and self.waiting_since is not None and self.status is Status.PREPARING

    @property
    def queue_length(self) -> int:
        """How many messages are not yet delivered."""
        return self.message_count - self.next_message + 1

    @property
    def can_deliver(self) -> bool:
        """Whether the head of the queue may be claimed, as far as the queue is concerned."""
        return self.active_turn is None and self.queue_length > 0 and self.hold is None


def title_of(prompt: str) -> str:
    """Return a session's title: the beginning of its first prompt, on one line."""
    line = " ".join(prompt.split())
    return line if len(line) <= _TITLE_CHARACTERS else line[: _TITLE_CHARACTERS - 1] + "…"


class SessionConfig(RowModel):
    """What was asked for; it may hold the user's values, so it never leaves for logs or inputs."""

    upstream_branch: str | None = None
    setup_commands: list[str] = Field(default_factory=list)
    env_vars: dict[str, str] = Field(default_factory=dict)
    encrypted_secrets: dict[str, Any] | None = None
    mcp_servers: dict[str, Any] = Field(default_factory=dict)
    append_system_prompt: str | None = None
    auto_initiate: bool = True
    auto_commit: bool = False
    callback_target: dict[str, Any] | None = None

    def counts(self) -> dict[str, int]:
        """Return how many of each there are: what others may see of it."""
        names = (self.encrypted_secrets or {}).get("names", [])
        return {
            "envVars": len(self.env_vars),
            "encryptedSecrets": len(names),
            "setupCommands": len(self.setup_commands),
            "mcpServers": len(self.mcp_servers),
        }


class StepRecord(RowModel):
    """How one step of an attempt stands.

    `output` is the tail of what it printed, up to byte `output_end`; a gap in it is marked. `tries`
    counts its commands; `failure` is what the last one failed with.
    """

    step: StepName
    status: StepStatus = StepStatus.PENDING
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    message: str | None = None
    percent: int | None = None
    output: str | None = None
    output_end: int | None = None
    tries: int = 0
    failure: Failure | None = None


def _all_steps() -> list[StepRecord]:
    return [StepRecord(step=step.name) for step in STEPS]


class Attempt(RowModel):
    """One run of the preparation machine; `revision` grows with every change a viewer may see.

    `expected` is how many milliseconds each step took before on this repository; `done_before` what
    the attempt before had done.
    """

    number: int
    cause: Cause
    status: AttemptStatus = AttemptStatus.RUNNING
    revision: int = 0
    started_at: Timestamp
    progress_at: Timestamp
    ended_at: Timestamp | None = None
    steps: list[StepRecord] = Field(default_factory=_all_steps)
    expected: dict[str, int] = Field(default_factory=dict)
    done_before: list[StepName] = Field(default_factory=list)
    cloned_bytes: int | None = None
    clone_cached: bool = False

    def step(self, name: StepName) -> StepRecord:
        """Return the record of a step."""
        return next(record for record in self.steps if record.step == name)


class Message(RowModel):
    """A user's prompt, in its place in the session's queue; `number` counts from 1.

    `tries` counts the deliveries a person or the queue asked for, not the network's repeats.
    """

    message_id: str
    number: int
    text: str
    status: MessageStatus
    tries: int = 0
    created_at: Timestamp
    delivered_at: Timestamp | None = None
    failure: Failure | None = None


class Input(RowModel):
    """Something the agent asks the user; pending until `outcome` is known.

    `answer` is what a person said, unless the agent could not be told: the first one counts.
    """

    request_id: str
    turn_id: str
    kind: str
    body: dict[str, Any]
    created_at: Timestamp
    answer: dict[str, Any] | None = None
    outcome: str | None = None


class Snapshot(RowModel):
    """The last good copy of the work: where it is, what it must be, and what it builds on."""

    key: str
    bytes: int
    sha256: str
    base_commit: str | None = None
    head_commit: str | None = None
    skipped: list[str] = Field(default_factory=list)
    created_at: Timestamp


_EARLIER_TOKENS = 3


class Awaited(RowModel):
    """A row whose outcome Step Functions waits for.

    `task_token` is the task that came last. Invocations of one state may overlap, and it is not
    known which of them is the one that counts: the few `earlier_tokens` are answered and kept alive
    as well, and those that no longer wait do no harm.
    """

    task_token: str | None = None
    earlier_tokens: list[str] = Field(default_factory=list)

    @property
    def tokens(self) -> list[str]:
        """The tasks that may wait, the newest last."""
        return [*self.earlier_tokens, self.task_token] if self.task_token else []

    def wait_with(self, task_token: str) -> None:
        """Have one more task wait."""
        others = [token for token in self.tokens if token != task_token]
        self.earlier_tokens = others[-_EARLIER_TOKENS:]
        self.task_token = task_token


class Command(Awaited):
    """A command to the runner: a row first, a frame second.

    No task waits for a prompt outside an attempt; `snapshot` names the copy of the work that it
    makes or sends. It is `answered` once a result was taken, and gone once the runner knows that.
    """

    command_id: str
    kind: CommandKind
    attempt_number: int
    step: StepName | None = None
    message_number: int | None = None
    snapshot: str | None = None
    args: dict[str, Any] = Field(default_factory=dict)
    created_at: Timestamp
    answered: bool = False
    failure: Failure | None = None
    output: dict[str, Any] = Field(default_factory=dict)


class SandboxStatus(StrEnum):
    """Where a container task stands, as far as we know."""

    STARTING = "starting"
    CONNECTED = "connected"
    STOPPED = "stopped"


class Sandbox(Awaited):
    """The session's one accepted container task; what waits for it is answered by its hello.

    `sandbox_id` is random: whoever connected with the key of another sandbox is told apart by it.
    `connection_number` is the process's own count of the connection that has the channel. The
    bootstrap key is kept until the runner is heard to have its resume key, so that a repeated
    RunTask has identical parameters and a lost welcome locks nobody out.
    """

    sandbox_id: str = ""
    attempt_number: int
    try_number: int
    status: SandboxStatus
    task_arn: str | None = None
    bootstrap_key: str | None = None
    resume_key_hash: str | None = None
    process: str | None = None
    connection_id: str | None = None
    connection_number: int = 0
    stopped_reason: str | None = None
    created_at: Timestamp
    seen_at: Timestamp | None = None

    def name(self, session_id: str) -> str:
        """Return the name that makes starting it idempotent, within ECS's 36 characters."""
        return f"{session_id}-{self.attempt_number}-{self.try_number}"


def holds_a_place(session: Session, sandbox: Sandbox | None) -> bool:
    """Say whether a session counts against its owner's quota: it has, or is to get, a container.

    A failed one has its place for as long as its sandbox is kept for a retry.
    """
    if session.status is Status.FAILED:
        return sandbox is not None and sandbox.status is not SandboxStatus.STOPPED
    return session.status in ACTIVE and session.waiting_since is None


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


def session_of(sandbox_name: str) -> str:
    """Return the id of the session that a sandbox was started for, by the sandbox's name."""
    return sandbox_name.partition("-")[0]


class Output(RowModel):
    """The last 64 KB a failed step printed; `offset` is where `text` starts, in bytes."""

    attempt_number: int
    step: StepName
    offset: int = 0
    text: str = ""
