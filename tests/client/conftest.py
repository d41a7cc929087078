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


@pytest.fixture
def environment(cloud: fake_headstart.FakeHeadstart, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point the command line at the fake, on a terminal of 80 columns without colours."""
    monkeypatch.setenv("HEADSTART_URL", cloud.url)
    monkeypatch.setenv("HEADSTART_TOKEN", "token")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


@pytest.fixture
def app(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Do some steps on the page and return what there is then; see app_check.mjs."""
    return lambda *steps: web_page.drive(tmp_path, list(steps))
