"""The steps the runner can do: one module a kind of command, one entry here."""

from headstart.domain.command_args import (
    AbortArgs,
    AgentArgs,
    ArchiveArgs,
    BranchArgs,
    CloneArgs,
    DiskArgs,
    InputArgs,
    PromptArgs,
    PublishArgs,
    RestoreArgs,
    SetupArgs,
    UploadArgs,
)
from headstart_runner.steps import (
    abort,
    agent,
    answer,
    archive,
    branch,
    clone,
    disk,
    prompt,
    publish,
    restore,
    setup,
    upload,
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
    "archive": StepKind(ArchiveArgs, archive.run, slot=Slot.ARCHIVE),
    "publish": StepKind(PublishArgs, publish.run, slot=Slot.PUBLICATION),
    "upload": StepKind(UploadArgs, upload.run, slot=None),
}
