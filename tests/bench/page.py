"""`make bench BENCH=page`: what a browser takes for the page, and what a long answer takes of it.

All of the time of long tasks counts as blocked. CPU time is what is left of it where the machine is
busy with something else.
"""

import json
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Browser, Page
from session_scripts import good_session

from tests.bench import report
from tests.flow.conftest import running
from tests.page.browser import chromium
from tests.page.scripted import Place, place
from tests.page.told import RUNNING, ended, said, written

LINES = 5_000
A_FRAME = 12
PAUSE = 0.025
"""Seconds between two frames, as fast as the runner sends them."""

KEPT = 20_000
"""Characters of a long text that its event carries, about."""

SLOW = {"latency": 150.0, "downloadThroughput": 200e3, "uploadThroughput": 94e3}
"""Milliseconds and bytes a second of a slow mobile line, as Lighthouse has it."""

LONG_TASK = 50.0
"""Milliseconds from which browsers call a task long (W3C Long Tasks)."""

WAIT = 120_000
"""Milliseconds for anything."""

SEEN = """
const look = () => {
  const form = document.querySelector("#create")?.hidden === false;
  const session = document.querySelector("#status")?.textContent === "ready";
  if (form || session) window.seenAt ??= performance.now();
};
const ALL = { subtree: true, childList: true, characterData: true, attributes: true };
new MutationObserver(look).observe(document, ALL);
"""
MOMENTS = """
window.moments = {};
addEventListener("click", () => { window.moments = { click: performance.now() }; }, true);
const has = (selector, wanted) => wanted.test(document.querySelector(selector)?.innerText ?? "");
const look = () => {
  const seen = (name, condition) => {
    const { moments } = window;
    if (condition && moments.click && !moments[name]) moments[name] = performance.now();
  };
  if (document.querySelector("#session").hidden) return;
  seen("page", true);
  seen("steps", has("#title", /[a-z]/) && has("#steps", /Starting the sandbox/));
  seen("running", has("#status", /running/));
  seen("word", has("[role=log]", /I have read/));
};
const ALL = { subtree: true, childList: true, characterData: true, attributes: true };
addEventListener("DOMContentLoaded", () => new MutationObserver(look).observe(document.body, ALL));
"""


