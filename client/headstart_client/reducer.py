"""The viewer's side of the stream without any I/O: frames in, events to apply in order out.

Persisted events are numbered without gaps, so each is applied exactly when it is the next one,
whether a replay or a live frame brought it. What is known to exist but has not come is asked for
again. web/reducer.js is the same in JavaScript; the tests drive both with the same frames.
"""

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

from headstart_client.events import data_of, event_of, made
from headstart_client.models import Event
from headstart_client.shapes import FRAMES, shaped

CAUGHT_UP = "client.caught_up"
"""Type of the volatile event that says: everything that had happened is applied."""

GAP_WAIT, GAP_WAIT_CAP = 1.0, 30.0
"""Seconds a missing event may take before it is asked for, and at most when asking is in vain."""

_ATTEMPT_ENDS = {"session.prepared", "session.ready", "session.failed"}


class Reducer:
    """Where one viewer stands: `after` is the id of the last event applied."""

    def __init__(self, after: int = 0) -> None:
        self.after = after
        self.deleted = False
        self._known = after
        self._held: dict[int, Event] = {}
        self._replaying = False
        self._in_vain = 0
        self._progress: tuple[int, float] = (0, 0)

    @property
    def incomplete(self) -> bool:
        """Say whether a replay goes on, or an event is known to exist that has not come."""
        return self._replaying or self.after < self._known

    def subscribe(self) -> dict[str, Any]:
        """Return the frame that asks for everything after the last event applied."""
        self._replaying = True
        self._in_vain += 1
        return {"action": "subscribe", "after": self.after}

    def feed(self, frame: Mapping[str, Any]) -> tuple[list[Event], float | None]:
        """Take a frame; return the events to apply now and in how many seconds to subscribe again.

        None is not at all. When the time has come, `incomplete` says whether it is needed.
        """
        kind = frame.get("type")
        given = shaped(FRAMES.get(kind, {}), frame) if isinstance(kind, str) else {}
        match kind:
            case "events":
                taken = [event for raw in given["events"] if (event := event_of(raw))]
                events = [applied for event in taken for applied in self._take(event)]
                return events, None if self._replaying else self._gap()
            case "replayed":
                return self._replayed(given["through"], more=given["more"])
            case "pong":
                self._known = max(self._known, given["lastEventId"])
                return [], 0.0 if self.incomplete else None
        return [], None

    def _replayed(self, through: int, *, more: bool) -> tuple[list[Event], float | None]:
        self._replaying = False
        self._known = max(self._known, through + 1 if more else through)
        if self.incomplete:
            return [], 0.0 if more and self.after >= through else self._gap()
        self._in_vain = 0
        return [made(CAUGHT_UP)], None

    def _gap(self) -> float | None:
        if not self.incomplete:
            return None
        wait: float = min(GAP_WAIT * 2 ** max(0, self._in_vain - 1), GAP_WAIT_CAP)
        return wait

    def _take(self, event: Event) -> Iterator[Event]:
        if event.event_id is None:
            if self._is_news(event):
                yield event
            return
        if event.event_id > self.after:
            self._known = max(self._known, event.event_id)
            self._held[event.event_id] = event
        while following := self._held.pop(self.after + 1, None):
            self.after += 1
            self._in_vain = 0
            self._end_progress(following)
            yield following

    def _is_news(self, event: Event) -> bool:
        data = data_of(event)
        match event.type:
            case "preparing":
                if (at := (data["attemptNumber"], data["revision"])) < self._progress:
                    return False
                self._progress = at
            case "session.snapshot":
                self._known = max(self._known, data["lastEventId"])
                attempt = data["attempt"]
                revision = attempt["revision"] if data["status"] == "preparing" else inf
                self._progress = max(self._progress, (attempt["number"], revision))
            case "session.deleted":
                self.deleted = True
        return True

    def _end_progress(self, event: Event) -> None:
        """Let no progress of an attempt be shown once its end has been."""
        at, data = self._progress, data_of(event)
        if event.type in _ATTEMPT_ENDS:
            at = (data.get("receipt", data)["attemptNumber"], inf)
        elif event.type == "session.asleep":
            at = (at[0], inf)
        elif event.type == "session.preparing":
            at = (data["attemptNumber"], 0)
        self._progress = max(self._progress, at)
