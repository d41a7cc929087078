"""What holds in each phase of a session: a reload, another tab, another session, a phone."""

import re

import pytest
from fake_headstart import FakeSession
from playwright.sync_api import BrowserContext, Page, expect
from session_scripts import good_session, good_start, preparing

from tests.page.looks import DESK, PHONE, log_of
from tests.page.scripted import Place
from tests.page.told import (
    ASKING,
    FAILED,
    PREPARED,
    RUNNING,
    STOPPED,
    Event,
    asked_permission,
    asleep,
    ended,
    failed,
    queued,
    said,
    written,
)

ANSWERED = [*RUNNING, said("a", "# An answer\n\nwith **words**"), ended(1)]

PHASES: dict[str, tuple[list[Event], str, str]] = {
    "preparing": (good_start()[:10], "preparing", "Cloning the repository"),
    "prepared": (
        PREPARED,
        "prepared, not started",
        "Start the agent",
    ),
    "running with a queue": (
        [*RUNNING, said("a", "so far"), queued(2, "second"), queued(3, "third")],
        "running",
        "third",
    ),
    "asking": (ASKING, "waits for you", "begin?"),
    "held": (
        STOPPED,
        "messages wait for you",
        "Send what waits",
    ),
    "failed": (
        FAILED,
        "failed",
        "exit code 1",
    ),
    "asleep": ([*ANSWERED, asleep()], "asleep", "fell asleep"),
    "lost": ([*ANSWERED, asleep("It exited", saved=False)], "asleep", "not saved"),
}


BLOCKING = {"running with a queue"}
"""Where most is to be put together anew; the others are reloaded where there is more time."""


def snapshot(session: FakeSession, script: list[Event]) -> None:
    """Have a session's row say what these events made of it, as the cloud's does."""
    kinds = [kind for kind, _ in script]
    data = dict(script)
    session.pending_inputs = [told for kind, told in script if kind == "input.requested"]
    if session.status == "running":
        session.active_turn = {"turnId": "turn_1", "messageId": "msg_1"}
    for kind, told in script:
        if kind == "preparing":
            session.revision = told["revision"]
            step = {"status": told["status"], "startedAt": None, "endedAt": None}
            session.steps[told["step"]] = step | {"message": told.get("message")}
    if "session.failed" in kinds:
        name = data["session.failed"]["failure"]["step"]
        session.steps[name] = {"status": "failed", "startedAt": None, "endedAt": None}


def seen(tab: Page) -> str:
    """Return what is to be read on the session, without what a clock changes."""
    told = tab.locator("#session").inner_text()
    return re.sub(r"\d+(\.\d+)? (ms|s|min)\b", "", told)


@pytest.mark.parametrize(
    "phase", [p if p in BLOCKING else pytest.param(p, marks=pytest.mark.long) for p in PHASES]
)
def test_a_reload_shows_what_was_there(tab: Page, place: Place, phase: str):
    script, status, words = PHASES[phase]
    session = place.session(script=script)
    place.open(tab, session)
    expect(tab.locator("#status")).to_have_text(status)
    expect(tab.locator("#session")).to_contain_text(words)
    snapshot(session, script)
    expect(tab.locator("#conversation .open > *")).to_have_count(0)
    before, waiting = seen(tab), tab.locator("#message textarea").get_attribute("placeholder")
    with place.cloud.watched(session):
        tab.reload()
    expect(tab.locator("#status")).to_have_text(status)
    expect(tab.locator("#session")).to_contain_text(words)
    expect(tab.locator("#message textarea")).to_have_attribute("placeholder", waiting or "")
    tab.wait_for_function(
        """(before) => document.querySelector("#session").innerText
             .replace(/\\d+(\\.\\d+)? (ms|s|min)\\b/g, "") === before""",
        arg=before,
    )


@pytest.mark.long
@pytest.mark.own
def test_two_tabs_on_one_session_say_the_same(person: BrowserContext, place: Place):
    session = place.session(script=RUNNING)
    one, two = person.new_page(), person.new_page()
    for tab in (one, two):
        place.open(tab, session)
        expect(tab.locator("#status")).to_have_text("running")
    one.locator("#text").fill("from the first tab")
    one.locator("#text").press("Enter")
    two.locator("#text").fill("a draft of the second")
    for tab in (one, two):
        expect(log_of(tab).get_by_text("from the first tab")).to_have_count(1)
    expect(two.locator("#text")).to_have_value("a draft of the second")
    expect(one.locator("#text")).to_have_value("")
    place.tell(session, asked_permission("p"))
    for tab in (one, two):
        expect(tab.locator("#status")).to_have_text("waits for you")
    two.get_by_role("button", name="Allow once").click()
    place.tell(session, ("input.resolved", {"requestId": "p", "outcome": "answered"}))
    for tab in (one, two):
        expect(tab.locator("#asked").get_by_role("button")).to_have_count(0)
        expect(tab.locator("#status")).to_have_text("running")
    two.get_by_role("button", name="Withdraw").click()
    for tab in (one, two):
        expect(log_of(tab).get_by_text("from the first tab")).to_have_count(0)
    place.tell(session, written("a", 0, "an answer for both"), ended(1))
    for tab in (one, two):
        expect(log_of(tab)).to_contain_text("an answer for both")
        expect(tab.locator("#status")).to_have_text("ready")


