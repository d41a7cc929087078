"""What becomes of what a person asks for where its answer is lost."""

from fake_headstart import Reply, Seen, problem
from playwright.sync_api import Page, expect

from tests.page.scripted import Place
from tests.page.told import RUNNING

LOST = problem(504, "Unavailable", "nobody answered")


def test_what_is_written_while_a_message_is_tried_again_waits(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    answer = place.cloud.answer
    busy = problem(503, "Unavailable", "busy", retryable=True)

    def refusing(seen: Seen) -> Reply:
        sends = seen.method == "POST" and seen.path.endswith("/messages")
        return busy if sends and seen.body["prompt"] == "AAA" else answer(seen)

    place.cloud.answer = refusing
    with tab.expect_request("**/messages"):
        tab.locator("#text").fill("AAA")
        tab.locator("#text").press("Enter")
    # What happens meanwhile unlocks nothing.
    place.tell(session, ("session.renamed", {"title": "Another"}))
    expect(tab.locator("#title")).to_have_text("Another")
    tab.locator("#text").fill("BBB")
    tab.locator("#text").press("Enter")
    expect(tab.locator("#message button")).to_be_disabled()
    expect(tab.locator("#notice")).to_contain_text("busy")
    expect(tab.locator("#text")).to_have_value("BBB")
    sent = [seen.body["prompt"] for seen in place.cloud.requests("POST", "/messages")]
    assert set(sent) == {"AAA"}


def test_what_a_person_asked_for_in_vain_stays_said(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    answer = place.cloud.answer
    place.cloud.answer = lambda seen: Reply(0) if seen.path.endswith("/interrupt") else answer(seen)
    tab.get_by_role("button", name="Stop").click()
    expect(tab.locator("#notice")).to_contain_text("No answer came")
    with tab.expect_response("**/sessions?*"):
        tab.evaluate("dispatchEvent(new Event('online'))")
    place.tell(session, ("session.renamed", {"title": "Another"}))
    expect(tab.locator("#title")).to_have_text("Another")
    expect(tab.locator("#notice")).to_contain_text("No answer came")
