"""The steps of an attempt, in order: the one list behind the API, the runner and the machine."""

from dataclasses import dataclass
from enum import StrEnum


class StepName(StrEnum):
    """The name of a step, as clients see it."""

    SANDBOX = "sandbox"
    DISK = "disk"
    CLONE = "clone"
    BRANCH = "branch"
    RESTORE = "restore"
    SETUP = "setup"
    AGENT = "agent"
    DELIVER = "deliver"


class StepStatus(StrEnum):
    """Where a step stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its state in the machine and its limits, in seconds.

    A `heartbeat` of None means nobody can beat yet: the runner is not connected in that state.
    `retries` maps an error's class name to how many times the machine tries again.
    """

    name: StepName
    state: str
    timeout: int
    heartbeat: int | None
    retries: tuple[tuple[str, int], ...] = ()


_BEAT = 50

STEPS: tuple[Step, ...] = (
    Step(
        StepName.SANDBOX, "AcquireSandbox", 240, None,
        (("SandboxStartFailed", 2), ("SandboxStopped", 1)),
    ),
    Step(StepName.DISK, "CheckDisk", 60, _BEAT),
    Step(
        StepName.CLONE, "CloneRepository", 1200, _BEAT,
        (("GitNetworkError", 3), ("GitHubUnavailable", 3)),
    ),
    Step(StepName.BRANCH, "CheckOutBranch", 120, _BEAT),
    Step(StepName.RESTORE, "RestoreSession", 300, _BEAT),
    Step(StepName.SETUP, "RunSetup", 3600, _BEAT),
    Step(StepName.AGENT, "StartAgent", 180, _BEAT),
    Step(StepName.DELIVER, "DeliverMessages", 180, _BEAT),
)  # fmt: skip

STEP_BY_NAME = {step.name: step for step in STEPS}

SETUP_COMMAND_TIMEOUT = 600
"""Seconds one setup command may run."""

HEARTBEAT_INTERVAL = 20
"""Seconds between a runner's heartbeats: one may be lost before a state gives up."""
