"""What the agent writes and does, for people: Markdown, tools, colours, whole however long."""

import json
import re

import pytest
from fake_headstart import FakeSession
from playwright.sync_api import Locator, Page, expect

from tests.page.looks import log_of
from tests.page.scripted import Place
from tests.page.told import RUNNING, ended, erred, said, used, written

EVIL = """<script>window.evil = 1</script> <img src=x onerror="window.evil = 1">
[click](javascript:window.evil=1) ![](https://example.com/pixel.png) `<b>`
<a id=title name=title href="https://example.com" style="position:fixed" onclick="x()">in</a>"""


@pytest.mark.long
@pytest.mark.own
def test_what_an_agent_writes_runs_nowhere(tab: Page, place: Place):
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    place.open(tab, answering(place, EVIL, title=EVIL))
    expect(log_of(tab)).to_contain_text("<b>")
    assert not [url for url in asked if "example.com" in url]
    assert tab.evaluate("window.evil") is None
    forbidden = "script, img, [onerror], [onclick], [style], [id], a[href^=javascript]"
    assert log_of(tab).locator(forbidden).count() == 0


def answering(place: Place, text: str, **told: object) -> FakeSession:
    """Put a session there that answered with a text."""
    turn = [*RUNNING, said("a", text), ended(1)]
    return place.session(script=turn, **told)


MARKDOWN = """# One
## Two
See [the manual](https://example.com/manual) and https://example.com/bare,
*emphasis* and ~~struck~~.

1. first
2. second
   - nested
3. third

- [x] done
- [ ] open

| left | right |
|:-----|------:|
| a \\| b | 2 |

````
```
inner
```
````

```python
def main() -> None:
    return None
```

~~~
tilde
~~~

---
"""


@pytest.fixture
def shown(tab: Page, place: Place) -> Locator:
    place.open(tab, answering(place, MARKDOWN))
    expect(log_of(tab)).to_contain_text("tilde")
    return log_of(tab)


@pytest.mark.long
def test_links_are_links_and_give_nothing_away(shown: Locator):
    for link in (shown.get_by_role("link", name="the manual"), shown.locator("a[href*=bare]")):
        expect(link).to_have_attribute("target", "_blank")
        expect(link).to_have_attribute("rel", re.compile("noopener"))


@pytest.mark.long
def test_lists_nest_and_go_on_counting(shown: Locator):
    expect(shown.locator("ol > li")).to_have_count(3)
    expect(shown.locator("ol li ul li")).to_have_text("nested")
    expect(shown.locator("li", has_text="done")).to_have_text("☑ done")
    expect(shown.locator("li", has_text="open")).to_have_text("☐ open")


@pytest.mark.long
def test_words_are_marked_and_headings_differ(shown: Locator):
    expect(shown.locator("em")).to_have_text("emphasis")
    expect(shown.locator("del, s")).to_have_text("struck")
    sizes = [
        heading.evaluate("node => getComputedStyle(node).fontSize")
        for heading in shown.get_by_role("heading").all()
    ]
    assert len(set(sizes)) == 2
    expect(shown.locator("hr")).to_have_count(1)


@pytest.mark.long
def test_tables_align_and_keep_their_bars(shown: Locator):
    expect(shown.locator("td").first).to_have_text("a | b")
    align = "node => getComputedStyle(node).textAlign"
    assert shown.locator("td").nth(1).evaluate(align) in {"right", "end"}


@pytest.mark.long
def test_code_is_whole_coloured_copied_and_scrolled_by_keys(shown: Locator):
    blocks = shown.locator("pre")
    expect(blocks).to_have_count(3)
    expect(blocks.first).to_contain_text("```\ninner\n```")
    expect(blocks.nth(1).locator("[class^=hljs]").first).to_be_attached()
    tab = shown.page
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    shown.get_by_role("button", name=re.compile("copy", re.IGNORECASE)).nth(1).click()
    tab.wait_for_function(
        "() => navigator.clipboard.readText().then((text) => text.startsWith('def main'))"
    )
    for block in blocks.all():
        assert block.evaluate(
            "node => !!node.closest('[tabindex=\"0\"]') || !!node.querySelector('[tabindex=\"0\"]')"
        )


def test_a_streamed_answer_is_not_replaced_by_less(tab: Page, place: Place):
    lines = [f"line {n:04} of an answer that is long\n\n" for n in range(1_000)]
    whole = "".join(lines)
    session = place.session(script=RUNNING)
    place.open(tab, session)
    at = 0
    for start in range(0, len(lines), 100):
        text = "".join(lines[start : start + 100])
        place.tell(session, written("a", at, text))
        at += len(text)
    expect(log_of(tab)).to_contain_text("line 0999")
    place.cloud.texts["part.a"] = whole
    kept = {"textBytes": len(whole), "textRef": "part.a"}
    place.tell(session, said("a", whole[:20_000], **kept), ended(1))
    expect(tab.locator("#status")).to_have_text("ready")
    expect(log_of(tab)).to_contain_text("line 0999")
    assert log_of(tab).inner_text().count("line 0001 ") == 1
    with place.cloud.watched(session):
        tab.reload()
    expect(log_of(tab)).to_contain_text("line 0100 ")
    tab.get_by_role("button", name=re.compile("show the rest", re.IGNORECASE)).click()
    expect(log_of(tab)).to_contain_text("line 0999")
    assert log_of(tab).inner_text().count("line 0001 ") == 1


