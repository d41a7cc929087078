"""Containers are started as fast as the machine bears, and in line beyond that."""

import os

import pytest

from headstart_local.launch_rate import LaunchRate, of_this_machine


def test_some_at_once_and_then_one_after_the_other() -> None:
    now = [100.0]
    rate = LaunchRate(burst=3, a_second=2, clock=lambda: now[0])

    assert [rate.reserve() for _ in range(6)] == [0, 0, 0, 0.5, 1, 1.5]
    now[0] += 1
    assert rate.reserve() == 1
    now[0] += 60
    assert [rate.reserve() for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_machine_bears_at_least_five_at_once() -> None:
    rate = of_this_machine()
    assert [rate.reserve() for _ in range(5)] == [0] * 5


def test_on_two_cores_two_hundred_begin_before_their_step_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    rate = of_this_machine()
    assert max(rate.reserve() for _ in range(200)) < 240 - 10
