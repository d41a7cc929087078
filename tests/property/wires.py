"""API Gateway's WebSockets: frames that come, come late or never, and connections that break."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from headstart.adapters.memory import MemorySockets
from headstart.domain.errors import ConnectionGone
from headstart.usecases import watch
from headstart.usecases.inbox import receive

if TYPE_CHECKING:
    from tests.property.world import World

Frame = tuple[Literal["up", "down"], str]
"""Which way frames go, and of which kind they are; any where that is empty."""


@dataclass
class End:
    """One connection, as its client has it. On a silent one nothing arrives and nobody notices."""

    connection_id: str
    inbox: list[str] = field(default_factory=list)
    is_open: bool = True
    is_silent: bool = False

    def read(self) -> list[dict[str, Any]]:
        """Take what has arrived."""
        texts, self.inbox = self.inbox, []
        return [json.loads(text) for text in texts]


class Wires:
    """The Sockets port, and what the other ends of the connections do."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._ends: dict[str, End] = {}
        self._lost: Counter[Frame] = Counter()
        self._late: Counter[Frame] = Counter()
        self._delay = timedelta()
        self._held: list[tuple[datetime, Callable[[], object]]] = []
        self.loses_goodbyes = False
        self.offered: set[str] = set()
        """The messages that were sent to a sandbox, whether they came or not."""
        self.happened = 0

    # What the walk does.

    def lose(self, frame: Frame, count: int) -> None:
        """Lose the next frames of a kind."""
        self._lost[frame] += count

    def delay(self, frame: Frame, count: int, seconds: int) -> None:
        """Have the next frames of a kind come later, whatever became of their connection."""
        self._late[frame] += count
        self._delay = timedelta(seconds=seconds)

    def calm(self) -> None:
        """Let nothing be late or lost any more; what is late already comes now."""
        self._lost.clear()
        self._late.clear()
        self.loses_goodbyes = False
        for end in self._ends.values():
            if end.is_silent:
                self.drop(end)
        self.deliver_late(everything=True)

    def deliver_late(self, *, everything: bool = False) -> None:
        """Let what was held back arrive, if its time has come."""
        now = self._world.now
        due = [act for at, act in self._held if everything or at <= now]
        self._held = [(at, act) for at, act in self._held if not everything and at > now]
        for act in due:
            act()

    def _meets(self, which: Counter[Frame], frame: Frame) -> bool:
        for met in (frame, (frame[0], "")):
            if which[met]:
                which[met] -= 1
                self.happened += 1
                return True
        return False

    # The clients' side.

    def connect(self, handshake: Callable[[str], None]) -> End | BaseException:
        """Open a connection if the function at `$connect` lets it; else return why it did not."""
        end = End(f"c{len(self._ends) + 1}")
        failure = self._world.invoke("connect", lambda: handshake(end.connection_id))
        if failure:
            return failure
        self._ends[end.connection_id] = end
        return end

    def send(self, end: End, action: str, **body: Any) -> bool:
        """Send a frame up; say whether a function served it, and nothing went wrong in it."""
        if not end.is_open or end.is_silent or self._meets(self._lost, ("up", action)):
            return False
        text = json.dumps({"action": action, **body})

        def serve() -> bool:
            before = self._world.faults.happened
            ports = self._world.ports
            failure = self._world.invoke(action, lambda: receive(ports, end.connection_id, text))
            return failure is None and self._world.faults.happened == before

        if self._meets(self._late, ("up", action)):
            self._held.append((self._world.now + self._delay, serve))
            return False
        return serve()

    def silence(self, end: End) -> None:
        """Let nothing arrive on a connection any more, and nobody notice."""
        end.is_silent = True
        self.happened += 1

    def drop(self, end: End) -> None:
        """Break a connection from the client's side, or in the middle."""
        if end.is_open:
            end.is_open = False
            if not self.loses_goodbyes:
                self._held.append((self._world.now, lambda: self._disconnect(end)))

    def _disconnect(self, end: End) -> None:
        ports = self._world.ports
        self._world.invoke("disconnect", lambda: watch.disconnect(ports, end.connection_id))

    # The cloud's side.

    for_each = staticmethod(MemorySockets.for_each)

    def post(self, connection_id: str, text: str) -> None:
        """Send a frame down."""
        end = self._ends.get(connection_id)
        if end is None or not end.is_open:
            raise ConnectionGone()
        read = json.loads(text)
        if read.get("kind") == "prompt":
            self.offered.add(read["args"]["messageId"])
        frame: Frame = ("down", read["type"])
        if end.is_silent or self._meets(self._lost, frame):
            return
        if self._meets(self._late, frame):
            self._held.append((self._world.now + self._delay, lambda: end.inbox.append(text)))
        else:
            end.inbox.append(text)

    def close(self, connection_id: str) -> None:
        """Break a connection from the cloud's side."""
        end = self._ends.get(connection_id)
        if end:
            self.drop(end)
