"""What all tests of the client share."""

from collections.abc import Iterator

import fake_headstart
import pytest


@pytest.fixture
def cloud() -> Iterator[fake_headstart.FakeHeadstart]:
    """A fake Headstart of its own for each test."""
    with fake_headstart.running() as fake:
        yield fake
