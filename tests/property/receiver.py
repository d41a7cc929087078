"""Who is called back: takes most of what it is told, and remembers all of it."""

import json
from typing import TYPE_CHECKING

from headstart.adapters.rows import named_sk
from headstart.domain.callbacks import CALLED_FOR, DueCallbacks
from headstart.usecases.callbacks import send_due
from headstart.usecases.deliver import take
from tests.property.violation import hold

if TYPE_CHECKING:
    from tests.property.world import World

URL = "https://hooks.test/"
_REFUSES_EACH = 5


class Receiver:
    """The queue gives it each message until it is taken."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def janitor(self) -> None:
        """Put in the queue what nobody came to put there."""
        self._world.invoke("janitor", lambda: send_due(self._world.ports))

    def live(self) -> None:
        """Be called for whatever waits."""
        base = self._world.base
        for session_id, event_id in list(base.callback_queue.waiting):
            if (len(base.receivers.told) + 1) % _REFUSES_EACH == 0:
                base.receivers.answers = [503]
            done: list[bool] = []

            def deliver(
                session_id: str = session_id, event_id: int = event_id, done: list[bool] = done
            ) -> None:
                done.append(take(self._world.ports, session_id, event_id, tries=1, receipt="r"))

            self._world.invoke("callbacks", deliver)
            if done == [True]:
                base.callback_queue.waiting.remove((session_id, event_id))

    @property
    def is_waited_for(self) -> bool:
        """Whether anything is still to be told."""
        return bool(self._world.base.callback_queue.waiting or self._due())

    def _due(self) -> list[str]:
        prefix = named_sk(DueCallbacks, 0).partition("#")[0]
        rows = self._world.base.store.rows.items()
        return [i for i, found in rows if any(sk.startswith(prefix) for sk in found)]

    def check_end(self) -> None:
        """Look whether it was told of everything, and of nothing that did not happen."""
        base = self._world.base
        hold(not self.is_waited_for, "a callback waits for nobody")
        told = {(d["sessionId"], d["eventId"]): kind for kind, d in map(_read, base.receivers.told)}
        for session_id in base.store.sets:
            log = base.store.event_log[session_id]
            happened = {(session_id, e.event_id): e.type for e in log if e.type in CALLED_FOR}
            heard = {key: kind for key, kind in told.items() if key[0] == session_id}
            hold(heard == happened, "a receiver was told something else than what happened")


def _read(call: tuple[str, dict[str, str], bytes]) -> tuple[str, dict[str, object]]:
    body = json.loads(call[2])
    return body["type"], body["data"]
