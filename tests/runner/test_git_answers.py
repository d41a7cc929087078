"""What a git server says in its headers may be anything."""

import asyncio

import pytest

from headstart_runner.repository import server


@pytest.mark.parametrize(
    "said", ["9" * 5000, "01 Jan 2020 00:00:00 +99999999999999999999", "soon", "", "-1"]
)
def test_a_time_to_wait_that_makes_no_sense_is_none(said: str) -> None:
    assert server._seconds({"Retry-After": said}) is None


@pytest.mark.parametrize("location", ["http://127.0.0.1:99999/x/info/refs", "http://[/info/refs"])
def test_an_address_that_makes_no_sense_is_none(location: str) -> None:
    assert server._repository("http://127.0.0.1/x", location) is None


def test_an_address_that_cannot_be_asked_has_no_answer() -> None:
    assert asyncio.run(server.ask(f"http://127.0.0.1/{'x' * 70_000}", [])) is None
