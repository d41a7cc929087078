"""Where a page ended, as an opaque text: taken back only as exactly what was handed out."""

import base64
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, Self, TypeVar

from headstart.domain.errors import ValidationFailed
from headstart.domain.ids import SESSION_ID_PATTERN
from headstart.domain.long_texts import TEXT_BYTES, WRITER
from headstart.domain.model import format_time
from headstart.domain.session import Session

_CHARACTERS = 200
_MESSAGES = 10**6


class Place(Protocol):
    """A place in a list, and the text it is known by."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the place of a text; raises ValueError."""

    @property
    def text(self) -> str:
        """The text; that of a session sorts as sessions are listed."""


P = TypeVar("P", bound=Place)


@dataclass(frozen=True)
class SessionPlace:
    """A session among its owner's; no model, for a new session's row needs it at once."""

    created_at: datetime
    session_id: str

    @classmethod
    def of(cls, session: Session) -> Self:
        """Return where a session lies."""
        return cls(session.created_at, session.session_id)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the place of a text; raises ValueError."""
        created_at, _, session_id = text.partition("#")
        if not re.fullmatch(SESSION_ID_PATTERN, session_id):
            raise ValueError("no session's id")
        return cls(datetime.fromisoformat(created_at), session_id)

    @property
    def text(self) -> str:
        """The text, which sorts by time."""
        return f"{format_time(self.created_at)}#{self.session_id}"


@dataclass(frozen=True)
class MessagePlace:
    """A message among its session's, counted from 1."""

    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the place of a text; raises ValueError."""
        number = int(text)
        if not 0 < number < _MESSAGES:
            raise ValueError("no message's number")
        return cls(number)

    @property
    def text(self) -> str:
        """The text."""
        return str(self.number)


@dataclass(frozen=True)
class TextPlace:
    """A byte of a text, as one writer wrote it; no writer before anything has come."""

    writer: str
    offset: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the place of a text; raises ValueError."""
        writer, _, offset = text.partition("#")
        if writer and not re.fullmatch(WRITER, writer):
            raise ValueError("no writer")
        if not 0 <= int(offset) <= TEXT_BYTES:
            raise ValueError("no place in a text")
        return cls(writer, int(offset))

    @property
    def text(self) -> str:
        """The text."""
        return f"{self.writer}#{self.offset}"


def encode(place: Place) -> str:
    """Return the cursor of a place."""
    return base64.urlsafe_b64encode(json.dumps(place.text).encode()).decode()


def decode(cursor: str, kind: type[P]) -> P:
    """Return the place of a cursor; raises ValidationFailed for any that was never handed out."""
    try:
        # Bounded, since what nests deep enough is more than JSON's reader can take.
        text = json.loads(base64.urlsafe_b64decode(cursor[:_CHARACTERS].encode()))
        if isinstance(text, str) and encode(place := kind.parse(text)) == cursor:
            return place
    except (ValueError, OverflowError):
        pass
    message = "must be a nextCursor of an earlier answer"
    raise ValidationFailed([{"loc": ["query", "cursor"], "msg": message}])
