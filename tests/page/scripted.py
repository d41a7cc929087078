"""A cloud that does as a test says, for what no demo agent does: odd answers at a given moment.

The client's fake is this already, on real sockets; a browser asks it for some more.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fake_headstart
from fake_headstart import FakeHeadstart, FakeSession
from playwright.sync_api import Page, expect

from headstart_local.page_server import PageServer

WEB = Path(__file__).parents[2] / "web"


@dataclass
class Place:
    """The page on a server of its own, and the cloud that it may connect to."""

    cloud: FakeHeadstart
    origin: str
    token: str = "token"
    names: Iterator[int] = field(default_factory=lambda: iter(range(1_000)))

    @property
    def link(self) -> str:
        """The link that connects the page, as `headstart up` prints it."""
        return f"{self.origin}/#api={self.cloud.url}&token={self.token}"

    def open(self, tab: Page, session: FakeSession) -> None:
        """Connect a tab, and go to a session's address."""
        tab.goto(self.link)
        expect(tab.locator("#create [name=prompt]")).to_be_visible()
        tab.evaluate("id => { location.hash = id; }", session.session_id)

    def session(self, **told: Any) -> FakeSession:
        """Put a session there, with an id of its own."""
        told.setdefault("session_id", f"ses_{next(self.names):026d}")
        return self.cloud.add(FakeSession(**told))


@contextmanager
def place() -> Iterator[Place]:
    """Serve both until the end of the block."""
    with fake_headstart.running() as cloud:
        cloud.page_size = 1_000
        with PageServer(WEB) as server, server.serving([f"{cloud.url}/", cloud.stream_url]):
            yield Place(cloud, server.origin)