def run(samples: int) -> None:
    """Print all three tables."""
    with chromium() as browser:
        with place() as scripted:
            _first_load(browser, scripted, samples)
            rows = [_streamed(browser, scripted, lines) for lines in (LINES // 10, LINES)]
        head = ["lines", "characters", "seconds", "long tasks", "blocked ms", "worst ms"]
        head += ["CPU ms", "worst CPU ms"]
        report.table("An answer that is streamed", head, rows)
        _first_session(browser, samples)


def _first_load(browser: Browser, scripted: Place, samples: int) -> None:
    """Load the page for the form, and in another tab for a session; then on a slow line."""
    rows: list[list[object]] = []
    for line, conditions in (("loopback", None), ("1.6 Mbit/s, 150 ms", SLOW)):
        found = [_loaded(browser, scripted, conditions) for _ in range(samples)]
        rows.append([line, *map(report.median, zip(*found, strict=True))])
    head = ["", "files", "bytes", "form ms", "session ms"]
    report.table(
        "The first load: until the form is there, and a session by its address", head, rows
    )


def _loaded(
    browser: Browser, scripted: Place, conditions: dict[str, float] | None
) -> tuple[float, float, float, float]:
    """Return files and bytes until the form is there, then ms until it and a session are."""
    context = browser.new_context()
    session = scripted.session(script=good_session())

    def load(address: str) -> Page:
        tab = context.new_page()
        tab.add_init_script(SEEN)
        if conditions:
            network = context.new_cdp_session(tab)
            network.send("Network.enable")
            network.send("Network.emulateNetworkConditions", {"offline": False, **conditions})
        tab.goto(address, wait_until="commit")
        tab.wait_for_function("() => window.seenAt", timeout=WAIT)
        return tab

    form = load(scripted.link)
    files, size, at = form.evaluate("""() => {
      const all = ["navigation", "resource"]
        .flatMap((kind) => performance.getEntriesByType(kind))
        .filter(({ name }) => name.startsWith(location.origin))
        .filter(({ responseEnd }) => responseEnd <= seenAt);
      return [all.length, all.reduce((sum, { transferSize }) => sum + transferSize, 0), seenAt];
    }""")
    form.close()  # what it asks for when idle would be in the way
    opened = load(f"{scripted.origin}/#{session.session_id}").evaluate("seenAt")
    context.close()
    return float(files), float(size), float(at), float(opened)


def _streamed(browser: Browser, scripted: Place, lines: int) -> list[object]:
    """Stream an answer of paragraphs, lists and code, and count what it took of the page."""
    tab = browser.new_page(viewport={"width": 1440, "height": 900})
    session = scripted.session(script=RUNNING)
    scripted.open(tab, session)
    texts = [_line(number) for number in range(lines)]
    browser.start_tracing(page=tab, categories=["toplevel"])
    begun = time.monotonic()
    offset = 0
    for start in range(0, lines, A_FRAME):
        text = "".join(texts[start : start + A_FRAME])
        scripted.tell(session, written("a", offset, text))
        offset += len(text)
        tab.wait_for_timeout(1000 * max(0.0, begun + PAUSE * start / A_FRAME - time.monotonic()))
    whole = "".join(texts)
    scripted.cloud.texts["part.a"] = whole
    kept = {"textBytes": len(whole), "textRef": "part.a"} if len(whole) > KEPT else {}
    scripted.tell(session, said("a", whole[:KEPT], **kept), ended(1))
    _status(tab, "ready")
    seconds = time.monotonic() - begun
    tasks = _tasks(browser.stop_tracing())
    tab.close()
    long = [wall for wall, _ in tasks if wall > LONG_TASK]
    cpu = [cpu for _, cpu in tasks]
    counted = [len(long), sum(long), max(long, default=0.0), sum(cpu), max(cpu)]
    return [f"{lines:,}", len(whole), f"{seconds:.1f}", *counted]


def _tasks(trace: bytes) -> list[tuple[float, float]]:
    """Return milliseconds and CPU milliseconds of each task of the page's main thread."""
    events = json.loads(trace)["traceEvents"]
    mains = {
        (event["pid"], event["tid"])
        for event in events
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    tasks: dict[tuple[int, int], list[tuple[float, float]]] = {main: [] for main in mains}
    for event in events:
        if event["name"].endswith("RunTask") and (event["pid"], event["tid"]) in tasks:
            taken = (event.get("dur", 0) / 1000, event.get("tdur", 0) / 1000)
            tasks[event["pid"], event["tid"]].append(taken)
    # Other tabs' threads are idle.
    return max(tasks.values(), key=lambda all_of: sum(cpu for _, cpu in all_of))


def _line(number: int) -> str:
    """Return a line of 78 letters, as a report has them: paragraphs, lists, code."""
    words = f"line {number} says something of `value_{number}` that is about as long as a line"
    inside = number % 100
    if inside < 40:
        return f"{words}.{' ' * 4}\n" + ("\n" if inside % 8 == 7 else "")
    if inside < 70:
        return f"- {words}\n" + ("\n" if inside == 69 else "")
    fence = {70: "```python\n", 99: "```\n\n"}.get(inside, "")
    code = f"value_{number} = compute(number={number})  # {'x' * 30}\n"
    return fence + code if inside == 70 else code + fence


def _status(tab: Page, status: str) -> None:
    tab.wait_for_function(
        "wanted => document.querySelector('#status').textContent === wanted",
        arg=status,
        timeout=WAIT,
    )


def _first_session(browser: Browser, samples: int) -> None:
    """Press Start and see what comes when, in the embedded cloud with the demo agent."""
    with (
        tempfile.TemporaryDirectory(prefix="page-") as folder,
        running(Path(folder) / "log") as cloud,
    ):
        taken = [_start(browser, cloud.info) for _ in range(samples + 1)]
    rows = [
        [words, taken[0][name], report.median([moments[name] for moments in taken[1:]])]
        for name, words in (
            ("page", "the session's page"),
            ("steps", "its title and first step"),
            ("running", "running"),
            ("word", "the first word of the answer"),
        )
    ]
    head = ["from Start to", "the first, ms", f"median of {samples} more, ms"]
    report.table("A session with the demo agent", head, rows)


def _start(browser: Browser, info: dict[str, str]) -> dict[str, float]:
    tab = browser.new_page()
    tab.add_init_script(MOMENTS)
    tab.goto(info["pageUrl"])
    tab.locator("#create [name=repo]").fill(info["gitUrl"])
    tab.locator("#create [name=prompt]").fill("What is in here?")
    tab.locator("#create button.primary").click()
    tab.wait_for_function("() => window.moments.word", timeout=WAIT)
    _status(tab, "ready")
    moments: dict[str, float] = tab.evaluate("window.moments")
    tab.once("dialog", lambda dialog: dialog.accept())
    tab.locator("#remove").click()
    tab.wait_for_url("**/#")
    tab.close()
    return {name: at - moments["click"] for name, at in moments.items()}
