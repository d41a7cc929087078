"""An attempt to prepare a session: how it and its steps stand, and what they printed."""

from datetime import timedelta
from enum import StrEnum
from typing import Literal

from pydantic import Field

from headstart.domain.archive import Tree
from headstart.domain.failure import Failure
from headstart.domain.model import RowModel, Timestamp
from headstart.domain.session import Cause
from headstart.domain.steps import STEPS, StepName, StepStatus


class AttemptStatus(StrEnum):
    """Where an attempt stands; all but running are final."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


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
    the attempt before had done. `adopted` says of what its workspace was made instead of a clone,
    `likeness` why the setup of an adopted tree counts. `tree` is the prepared tree that there is
    for it; `tree_key` that under which the one it makes may be kept: None once anything may be in
    its workspace that the key does not tell. `commit` is what was cloned.
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
    adopted: Literal["archive", "tree"] | None = None
    likeness: str | None = None
    tree: Tree | None = None
    tree_key: str | None = None
    commit: str | None = None

    @property
    def adopted_tree(self) -> Tree | None:
        """The prepared tree that its workspace was made of."""
        return self.tree if self.adopted == "tree" else None

    def step(self, name: StepName) -> StepRecord:
        """Return the record of a step."""
        return next(record for record in self.steps if record.step == name)

    def took(self, name: StepName) -> timedelta:
        """Return how long a step took, nothing where it was not done in this attempt."""
        record = self.step(name)
        is_done = record.status is StepStatus.COMPLETED
        if not is_done or record.started_at is None or record.ended_at is None:
            return timedelta()
        return record.ended_at - record.started_at


class Output(RowModel):
    """The last 64 KB a failed step printed; `offset` is where `text` starts, in bytes."""

    attempt_number: int
    step: StepName
    offset: int = 0
    text: str = ""
