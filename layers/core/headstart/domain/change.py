"""One change of a session: what was found of it, what becomes of it, and what must follow.

A decision is a function of a Change: it changes the rows at hand, and records what viewers are
told, what must follow the commit and what is replied. It reaches nothing else, so it may be made
again on a fresh read, and the same read makes the same change.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar, cast

from headstart.domain.archive import Archive
from headstart.domain.attempt import Attempt, Output
from headstart.domain.callbacks import DueCallbacks
from headstart.domain.connections import Connection
from headstart.domain.errands import Errand
from headstart.domain.events import Event, EventData
from headstart.domain.ids import new_id
from headstart.domain.long_texts import Text, TextPiece
from headstart.domain.message import Input, Message
from headstart.domain.model import OpenModel, RowModel, Timestamp
from headstart.domain.policy import Policy
from headstart.domain.sandbox import Command, Sandbox
from headstart.domain.session import Session, SessionConfig, Waiting

HotRow = Attempt | Sandbox | Command | Connection
"""What every read of a session finds with it."""

NamedRow = Archive | Input | Message | Output | SessionConfig | Text | TextPiece
"""What is read by name only: texts, and what few decisions rest on."""

_R = TypeVar("_R", bound=RowModel)


class IdempotencyKey(RowModel):
    """A caller's key: which request it stood for and what came of it; lives 24 hours."""

    key: str
    body_hash: str
    session_id: str
    message_id: str | None = None
    message_number: int | None = None
    expires_at: Timestamp


class QuotaChange(StrEnum):
    """Whether the session joins or leaves its owner's set of active sessions."""

    JOIN = "join"
    LEAVE = "leave"


class NoPlace(StrEnum):
    """What becomes of a change that needs a place where none is free.

    It waits in line: everywhere where nobody is there to be refused, or only where the deployment
    lets people wait; or it is not made at all.
    """

    WAIT = "wait"
    ASK = "wait where people may, else refuse"
    LEAVE_IT = "leave it"


class RowKey(NamedTuple):
    """The name of a row: its kind, and what tells it from its like in the session."""

    model: type[RowModel]
    name: tuple[str | int, ...] = ()


ARCHIVE = RowKey(Archive)
CONFIG = RowKey(SessionConfig)


def message_key(number: int) -> RowKey:
    """Return the name of a message."""
    return RowKey(Message, (number,))


def input_key(request_id: str) -> RowKey:
    """Return the name of something the agent asks."""
    return RowKey(Input, (request_id,))


def output_key(attempt_number: int, step: str) -> RowKey:
    """Return the name of what a step printed."""
    return RowKey(Output, (attempt_number, step))


def text_key(ref: str) -> RowKey:
    """Return the name of how a long text stands."""
    return RowKey(Text, (ref,))


def used_key(owner: str, key: str) -> RowKey:
    """Return the name of an Idempotency-Key, which is its owner's."""
    return RowKey(IdempotencyKey, (owner, key))


def name_of(row: RowModel) -> RowKey:
    """Return what a row is called, whatever it holds: two of one name are one row."""
    name: tuple[str | int, ...] = ()
    match row:
        case Attempt() | Message():
            name = (row.number,)
        case Command(command_id=own) | Connection(connection_id=own):
            name = (own,)
        case Input(request_id=own) | Text(ref=own):
            name = (own,)
        case Output():
            name = (row.attempt_number, row.step.value)
        case TextPiece():
            name = (row.ref, row.writer, row.offset)
        case DueCallbacks():
            name = (row.event_ids[-1],)
    return RowKey(type(row), name)


@dataclass
class WorkingSet:
    """What one read of a session found: itself, its present attempt, its sandbox, what its runner
    was asked and has not answered, and who is connected.

    `more` are the rows that were asked for by name, None where there is none. `receipt` is the
    store's own: by it the store sees whether all was read of one moment.
    """

    session: Session
    attempt: Attempt
    sandbox: Sandbox | None = None
    commands: dict[str, Command] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=dict)
    more: dict[RowKey, RowModel | None] = field(default_factory=dict)
    receipt: Any = None


