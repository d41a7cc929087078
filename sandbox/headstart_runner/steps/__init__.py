"""The steps the runner can do: one module a kind of command, one entry here."""

from headstart.domain.command_args import (
    AbortArgs,
    AgentArgs,
    BranchArgs,
    CloneArgs,
    DiskArgs,
    InputArgs,
    PromptArgs,
    RestoreArgs,
    SetupArgs,
)
from headstart_runner.steps import (
    abort,
    agent,
    answer,
    branch,
    clone,
    disk,
    prompt,
    restore,
    setup,
)
from headstart_runner.steps.base import Slot, StepKind

STEP_KINDS: dict[str, StepKind] = {
    "disk": StepKind(DiskArgs, disk.run),
    "clone": StepKind(CloneArgs, clone.run),
    "branch": StepKind(BranchArgs, branch.run),
    "restore": StepKind(RestoreArgs, restore.run),
    "setup": StepKind(SetupArgs, setup.run, repeatable=False),
    "agent": StepKind(AgentArgs, agent.run),
    "prompt": StepKind(PromptArgs, prompt.run, slot=Slot.PROMPT),
    "abort": StepKind(AbortArgs, abort.run, slot=None),
    "input": StepKind(InputArgs, answer.run, slot=None),
}
