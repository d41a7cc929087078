"""What people say in a session, and what its agent asks them."""

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
