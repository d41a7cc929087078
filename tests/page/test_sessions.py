"""The list of sessions: all of them, found, told apart, and quiet while it is refreshed."""

import re

import pytest
from playwright.sync_api import Page, expect
from session_scripts import good_session

from tests.page.looks import DESK, PHONE
from tests.page.scripted import Place
from tests.page.told import RUNNING, ended

NOTHING = re.compile("no session|nothing", re.IGNORECASE)

EVERY = 10_000
"""Milliseconds within which the list is refreshed."""


@pytest.mark.long
def test_a_phone_shows_many_sessions_without_growing_wide(tab: Page, place: Place):
    for n in range(20):
        place.session(title=f"session number {n}")
    tab.set_viewport_size(PHONE)
    place.connect(tab)
    expect(tab.locator("#sessions")).to_contain_text("session number 0")
    assert tab.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    tab.get_by_role("button", name="New session").click()
    tab.set_viewport_size(DESK)


CUT = """row => {
  const box = (node) => node.getBoundingClientRect();
  const all = box(row);
  const parts = [...row.querySelectorAll(".is, .of, .when")].map(box);
  const out = ({ left, right, bottom }) =>
    left < all.left || right > all.right || bottom > all.bottom;
  return parts.filter((part) => out(part) || part.width < 40).length;
}"""
"""How many of a row's parts are out of it or too narrow to be read."""


@pytest.mark.long
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_all_that_a_row_says_is_in_it(tab: Page, place: Place, size):
    for n in range(3):
        place.session(title=f"session number {n}", status="prepared")
    waits = {"status": "asleep", "queue": [{"messageId": "m", "status": "held", "text": "x"}]}
    place.session(title="waits", **waits)
    place.connect(tab)
    tab.set_viewport_size(size)
    rows = tab.locator("#sessions a")
    expect(rows).to_have_count(4)
    assert [row.evaluate(CUT) for row in rows.all()] == [0] * 4
    tab.set_viewport_size(DESK)


@pytest.mark.long
def test_the_focus_goes_on_to_what_older_ones_begin_with(tab: Page, place: Place):
    for n in range(25):
        place.session(title=f"session number {n}")
    place.connect(tab)
    more = tab.get_by_role("button", name="Show older ones")
    more.press("Enter")
    expect(more).to_be_hidden()
    expect(tab.locator("#sessions a").nth(20)).to_be_focused()


@pytest.mark.long
def test_all_sessions_can_be_reached(tab: Page, place: Place):
    for n in range(130):
        place.session(title=f"session number {n}")
    place.connect(tab)
    links = tab.locator("#sessions a")
    more = tab.get_by_role("button", name="Show older ones")
    expect(links.first).to_be_visible()
    while (had := links.count()) < 130:
        more.click()
        expect(links.nth(had)).to_be_attached()
    expect(more).to_be_hidden()


def test_sessions_are_searched_for_in_the_cloud(tab: Page, place: Place):
    place.session(title="Mend the parser")
    place.session(title="Write a test")
    place.connect(tab)
    box = tab.get_by_role("searchbox")
    box.fill("mend parser")
    expect(tab.locator("#sessions a")).to_have_count(1)
    expect(tab.locator("#sessions")).to_contain_text("Mend the parser")
    with tab.expect_response("**/sessions?*search=nothing*"):
        box.fill("nothing like it")
    expect(tab.locator("#sessions a")).to_have_count(0)
    expect(tab.get_by_label("Sessions", exact=True)).to_contain_text(NOTHING)


@pytest.mark.long
def test_a_list_says_what_its_sessions_are(tab: Page, place: Place):
    session = place.session(title="Old one", status="failed")
    asked = {"requestId": "r", "kind": "question", "body": {}}
    place.session(title="Asks", status="running", pending_inputs=[asked])
    place.connect(tab)
    old = tab.locator(f"#sessions a[href='#{session.session_id}']")
    # The fake's sessions are of 2 January 2026, which is never today.
    expect(old).to_contain_text(re.compile("2 Jan|Jan 2|02/01|2026-01-02"))
    expect(tab.locator("#sessions")).to_contain_text(re.compile("waits for you", re.IGNORECASE))


@pytest.mark.long
def test_an_empty_list_says_what_to_do_and_a_failing_one_why(tab: Page, place: Place):
    place.connect(tab)
    expect(tab.get_by_label("Sessions", exact=True)).to_contain_text(NOTHING)
    place.cloud.unreachable = True
    tab.reload()
    expect(tab.get_by_label("Sessions", exact=True)).to_contain_text(re.compile("reach"))


