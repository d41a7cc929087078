"""What all tests of the client share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake_headstart
import pytest
import web_page


@pytest.fixture
def cloud() -> Iterator[fake_headstart.FakeHeadstart]:
    """A fake Headstart of its own for each test."""
    with fake_headstart.running() as fake:
        yield fake


@pytest.fixture
def page(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Ask the page's modules what they make of cases, by the names of web_check.mjs."""
    return lambda **checks: web_page.check(tmp_path, checks)
