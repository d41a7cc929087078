"""Text for people: what Markdown becomes while it streams, and what that costs."""

import random

import pytest
from playwright.sync_api import Page, expect

from headstart_local.page_server import VENDOR
from tests.page.scripted import Place
from tests.page.told import RUNNING, said

needs_libraries = pytest.mark.usefixtures("libraries")


@pytest.fixture
def libraries() -> None:
    """Fail where they are missing: left out, nobody would see that npm could not be reached."""
    assert (VENDOR / ".installed").exists(), "`make page` has not installed the libraries"


BLOCKS = [
    "# Heading\n",
    "## Two *words*\n\n",
    "A paragraph with **bold**\nand `code` in two lines.\n\n",
    "text\n",
    "- one\n- two\n  - nested\n",
    "- loose\n\n- items\n\n",
    "7. seven\n8. eight\n\n",
    "- [x] done\n- [ ] to do\n\n",
    "| a | b |\n|---|--:|\n| 1 | `x \\| y` |\n\n",
    "```python\nx = 1  # one\n\n- no list\n```\n",
    "~~~\ntilde\n~~~\n",
    "````\n```\ninner\n```\n````\n",
    "> quoted\n> twice\n\n",
    "---\n\n",
    "<b>html</b> & <div>\n\n",
    "Setext\n===\n\n",
    "    indented\n\n",
    "\n",
    "#not a heading\n",
    "שלום **עולם**\r\n\r\n",
]

DRAW = """async ([text, ends, slow]) => {
  const { Prose } = await import("./prose.js");
  await (await import("./markup.js")).decided;
  const node = document.createElement("div");
  const prose = new Prose(node);
  for (const end of ends) {
    prose.show(text.slice(0, end), false);
    if (slow) await new Promise((done) => setTimeout(done, 5));
  }
  prose.show(text, true);
  const open = node.querySelector(".open");
  const ended = () => node.textContent.includes("THE END") && !open.firstChild;
  while (!ended()) await new Promise((done) => setTimeout(done));
  await (await import("./libraries.js")).highlighter();
  await new Promise((done) => setTimeout(done));
  open.remove();
  return node;
}"""
HTML = f"async (given) => (await ({DRAW})(given)).innerHTML"


def draw(tab: Page, text: str, ends: list[int]) -> str:
    return draw_all(tab, [text], [ends])[0]


def draw_all(tab: Page, texts: list[str], ends: list[list[int]]) -> list[str]:
    """Return the HTML of texts that came in these pieces, side by side: most is waiting."""
    given = [[f"{text}\n\nTHE END", at, bool(at)] for text, at in zip(texts, ends, strict=True)]
    html: list[str] = tab.evaluate(f"(given) => Promise.all(given.map({HTML}))", given)
    return html


@pytest.fixture
def page(tab: Page, place: Place) -> Page:
    tab.goto(place.link)
    return tab


@pytest.mark.long
@needs_libraries
def test_a_line_that_goes_on_finishes_nothing(page: Page):
    text = "text\n#no heading\n\n1. a\n1.5 of it\n"
    assert draw(page, text, [len("text\n#")]) == draw(page, text, [])


@needs_libraries
@pytest.mark.long
def test_a_text_that_streams_ends_as_one_that_came_at_once(page: Page):
    chance = random.Random(12)
    texts = ["".join(chance.choices(BLOCKS, k=chance.randint(1, 12))) for _ in range(25)]
    ends = [sorted(chance.choices(range(len(text) + 1), k=chance.randint(1, 8))) for text in texts]
    once, streamed = draw_all(page, texts, [[]] * len(texts)), draw_all(page, texts, ends)
    for n, text in enumerate(texts):
        assert streamed[n] == once[n], (text, ends[n])


@pytest.mark.long
@needs_libraries
@pytest.mark.parametrize(
    ("line", "selector"),
    [
        ("- item {n} **b**\n", "li"),
        ("| {n} | b |\n", "td:first-child"),
        ("line {n}\n", "p"),
        ("x" * 400 + " {n}\n\n", "p"),
    ],
)
def test_a_block_that_is_longer_than_is_read_at_once_loses_nothing(
    page: Page, line: str, selector: str
):
    head = "| a | b |\n|---|---|\n" if line.startswith("|") else ""
    text = head + "".join(line.format(n=n) for n in range(1, 2001)) + "\nTHE END"
    read = f"async (given) => {{ const node = await ({DRAW})(given);"
    read += f' return [...node.querySelectorAll("{selector}")].map((one) => one.textContent); }}'
    told = " ".join(page.evaluate(read, [text, [9000, 20_000], True])).split()
    numbers = [int(word) for word in told if word.isdigit()]
    assert numbers == list(range(1, 2001))


