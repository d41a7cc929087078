"""A browser for each process, a fresh profile for each test, and what must hold in each of them."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.flow.conftest import cloud, repositories, running_cloud
from tests.page import scripted
from tests.page.browser import chromium
from tests.page.scripted import PATIENCE

__all__ = ["cloud", "repositories", "running_cloud"]

expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def person(browser: Browser) -> Iterator[BrowserContext]:
    """A profile of its own: tabs opened in it share what the browser keeps."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
    context.set_default_timeout(PATIENCE * 1000)
    faults: list[str] = []
    context.on("weberror", lambda error: faults.append(str(error.error)))
    context.on("console", lambda message: faults.extend(_refusals(message)))
    yield context
    context.close()
    assert not faults, "the page itself failed"


def _refusals(message: ConsoleMessage) -> list[str]:
    """What the page's own policy refused: nothing of the page may try it."""
    return [message.text] if "Content Security Policy" in message.text else []


@pytest.fixture
def tab(person: BrowserContext) -> Page:
    return person.new_page()


@pytest.fixture
def place() -> Iterator[scripted.Place]:
    with scripted.place() as running:
        yield running
