"""The page on a server of somebody else, with the headers that docs/deploy.md asks for."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from session_scripts import good_session

from tests.page.looks import log_of
from tests.page.scripted import WEB, Place

pytestmark = [pytest.mark.own, pytest.mark.long]

DEPLOYING = Path(__file__).parents[2] / "docs" / "deploy.md"


def headers(place: Place) -> dict[str, str]:
    """Return what the document says, with a cloud's own addresses in it."""
    [block] = re.findall(r"```http\n(.*?)```", DEPLOYING.read_text(), re.DOTALL)
    found = dict(re.findall(r"^ *([\w-]+): (.+)$", block, re.MULTILINE))
    api, stream = (
        re.sub(r"(//[^/]*).*", r"\1", u) for u in (place.cloud.url, place.cloud.stream_url)
    )
    for name, origin in (("API", api), ("STREAM", stream), ("BUCKET", api)):
        found = {header: value.replace(f"{name}-ORIGIN", origin) for header, value in found.items()}
    return found


class _Files(SimpleHTTPRequestHandler):
    more: dict[str, str]
    sent: list[tuple[str, int]]

    def end_headers(self) -> None:
        for name, value in self.more.items():
            self.send_header(name, value)
        super().end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        self.sent.append((self.path, int(code)))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited name
        """Say nothing."""


@contextmanager
def hosted(more: dict[str, str]) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """Serve the page with these headers; yields its origin, and what was sent with which status."""
    sent: list[tuple[str, int]] = []
    handler = type("Files", (_Files,), {"more": more, "sent": sent})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(WEB))) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", sent
        server.shutdown()


def test_the_headers_that_are_told_let_the_page_work_and_no_file_be_old(tab: Page, place: Place):
    session = place.session(title="Hosted", script=good_session())
    place.cloud.files["diff"] = b"+new\n"
    session.diff = {"url": f"{place.cloud.url}/files/diff"}
    session.changes = {"files": [], "total": {"files": 0}, "truncated": False}
    with hosted(headers(place)) as (origin, sent):
        tab.goto(f"{origin}/#api={place.cloud.url}&token=token")
        tab.locator("#sessions a").click()
        expect(log_of(tab)).to_contain_text("Hello, world.")
        place.tell(session, ("work.changed", {"files": 1, "additions": 1, "deletions": 0}))
        tab.locator("#worked").click()
        tab.get_by_role("button", name="Show what changed").click()
        expect(tab.locator("#diff")).to_have_text("+new\n")
        whole = [path for path, status in sent if status == 200]
        assert sorted(whole) == sorted(set(whole))
        sent.clear()
        tab.reload()
        expect(log_of(tab)).to_contain_text("Hello, world.")
        assert {status for path, status in sent if "/vendor/" not in path} == {304}