class Change:
    """A working set on its way to the session's next version, committed whole or not at all."""

    def __init__(self, found: WorkingSet, now: datetime, policy: Policy) -> None:
        self.session = found.session
        self.attempt = found.attempt
        self.sandbox = found.sandbox
        self.commands = found.commands
        self.connections = found.connections
        self.receipt = found.receipt
        self.now = now
        self.policy = policy
        self._rows: dict[RowKey, RowModel] = {}
        self.gone: list[HotRow] = []
        self.closed: list[Attempt] = []
        self.events: list[Event] = []
        self.quota: QuotaChange | None = None
        self.key: IdempotencyKey | None = None
        self.burnt: str | None = None
        self.no_place = NoPlace.WAIT
        self.durations: dict[str, int] | None = None
        self.errands: list[Errand] = []
        self.replies: list[tuple[str, OpenModel]] = []
        self.before = found.session.model_copy(deep=True)
        self._more = found.more

    # What was found.

    def get(self, key: RowKey, model: type[_R]) -> _R | None:
        """Return a row as this change has it by now; KeyError for one that was not asked for."""
        return cast("_R | None", self._rows[key] if key in self._rows else self._more[key])

    def knows(self, key: RowKey) -> bool:
        """Say whether a row was asked for by name, or is written."""
        return key in self._rows or key in self._more

    def message(self, number: int) -> Message | None:
        """Return a message that was asked for."""
        return self.get(message_key(number), Message)

    # What becomes of it.

    def new_id(self, prefix: str) -> str:
        """Mint an identifier."""
        return new_id(prefix)

    def save(self, row: RowModel) -> None:
        """Have a row written, in the place of another of its name; once, however often."""
        match row:
            case Attempt():
                self.attempt = row
            case Sandbox():
                self.sandbox = row
            case Command():
                self.commands[row.command_id] = row
            case Connection():
                self.connections[row.connection_id] = row
        self._rows[name_of(row)] = row

    def forget(self, row: Command | Connection) -> None:
        """Have a row deleted."""
        held: dict[str, Any] = self.commands if isinstance(row, Command) else self.connections
        name = row.command_id if isinstance(row, Command) else row.connection_id
        if held.pop(name, None) is not None:
            self.gone.append(row)
            self._rows.pop(name_of(row), None)

    def begin(self, attempt: Attempt) -> None:
        """Put another attempt in the place of the present one, which is kept apart."""
        self._rows.pop(name_of(self.attempt), None)
        self.closed.append(self.attempt)
        self.save(attempt)

    def emit(self, data: EventData, turn_id: str | None = None) -> None:
        """Record an event; a persisted one takes the next contiguous id at once."""
        event_id = None
        if data.persisted:
            self.session.last_event_id += 1
            event_id = self.session.last_event_id
        self.events.append(data.event(self.session.session_id, self.now, event_id, turn_id))

    def committed(self) -> WorkingSet:
        """Return the set as this change left it, for the next one."""
        return WorkingSet(
            session=self.session.model_copy(deep=True),
            attempt=self.attempt.model_copy(deep=True),
            sandbox=self.sandbox and self.sandbox.model_copy(deep=True),
            commands={name: row.model_copy(deep=True) for name, row in self.commands.items()},
            connections={name: row.model_copy() for name, row in self.connections.items()},
            receipt=self.receipt,
        )

    # What must follow.

    def then(self, errand: Errand) -> None:
        """Have something done after the commit, once and in order."""
        if errand not in self.errands:
            self.errands.append(errand)

    def reply(self, connection_id: str, *frames: OpenModel) -> None:
        """Have frames sent after all errands: an ack never overtakes what it acknowledges."""
        self.replies += [(connection_id, frame) for frame in frames]

    @property
    def rows(self) -> list[RowModel]:
        """The rows that are written."""
        return list(self._rows.values())

    @property
    def left_line(self) -> Waiting | None:
        """The place in its owner's line that the session gives up by this change."""
        before, after = Waiting.of(self.before), Waiting.of(self.session)
        return None if before == after else before

    @property
    def joined_line(self) -> Waiting | None:
        """The place in its owner's line that the session takes by this change."""
        before, after = Waiting.of(self.before), Waiting.of(self.session)
        return None if before == after else after

    @property
    def persisted_events(self) -> list[Event]:
        """The events that are stored, in order."""
        return [event for event in self.events if event.event_id is not None]

    @property
    def is_empty(self) -> bool:
        """Say whether there is nothing to write."""
        written = (self.rows, self.gone, self.closed, self.key, self.burnt, self.quota)
        return not any(written) and not self.durations and self.session == self.before
