"""A browser for each process, a tab and a scripted cloud that its tests share, emptied before each.

A tab of its own costs a test several times of what it looks at: a renderer, and all modules read
and compiled anew. Those have one, in a profile of their own, that are marked `own`, as they change
the browser or look at what it loads, or have several tabs.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.page import scripted
from tests.page.browser import Profile, chromium, profile
from tests.page.scripted import Place


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def person(browser: Browser) -> Iterator[BrowserContext]:
    """A profile for a test marked `own`: tabs opened in it share what the browser keeps."""
    with profile(browser) as own:
        yield own.context
    own.check()


@dataclass
class Kept:
    """What goes from test to test."""

    place: Place
    profile: Profile
    tab: Page


@pytest.fixture(scope="session")
def keeper(browser: Browser) -> Iterator[Kept]:
    with scripted.place() as place, profile(browser) as shared:
        yield Kept(place, shared, shared.context.new_page())


@pytest.fixture
def kept(keeper: Kept, request: pytest.FixtureRequest) -> Iterator[Kept]:
    """What the test before left, without what it remembers."""
    if keeper.tab.url.startswith(keeper.place.origin):
        keeper.tab.evaluate("localStorage.clear(); sessionStorage.clear()")
        # It would go on asking a cloud that is another test's by now.
        keeper.tab.goto("about:blank")
    keeper.place.cloud.forget()
    failed = request.session.testsfailed
    yield keeper
    if request.session.testsfailed > failed:
        # Whatever is on it now is not the next test's.
        keeper.tab.close()
        keeper.tab = keeper.profile.context.new_page()
    keeper.profile.check()


def is_kept(request: pytest.FixtureRequest) -> bool:
    return request.node.get_closest_marker("own") is None


@pytest.fixture
def tab(request: pytest.FixtureRequest) -> Page:
    if is_kept(request):
        return request.getfixturevalue("kept").tab
    return request.getfixturevalue("person").new_page()


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    if is_kept(request):
        yield request.getfixturevalue("kept").place
        return
    with scripted.place() as running:
        yield running
