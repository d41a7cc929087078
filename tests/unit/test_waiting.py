"""A long poll answers soon after what it waits for, and does not ask more often than that needs."""

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.usecases.read import WAIT_LIMIT_SECONDS, wait_while
from headstart.usecases.talk import interrupt
from tests.unit.helpers import created


@pytest.mark.parametrize("after", [0.05, 0.9, 4.0, 24.0])
def test_an_answer_is_late_by_a_tenth_of_the_wait_at_most(ports: MemoryPorts, after: float) -> None:
    session_id = created(ports)
    began = ports.clock()

    def waited() -> float:
        return float((ports.clock() - began).total_seconds())

    def sleep(seconds: float) -> None:
        ports.clock.advance(seconds=seconds)
        if waited() >= after:
            interrupt(ports, "alice", session_id)

    found = wait_while(ports, "alice", session_id, status="preparing", seconds=25, sleep=sleep)
    assert found["status"] == "failed"
    assert waited() - after <= max(0.1, after / 10)


def test_a_wait_for_nothing_asks_twice_a_second_at_most_in_the_mean(ports: MemoryPorts) -> None:
    session_id, pauses = created(ports), list[float]()

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        ports.clock.advance(seconds=seconds)

    wait_while(ports, "alice", session_id, status="preparing", seconds=99, sleep=sleep)
    assert WAIT_LIMIT_SECONDS <= sum(pauses) <= WAIT_LIMIT_SECONDS + 1
    assert len(pauses) <= 2 * WAIT_LIMIT_SECONDS
