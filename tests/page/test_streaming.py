"""What a streamed answer costs, counted: nodes made anew, selections lost, words announced."""

import pytest
from playwright.sync_api import Page, expect

from tests.page.looks import log_of
from tests.page.scripted import Place
from tests.page.told import RUNNING, ended, said, used, written

WATCH = """() => {
  const log = document.querySelector("[role=log]");
  window.counted = { removed: 0, added: 0 };
  const text = (nodes) => [...nodes].reduce((sum, node) => sum + node.textContent.length, 0);
  new MutationObserver((changes) => {
    for (const change of changes) {
      window.counted.removed += change.removedNodes.length;
      window.counted.added += text(change.addedNodes);
    }
  }).observe(log, { childList: true, subtree: true });
}"""

LINES = [f"- item {n} with `code` and **bold** words\n" for n in range(20)]
BLOCKS = [f"## Part {n}\n\n{''.join(LINES)}\n```python\nx = {n}\n```\n\n" for n in range(12)]


def stream(place: Place, session, blocks: list[str], at: int = 0) -> int:
    """Let an agent write, in pieces of the size that a runner sends."""
    for block in blocks:
        for start in range(0, len(block), 120):
            text = block[start : start + 120]
            place.tell(session, written("a", at, text))
            at += len(text)
    return at


@pytest.mark.long
def test_finished_blocks_are_never_made_again_and_a_selection_in_them_survives(
    tab: Page, place: Place
):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    at = stream(place, session, BLOCKS[:2])
    expect(log_of(tab).get_by_text("x = 1")).to_be_visible()
    first = log_of(tab).get_by_role("heading", name="Part 0").element_handle()
    tab.evaluate("node => getSelection().selectAllChildren(node)", first)
    tab.evaluate(WATCH)
    stream(place, session, BLOCKS[2:], at)
    expect(log_of(tab).get_by_text("x = 11")).to_be_visible()
    assert first.evaluate("node => node.isConnected")
    assert tab.evaluate("getSelection().toString()") == "Part 0"
    whole = "".join(BLOCKS)
    place.tell(session, said("a", whole), ended(1))
    expect(tab.locator("#status")).to_have_text("ready")
    assert first.evaluate("node => node.isConnected")
    assert tab.evaluate("getSelection().toString()") == "Part 0"
    expect(log_of(tab).get_by_role("heading")).to_have_count(12)
    counted = tab.evaluate("window.counted")
    # A block that is written may be drawn with each piece: a tenth of the answer, seven pieces.
    assert counted["added"] < 12 * len(whole), counted


@pytest.mark.long
def test_a_screen_reader_is_not_read_the_whole_answer_again_and_again(tab: Page, place: Place):
    """Text inside a live region is announced as it is added, unless the region is busy or off."""
    session = place.session(script=RUNNING)
    place.open(tab, session)
    tab.evaluate("""() => {
      window.announced = 0;
      new MutationObserver((changes) => {
        for (const { target, addedNodes } of changes) {
          const element = target.nodeType === 1 ? target : target.parentElement;
          const quiet = element.closest("[aria-live=off], [aria-busy=true]");
          if (quiet) continue;
          for (const node of addedNodes) window.announced += node.textContent.length;
        }
      }).observe(document.querySelector("[role=log]"), { childList: true, subtree: true });
    }""")
    stream(place, session, BLOCKS)
    expect(log_of(tab).get_by_text("x = 11")).to_be_visible()
    place.tell(session, said("a", "".join(BLOCKS)), ended(1))
    expect(tab.locator("#status")).to_have_text("ready")
    # Each block once when it is finished, and once when its code is coloured.
    assert tab.evaluate("window.announced") < 3 * len("".join(BLOCKS))


SELECT = """([selector, words]) => {
  const texts = document.createTreeWalker(document.querySelector(selector), NodeFilter.SHOW_TEXT);
  while (!texts.nextNode().data.includes(words));
  const at = texts.currentNode.data.indexOf(words);
  getSelection().setBaseAndExtent(texts.currentNode, at, texts.currentNode, at + words.length);
}"""

