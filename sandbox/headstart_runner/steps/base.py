"""What a step is given to do its work."""

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from headstart.domain.channel import Output, Progress
from headstart.domain.command_args import Sealed
from headstart.domain.errors import WorkspaceGone
from headstart.domain.model import OpenModel
from headstart_runner.agents.supervisor import Supervisor
from headstart_runner.config import Config
from headstart_runner.conversation.courier import Courier
from headstart_runner.gateway.door import Door
from headstart_runner.gateway.gateway import Gateway
from headstart_runner.journal import Journal
from headstart_runner.processes.launcher import Launcher
from headstart_runner.redaction import Redactor
from headstart_runner.repository.git import Git
from headstart_runner.uplink.reporter import Reporter
from headstart_runner.uplink.texts import Log
from headstart_runner.vault import Vault

_SEALED = "vault.sealed"


@dataclass(frozen=True, slots=True)
class Tools:
    """The parts of the runner that steps use."""

    config: Config
    journal: Journal
    redactor: Redactor
    reporter: Reporter
    launcher: Launcher
    supervisor: Supervisor
    courier: Courier
    door: Door
    gateway: Gateway
    vault: Vault

    def open_vault(self, sealed: Sealed | None) -> None:
        """Have the secrets that a command brings, and no others; SecretsUnavailable."""
        self.vault.open(sealed, self.redactor)
        self.journal.put(_SEALED, sealed.model_dump_json() if sealed else "")

    def recall(self) -> None:
        """Open again what an earlier runner had opened: not every command brings it."""
        if stored := self.journal.get(_SEALED):
            self.vault.open(Sealed.model_validate_json(stored), self.redactor)


@dataclass(frozen=True, slots=True)
class Context:
    """One run of a step."""

    tools: Tools
    command_id: str
    log: Log
    """Where what the step's commands print is written."""
    seconds: float = math.inf
    """How long the step may take."""
    expired: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the step is cancelled because its time is over."""
    clock: Callable[[], float] = field(default_factory=lambda: asyncio.get_running_loop().time)
    began: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    joined: list[Callable[[], None]] = field(default_factory=list)
    """What is called when somebody begins to watch after nobody did."""

    def elapsed_ms(self) -> int:
        """Return how long the step has run."""
        return int((self.clock() - self.began) * 1000)

    def seconds_left(self) -> float:
        """Return how long the step may still take."""
        return self.seconds - (self.clock() - self.began)

    def need_work_tree(self) -> None:
        """Raise WorkspaceGone unless the clone is there."""
        if not self.tools.config.repository.is_dir():
            raise WorkspaceGone(
                "The work tree is gone from the sandbox, a setup command may have removed it: "
                "a retry begins with a new sandbox"
            )

    def git(self) -> Git:
        """Return a git whose messages are in the step's log."""
        return Git(self.tools.launcher, self.tools.gateway, self.log.write)

    def progress(
        self,
        message: str,
        percent: int | None = None,
        output: str | None = None,
        offset: int | None = None,
    ) -> None:
        """Tell how it is going; call it as often as you like."""
        self.tools.reporter.report(
            Progress(
                command_id=self.command_id,
                message=message,
                percent=percent,
                elapsed_ms=self.elapsed_ms(),
                output=output or None,
                output_offset=offset if output else None,
            )
        )

    def retained(self, offset: int, text: str) -> None:
        """Send a piece of the output that a failure keeps."""
        self.tools.reporter.report(Output(command_id=self.command_id, offset=offset, text=text))


class Slot(StrEnum):
    """What there is one of at a time."""

    PREPARATION = "preparation"
    PROMPT = "prompt"
    ARCHIVE = "archive"
    PUBLICATION = "publication"


StepFunction = Callable[[Context, Any], Coroutine[Any, Any, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class StepKind:
    """A kind of command: its arguments, what does it, and whether it may simply be done again.

    A newer command takes the place of an older one in its slot; without a slot it disturbs nobody.
    A `repeatable` step that the runner's own death interrupted is done again by the next runner;
    one that is not is failed.
    """

    args: type[OpenModel]
    run: StepFunction
    repeatable: bool = True
    slot: Slot | None = Slot.PREPARATION
