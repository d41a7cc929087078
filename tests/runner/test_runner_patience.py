"""How long the cloud may take: longer each time that it was too short, and not for ever."""

import asyncio
from pathlib import Path

import pytest
from fake_cloud import FakeCloud
from runner_kit import started

from headstart_runner.uplink import patience
from headstart_runner.uplink.patience import Patience

pytestmark = pytest.mark.anyio


async def silence(given: Patience) -> float:
    with pytest.raises(TimeoutError):
        async with given.answer():
            await asyncio.Event().wait()
    return given.seconds


async def test_each_answer_that_stays_away_doubles_it_up_to_four_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "LEAST", 0.01)
    given = Patience()

    assert [await silence(given) for _ in range(4)] == [0.02, 0.04, 0.04, 0.04]


async def test_quick_answers_make_it_short_again_and_a_slow_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given, loop, passed = Patience(), asyncio.get_running_loop(), [0.0]
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + passed[0])
    given.seconds = 40.0
    found = []
    for took in (1.0, 1.0, 1.0, 8.0, 15.0):
        async with given.answer():
            passed[0] += took
        found.append(round(given.seconds))

    assert found == [20, 10, 10, 16, 30]


async def test_what_failed_otherwise_tells_nothing_of_it() -> None:
    given = Patience()
    with pytest.raises(ConnectionError):
        async with given.answer():
            raise ConnectionError

    assert given.seconds == patience.LEAST


async def test_what_is_not_welcomed_in_time_has_longer_on_the_next_connection(
    cloud: FakeCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "LEAST", 0.2)
    given: list[float] = []
    answer = Patience.answer

    def noted(self: Patience) -> object:
        given.append(round(self.seconds, 1))
        return answer(self)

    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(Patience, "answer", noted)
    monkeypatch.setattr(cloud, "_hello", nothing)
    async with started(cloud, tmp_path):
        await cloud.until(lambda: len(given) == 3)

    assert given == [0.2, 0.4, 0.8]