OPEN = {
    "a paragraph": ("some words ", "and more of them ", "\n\n"),
    "a list": ("- one\n- some words", " more\n- three\n- and", "\n\n"),
    "a long list": ("- some words\n", "- and\n" * 50, "- and\n" * 2000),
    "a table": ("| a | b |\n|---|---|\n| some words | 2 |\n", "| 3 | 4 |\n| 5 ", "| 6 |\n\n"),
    "a long table": (
        "| a | b |\n|---|---|\n| some words | 2 |\n",
        "| 3 | 4 |\n" * 50,
        "| 5 | 6 |\n" * 2000,
    ),
    "code": ("```python\nsome words = 1\n", "x = 2\ny", " = 3\n```\n\n"),
    "long code": ("```\nsome words\n", "x = 2\n" * 50, "x = 3\n" * 3000),
    "a long paragraph": ("some words\n", "and more\n" * 50, "and more\n" * 2000),
    "a quotation": ("> some words\n", "> more\n> and", "\n\n"),
}


@pytest.mark.long
@pytest.mark.parametrize(
    "block", [pytest.param(b, marks=pytest.mark.long) if b == "a long table" else b for b in OPEN]
)
def test_what_is_selected_in_what_is_being_written_stays_selected(
    tab: Page, place: Place, block: str
):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    at = 0
    for n, text in enumerate((*OPEN[block], "THE LAST\n\nTHE END")):
        place.tell(session, written("a", at, text))
        at += len(text)
        last = text.split()[-1] if text.strip() else "some words"
        expect(log_of(tab).locator(".prose")).to_contain_text(
            last.strip("`|") or "some words", use_inner_text=False
        )
        if n == 0:
            tab.evaluate(SELECT, [".prose", "some words"])
        assert tab.evaluate("getSelection().toString()") == "some words"
    place.tell(session, ended(1))
    expect(tab.locator("#status")).to_have_text("ready")
    assert tab.evaluate("getSelection().toString()") == "some words"


@pytest.mark.long
def test_who_reads_in_code_that_is_being_written_stays_there(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    code = "```\n" + "x = 1\n" * 200
    place.tell(session, written("a", 0, code))
    pre = log_of(tab).locator("pre")
    expect(pre).to_contain_text("x = 1")
    pre.evaluate("node => node.scrollTop = 300")
    place.tell(session, written("a", len(code), "```\n\nTHE\n\nEND\n\n"))
    expect(log_of(tab).locator(".open pre")).to_have_count(0)
    assert pre.evaluate("node => node.scrollTop") == 300


@pytest.mark.long
def test_who_reads_what_a_tool_prints_stays_there(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    printed = "some words\n" + "line\n" * 100
    place.open(tab, session)
    place.tell(session, used("t", "bash", "running", input={"command": "make"}, output=printed))
    log_of(tab).locator("summary").click()
    output = tab.get_by_role("group", name="Output")
    output.focus()
    output.evaluate("node => node.scrollTop = 300")
    tab.evaluate(SELECT, ["[aria-label=Output]", "some words"])
    more = printed + "\x1b[31mred\x1b[0m THE END"
    for status in "running", "completed":
        place.tell(session, used("t", "bash", status, input={"command": "make"}, output=more))
        expect(output).to_contain_text("THE END")
        assert output.evaluate("node => node.scrollTop") == 300
        assert tab.evaluate("getSelection().toString()") == "some words"
        expect(output).to_be_focused()


@pytest.mark.long
def test_a_long_answer_is_laid_out_in_stretches_and_goes_on_as_one(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    whole = "".join(f"paragraph {n}\n\n- a\n- b\n\n" for n in range(200))
    stream(place, session, [whole, "the last"])
    expect(log_of(tab)).to_contain_text("paragraph 199")
    # A browser looks at all that is beside a new block: a megabyte stopped it for minutes.
    beside = (
        log_of(tab)
        .locator(".prose, .prose *")
        .evaluate_all("nodes => Math.max(...nodes.map((node) => node.childElementCount))")
    )
    assert beside < 60
    shown = log_of(tab).locator(".prose p").all_text_contents()
    assert shown[:200] == [f"paragraph {n}" for n in range(200)]
