"""Many at once on one session: everybody gets through, on a clock that moves by what they wait."""

import heapq
import itertools
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.change import Change, WorkingSet
from headstart.domain.errors import Conflict
from headstart.domain.requests import SendMessage
from headstart.usecases import retry
from headstart.usecases.talk import send_message
from tests.unit.helpers import created

READ_SECONDS = 0.005
COMMIT_SECONDS = 0.015
REAL_SECONDS = 30


class Turns:
    """Threads of which one runs at a time: the one whose wait ends first."""

    def __init__(self) -> None:
        self.now = 0.0
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, threading.Event]] = []

    def wait(self, seconds: float) -> None:
        """Let others run for so long."""
        mine = threading.Event()
        heapq.heappush(self._waiting, (self.now + seconds, next(self._order), mine))
        self._go_on()
        assert mine.wait(REAL_SECONDS)

    def _go_on(self) -> None:
        if self._waiting:
            self.now, _, other = heapq.heappop(self._waiting)
            other.set()

    def run(self, actions: list[Callable[[], object]]) -> list[BaseException]:
        """Do all of them at once; returns what they raised."""
        raised: list[BaseException] = []
        first = [threading.Event() for _ in actions]
        self._waiting = [(0.0, next(self._order), event) for event in first]

        def take_part(action: Callable[[], object], begin: threading.Event) -> None:
            assert begin.wait(REAL_SECONDS)
            try:
                action()
            except Exception as error:
                raised.append(error)
            self._go_on()

        pairs = zip(actions, first, strict=True)
        threads = [threading.Thread(target=take_part, args=pair) for pair in pairs]
        for thread in threads:
            thread.start()
        self._go_on()
        for thread in threads:
            thread.join(REAL_SECONDS)
        return raised


def as_slow_as_a_table(ports: MemoryPorts, turns: Turns, patch: pytest.MonkeyPatch) -> None:
    """Have reads and transactions take their time; of two that overlap one is refused."""
    read, commit = ports.store.load, ports.store.commit
    at_it: list[Change] = []

    def slow_read(session_id: str) -> WorkingSet:
        turns.wait(READ_SECONDS)
        return read(session_id)

    def slow_commit(work: Change) -> None:
        if at_it:
            turns.wait(READ_SECONDS)
            raise Conflict()
        at_it.append(work)
        turns.wait(COMMIT_SECONDS)
        at_it.clear()
        commit(work)

    patch.setattr(ports.store, "load", slow_read)
    patch.setattr(ports.store, "commit", slow_commit)
    patch.setattr(retry.time, "sleep", turns.wait)


@pytest.mark.parametrize("seed", range(10))
def test_fifty_people_who_write_at_once_are_all_heard(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    random.seed(seed)
    ports.policy.queued_messages = 100
    session_id = created(ports)
    turns = Turns()
    as_slow_as_a_table(ports, turns, monkeypatch)

    def say(number: int) -> Any:
        return send_message(ports, "alice", session_id, SendMessage(prompt=str(number)), None)

    raised = turns.run([lambda number=number: say(number) for number in range(50)])
    assert raised == []
    monkeypatch.undo()
    told = ports.store.messages_page(session_id, 1, 100)[0]
    assert [message.number for message in told] == list(range(2, 52))
    assert sorted(int(message.text) for message in told) == list(range(50))
