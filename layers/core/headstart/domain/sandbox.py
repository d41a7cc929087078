"""A session's container task, what its runner is asked, and the tasks that wait for either."""

from enum import StrEnum
from typing import Any

from pydantic import Field

from headstart.domain.command_kinds import CommandKind
from headstart.domain.failure import Failure
from headstart.domain.model import RowModel, Timestamp
from headstart.domain.session import ACTIVE, Session, Status
from headstart.domain.steps import StepName

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

    No task waits for a prompt outside an attempt; `archive` names the copy of the work that it
    makes or sends. It is `offered` once it may have been sent, which takes a runner that is
    connected; `answered` once a result was taken, and gone once the runner knows that.
    """

    command_id: str
    kind: CommandKind
    attempt_number: int
    step: StepName | None = None
    message_number: int | None = None
    archive: str | None = None
    args: dict[str, Any] = Field(default_factory=dict)
    created_at: Timestamp
    offered: bool = True
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
    RunTask has identical parameters and a lost welcome locks nobody out. `is_leaving` once it said
    that it must stop. `lent` counts the credentials that it asked for since `lent_since`.
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
    is_leaving: bool = False
    stopped_reason: str | None = None
    created_at: Timestamp
    seen_at: Timestamp | None = None
    lent: int = 0
    lent_since: Timestamp | None = None

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


def session_of(sandbox_name: str) -> str:
    """Return the id of the session that a sandbox was started for, by the sandbox's name."""
    return sandbox_name.partition("-")[0]