def test_a_queue_that_is_held_is_told_wherever_its_status_is(tab: Page, place: Place):
    session = place.session(script=STOPPED)
    other = place.session(title="the other", script=good_session())
    place.open(tab, session)
    link = tab.locator(f"#sessions a[href='#{session.session_id}']")
    for node in (tab.locator("#status"), link):
        expect(node).to_contain_text("messages wait for you")
    expect(tab).to_have_title(re.compile("messages wait for you"))
    place.go(tab, other)
    expect(tab.locator("#title")).to_have_text("the other")
    # What the list itself says of it.
    tab.reload()
    expect(link).to_contain_text("messages wait")
    place.go(tab, session)
    place.tell(session, asleep())
    expect(tab.locator("#status")).to_have_text("asleep, messages wait for you")


@pytest.mark.long
def test_what_was_opened_and_ticked_is_of_its_session(tab: Page, place: Place):
    work: Event = ("work.changed", {"files": 1, "additions": 3, "deletions": 0})
    one = place.session(script=[*good_session(), work])
    two = place.session(title="the other", script=[*good_session(), work])
    place.open(tab, one)
    tab.locator("#worked").click()
    pull = tab.get_by_label("With a pull request")
    pull.check()
    place.go(tab, two)
    expect(tab.locator("#title")).to_have_text("the other")
    expect(pull).to_be_hidden()
    tab.locator("#worked").click()
    expect(pull).not_to_be_checked()
    with tab.expect_response("**/publish"):
        tab.get_by_role("button", name="Publish").click()
    assert place.cloud.requests("POST", "/publish")[0].body == {}


@pytest.fixture
def phone(tab: Page):
    tab.set_viewport_size(PHONE)
    yield tab
    tab.set_viewport_size(DESK)


@pytest.mark.long
def test_a_session_has_all_the_room_of_a_phone(phone: Page, place: Place):
    place.open(phone, place.session(script=ANSWERED))
    expect(log_of(phone)).to_contain_text("with words")
    for name in ("#find", "#account"):
        expect(phone.locator(name)).to_be_hidden()
    bottom = "node => Math.round(node.getBoundingClientRect().bottom)"
    assert phone.locator("#session").evaluate(bottom) == PHONE["height"]
    expect(phone.locator("#message button")).to_be_in_viewport(ratio=1)
    assert log_of(phone).evaluate("node => node.clientHeight") > PHONE["height"] / 3
    phone.get_by_role("button", name="New session").click()
    for name in ("#find", "#account"):
        expect(phone.locator(name)).to_be_visible()


@pytest.mark.long
def test_a_failure_is_seen_first_on_a_phone(phone: Page, place: Place):
    place.cloud.texts["log.1.setup"] = "line\n" * 50
    script = [*good_start()[:12], preparing(13, "setup", "running")]
    script.append(failed("setup", "SetupFailed", "npm ci: exit code 1"))
    place.open(phone, place.session(script=script))
    expect(phone.locator("#steps")).to_contain_text("line")
    expect(phone.locator("#reason")).to_be_in_viewport(ratio=1)
    expect(phone.get_by_role("button", name="Try again")).to_be_in_viewport(ratio=1)


@pytest.mark.long
@pytest.mark.parametrize(
    "size", [pytest.param(DESK, marks=pytest.mark.long), PHONE], ids=["desk", "phone"]
)
def test_an_open_diff_stays_in_its_column(tab: Page, place: Place, size):
    session = place.session(script=[*ANSWERED])
    place.cloud.files["diff"] = ("+" + "x" * 400 + "\n").encode() * 90
    session.diff = {"url": f"{place.cloud.url}/files/diff"}
    listed = {"path": "x" * 300, "source": None, "status": "added", "mode": None}
    files = [listed | {"additions": 90, "deletions": 0}]
    session.changes = {"files": files, "total": {"files": 1}, "truncated": False}
    place.open(tab, session)
    place.tell(session, ("work.changed", {"files": 1, "additions": 90, "deletions": 0}))
    tab.set_viewport_size(size)
    tab.locator("#worked").click()
    tab.get_by_role("button", name="Show what changed").click()
    diff = tab.locator("#diff")
    expect(diff).to_contain_text("xxx")
    assert diff.evaluate("node => node.scrollWidth <= node.clientWidth")
    column = log_of(tab).locator(".text").last.bounding_box()
    box = diff.bounding_box()
    tab.set_viewport_size(DESK)
    assert box
    assert column
    assert box["x"] >= column["x"] - 1
    assert box["width"] <= column["width"] + 1
