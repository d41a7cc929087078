"""What the agent asks people and waits for, kept up to date event by event, without any I/O.

web/inputs.js is the same in JavaScript; the tests drive both with the same events.
"""

from collections.abc import Mapping
from math import inf
from typing import Any

from headstart_client.models import Event, PendingInput

_ENDS = {"turn.completed", "turn.failed", "turn.interrupted", "session.failed", "session.asleep"}


class Inputs:
    """The open requests by their ids, oldest first."""

    def __init__(self) -> None:
        self.open: dict[str, PendingInput] = {}
        self._through = 0

    def apply(self, event: Event) -> None:
        """Take in an event; a replay of what the last snapshot includes changes nothing."""
        data = event.data
        if event.type == "session.snapshot":
            self._through = data["lastEventId"]
            asked = [PendingInput.model_validate(asked) for asked in data["pendingInputs"]]
            self.open = {one.request_id: one for one in asked}
        elif (event.event_id or inf) <= self._through:
            return
        elif event.type == "input.requested":
            self.open[data["requestId"]] = PendingInput.model_validate(data)
        elif event.type == "input.resolved":
            self.open.pop(data["requestId"], None)
        elif event.type in _ENDS:
            self.open.clear()


def permission(asked: PendingInput) -> str:
    """Return what a permission is for."""
    patterns = asked.body.get("patterns")
    named = ", ".join(map(str, patterns)) if isinstance(patterns, list) else ""
    title = str(asked.body.get("title") or "permission")
    return f"{title}: {named}" if named else title


def questions(asked: PendingInput) -> list[tuple[str, list[str]]]:
    """Return each question and the labels it offers, whatever the agent wrote."""
    return [
        (
            str(question.get("question") or ""),
            [str(option.get("label") or "") for option in _objects(question.get("options"))],
        )
        for question in _objects(asked.body.get("questions"))
    ]


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