@pytest.mark.long
def test_what_a_turn_failed_with_and_a_tool_was_given_is_shown_whole(tab: Page, place: Place):
    reason = "".join(f"frame {n:04}\n" for n in range(1_000))
    given = {"command": f"cat > a <<E\n{reason}E"}
    place.cloud.texts |= {"in.a": json.dumps(given), "er.a": reason, "why.a": f"It said: {reason}"}
    cut = {"command": "cat > a"}
    kept = {"inputBytes": len(json.dumps(given)), "inputRef": "in.a"}
    why = {"textBytes": len(reason) + 9, "textRef": "why.a", "code": "AgentRefused"}
    turn = [
        *RUNNING,
        used("a", "bash", "running", input=cut, **kept),
        used("a", "bash", "completed", input=cut, **kept),
        erred("e", reason[:5_000], textBytes=len(reason), textRef="er.a"),
        ended(1, "failed", reason=f"It said: {reason[:4_000]}", **why),
    ]
    place.open(tab, place.session(script=turn))
    rest = tab.get_by_role("button", name=re.compile("show the rest", re.IGNORECASE))
    expect(log_of(tab)).to_contain_text("The turn failed: It said: frame 0000")
    log_of(tab).locator("summary").last.click()
    expect(rest).to_have_count(2)
    rest.first.click()
    expect(log_of(tab).locator("pre")).to_contain_text("frame 0999")
    expect(rest).to_have_count(1)
    rest.click()
    expect(log_of(tab).locator(".note.bad:visible")).to_contain_text("frame 0999")
    expect(rest).to_have_count(0)


@pytest.mark.long
def test_of_what_a_tool_was_given_the_beginning_stays_where_the_rest_is_nonsense(
    tab: Page, place: Place
):
    place.cloud.texts |= {"in.b": '{"command": "cat > '}
    cut = {"command": "cat > b"}
    called = used("a", "bash", "completed", input=cut, inputBytes=900, inputRef="in.b")
    place.open(tab, place.session(script=[*RUNNING, called, ended(1)]))
    log_of(tab).locator("summary").last.click()
    tab.get_by_role("button", name=re.compile("show the rest", re.IGNORECASE)).click()
    expect(log_of(tab)).to_contain_text(re.compile("not kept|gone|cut|lost|missing", re.IGNORECASE))
    expect(log_of(tab).locator("pre").first).to_contain_text("cat > b")
    expect(tab.locator("#notice")).to_be_empty()


@pytest.mark.long
def test_what_is_gone_for_good_is_told(tab: Page, place: Place):
    turn = [*RUNNING, said("a", "the beginning", truncated=True), ended(1)]
    place.open(tab, place.session(script=turn))
    expect(log_of(tab)).to_contain_text(re.compile("gone.*longer.*or its sandbox ended"))


@pytest.mark.long
def test_tools_show_what_they_did(tab: Page, place: Place):
    edit = {"filePath": "/w/a.py", "oldString": "old line", "newString": "new line"}
    turn = [
        used("b", "bash", "completed", title="List", input={"command": "ls -la /tmp"},
             output="\x1b[31mred\x1b[0m plain"),
        used("e", "edit", "completed", title="a.py", input=edit, output=""),
        used("f", "bash", "error", title="Fail", input={"command": "false"}, output="exit code 1"),
    ]  # fmt: skip
    session = place.session(script=[*RUNNING, *turn])
    place.open(tab, session)
    expect(log_of(tab)).to_contain_text("ls -la /tmp")
    expect(log_of(tab)).to_contain_text(re.compile("failed|error", re.IGNORECASE))
    for summary in log_of(tab).locator("summary").all():
        summary.click()
    expect(log_of(tab)).to_contain_text("red plain")
    assert "\x1b" not in log_of(tab).inner_text()
    assert "[31m" not in log_of(tab).inner_text()
    expect(log_of(tab)).to_contain_text("old line")
    expect(log_of(tab)).to_contain_text("new line")


@pytest.mark.long
def test_a_tool_that_was_cut_off_does_not_run_for_ever(tab: Page, place: Place):
    turn = [*RUNNING, used("b", "bash", "running", title="Long", input={"command": "make"})]
    session = place.session(script=turn)
    place.open(tab, session)
    expect(log_of(tab)).to_contain_text("make")
    place.tell(session, ended(1, "interrupted"))
    expect(log_of(tab).locator("[data-status=running]")).to_have_count(0)


@pytest.mark.long
def test_other_directions_are_laid_out_and_overrides_are_seen(tab: Page, place: Place):
    place.open(tab, answering(place, "שלום עולם, זה מבחן\n\nopen \u202egnp.exe now"))
    hebrew = log_of(tab).get_by_text("שלום")
    expect(hebrew).to_be_visible()
    assert hebrew.evaluate("node => getComputedStyle(node).direction") == "rtl"
    assert "\u202e" not in log_of(tab).inner_text()


@pytest.mark.long
def test_what_is_written_is_laid_out_in_one_direction(tab: Page, place: Place):
    """Found by the browser it takes half a minute of 20,000 lines."""
    place.open(tab, place.session(script=RUNNING))
    text = tab.locator("#text")
    for words, way in (("… שלום, world", "rtl"), ("1. world, שלום", "ltr"), ("", "ltr")):
        text.fill(words)
        expect(text).to_have_attribute("dir", way)
