"""What may have to follow a commit: recorded by the decision as values, done by one place.

Who does one again, should who was to do it die, stands with what it does, in one table.
"""

from dataclasses import dataclass
from typing import Literal

from headstart.domain.archive import Tree
from headstart.domain.model import OpenModel


@dataclass(frozen=True, slots=True)
class Errand:
    """Something to be done outside after the commit, harmless when done twice."""


@dataclass(frozen=True, slots=True)
class SendStep(Errand):
    """Send a step's command; its secrets and addresses are put in just then."""

    command_id: str


@dataclass(frozen=True, slots=True)
class SendPrompt(Errand):
    """Send the command that delivers a message, if its turn is still the active one."""

    command_id: str


@dataclass(frozen=True, slots=True)
class SendOrder(Errand):
    """Send a command that needs nothing else: an abort, an answer, a copy to be made."""

    command_id: str


@dataclass(frozen=True, slots=True)
class SendUpload(Errand):
    """Send the command that uploads a copy; its address is signed just then."""

    command_id: str


@dataclass(frozen=True, slots=True)
class SendPublish(Errand):
    """Send the command that publishes the work; what was asked for is put in just then."""

    command_id: str


@dataclass(frozen=True, slots=True)
class Tell(Errand):
    """Send a frame that is no command to the session's runner, if it is connected."""

    frame: OpenModel


@dataclass(frozen=True, slots=True)
class AnswerTask(Errand):
    """Tell the machine that the tasks with these tokens are done, or by what error's name not.

    Executions keep what they are told. What a command printed, and with it perhaps a secret, is in
    an error's reason, which stays in the table: the machine is told its fixed sentence.
    """

    tokens: tuple[str, ...]
    code: str | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class BeatTask(Errand):
    """Tell the machine that the tasks with these tokens live."""

    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StartAttempt(Errand):
    """Start an attempt's execution."""

    attempt_number: int


@dataclass(frozen=True, slots=True)
class StopAttempt(Errand):
    """Stop an attempt's execution."""

    attempt_number: int
    reason: str


@dataclass(frozen=True, slots=True)
class StopSandbox(Errand):
    """Stop a container task."""

    handle: str
    reason: str


@dataclass(frozen=True, slots=True)
class CloseConnections(Errand):
    """Close connections whose time is over: another one is in their place, or nothing is."""

    connection_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LookForCopy(Errand):
    """Look whether an uploaded copy is there whole, and keep it if so."""

    command_id: str


@dataclass(frozen=True, slots=True)
class DropObject(Errand):
    """Delete an object that no row names any more."""

    key: str


@dataclass(frozen=True, slots=True)
class KeepTree(Errand):
    """Copy a session's base, and have it be a prepared tree."""

    source: str
    tree: Tree


@dataclass(frozen=True, slots=True)
class SendCallbacks(Errand):
    """Put events of one change into the queue of callbacks."""

    event_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AdmitNext(Errand):
    """Start who is first in the line of an owner with a free place."""

    owner: str


@dataclass(frozen=True, slots=True)
class Measure(Errand):
    """Record a metric: how often, how many milliseconds, or how many bytes."""

    name: str
    value: int = 1
    unit: Literal["count", "milliseconds", "bytes"] = "count"
    dimensions: tuple[tuple[str, str], ...] = ()
