"""Who is taken along to the end of a conversation, and who is left where they read."""

import re
import threading

import pytest
from fake_headstart import Reply, Seen
from playwright.sync_api import Page, expect

from tests.page.browser import PATIENCE
from tests.page.looks import log_of
from tests.page.scripted import Place
from tests.page.told import RUNNING, ended, queued, said, used

SCROLLS_UP_AT_ONCE = """words => {
  const log = document.querySelector("[role=log]");
  const seen = new MutationObserver(() => {
    if (!log.textContent.includes(words)) return;
    seen.disconnect();
    log.scrollTop = 0;
  });
  seen.observe(log, { childList: true, subtree: true });
}"""
"""Before the browser tells anybody that the page itself went to the end."""

SHRINKS_ABOVE_AND_GROWS_BELOW = """async () => {
  const log = document.querySelector("[role=log]");
  const all = [...log.querySelectorAll("p")].filter((one) => one.textContent.startsWith("para"));
  for (const one of all.slice(0, 20)) one.hidden = true;
  all.at(-1).style.paddingBottom = "200px";
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""


def test_who_reads_above_is_left_there_and_can_jump_to_the_end(tab: Page, place: Place):
    long = "\n\n".join(f"paragraph {n}" for n in range(200))
    session = place.session(script=[*RUNNING, said("a", long)])
    place.connect(tab)
    tab.evaluate(SCROLLS_UP_AT_ONCE, "paragraph 199")
    place.go(tab, session)
    expect(log_of(tab)).to_contain_text("paragraph 199")
    place.tell(session, said("b", "the very end"), ended(1))
    expect(log_of(tab)).to_contain_text("the very end")
    expect(tab.locator("#status")).to_have_text("ready")
    assert tab.evaluate("document.querySelector('[role=log]').scrollTop") == 0
    tab.get_by_role("button", name=re.compile("to the end", re.IGNORECASE)).click()
    expect(tab.get_by_text("the very end")).to_be_in_viewport()


def test_who_scrolls_up_a_little_is_left_there_until_they_come_down_again(tab: Page, place: Place):
    long = "\n\n".join(f"paragraph {n}" for n in range(200))
    session = place.session(script=[*RUNNING, said("a", long)])
    place.open(tab, session)
    expect(tab.get_by_text("paragraph 199")).to_be_in_viewport()
    jump = tab.get_by_role("button", name=re.compile("to the end", re.IGNORECASE))
    log_of(tab).hover()
    tab.mouse.wheel(0, -20)
    # It goes there in steps.
    tab.wait_for_function(
        "node => node.scrollHeight - node.scrollTop - node.clientHeight >= 20",
        arg=log_of(tab).element_handle(),
    )
    expect(jump).to_be_visible()
    there = log_of(tab).evaluate("node => node.scrollTop")
    place.tell(session, said("b", "a word"), said("c", "another"))
    expect(log_of(tab)).to_contain_text("another")
    assert log_of(tab).evaluate("node => node.scrollTop") == there
    tab.mouse.wheel(0, 9999)
    expect(jump).to_be_hidden()
    place.tell(session, said("d", long), said("e", "the very end"))
    expect(tab.get_by_text("the very end")).to_be_in_viewport()


@pytest.mark.long
def test_who_waits_for_the_rest_of_a_text_is_left_at_its_beginning(tab: Page, place: Place):
    long = "\n\n".join(f"paragraph {n}" for n in range(200))
    script = [*RUNNING, said("a", long), queued(2, "The beginning", textBytes=5000)]
    session = place.session(script=script)
    place.cloud.whole["msg_2"] = "The beginning\n" + "and more\n" * 500 + "the rest"
    answer, drawn = place.cloud.answer, threading.Event()

    def late(seen: Seen) -> Reply:
        if seen.path.endswith("/messages"):
            drawn.wait(PATIENCE)
        return answer(seen)

    place.cloud.answer = late
    place.open(tab, session)
    tab.get_by_role("button", name=re.compile("Show the rest")).click()
    place.tell(session, said("b", "what came meanwhile"))
    expect(tab.get_by_text("what came meanwhile")).to_be_in_viewport()
    drawn.set()
    expect(log_of(tab)).to_contain_text("the rest")
    expect(tab.get_by_text("what came meanwhile")).to_be_in_viewport()


@pytest.mark.long
def test_what_shrinks_above_takes_nobody_from_the_end(tab: Page, place: Place):
    long = "\n\n".join(f"paragraph {n}" for n in range(200))
    session = place.session(script=[*RUNNING, said("a", long)])
    place.open(tab, session)
    expect(tab.get_by_text("paragraph 199")).to_be_in_viewport()
    tab.evaluate(SHRINKS_ABOVE_AND_GROWS_BELOW)
    place.tell(session, said("b", "the very end"))
    expect(tab.get_by_text("the very end")).to_be_in_viewport()


@pytest.mark.long
def test_the_way_to_the_end_is_offered_where_the_end_is_out_of_sight(tab: Page, place: Place):
    short = used("s", "bash", "completed", title="short", output="one line")
    long = used("l", "bash", "completed", title="long", output="line\n" * 500)
    session = place.session(script=[*RUNNING, short, long])
    place.open(tab, session)
    jump = tab.get_by_role("button", name=re.compile("to the end", re.IGNORECASE))
    opened = log_of(tab).locator("details[open]")
    log_of(tab).locator("summary", has_text="short").click()
    expect(opened).to_have_count(1)
    place.tell(session, said("a", "what came then"))
    expect(tab.get_by_text("what came then")).to_be_in_viewport()
    expect(jump).to_be_hidden()
    # What fits no more stays where it was opened.
    paragraphs = "\n\n".join(f"paragraph {n}" for n in range(30))
    place.tell(session, said("b", paragraphs))
    expect(tab.get_by_text("paragraph 29")).to_be_in_viewport()
    summary = log_of(tab).locator("summary", has_text="long")
    summary.scroll_into_view_if_needed()
    summary.click()
    expect(opened).to_have_count(2)
    expect(jump).to_be_visible()
    jump.click()
    expect(jump).to_be_hidden()
    expect(tab.get_by_text("paragraph 29")).to_be_in_viewport()
