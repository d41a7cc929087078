"""What a browser asks for and when: the form waits for nothing of a session's part of the page."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect
from session_scripts import good_session

from tests.page.looks import log_of, open_log
from tests.page.scripted import Place
from tests.page.told import RUNNING, said, used

pytestmark = [pytest.mark.own, pytest.mark.long]


def held(tab: Page, matches: str | Callable[[str], bool], times: int | None = None) -> list[Route]:
    """Have these requests of a tab, or so many of them, wait, and return those that do."""
    waiting: list[Route] = []

    def hold(route: Route) -> None:
        waiting.append(route)

    tab.route(matches, hold, times=times)
    return waiting


def test_the_form_takes_26_files_and_waits_for_no_other(tab: Page, place: Place):
    markup = tab.request.get(place.origin).text()
    first = {"", *re.findall(r'(?:href|src)="([\w.-]+\.(?:js|css))"', markup)}
    assert len(first) == 26
    waiting = held(tab, lambda url: url.endswith(".js") and urlsplit(url).path[1:] not in first)
    with tab.expect_request("**/session.js"):
        place.connect(tab)
    tab.locator("#create [name=repo]").fill("org/name")
    expect(tab.locator("#told")).to_contain_text("No sessions yet")
    files: list[str] = tab.evaluate("""() => {
      const all = ["navigation", "resource"].flatMap((k) => performance.getEntriesByType(k));
      return all.map(({ name }) => name).filter((name) => name.startsWith(location.origin));
    }""")
    assert sorted(urlsplit(name).path[1:] for name in files) == sorted(first)
    for route in waiting:
        route.continue_()


def test_a_session_that_is_begun_before_its_part_is_here_opens_once_it_is(tab: Page, place: Place):
    waiting = held(tab, "**/session.js", times=1)
    session = place.session(title="Early", script=good_session())
    with tab.expect_request("**/session.js"):
        place.connect(tab)
    tab.locator("#sessions a").click()
    expect(tab.locator("#opening")).to_be_visible()
    with place.cloud.watched(session):
        for route in waiting:
            route.continue_()
        expect(tab.locator("#title")).to_have_text("Early")
    expect(tab.locator("#opening")).to_be_hidden()


def test_a_session_waits_for_nothing_that_draws_its_text(tab: Page, place: Place):
    waiting = held(tab, "**/vendor/*.js")
    text = "# A heading\n\nand *words*"
    place.session(title="Early", script=[*RUNNING, said("a", text)])
    place.connect(tab)
    tab.locator("#sessions a").click()
    expect(tab.locator("#title")).to_have_text("Early")
    expect(tab.locator("#text")).to_be_visible()
    expect(log_of(tab).locator(".prose")).to_have_text(text)
    for route in waiting:
        route.continue_()
    expect(log_of(tab).get_by_role("heading", name="A heading")).to_have_count(1)
    expect(log_of(tab).locator(".prose")).not_to_contain_text("*")
    expect(log_of(tab).locator(".prose")).not_to_have_class(re.compile("plain"))


def test_what_was_printed_is_coloured_once_it_can_be(tab: Page, place: Place):
    waiting = held(tab, "**/vendor/*.js")
    red = "".join(f"\x1b[31mred {n}\x1b[0m\n" for n in range(200))
    place.cloud.texts["log.1.clone"] = red
    script = [*RUNNING, used("t", "bash", "completed", output=red)]
    place.session(title="Early", script=script)
    place.connect(tab)
    tab.locator("#sessions a").click()
    log_of(tab).locator("summary").click()
    open_log(tab, "clone")
    shown = (tab.get_by_role("group", name="Output"), tab.get_by_role("region", name="Log of"))
    for node in shown:
        expect(node).to_contain_text("red 199")
        expect(node.locator(".ansi-red-fg")).to_have_count(0)
    # Who reads in the middle of it goes on reading there.
    shown[1].evaluate("node => node.scrollTop = 300")
    for route in waiting:
        route.continue_()
    for node in shown:
        expect(node.locator(".ansi-red-fg")).to_have_count(200)
    assert shown[1].evaluate("node => node.scrollTop") == 300


@pytest.mark.parametrize("by_link", [False, True])
def test_no_file_is_sent_twice(tab: Page, place: Place, by_link: bool):
    session = place.session(title="Once", script=good_session())
    place.connect(tab)
    if by_link:
        tab.wait_for_load_state("networkidle")
        tab.goto("about:blank")
        tab.context.new_cdp_session(tab).send("Network.clearBrowserCache")
        tab.goto(f"{place.origin}/#{session.session_id}")
    else:
        tab.locator("#sessions a").click()
    expect(tab.locator("#title")).to_have_text("Once")
    # What is not more than headers came from what the browser keeps.
    served: list[str] = tab.evaluate("""() => performance.getEntriesByType("resource")
      .filter(({ name, transferSize }) => name.startsWith(location.origin) && transferSize > 300)
      .map(({ name }) => name)""")
    assert "session.js" in {urlsplit(name).path[1:] for name in served}
    assert len(served) == len(set(served))


@pytest.mark.parametrize("name", ["prose", "session"])
@pytest.mark.parametrize("status", [0, 503])
def test_a_part_that_failed_once_unasked_is_asked_for_again(
    tab: Page, place: Place, name: str, status: int
):
    session = place.session(title="Late", script=good_session())
    failed: list[Route] = []

    def fail_once(route: Route) -> None:
        if failed:
            route.continue_()
        elif status:
            route.fulfill(status=status)
        else:
            route.abort()
        failed.append(route)

    tab.route(f"**/{name}.js", fail_once)
    with tab.expect_request(f"**/{name}.js"):
        place.connect(tab)
    expect(tab.locator("#notice")).to_be_hidden()
    with place.cloud.watched(session):
        tab.locator("#sessions a").click()
        expect(tab.locator("#title")).to_have_text("Late")


def test_a_part_that_can_not_be_had_is_said_and_can_be_asked_for_again(tab: Page, place: Place):
    place.session(title="Late", script=good_session())
    tab.route("**/prose.js", lambda route: route.abort())
    place.connect(tab)
    tab.locator("#sessions a").click()
    expect(tab.locator("#notice")).to_contain_text("load the page again")
    expect(tab.locator("#opening")).to_be_hidden()
    again = tab.locator("#notice").get_by_role("button", name="Try again")
    again.click()
    expect(again).to_be_focused()
    tab.unroute("**/prose.js")
    again.click()
    expect(tab.locator("#title")).to_have_text("Late")
    expect(tab.locator("#notice")).to_be_hidden()