@pytest.mark.long
@needs_libraries
@pytest.mark.parametrize("number", ["{n}.", "1.", "-"])
def test_numbers_of_a_long_list_go_on(page: Page, number: str):
    items = "".join(f"{number.format(n=n)} item number {n}\n" for n in range(1, 1001))
    read = f"async (given) => {{ const node = await ({DRAW})(given);"
    read += """ return [...node.querySelectorAll("ol, ul")].map((list) =>
      [list.start, [...list.children].map((item) => item.textContent.trim())]); }"""
    for ends in ([], [10, 300, 310, 9000, 20_000]):
        lists = page.evaluate(read, [items + "\nTHE END", ends, bool(ends)])
        assert len(lists) > 1
        told: list[str] = []
        for start, some in lists:
            assert start == (None if number == "-" else len(told) + 1)
            told += some
        assert told == [f"item number {n}" for n in range(1, 1001)]


@pytest.mark.long
@needs_libraries
def test_long_code_is_one_block_and_whole(page: Page):
    lines = [f"value_{n} = {n}" for n in range(3000)]
    text = "\n".join(["```python", *lines, "```", "", "THE END"])
    read = f"async (given) => {{ const node = await ({DRAW})(given);"
    read += """ return [...node.querySelectorAll("pre")].map((pre) =>
      [...pre.querySelectorAll(".piece")].map((piece) => piece.textContent).join("\\n")); }"""
    for ends in ([], [100, 9000, 9010, 30_000]):
        assert page.evaluate(read, [text, ends, True]) == ["\n".join(lines)]


@needs_libraries
@pytest.mark.long
def test_a_long_table_has_one_head_as_far_as_a_browser_lays_it_out_in_no_time(page: Page):
    rows = "".join(f"| {n} | **b** |\n" for n in range(6000))
    text = f"| a | b |\n|---|---|\n{rows}\nTHE END"
    read = f"async (given) => {{ const node = await ({DRAW})(given);"
    read += """ return [...node.querySelectorAll("table")].map(({ tHead, tBodies: [body] }) =>
      [tHead.textContent.replace(/\\s/g, ""), body.rows.length]); }"""
    for ends in ([], [14, 25, 9000, 9010, 30_000, 40_000]):
        tables = page.evaluate(read, [text, ends, bool(ends)])
        assert [head for head, _ in tables] == ["ab", "ab", "ab"]
        assert sum(many for _, many in tables) == 6000


EVIL = """[a](javascript:alert(1)) [b](data:text/html,x) [c](/relative) [d](https://example.com/x)
![pixel](https://example.com/p.png) <img src=x onerror=alert(1)> <a href=x id=api name=y>z</a>

<style>*{display:none}</style> <form action=x><input name=token></form>

```html" onclick="x
code
```
"""


@pytest.mark.long
@needs_libraries
def test_what_a_link_names_that_opens_nothing_from_here_is_seen(page: Page):
    text = "[it](src/a.py:3) [`a.py`](a.py) [on](#on) [**b**](https://example.com) ![p](c.png)"
    read = f"async (given) => (await ({DRAW})(given)).firstChild.firstChild.textContent"
    shown = page.evaluate(read, [f"{text}\n\nTHE END", [], False])
    assert shown == "it (src/a.py:3) a.py on b p (c.png)"


