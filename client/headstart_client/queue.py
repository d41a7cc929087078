"""What waits for the agent, and whether it waits for a person; web/queue.js is the same."""

from collections.abc import Mapping
from typing import Any

from headstart_client.models import Event


class Queue:
    """The messages that are not delivered yet, each with its status."""

    def __init__(self) -> None:
        self._waiting: dict[str, str] = {}
        self._through = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def held(self) -> bool:
        """Whether a person must release it: a message is held, and all others are behind it.

        That somebody released it is no event: it shows in a snapshot, or once its turn starts.
        """
        return "held" in self._waiting.values()

    def apply(self, event: Event, data: Mapping[str, Any]) -> None:
        """Take in an event and what it says; what the last snapshot includes changes nothing."""
        if event.type == "session.snapshot":
            self._through = data["lastEventId"]
            self._waiting = {m["messageId"]: m["status"] for m in data["queue"]}
        elif event.event_id is None or event.event_id > self._through:
            match event.type:
                case "message.queued":
                    self._waiting[data["messageId"]] = "queued"
                case "message.held" | "message.failed":
                    self._waiting[data["messageId"]] = "held"
                case "turn.started" | "message.withdrawn":
                    self._waiting.pop(data["messageId"], None)
