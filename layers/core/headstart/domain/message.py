"""What people say in a session, and what its agent asks them."""

import re
from enum import StrEnum
from typing import Any

from headstart.domain.failure import Failure
from headstart.domain.model import RowModel, Timestamp


class MessageStatus(StrEnum):
    """Where a message stands. `held` waits for a person: initiate, retry or the next message.

    `withdrawn` is never delivered: whoever sent it did not want it any more.
    """

    QUEUED = "queued"
    HELD = "held"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    WITHDRAWN = "withdrawn"


_ID = re.compile(r"msg_([1-9][0-9]{0,8})_[0-9A-Za-z]{24}")


def id_prefix(number: int) -> str:
    """Return what the id of a message begins with: its number, by which its row is found."""
    return f"msg_{number}"


def number_in(message_id: str) -> int | None:
    """Return the number that a message's id says, None for an id of an earlier version."""
    found = _ID.fullmatch(message_id)
    return int(found[1]) if found else None


class Message(RowModel):
    """A user's prompt, in its place in the session's queue; `number` counts from 1.

    `tries` counts the deliveries a person or the queue asked for, not the network's repeats.
    """

    message_id: str
    number: int
    text: str
    status: MessageStatus
    tries: int = 0
    created_at: Timestamp
    delivered_at: Timestamp | None = None
    failure: Failure | None = None


class Input(RowModel):
    """Something the agent asks the user; pending until `outcome` is known.

    `answer` is what a person said, unless the agent could not be told: the first one counts.
    """

    request_id: str
    turn_id: str
    kind: str
    body: dict[str, Any]
    created_at: Timestamp
    answer: dict[str, Any] | None = None
    outcome: str | None = None
