"""Time that a frozen sandbox does not live."""

import asyncio

import pytest

from headstart_runner import clock


@pytest.mark.anyio
async def test_frozen_time_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [0.0], [0]

    async def sleep(seconds: float) -> None:
        slept[0] += 1
        now[0] += 3600 if slept[0] == 2 else seconds

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
    await clock.awake_sleep(10)

    assert slept[0] == 9


@pytest.mark.anyio
async def test_waking_up_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0, 1, 1, 2, 2, 3600])

    async def sleep(_: float) -> None:
        pass

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr("time.clock_gettime", lambda _: next(times))
    await clock.until_frozen()

    assert list(times) == []
