"""Each state of the page: at 360 and 1440 px, dark and light, all in reach and readable."""

from collections.abc import Iterable

import pytest
from playwright.sync_api import Page, expect
from session_scripts import good_session, good_start, preparing

from tests.page.looks import ALL_LOOKS, LOOKS, examine, log_of, open_log
from tests.page.scripted import Place
from tests.page.told import (
    ASKING,
    PREPARED,
    QUEUE,
    RUNNING,
    STOPPED,
    Event,
    asleep,
    ended,
    failed,
    said,
    used,
)

MARKDOWN = (
    """# Title
[a link](https://example.com), `code`, **bold**, *soft*, ~~gone~~

1. one
   - nested
2. two

- [x] done

| a | b |
|---|--:|
| 1 | 2 |

> quoted

```python
def main(count: int = 3) -> str:  # says something
    return f"{count} {True} {None}" + 'text'
```

"""
    + "a-very-long-word-" * 40
)

READY = [*RUNNING, said("a", MARKDOWN), ended(1, usage={"cost": 0.01, "tokens": {"input": 9}})]
FAILED = [
    *good_start()[:12],
    preparing(13, "setup", "running"),
    failed("setup", "SetupFailed", "npm ci: exit code 1. " + "x" * 200),
]
CHANGE = {"filePath": "a.py", "oldString": "old", "newString": "new"}
TOOLS = [
    used("1", "bash", "completed", title="ls", input={"command": "ls -la"}, output="\x1b[31mred"),
    used("2", "edit", "completed", title="a.py", input=CHANGE, output="done"),
    used("3", "bash", "error", title="false", input={"command": "false"}, output="exit code 1"),
    used("4", "bash", "running", title="make", input={"command": "make"}),
]

STATES: dict[str, tuple[list[Event], str]] = {
    "preparing": (good_start()[:9], "Cloning the repository"),
    "prepared": (PREPARED, "Start the agent"),
    "failed": (FAILED, "exit code 1"),
    "running": ([*RUNNING, *TOOLS], "make"),
    "queued": (QUEUE, "third"),
    "held": (STOPPED, "Send what waits"),
    "asked": (ASKING, "May the agent do this?"),
    "ready": (READY, "quoted"),
    "asleep": ([*READY, asleep()], "fell asleep"),
    "lost": ([*READY, asleep("Essential container exited", saved=False)], "container exited"),
    "other directions": ([*RUNNING, said("a", "שלום עולם"), ended(1)], "שלום"),
}


BLOCKING = {"failed", "running"}
"""What has the most on it; the others are looked at where there is more time."""


@pytest.fixture(params=[LOOKS, pytest.param(ALL_LOOKS, marks=pytest.mark.long)], ids=["two", "all"])
def looks(request: pytest.FixtureRequest) -> tuple:
    return request.param


def among(states: Iterable[str]) -> list:
    """Return the states as parameters, those that block no merge marked."""
    return [s if s in BLOCKING else pytest.param(s, marks=pytest.mark.long) for s in states]


@pytest.mark.parametrize("state", among(STATES))
def test_a_session(tab: Page, place: Place, state: str, looks: tuple):
    script, words = STATES[state]
    session = place.session(title="A title " * 8, script=script)
    place.cloud.texts["log.1.setup"] = "line\n" * 50
    place.open(tab, session)
    expect(tab.locator("#session")).to_contain_text(words)
    for summary in log_of(tab).locator("summary").all():
        summary.click()
    examine(tab, looks)


def test_the_forms(tab: Page, place: Place, looks: tuple):
    tab.goto(place.origin)
    expect(tab.locator("#connect")).to_be_visible()
    examine(tab, looks)
    for n in range(8):
        place.session(title=f"session number {n}", status="failed")
    place.connect(tab)
    expect(tab.locator("#sessions")).to_contain_text("session number 0")
    for summary in tab.locator("#create summary").all():
        summary.click()
    for button in tab.locator("#create [id^=more-]").all():
        button.click()
    examine(tab, looks)


@pytest.mark.long
def test_what_is_not_there(tab: Page, place: Place, looks: tuple):
    place.connect(tab)
    tab.evaluate("location.hash = 'ses_00000000000000000000000999'")
    expect(tab.locator("main")).to_contain_text("No such session")
    examine(tab, looks)


@pytest.mark.long
def test_a_lost_connection(tab: Page, place: Place, looks: tuple):
    session = place.session(script=good_session())
    place.open(tab, session)
    expect(tab.locator("#status")).to_have_text("ready")
    place.cut(session)
    expect(tab.locator("#status")).to_contain_text("reconnecting")
    examine(tab, looks)


@pytest.mark.long
def test_an_open_log(tab: Page, place: Place, looks: tuple):
    place.cloud.texts["log.1.clone"] = "\x1b[32mfine\x1b[0m " * 90 + "\nline" * 90
    place.open(tab, place.session(script=good_session()))
    expect(tab.locator("#status")).to_have_text("ready")
    open_log(tab, "clone")
    expect(tab.locator("main")).to_contain_text("fine")
    examine(tab, looks)
