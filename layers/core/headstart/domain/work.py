"""One atomic change of a session: what was read, what becomes of it, what viewers are told."""

from datetime import datetime
from enum import StrEnum

from headstart.domain.events import Event, EventData
from headstart.domain.model import RowModel, Timestamp
from headstart.domain.session import (
    Attempt,
    Command,
    Input,
    Message,
    Output,
    Sandbox,
    Session,
    SessionConfig,
    Snapshot,
)

Row = Attempt | Command | Input | Message | Output | Sandbox | SessionConfig | Snapshot


class QuotaChange(StrEnum):
    """Whether the session joins or leaves its owner's set of active sessions."""

    JOIN = "join"
    LEAVE = "leave"


class IdempotencyKey(RowModel):
    """A caller's key: which request it stood for and what came of it; lives 24 hours."""

    key: str
    body_hash: str
    session_id: str
    message_id: str | None = None
    expires_at: Timestamp


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


class Work:
    """A session as read, to be changed and committed as a whole or not at all."""

    def __init__(self, session: Session, now: datetime) -> None:
        self.session = session
        self.now = now
        self.rows: list[Row] = []
        self.events: list[Event] = []
        self.quota: QuotaChange | None = None
        self.key: IdempotencyKey | None = None
        self._before = session.model_copy(deep=True)

    @property
    def left_line(self) -> Waiting | None:
        """The place in its owner's line that the session gives up by this change."""
        before, after = Waiting.of(self._before), Waiting.of(self.session)
        return None if before == after else before

    @property
    def joined_line(self) -> Waiting | None:
        """The place in its owner's line that the session takes by this change."""
        before, after = Waiting.of(self._before), Waiting.of(self.session)
        return None if before == after else after

    def emit(self, data: EventData, turn_id: str | None = None) -> None:
        """Record an event; a persisted one takes the next contiguous id at once."""
        event_id = None
        if data.persisted:
            self.session.last_event_id += 1
            event_id = self.session.last_event_id
        self.events.append(data.event(self.session.session_id, self.now, event_id, turn_id))

    def save(self, row: Row) -> None:
        """Have a row written with this change; the same row twice is written once."""
        if not any(row is other for other in self.rows):
            self.rows.append(row)

    @property
    def persisted_events(self) -> list[Event]:
        """The events that are stored, in order."""
        return [event for event in self.events if event.event_id is not None]

    @property
    def is_empty(self) -> bool:
        """Say whether there is nothing to write."""
        return not (self.rows or self.key or self.quota) and self.session == self._before