@pytest.mark.long
@pytest.mark.own
def test_a_refresh_moves_no_focus_makes_no_node_anew_and_asks_for_no_steps(tab: Page, place: Place):
    tab.clock.install()
    sessions = [place.session(title=f"session number {n}") for n in range(5)]
    place.connect(tab)
    links = tab.locator("#sessions a")
    expect(links).to_have_count(5)
    first = links.first.element_handle()
    links.nth(2).focus()
    focused = tab.evaluate("document.activeElement.href")
    sessions[0].title = "renamed elsewhere"
    with tab.expect_response("**/sessions?*") as listing:
        tab.clock.fast_forward(EVERY)
    assert "steps" not in listing.value.text()
    expect(tab.locator("#sessions")).to_contain_text("renamed elsewhere")
    assert tab.evaluate("document.activeElement.href") == focused
    assert first.evaluate("node => node.isConnected")


@pytest.mark.long
def test_list_and_pill_say_the_same(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    link = tab.locator(f"#sessions a[href='#{session.session_id}']")
    expect(tab.locator("#status")).to_have_text("running")
    expect(link).to_contain_text("running")
    place.tell(session, ended(1))
    expect(tab.locator("#status")).to_have_text("ready")
    expect(link).to_contain_text("ready")


@pytest.mark.long
def test_a_session_is_renamed_in_place(tab: Page, place: Place):
    session = place.session(title="Say hello", script=good_session())
    place.open(tab, session)
    tab.get_by_role("button", name=re.compile("rename", re.IGNORECASE)).click()
    box = tab.locator("#session header").get_by_role("textbox")
    box.fill("Better words")
    box.press("Enter")
    expect(tab.locator("#title")).to_contain_text("Better words")
    expect(tab.locator("#sessions")).to_contain_text("Better words")
    assert place.cloud.requests("PATCH", session.session_id)[0].body == {"title": "Better words"}


@pytest.mark.long
def test_a_session_that_is_deleted_elsewhere_is_told_in_a_sentence(tab: Page, place: Place):
    session = place.session(title="Say hello", script=good_session())
    place.open(tab, session)
    expect(tab.locator("#status")).to_have_text("ready")
    del place.cloud.sessions[session.session_id]
    place.tell(session, ("session.deleted", {}))
    expect(tab.locator("main")).to_contain_text(re.compile("deleted", re.IGNORECASE))


TURNED = "a \u202eb"


@pytest.mark.long
def test_what_turns_a_title_is_seen_wherever_it_is_told(tab: Page, place: Place):
    session = place.session(title=TURNED, script=RUNNING)
    place.open(tab, session)
    shown = r"a \u202eb"
    expect(tab.locator("#title")).to_have_text(shown)
    row = tab.locator("#sessions a")
    expect(row.locator(".name")).to_have_text(shown)
    assert (row.get_attribute("title") or "").startswith(shown)
    expect(tab).to_have_title(re.compile(re.escape(shown)))


DOTS = """row => {
  const edge = row.querySelector(".name").getBoundingClientRect().left;
  return [...row.querySelectorAll("small span:not(:empty)")].map((part) => {
    const dot = getComputedStyle(part, "::before");
    const { left } = part.getBoundingClientRect();
    const seen = dot.content.includes("·") && left + parseFloat(dot.left) >= edge;
    const range = document.createRange();
    range.selectNodeContents(part);
    return [Math.round(range.getBoundingClientRect().left - edge), seen];
  });
}"""
"""How far from the beginning of its line each part is, and whether a dot is seen before it."""


@pytest.mark.long
@pytest.mark.parametrize("width", [360, 1440])
def test_no_line_of_the_list_begins_with_a_dot(tab: Page, place: Place, width: int):
    place.session(title="A title", status="prepared", queue=[{"messageId": "msg_1"}])
    place.connect(tab)
    tab.set_viewport_size({"width": width, "height": 800})
    row = tab.locator("#sessions a")
    expect(row.locator(".when")).to_be_visible()
    parts = row.evaluate(DOTS)
    tab.set_viewport_size(DESK)
    assert parts[0] == [0, False]
    for left, dot in parts:
        assert left >= 0
        assert dot == (left > 0), parts
