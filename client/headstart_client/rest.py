"""Why a session sleeps and what of its work is saved, kept up to date event by event, without I/O.

web/rest.js is the same in JavaScript; the tests drive both with the same events.
"""

from collections.abc import Mapping
from math import inf
from typing import Any

from headstart_client.amounts import counted
from headstart_client.models import Event

_DAY = 86400


class Rest:
    """`why` it sleeps, in words, None while it is awake; `left_out` names what is not saved."""

    def __init__(self) -> None:
        self.why: str | None = None
        self.saved: bool | None = None
        self.left_out: list[str] = []
        self._through = 0

    def apply(self, event: Event, data: Mapping[str, Any]) -> None:
        """Take in an event and what it says; of what is saved the last snapshot knows best."""
        match event.type:
            case "session.snapshot":
                self._through, self.left_out = data["lastEventId"], data["leftOut"]
            case "session.preparing":
                self.why = None
            case "session.asleep":
                self.saved = data["saved"]
                self.why = data["reason"].rstrip(".") or "No reason is known"
                if self.saved:
                    self.why += "; the work is saved"
                # That it was not is mostly among the reasons.
                elif self.saved is False and "not saved" not in self.why:
                    self.why += "; the work was not saved"
                # What could not be saved says nothing of what was saved before.
                if self.saved and (event.event_id or inf) > self._through:
                    self.left_out = data["leftOut"]


def ago(seconds: float) -> str:
    """Return how long ago something was, in the words of the cloud."""
    if seconds >= _DAY:
        return f"{counted(int(seconds // _DAY), 'day')} ago"
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} ago"
    return "a moment ago"
