"""What a runner can be told to do, and how long each may take."""

from enum import StrEnum

from headstart.domain.steps import SETUP_COMMAND_TIMEOUT, STEP_BY_NAME, StepName

CONTROL_TIMEOUT = 30
"""Seconds an abort or an answer may take."""

SAVE_TIMEOUT = 300
"""Seconds making or sending an archive may take."""

PUBLISH_TIMEOUT = 300
"""Seconds committing, pushing and opening a pull request may take together."""

_MARGIN_SECONDS = 10
"""How much sooner than the state the runner gives up, so that its own reason arrives first."""


class CommandKind(StrEnum):
    """A kind of command; those of steps are named as their steps are."""

    DISK = "disk"
    CLONE = "clone"
    BRANCH = "branch"
    RESTORE = "restore"
    SETUP = "setup"
    AGENT = "agent"
    PROMPT = "prompt"
    ABORT = "abort"
    INPUT = "input"
    ARCHIVE = "archive"
    UPLOAD = "upload"
    PUBLISH = "publish"

    def timeout(self, setup_commands: int = 1) -> int:
        """Return the seconds a command may take in the sandbox."""
        match self:
            case CommandKind.ABORT | CommandKind.INPUT:
                return CONTROL_TIMEOUT
            case CommandKind.ARCHIVE | CommandKind.UPLOAD:
                return SAVE_TIMEOUT
            case CommandKind.PUBLISH:
                return PUBLISH_TIMEOUT
            case CommandKind.PROMPT:
                return STEP_BY_NAME[StepName.DELIVER].timeout - _MARGIN_SECONDS
        limit = STEP_BY_NAME[StepName(self)].timeout - _MARGIN_SECONDS
        if self is CommandKind.SETUP:
            # A base may be made when they have run.
            return min(limit, SETUP_COMMAND_TIMEOUT * max(1, setup_commands) + SAVE_TIMEOUT)
        return limit