@needs_libraries
def test_what_comes_of_markdown_is_a_short_list_of_tags_and_attributes(page: Page):
    html = f"async (given) => {{ const node = await ({DRAW})(given);"
    html += """ return [...node.querySelectorAll("*")].map((one) =>
      [one.localName, ...[...one.attributes].map(({ name, value }) => `${name}=${value}`)]); }"""
    found = page.evaluate(html, [f"{EVIL}\n\nTHE END", [], False])
    tags = {tag for tag, *_ in found}
    assert tags <= {"p", "a", "div", "pre", "code", "span", "button"}
    links = [attributes for tag, *attributes in found if tag == "a"]
    assert links
    for attributes in links:
        assert any(attribute.startswith("href=") for attribute in attributes)
        names = {attribute.partition("=")[0] for attribute in attributes}
        assert names <= {"href", "rel", "target", "title"}
        for attribute in attributes:
            if attribute.startswith("href="):
                assert attribute.startswith("href=https://example.com/")
                assert "rel=noopener noreferrer" in attributes
                assert "target=_blank" in attributes
    names = {a.partition("=")[0] for _, *attributes in found for a in attributes}
    assert not {"id", "name", "style", "src", "onerror", "onclick"} & names


@pytest.mark.long
@needs_libraries
def test_no_level_of_headings_is_left_out(tab: Page, place: Place):
    text = "### A\n\n##### B\n\ntext\n\n## C\n\n### D\n\n# E\n\n## F\n"
    place.open(tab, place.session(script=[*RUNNING, said("a", text)]))
    headings = tab.locator(".prose").locator("h3, h4, h5, h6")
    expect(headings).to_have_text(["A", "B", "C", "D", "E", "F"])
    levels = [heading.evaluate("node => node.tagName") for heading in headings.all()]
    assert levels == ["H3", "H4", "H3", "H4", "H3", "H4"]


@pytest.mark.long
@pytest.mark.own
def test_without_the_libraries_a_text_is_shown_as_it_is(tab: Page, place: Place):
    tab.route("**/vendor/**", lambda route: route.fulfill(status=404))
    text = "# One\n\n**two** <b>three</b> \x1b[31mfour"
    output = {"kind": "tool", "partId": "t", "tool": "bash", "status": "completed"}
    script = [*RUNNING, said("a", text), ("agent.event", {**output, "output": "\x1b[31mred"})]
    place.open(tab, place.session(script=script))
    prose = tab.locator(".prose")
    expect(prose).to_contain_text("<b>three</b>")
    assert prose.inner_text().startswith("# One\n\n**two**")
    tab.get_by_role("log").locator("summary").click()
    expect(tab.get_by_role("group", name="Output")).to_have_text("red")


@pytest.mark.long
def test_a_long_output_is_whole(tab: Page, place: Place):
    lines = [f"line {n} " + "x" * (40_000 if n == 7 else n % 90) for n in range(3000)]
    given = {"kind": "tool", "partId": "t", "tool": "bash", "status": "completed"}
    script = [*RUNNING, ("agent.event", {**given, "output": "\n".join(lines)})]
    place.open(tab, place.session(script=script))
    printed = tab.get_by_role("log").locator("[aria-label=Output]")
    expect(printed).to_contain_text(lines[-1])
    # No comparison that would print it.
    assert (printed.text_content() == "\n".join(lines)) is True


@pytest.mark.long
@needs_libraries
def test_what_drives_a_terminal_is_no_text_wherever_it_is_cut(page: Page):
    text = "a \x1b[31mred\x1b[0m word\r\nand a \x1b]8;;https://example.com\x1b\\link\x1b]8;;\x1b\\."
    once = draw(page, text, [])
    assert "a red word\nand a link." in once
    for cut in range(1, len(text)):
        assert draw(page, text, [cut]) == once, text[:cut]


@pytest.mark.long
def test_thoughts_are_without_what_drives_a_terminal(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    for at, text in ((0, "a \x1b[3"), (5, "1mred\x1b[0m word")):
        thought = {"kind": "reasoning", "partId": "t", "offset": at, "text": text}
        place.tell(session, ("agent.delta", thought))
    log = tab.get_by_role("log")
    log.locator("summary").click()
    expect(log.locator("pre")).to_have_text("a red word")


@pytest.mark.long
@needs_libraries
def test_the_button_that_copies_lies_over_no_code(tab: Page, place: Place):
    place.open(tab, place.session(script=[*RUNNING, said("a", f"```\n{'x' * 400}\n```\n")]))
    tab.get_by_role("button", name="Copy").hover()
    button = tab.get_by_role("button", name="Copy").bounding_box()
    code = tab.get_by_role("log").locator("pre").bounding_box()
    assert button and code
    assert button["y"] + button["height"] <= code["y"]
