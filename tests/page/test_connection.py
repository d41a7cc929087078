"""Who is connected to what: wrong addresses and tokens, new tabs, links, lost connections."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from session_scripts import good_session

from tests.page import scripted
from tests.page.looks import log_of
from tests.page.scripted import Place
from tests.page.tokens import enter, token
from tests.page.told import RUNNING, asked_permission, asked_question, said

DEPLOYING = Path(__file__).parents[2] / "docs" / "deploy.md"


def wrong(tab: Page, name: str, words: str) -> None:
    """Expect a field of the form to say what is wrong with it, and to have the focus."""
    field = tab.locator(f"#connect [name={name}]")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile(words, re.IGNORECASE))
    expect(field).to_be_focused()


@pytest.mark.long
def test_an_expired_token_is_said_before_it_is_sent(tab: Page, place: Place):
    enter(tab, place, secret=token(-7200))
    wrong(tab, "token", "expired|ended")
    assert [seen for seen in place.cloud.seen if "authorization" in seen.headers] == []
    expect(tab.locator("#connect [name=api]")).to_have_value(place.cloud.url)


def test_a_refused_token_is_said_at_once_though_the_browser_hides_the_answer(
    tab: Page, place: Place
):
    place.cloud.refuses = True
    enter(tab, place)
    wrong(tab, "token", "refuse")
    expect(tab.locator("#connect [name=api]")).to_have_value(place.cloud.url)


@pytest.mark.long
def test_an_address_where_nobody_answers_is_said_and_kept(tab: Page, place: Place):
    place.cloud.unreachable = True
    enter(tab, place)
    wrong(tab, "api", "reach")
    expect(tab.locator("#connect [name=api]")).to_have_value(place.cloud.url)


@pytest.mark.long
@pytest.mark.own
def test_a_session_address_works_in_a_new_tab(person: BrowserContext, place: Place):
    session = place.session(title="Bookmarked", script=good_session())
    place.open(person.new_page(), session)
    other = person.new_page()
    other.goto(f"{place.origin}/#{session.session_id}")
    expect(other.locator("#title")).to_have_text("Bookmarked")


@pytest.mark.long
def test_after_connecting_the_link_is_honoured(tab: Page, place: Place):
    session = place.session(title="Linked", script=good_session())
    tab.goto(f"{place.origin}/#{session.session_id}")
    tab.locator("#connect [name=api]").fill(place.cloud.url)
    tab.locator("#connect [name=token]").fill(token(3600))
    tab.locator("#connect button.primary").click()
    expect(tab.locator("#title")).to_have_text("Linked")


@pytest.mark.long
def test_no_link_takes_the_token_elsewhere(tab: Page, place: Place):
    place.connect(tab)
    with scripted.place() as other:
        tab.goto(f"{place.origin}/#api={other.cloud.url}")
        expect(tab.locator("body")).to_be_visible()
        tab.reload()
        expect(tab.locator("#create, #connect").locator("visible=true")).to_have_count(1)
        assert not [seen for seen in other.cloud.seen if "authorization" in seen.headers]


@pytest.mark.long
@pytest.mark.own
def test_who_disconnects_leaves_nothing_that_was_typed_in_any_tab(
    person: BrowserContext, place: Place
):
    script = [*RUNNING, said("a", "only mine"), asked_question("q"), asked_permission("p")]
    session = place.session(title="only mine", script=script, left_out=["only mine"])
    first, second = person.new_page(), person.new_page()
    for tab in (first, second):
        place.connect(tab)
        tab.locator("#create [name=repo]").fill("org/secret")
        tab.locator("#create [name=prompt]").fill("only mine")
        tab.locator("#create summary").click()
        tab.locator("#more-secrets").click()
        tab.locator("#secrets input").first.fill("GIT_TOKEN")
        tab.locator("#secrets input").last.fill("hunter22")
        tab.evaluate("sessionStorage.setItem('draft ses_1', 'only mine')")
    place.open(first, session)
    expect(log_of(first).locator(".prose")).to_have_text("only mine")
    place.tell(session, ("work.changed", {"files": 3, "additions": 1, "deletions": 0}))
    expect(first.locator("#worked")).to_contain_text("3 files")
    first.locator("#naming").click()
    first.locator("#text").fill("only mine")
    first.locator("#disconnect").click()
    for tab in (first, second):
        expect(tab.locator("#connect")).to_be_visible()
        typed = "[...document.querySelectorAll('textarea, #create input')].map((f) => f.value)"
        assert set(tab.evaluate(f"{typed}.filter((value) => value !== 'on')")) == {""}
        assert tab.evaluate("sessionStorage.length") == 0
        left = "[document.title, document.body.innerHTML, [...document.body.textContent].join('')]"
        assert not [text for text in tab.evaluate(left) if "only mine" in text or "3 files" in text]


@pytest.mark.long
def test_what_was_said_of_a_lost_connection_goes_with_it(tab: Page, place: Place):
    session = place.session(script=good_session())
    place.open(tab, session)
    expect(tab.locator("#status")).to_have_text("ready")
    place.cut(session)
    expect(tab.locator("#session")).to_contain_text(re.compile("reconnecting", re.IGNORECASE))
    expect(tab.locator("body")).to_contain_text(re.compile("closed|lost|reach", re.IGNORECASE))
    with place.cloud.watched(session):
        place.cloud.unreachable = False
        tab.evaluate("dispatchEvent(new Event('online'))")
    expect(tab.locator("#status")).to_have_text("ready")
    expect(tab.locator("main")).not_to_contain_text(re.compile("reconnecting|can't be reached"))


@pytest.mark.long
@pytest.mark.own
def test_a_page_that_is_no_secure_context_works(tab: Page, place: Place):
    """Browsers have no crypto.randomUUID for http on another host than localhost."""
    tab.add_init_script("delete Crypto.prototype.randomUUID")
    place.cloud.next_session = place.session(script=good_session())
    place.connect(tab)
    tab.locator("#create [name=repo]").fill("org/name")
    tab.locator("#create [name=prompt]").fill("hello")
    tab.locator("#create button.primary").click()
    expect(tab.locator("#status")).to_have_text("ready")


@pytest.mark.long
def test_nobody_can_frame_the_page_and_who_hosts_it_is_told_how(tab: Page, place: Place):
    answer = tab.goto(place.origin)
    assert answer is not None
    forbidden = "frame-ancestors 'none'"
    assert forbidden in answer.headers["content-security-policy"]
    assert forbidden in DEPLOYING.read_text()


@pytest.mark.long
@pytest.mark.own
def test_who_has_no_scripts_is_told(person: BrowserContext, place: Place):
    plain = person.browser.new_context(java_script_enabled=False)
    try:
        tab = plain.new_page()
        tab.goto(place.origin)
        expect(tab.locator("noscript p")).to_be_visible()
    finally:
        plain.close()
