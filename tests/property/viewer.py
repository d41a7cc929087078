"""Someone who watches a session with the client's own reducer, and comes back when cut off."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headstart.domain.errors import SessionNotFound
from headstart.usecases import read, watch
from headstart_client.models import Event
from headstart_client.reducer import Reducer
from tests.property.violation import hold
from tests.property.wires import End

if TYPE_CHECKING:
    from tests.property.world import World

_PING = timedelta(seconds=30)
_PONG = timedelta(seconds=10)
_PROGRESS_ENDS = {"session.ready", "session.prepared", "session.failed", "session.asleep"}


class Viewer:
    """A person's page: what it applied, in order."""

    def __init__(self, world: "World", session_id: str) -> None:
        self._world = world
        self.session_id = session_id
        self.reducer = Reducer()
        self.applied: list[tuple[int, str, Mapping[str, Any]]] = []
        self.end: End | None = None
        self.is_over = False
        self._attempt = (0, False)
        self._subscribe_at: datetime | None = None
        self._ping_at = world.now
        self._pong_by: datetime | None = None

    def leave(self, *, silently: bool = False) -> None:
        """Close the page, or lose the network."""
        if self.end:
            if silently:
                self._world.wires.silence(self.end)
            else:
                self._world.wires.drop(self.end)
            self.end = None

    def live(self) -> None:
        """One round: connect, read, and ask for what is missing."""
        if self.is_over:
            return
        if self._is_cut_off():
            self.leave()
        if self.end is None:
            self._connect()
        for frame in self.end.read() if self.end else []:
            self._take(frame)
        now = self._world.now
        if self._subscribe_at and now >= self._subscribe_at:
            self._subscribe_at = None
            if self.reducer.incomplete:
                self._send(**self.reducer.subscribe())
        if now >= self._ping_at:
            self._ping_at, self._pong_by = now + _PING, now + _PONG
            self._send("ping")

    def _is_cut_off(self) -> bool:
        if self.end is None or not self.end.is_open:
            return True
        return self._pong_by is not None and self._world.now >= self._pong_by

    def _connect(self) -> None:
        ports, tickets = self._world.ports, []

        def ask() -> None:
            tickets.append(read.stream_ticket(ports, "alice", self.session_id)["ticket"])

        if isinstance(self._world.invoke("people", ask), SessionNotFound):
            self.is_over = True
        if not tickets:
            return
        end = self._world.wires.connect(
            lambda connection: watch.connect_viewer(ports, connection, tickets[0])
        )
        if isinstance(end, End):
            self.end = end
            self._ping_at, self._pong_by = self._world.now + _PING, None
            self._send(**self.reducer.subscribe())

    def _send(self, action: str, **body: Any) -> None:
        if self.end:
            self._world.wires.send(self.end, action, **body)

    def _take(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "error":
            self.leave()
            return
        if frame["type"] == "pong":
            self._pong_by = None
        events, seconds = self.reducer.feed(frame)
        if seconds is not None:
            at = self._world.now + timedelta(seconds=seconds)
            self._subscribe_at = min(self._subscribe_at or at, at)
        for event in events:
            self._apply(event)
        self.is_over = self.is_over or self.reducer.deleted

    def _apply(self, event: Event) -> None:
        number, is_done = self._attempt
        if event.event_id is not None:
            self.applied.append((event.event_id, event.type, event.data))
        if event.type == "session.preparing":
            self._attempt = (event.data["attemptNumber"], False)
        elif event.type in _PROGRESS_ENDS:
            self._attempt = (number, True)
        elif event.type == "preparing":
            shown = event.data["attemptNumber"]
            hold((shown, False) >= (number, is_done), "progress of an attempt that is over")
