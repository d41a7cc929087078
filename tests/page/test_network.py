"""What becomes of a page whose network, token or session goes away while somebody uses it."""

import re

import pytest
from fake_headstart import Reply
from playwright.sync_api import BrowserContext, Page, expect
from session_scripts import good_session

from tests.page import scripted
from tests.page.scripted import Place
from tests.page.tokens import connect, token

REFRESHED = 6_000
"""Milliseconds within which a page that is offline says so."""


def sent_tokens(place: Place) -> set[str]:
    return {seen.headers.get("authorization", "") for seen in place.cloud.seen} - {""}


def kept(tab: Page) -> dict[str, str]:
    """Return the connection that the browser keeps."""
    found: dict[str, str] = tab.evaluate("JSON.parse(localStorage.getItem('connection'))")
    return found


@pytest.mark.long
@pytest.mark.own
def test_a_page_that_goes_offline_says_so_and_nothing_more_once_it_is_back(
    person: BrowserContext, tab: Page, place: Place
):
    place.connect(tab)
    expect(tab.locator("#told")).to_contain_text("No sessions yet")
    line = tab.locator("#offline")
    expect(line).to_be_hidden()
    person.set_offline(True)
    expect(line).to_be_visible(timeout=REFRESHED)
    expect(line).to_contain_text("offline")
    person.set_offline(False)
    expect(line).to_be_hidden()
    expect(tab.locator("#told")).to_contain_text("No sessions yet")
    expect(tab.locator("#notice")).to_be_hidden()


@pytest.mark.long
def test_a_machine_without_a_network_whose_api_answers_is_not_called_offline(
    tab: Page, place: Place
):
    place.connect(tab)
    tab.evaluate("Object.defineProperty(navigator, 'onLine', { value: false })")
    with tab.expect_response("**/sessions?*"):
        tab.evaluate("dispatchEvent(new Event('offline'))")
    expect(tab.locator("#told")).to_contain_text("No sessions yet")
    expect(tab.locator("#offline")).to_be_hidden()


@pytest.mark.long
def test_a_link_to_another_api_is_asked_about_and_declined_leads_nowhere(tab: Page, place: Place):
    connect(tab, place)
    with scripted.place() as other:
        asked: list[str] = []
        tab.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
        tab.goto(f"{place.origin}/?again#api={other.cloud.url}&token={token(60, 'eve')}")
        expect(tab.locator("#create [name=prompt]")).to_be_visible()
        expect(tab.locator("#told")).to_contain_text("No sessions yet")
        [question] = asked
        assert all(cloud.url.split("/")[2] in question for cloud in (place.cloud, other.cloud))
        assert other.cloud.seen == []
    assert "#" not in tab.url
    assert kept(tab)["api"] == place.cloud.url


@pytest.mark.long
def test_a_link_to_another_api_is_followed_by_who_agrees(tab: Page, place: Place):
    connect(tab, place)
    tab.once("dialog", lambda dialog: dialog.accept())
    tab.goto(f"{place.origin}/?again#api={place.cloud.url}/other&token=theirs")
    expect(tab.locator("#create")).to_be_visible()
    assert kept(tab) == {"api": f"{place.cloud.url}/other", "token": "theirs"}


@pytest.mark.long
@pytest.mark.own
def test_the_clouds_own_link_once_more_asks_nothing(tab: Page, place: Place):
    connect(tab, place)
    before = kept(tab)["token"]
    asked: list[str] = []
    tab.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    tab.goto(f"{place.origin}/?again#api={place.cloud.url}/&token={token(90)}")
    expect(tab.locator("#create [name=prompt]")).to_be_visible()
    assert asked == []
    assert kept(tab)["token"] not in {before, "token"}


@pytest.mark.long
def test_the_address_of_a_call_is_understood_and_bearer_left_out(tab: Page, place: Place):
    secret = token(3600)
    connect(tab, place, api=f"{place.cloud.url}/sessions/?limit=1", secret=f"Bearer {secret}")
    assert kept(tab) == {"api": place.cloud.url, "token": secret}
    assert sent_tokens(place) == {f"Bearer {secret}"}


@pytest.mark.long
def test_an_address_with_more_behind_it_says_what_is_wanted(tab: Page, place: Place):
    """A gateway answers other paths with what a page can't read."""
    answer = place.cloud.answer
    there = f"{place.cloud.url.rsplit('/', 1)[1]}/health"
    place.cloud.answer = lambda seen: (
        answer(seen) if seen.path.strip("/") == there else Reply(404, {}, hidden=True)
    )
    tab.goto(place.origin)
    tab.locator("#connect [name=api]").fill(f"{place.cloud.url}/v1")
    tab.locator("#connect [name=token]").fill(token(3600))
    tab.locator("#connect button.primary").click()
    field = tab.locator("#connect [name=api]")
    expect(field).to_have_accessible_description(re.compile("address of the API alone"))
    expect(field).to_have_value(f"{place.cloud.url}/v1")


@pytest.mark.long
def test_a_deletion_whose_answer_was_lost_is_one(tab: Page, place: Place):
    session = place.session(title="Old", script=good_session())
    place.open(tab, session)
    expect(tab.locator("#status")).to_have_text("ready")
    place.lose("DELETE", session.session_id)
    tab.once("dialog", lambda dialog: dialog.accept())
    tab.get_by_role("button", name="Delete").click()
    expect(tab.locator("#create")).to_be_visible()
    expect(tab.locator("#sessions a")).to_have_count(0)
    assert len(place.cloud.requests("DELETE", session.session_id)) == 2
    expect(tab.locator("#notice")).not_to_contain_text(re.compile("reach|no such", re.IGNORECASE))


@pytest.mark.long
@pytest.mark.own
def test_a_session_that_another_tab_deletes_goes_here_too(person: BrowserContext, place: Place):
    session = place.session(title="Shared", script=good_session())
    here, there = person.new_page(), person.new_page()
    place.open(here, session)
    expect(here.locator("#status")).to_have_text("ready")
    with place.cloud.watched(session):
        there.goto(f"{place.origin}/#{session.session_id}")
    there.once("dialog", lambda dialog: dialog.accept())
    there.get_by_role("button", name="Delete").click()
    expect(there.locator("#create")).to_be_visible()
    expect(here.locator("#notice")).to_contain_text("“Shared” was deleted")
    expect(here.locator("#create")).to_be_visible()
    expect(here.locator("#sessions a")).to_have_count(0)


@pytest.mark.long
def test_a_token_that_ends_in_the_middle_costs_neither_draft_nor_place(tab: Page, place: Place):
    session = place.session(title="Long", script=good_session())
    connect(tab, place)
    place.go(tab, session)
    expect(tab.locator("#status")).to_have_text("ready")
    tab.locator("#text").fill("what comes next")
    place.cloud.refuses = True
    place.tell(session, ("runner.disconnected", {}))
    tab.locator("#text").press("Enter")
    expect(tab.locator("#connect")).to_be_visible()
    expect(tab.locator("#notice")).to_contain_text(re.compile("refuse|expired"))
    place.cloud.refuses = False
    expect(tab.locator("#connect [name=api]")).to_have_value(place.cloud.url)
    tab.locator("#connect [name=token]").fill(token(7200))
    with place.cloud.watched(session):
        tab.locator("#connect button.primary").click()
    expect(tab.locator("#title")).to_have_text("Long")
    assert tab.url.endswith(f"#{session.session_id}")
    expect(tab.locator("#text")).to_have_value("what comes next")
