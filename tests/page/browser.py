"""The system's own Chromium, driven by playwright; none is ever downloaded."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, expect, sync_playwright

# The first is Chromium without its windows, and costs a test a third less.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # What a page asks of another machine must fail here as it does where there is no network.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]

PATIENCE = 30.0
"""Seconds anything may take to appear on the page; nothing waits as long unless it fails."""

expect.set_options(timeout=PATIENCE * 1000)


def executable() -> str:
    """Return Chromium's path: $CHROMIUM, else the first that is on PATH; raises RuntimeError."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise RuntimeError(
            "The page's tests need Chromium: put one on PATH (Debian: apt-get install "
            "chromium-headless-shell) or name its program in $CHROMIUM."
        )
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Chromium until the end of the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Profile:
    """A browser's profile, and what failed in its pages."""

    context: BrowserContext
    faults: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Fail where the page itself failed since the last look."""
        found, self.faults[:] = [*self.faults], []
        assert not found, "the page itself failed"


@contextmanager
def profile(browser: Browser) -> Iterator[Profile]:
    """Have a fresh profile until the end of the block."""
    # Where there is no graphics card, what moves costs more than what is tested.
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, locale="en-GB", reduced_motion="reduce"
    )
    context.set_default_timeout(PATIENCE * 1000)
    found = Profile(context)
    context.on("weberror", lambda error: found.faults.append(str(error.error)))
    context.on("console", lambda message: found.faults.extend(_refusals(message)))
    yield found
    context.close()


def _refusals(message: ConsoleMessage) -> list[str]:
    """What the page's own policy refused: nothing of the page may try it."""
    return [message.text] if "Content Security Policy" in message.text else []
