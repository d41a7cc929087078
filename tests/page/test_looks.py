"""Each state of the page: at 360 and 1440 px, dark and light, all in reach and readable."""

from playwright.sync_api import Page, expect
from session_scripts import good_session

from tests.page.looks import examine
from tests.page.scripted import Place


def test_the_forms(tab: Page, place: Place):
    tab.goto(place.origin)
    expect(tab.get_by_role("heading", name="Connect")).to_be_visible()
    examine(tab)
    tab.goto(place.link)
    expect(tab.locator("#create [name=prompt]")).to_be_visible()
    examine(tab)


def test_a_session_that_answers(tab: Page, place: Place):
    place.open(tab, place.session(script=good_session()))
    expect(tab.get_by_role("log")).to_contain_text("Hello, world.")
    examine(tab)
