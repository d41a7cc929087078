"""Esc, from the moment a message is sent until the agent is at rest."""

import pytest
from fake_headstart import FakeSession, Reply, Seen
from playwright.sync_api import Page, expect
from session_scripts import good_session

from tests.page.looks import log_of
from tests.page.scripted import Place
from tests.page.told import asleep, ended, queued, started


@pytest.fixture
def session(tab: Page, place: Place) -> FakeSession:
    """A session at rest, on display, with a message written."""
    found = place.session(script=good_session())
    place.open(tab, found)
    expect(tab.locator("#status")).to_have_text("ready")
    tab.locator("#text").fill("more")
    return found


def stops(place: Place) -> int:
    return len(place.cloud.requests("POST", "/interrupt"))


@pytest.mark.long
@pytest.mark.own
def test_what_is_on_its_way_is_stopped_once_it_is_there(
    tab: Page, place: Place, session: FakeSession
):
    tab.route("**/messages", lambda route: None)
    with tab.expect_request("**/messages"):
        tab.locator("#text").press("Enter")
    tab.locator("#text").press("Escape")
    expect(tab.locator("#keys")).to_contain_text("as soon as it has your message")
    assert stops(place) == 0
    with tab.expect_response("**/interrupt"):
        place.tell(session, ("message.queued", {"messageId": "msg_2", "text": "more"}))
    expect(tab.locator("#keys")).to_have_text("Esc stops the agent")


@pytest.mark.long
@pytest.mark.parametrize("told", [True, False])
def test_what_has_no_turn_yet_is_stopped(tab: Page, place: Place, session: FakeSession, told: bool):
    answer = place.cloud.answer

    def silent(seen: Seen) -> Reply:
        taken = seen.method == "POST" and seen.path.endswith("/messages") and not told
        return Reply(202, {"messageId": "msg_2"}) if taken else answer(seen)

    place.cloud.answer = silent
    tab.locator("#text").press("Enter")
    expect(tab.locator("#text")).to_have_value("")
    expect(log_of(tab).get_by_text("more")).to_have_count(int(told))
    expect(tab.locator("#keys")).to_have_text("Esc stops the agent")
    with tab.expect_response("**/interrupt"):
        tab.locator("#text").press("Escape")


@pytest.mark.long
def test_an_agent_at_rest_is_not_stopped(tab: Page, place: Place, session: FakeSession):
    tab.locator("#text").press("Escape")
    tab.locator("#text").press("Enter")
    expect(log_of(tab)).to_contain_text("more")
    place.tell(session, started(2), ended(2))
    expect(tab.locator("#keys")).to_have_text("")
    tab.locator("#text").press("Escape")
    place.tell(session, ("session.renamed", {"title": "Another"}))
    expect(tab.locator("#title")).to_have_text("Another")
    assert stops(place) == 0


@pytest.mark.long
def test_waking_is_stopped(tab: Page, place: Place, session: FakeSession):
    place.tell(session, asleep(), queued(2, "more"))
    waking = {"attemptNumber": 2, "cause": "wake"}
    place.tell(session, ("session.preparing", waking))
    expect(tab.locator("#keys")).to_have_text("Esc stops waking the session")
    with tab.expect_response("**/interrupt"):
        tab.locator("#text").press("Escape")
    place.tell(session, asleep(), ("session.preparing", waking | {"cause": "retry"}))
    expect(tab.locator("#keys")).to_have_text("")
    tab.locator("#text").press("Escape")
    assert stops(place) == 1


@pytest.mark.long
@pytest.mark.own
def test_a_message_that_wakes_is_stopped_once_it_is_there(
    tab: Page, place: Place, session: FakeSession
):
    place.tell(session, asleep())
    expect(tab.locator("#status")).to_have_text("asleep")
    tab.route("**/messages", lambda route: None)
    with tab.expect_request("**/messages"):
        tab.locator("#text").press("Enter")
    tab.locator("#text").press("Escape")
    expect(tab.locator("#keys")).to_have_text("Waking is stopped as soon as it has your message")
    with tab.expect_response("**/interrupt"):
        place.tell(session, queued(2, "more"))
