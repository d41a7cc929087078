"""What is made to do harm: links, texts and outputs that an agent or a stranger wrote."""

import re

import pytest
from fake_headstart import problem
from playwright.sync_api import Page, expect

from tests.page.looks import log_of, open_log
from tests.page.scripted import Place
from tests.page.told import RUNNING, ended, queued, said, started, used, written


@pytest.mark.long
@pytest.mark.parametrize("more", ["/publish?", "/initiate?", "/../../sessions/{}/interrupt?"])
def test_a_link_is_to_a_session_and_calls_nothing_else(tab: Page, place: Place, more: str):
    session = place.session(script=RUNNING)
    place.connect(tab)
    tab.evaluate("hash => { location.hash = hash }", session.session_id + more.format("x"))
    expect(tab.locator("#create")).to_be_visible()
    assert [seen.path for seen in place.cloud.seen if seen.method == "POST"] == []


AS_IS = re.compile("as it was written")

DEEP = {
    "quotes": ">" * 8000,
    "lists": "- " * 2000 + "x",
    "stars": "*" * 4000 + "a" + "*" * 3999,
}


@pytest.mark.long
@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_what_is_nested_too_deep_keeps_nobody_from_the_rest(tab: Page, place: Place, text: str):
    script = [*RUNNING, said("a", text), ended(1), queued(2, "second question"), started(2)]
    place.open(tab, place.session(script=[*script, said("b", "answer two"), ended(2)]))
    expect(log_of(tab)).to_contain_text("answer two")
    assert tab.locator("#conversation .user").count() == 2
    # It says so, and all of it is there.
    expect(log_of(tab)).to_contain_text(AS_IS)
    expect(log_of(tab).locator(".as-is")).to_have_text(text)


@pytest.mark.parametrize(
    ("many", "pieces"),
    [(50_000, 1), pytest.param(250_000, 40, marks=pytest.mark.long)],
    ids=["whole", "streamed"],
)
@pytest.mark.long
def test_a_line_that_nobody_reads_is_formatted_at_its_beginning_alone(
    tab: Page, place: Place, many: int, pieces: int
):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    whole = f"{'*x* ' * many}\n\nand **then**\n"
    size = -(-len(whole) // pieces)
    for at in range(0, len(whole), size):
        place.tell(session, written("a", at, whole[at : at + size]))
    place.tell(session, said("a", whole), ended(1))
    expect(log_of(tab).locator("strong")).to_have_text("then")
    expect(log_of(tab).locator(".prose .note")).to_have_text([AS_IS])
    expect(log_of(tab).locator(".open > *")).to_have_count(0)
    # 250 000 nodes are what takes a browser half a minute.
    assert 1_000 < log_of(tab).locator("em").count() < 20_000
    told = "[...document.querySelectorAll('.prose p:not(.note)')].map(n => n.textContent).join('')"
    shown = tab.evaluate(told).replace("*", "").replace(" ", "")
    # No comparison that would print it.
    assert len(shown) == many + len("andthen")
    assert shown.count("x") == many


@pytest.mark.long
def test_a_look_as_long_as_a_log_takes_no_time_and_no_text(tab: Page, place: Place):
    output = f"before \x1b[{'31;' * 130_000}1mafter"
    place.cloud.texts["log.1.clone"] = output
    script = [*RUNNING, used("t", "bash", "completed", output=output)]
    place.open(tab, place.session(script=script))
    tab.locator("#conversation summary").last.click()
    open_log(tab, "clone")
    shown = (tab.get_by_role("group", name="Output"), tab.get_by_role("region", name="Log of"))
    for node in shown:
        expect(node).to_contain_text("after")
        # No comparison that would print it.
        assert len(node.text_content() or "") == len("before after")


@pytest.mark.long
def test_a_colour_goes_on_from_piece_to_piece(tab: Page, place: Place):
    lines = "".join(f"line {n}\n" for n in range(5_000))
    output = f"plain\n\x1b[31m{lines}\x1b[0mend"
    place.open(tab, place.session(script=[*RUNNING, used("t", "bash", "completed", output=output)]))
    tab.locator("#conversation summary").last.click()
    printed = tab.get_by_role("group", name="Output")
    expect(printed.locator(".ansi-red-fg").last).to_contain_text("line 4999")
    pieces = printed.locator(".piece").count()
    assert pieces > 2
    assert printed.locator(".piece .ansi-red-fg").count() == pieces
    assert not printed.locator(".ansi-red-fg", has_text="end").count()


@pytest.mark.long
def test_all_that_a_tool_wrote_is_there_and_stays_as_it_was_while_it_prints_more(
    tab: Page, place: Place
):
    lines = [f"line {n}" for n in range(20_000)]
    given = {"filePath": "a", "content": "\n".join(lines)}
    script = [*RUNNING, used("t", "write", "running", input=given, output="begun\n")]
    session = place.session(script=script)
    place.open(tab, session)
    written = tab.get_by_role("group", name="Changed lines")
    tab.locator("#conversation summary").last.click()
    expect(written).to_contain_text("+line 19999")
    assert (written.text_content() or "").count("\n+") == len(lines) - 1
    printed = tab.get_by_role("group", name="Output")
    printed.evaluate("node => getSelection().selectAllChildren(node)")
    place.tell(session, used("t", "write", "running", input=given, output=f"begun\n{'x' * 9}"))
    expect(printed).to_contain_text("xxx")
    assert tab.evaluate("getSelection().toString()").startswith("begun")


@pytest.mark.long
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


@pytest.mark.long
def test_a_message_whose_answer_was_lost_goes_again_under_its_key(tab: Page, place: Place):
    # The same words of another time are not it.
    session = place.session(script=[*RUNNING, queued(2, "send me once")])
    place.open(tab, session)
    expect(log_of(tab)).to_contain_text("send me once")
    answer, lost = place.cloud.answer, problem(504, "Unavailable", "nobody answered")
    place.cloud.answer = lambda seen: (
        lost if seen.path.endswith("/messages") and seen.method == "POST" else answer(seen)
    )
    for _ in range(2):
        tab.locator("#text").fill("send me once")
        tab.locator("#message button").click()
        expect(tab.locator("#notice")).to_contain_text("nobody answered")
        tab.reload()
        expect(log_of(tab)).to_contain_text("send me once")
        expect(tab.locator("#text")).to_have_value("send me once")
    keys = {s.headers["idempotency-key"] for s in place.cloud.requests("POST", "/messages")}
    assert len(keys) == 1
