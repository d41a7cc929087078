"""What is made to do harm: links, texts and outputs that an agent or a stranger wrote."""

import re

import pytest
from fake_headstart import problem
from playwright.sync_api import Page, expect

from tests.page.looks import log_of
from tests.page.scripted import Place
from tests.page.told import RUNNING, ended, queued, said, started, used

pytestmark = pytest.mark.kept


@pytest.mark.parametrize("more", ["/publish?", "/initiate?", "/../../sessions/{}/interrupt?"])
def test_a_link_is_to_a_session_and_calls_nothing_else(tab: Page, place: Place, more: str):
    session = place.session(script=RUNNING)
    place.connect(tab)
    tab.evaluate("hash => { location.hash = hash }", session.session_id + more.format("x"))
    expect(tab.locator("#create")).to_be_visible()
    assert [seen.path for seen in place.cloud.seen if seen.method == "POST"] == []


DEEP = {
    "quotes": ">" * 8000,
    "lists": "- " * 2000 + "x",
    "stars": "*" * 4000 + "a" + "*" * 3999,
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_what_is_nested_too_deep_keeps_nobody_from_the_rest(tab: Page, place: Place, text: str):
    script = [*RUNNING, said("a", text), ended(1), queued(2, "second question"), started(2)]
    place.open(tab, place.session(script=[*script, said("b", "answer two"), ended(2)]))
    expect(log_of(tab)).to_contain_text("answer two")
    assert tab.locator("#conversation .user").count() == 2


def test_what_is_written_over_and_over_is_drawn_at_once(tab: Page, place: Place):
    output = "\r" * 60_000 + "last\r\r\nnext"
    place.open(tab, place.session(script=[*RUNNING, used("t", "bash", "completed", output=output)]))
    expect(log_of(tab)).to_contain_text("bash")
    tab.locator("#conversation summary").last.click()
    expect(log_of(tab)).to_contain_text(re.compile("last\nnext"))


def test_each_id_of_the_page_is_of_one_node(tab: Page, place: Place):
    place.connect(tab)
    ids = tab.evaluate("[...document.querySelectorAll('[id]')].map(node => node.id)")
    assert sorted(ids) == sorted(set(ids))


def test_a_message_whose_answer_was_lost_goes_again_under_its_key(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    answer, lost = place.cloud.answer, problem(504, "Unavailable", "nobody answered")
    place.cloud.answer = lambda seen: (
        lost if seen.path.endswith("/messages") and seen.method == "POST" else answer(seen)
    )
    for _ in range(2):
        tab.locator("#text").fill("send me once")
        tab.locator("#message button").click()
        expect(tab.locator("#notice")).to_contain_text("nobody answered")
        tab.reload()
        expect(tab.locator("#text")).to_have_value("send me once")
    keys = {s.headers["idempotency-key"] for s in place.cloud.requests("POST", "/messages")}
    assert len(keys) == 1
