"""What becomes of what a person asks for where its answer is lost."""

import threading
from queue import Queue

import pytest
from fake_headstart import Reply, Seen, problem
from playwright.sync_api import Page, expect

from tests.page.scripted import Place
from tests.page.told import RUNNING, queued

TRIED = 20_000
"""Milliseconds within which a call is tried as often as it is tried."""

LOST = problem(504, "Unavailable", "nobody answered")


@pytest.mark.long
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


@pytest.mark.long
def test_a_late_answer_to_a_rename_leaves_a_later_one(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    answer, seen_later = place.cloud.answer, threading.Event()

    def late(seen: Seen) -> Reply:
        reply = answer(seen)
        if seen.method == "PATCH":
            place.tell(session, ("session.renamed", {"title": "Theirs"}))
            assert seen_later.wait(10)
        return reply

    place.cloud.answer = late
    tab.locator("#naming").click()
    tab.locator("#rename input").fill("Mine")
    tab.locator("#rename input").press("Enter")
    # The title is out of sight while it is changed.
    expect(tab.locator("#sessions a .name").first).to_have_text("Theirs")
    seen_later.set()
    expect(tab.locator("#title")).to_be_visible()
    expect(tab.locator("#title")).to_have_text("Theirs")


@pytest.mark.long
def test_that_an_answer_takes_long_is_said_until_it_comes(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    answer, told = place.cloud.answer, threading.Event()

    def slow(seen: Seen) -> Reply:
        if seen.method == "POST" and seen.path.endswith("/messages"):
            assert told.wait(20)
        return answer(seen)

    place.cloud.answer = slow
    tab.locator("#text").fill("hello")
    tab.locator("#text").press("Enter")
    expect(tab.locator("#notice")).to_contain_text("no answer has come yet")
    told.set()
    expect(tab.locator("#text")).to_have_value("")
    expect(tab.locator("#notice")).to_be_hidden()


@pytest.mark.long
def test_who_is_back_in_a_network_asks_at_once_whether_the_cloud_is_there(tab: Page, place: Place):
    pings: Queue[int] = Queue()
    place.cloud.on_ping = pings.put
    place.open(tab, place.session(script=RUNNING))
    pings.get(timeout=10)
    tab.evaluate("dispatchEvent(new Event('online'))")
    # The next would come after half a minute.
    pings.get(timeout=10)


@pytest.mark.long
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


@pytest.mark.long
@pytest.mark.own
def test_that_nobody_is_there_is_not_said_any_more_once_somebody_is(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    for path in ("messages", "health"):
        tab.route(f"**/{path}", lambda route: route.abort())
    tab.locator("#text").fill("AAA")
    tab.locator("#text").press("Enter")
    notice = tab.locator("#notice")
    expect(notice).to_contain_text("can't be reached", timeout=TRIED)
    tab.unroute("**/messages")
    place.tell(session, ("session.renamed", {"title": "Another"}))
    expect(notice).to_contain_text("can be reached again")
    expect(tab.locator("#text")).to_have_value("AAA")
    with tab.expect_response("**/messages"):
        tab.locator("#text").press("Enter")
    expect(notice).to_be_hidden()
    assert [seen.body for seen in place.cloud.requests("POST", "/messages")] == [{"prompt": "AAA"}]


def keys(place: Place) -> list[str]:
    """Return the Idempotency-Keys of all messages that were sent, in their order."""
    return [s.headers["idempotency-key"] for s in place.cloud.requests("POST", "/messages")]


def lose_messages(place: Place, *, arrive: bool) -> None:
    """Have the answers to all messages lost, and the messages too unless they arrive."""
    answer = place.cloud.answer

    def losing(seen: Seen) -> Reply:
        if seen.method != "POST" or not seen.path.endswith("/messages"):
            return answer(seen)
        if arrive:
            answer(seen)
        return LOST

    place.cloud.answer = losing


def test_a_message_that_arrived_without_an_answer_is_sent(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    lose_messages(place, arrive=True)
    for _ in range(2):
        tab.locator("#text").fill("continue")
        with tab.expect_response("**/messages"):
            tab.locator("#text").press("Enter")
        expect(tab.locator("#text")).to_have_value("")
        expect(tab.locator("#message button")).to_be_enabled()
    assert len(set(keys(place))) == 2


@pytest.mark.long
def test_a_message_that_arrives_after_it_failed_leaves_the_field(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    lose_messages(place, arrive=False)
    tab.locator("#text").fill("continue")
    tab.locator("#text").press("Enter")
    expect(tab.locator("#notice")).to_contain_text("nobody answered")
    place.tell(session, queued(2, "continue"))
    expect(tab.locator("#text")).to_have_value("")
    tab.locator("#text").fill("continue")
    with tab.expect_response("**/messages"):
        tab.locator("#text").press("Enter")
    assert len(set(keys(place))) == 2


@pytest.mark.long
def test_the_same_words_after_the_field_was_emptied_are_another_message(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    lose_messages(place, arrive=False)
    for text in ("continue", "", "continue"):
        tab.locator("#text").fill(text)
        if text:
            with tab.expect_response("**/messages"):
                tab.locator("#text").press("Enter")
            expect(tab.locator("#notice")).to_contain_text("nobody answered")
            expect(tab.locator("#message button")).to_be_enabled()
    assert len(set(keys(place))) == 2


@pytest.mark.long
def test_a_message_that_was_withdrawn_without_an_answer_is(tab: Page, place: Place):
    session = place.session(script=[*RUNNING, queued(2, "second question")])
    place.open(tab, session)
    answer = place.cloud.answer

    def losing(seen: Seen) -> Reply:
        done = answer(seen)
        return LOST if seen.method == "DELETE" else done

    place.cloud.answer = losing
    withdraw = tab.get_by_role("button", name="Withdraw")
    expect(withdraw).to_be_visible()
    with tab.expect_response("**/messages/msg_2"):
        withdraw.click()
    expect(withdraw).to_be_hidden()
    # Whatever follows the answer is done before what is asked for now.
    with tab.expect_response("**/sessions?*"):
        tab.evaluate("dispatchEvent(new Event('online'))")
    expect(tab.locator("#notice")).to_be_hidden()


FULL = "Storage.prototype.setItem = () => { throw new Error('full'); }"
REFUSED = """for (const name of ["localStorage", "sessionStorage"])
  Object.defineProperty(window, name, { get() { throw new Error("refused"); } });"""


@pytest.mark.long
@pytest.mark.own
@pytest.mark.parametrize("storage", [FULL, REFUSED], ids=["full", "refused"])
def test_a_tab_that_can_keep_nothing_does_all_the_same(tab: Page, place: Place, storage: str):
    tab.add_init_script(storage)
    session, other = place.session(script=RUNNING), place.session(script=RUNNING)
    place.open(tab, session)
    expect(tab.locator("#status")).to_have_text("running")
    tab.locator("#text").fill("more")
    place.go(tab, other)
    expect(tab.locator("#text")).to_have_value("")
    place.go(tab, session)
    expect(tab.locator("#text")).to_have_value("more")
    tab.locator("#text").press("Enter")
    expect(tab.locator("#text")).to_have_value("")
    expect(tab.locator("#notice")).to_be_hidden()
    assert len(place.cloud.requests("POST", "/messages")) == 1
    tab.locator("#disconnect").click()
    expect(tab.locator("#connect")).to_be_visible()
