"""How a preparation looks: its steps and their logs, what failed and what can be done about it."""

import re

import pytest
from fake_headstart import Reply, Seen, problem
from playwright.sync_api import Page, expect
from session_scripts import good_session, good_start, preparing

from tests.page.looks import open_log
from tests.page.scripted import Place
from tests.page.told import failed

LOOKS = 2_000
"""Milliseconds within which a log that grows is looked at again."""

TRIES = 5
"""As often as one call of the page's is made, and once more: the look at it fails altogether."""

LONG = "".join(f"line {n}\n" for n in range(500)) + "\x1b[31mlast words\x1b[0m\n"


@pytest.mark.long
def test_no_steps_are_made_up_for_what_is_not_there(tab: Page, place: Place):
    place.connect(tab)
    tab.evaluate("location.hash = 'ses_00000000000000000000000999'")
    expect(tab.locator("main")).to_contain_text("No such session")
    for name in ("Stop", "Delete"):
        expect(tab.get_by_role("button", name=name, exact=True)).to_be_hidden()
    expect(tab.locator("#steps li")).to_have_count(0)


@pytest.mark.long
def test_nor_for_a_session_whose_api_is_down(tab: Page, place: Place):
    session = place.session(script=good_session())
    place.connect(tab)
    place.cloud.unreachable = True
    tab.evaluate("id => { location.hash = id; }", session.session_id)
    expect(tab.locator("body")).to_contain_text(re.compile("reach", re.IGNORECASE))
    expect(tab.locator("#steps li").locator("visible=true")).to_have_count(0)
    for name in ("Stop", "Delete"):
        expect(tab.get_by_role("button", name=name, exact=True)).to_be_hidden()


def failing(place: Place, *, stage: str = "setup", code: str = "SetupFailed") -> object:
    place.cloud.texts["log.1.setup"] = LONG
    script = [
        *good_start()[:12],
        preparing(13, "setup", "running"),
        preparing(14, "setup", "failed", 900, message="The command failed"),
        failed(stage, code, "npm ci: exit code 1"),
    ]
    return place.session(script=script)


def test_the_failed_steps_log_opens_at_its_end_without_escapes(tab: Page, place: Place):
    place.open(tab, failing(place))
    last = tab.get_by_text("last words")
    expect(last).to_be_in_viewport()
    text = tab.locator("main").inner_text()
    assert "[31m" not in text
    assert "\x1b" not in text


@pytest.mark.long
def test_a_setup_can_be_changed_and_tried_again_once(tab: Page, place: Place):
    place.open(tab, failing(place))
    setup = tab.locator("#failure [name=setup]")
    change = tab.get_by_text(re.compile("change the setup", re.IGNORECASE))
    if change.count() and not setup.is_visible():
        change.first.click()
    setup.fill("npm install")
    with tab.expect_response("**/retry"):
        tab.get_by_role("button", name="Try again").dblclick()
    expect(tab.locator("main")).not_to_contain_text("last attempt")
    retries = place.cloud.requests("POST", "/retry")
    assert [seen.body["setupCommands"] for seen in retries] == [["npm install"]]


@pytest.mark.long
def test_a_new_attempt_is_not_shown_with_the_log_of_the_one_before(tab: Page, place: Place):
    session = failing(place)
    place.open(tab, session)
    expect(tab.get_by_text("last words")).to_be_visible()
    place.tell(session, ("session.preparing", {"attemptNumber": 2, "cause": "retry"}))
    expect(tab.locator("#status")).to_have_text("preparing")
    expect(tab.get_by_text("last words")).to_have_count(0)
    place.tell(session, preparing(1, "setup", "running", attempt=2))
    place.cloud.texts["log.2.setup"] = "other words"
    open_log(tab, "setup")
    expect(tab.locator("#steps")).to_contain_text("other words")


@pytest.mark.long
def test_a_stopped_preparation_is_no_failure(tab: Page, place: Place):
    script = [*good_start()[:5], failed("disk", "Cancelled", "You stopped the preparation.")]
    place.open(tab, place.session(script=script))
    expect(tab.locator("#summary")).to_contain_text(re.compile("stopped", re.IGNORECASE))
    expect(tab.locator("#status")).to_have_text(re.compile("stopped", re.IGNORECASE))


@pytest.mark.long
def test_a_long_word_stays_in_its_card(tab: Page, place: Place):
    reason = "https://example.com/" + "x" * 400
    place.open(tab, place.session(script=[failed("clone", "CloneFailed", reason)]))
    expect(tab.locator("#reason")).to_contain_text("xxx")
    for node in ("#reason", "#failure"):
        wide = "node => node.scrollWidth > node.clientWidth + 1"
        assert not tab.locator(node).evaluate(wide)


def test_what_a_good_step_printed_can_be_read_searched_and_kept(tab: Page, place: Place):
    place.cloud.texts["log.1.clone"] = LONG
    place.open(tab, place.session(script=good_session()))
    expect(tab.locator("#status")).to_have_text("ready")
    open_log(tab, "clone")
    expect(tab.locator("main")).to_contain_text("last words")
    with tab.expect_download() as download:
        tab.get_by_text(re.compile("download", re.IGNORECASE)).locator("visible=true").first.click()
    assert "line 499" in download.value.path().read_text()


@pytest.mark.long
def test_a_log_is_searched_for_what_is_seen_of_it(tab: Page, place: Place):
    lines = "".join(f"line {n} \x1b[32mis\x1b[0m good\r\n" for n in range(30))
    place.cloud.texts["log.1.clone"] = lines
    place.open(tab, place.session(script=good_session()))
    open_log(tab, "clone")
    log, words = tab.get_by_role("region", name="Log of"), tab.get_by_placeholder("Only lines with")
    words.fill("LINE 12 is good")
    expect(log).to_have_text("line 12 is good\n")
    words.fill("line 99")
    expect(log).to_be_empty()
    none = tab.locator("#steps").get_by_text("No line has this.")
    expect(none).to_be_visible()
    words.fill("")
    expect(none).to_be_hidden()
    expect(log).to_contain_text("line 29")


@pytest.mark.long
@pytest.mark.own
def test_a_log_is_followed_while_its_step_runs(tab: Page, place: Place):
    place.cloud.texts["log.1.setup"] = "begun\n"
    place.cloud.open_texts.add("log.1.setup")
    tab.clock.install()
    script = [*good_start()[:12], preparing(13, "setup", "running")]
    place.open(tab, place.session(script=script))
    open_log(tab, "setup")
    expect(tab.locator("main")).to_contain_text("begun")
    place.cloud.texts["log.1.setup"] += "and more\n"
    tab.clock.fast_forward(10_000)
    expect(tab.locator("main")).to_contain_text("and more")


@pytest.mark.long
@pytest.mark.own
def test_a_log_is_as_coloured_as_in_a_terminal(tab: Page, place: Place):
    coloured = "".join(f"\x1b[3{n % 8};1mline {n}\x1b[0m\n" for n in range(2_000))
    place.cloud.texts["log.1.clone"] = f"\x1b[2K10%\r\x1b[2K\x1b[32mdone\x1b[0m\n{coloured}"
    place.open(tab, place.session(script=good_session()))
    expect(tab.locator("#status")).to_have_text("ready")
    open_log(tab, "clone")
    log = tab.get_by_role("region", name="Log of")
    expect(log).to_contain_text("line 1999")
    text = log.text_content() or ""
    assert text.splitlines() == ["done", *(f"line {n}" for n in range(2_000))]
    expect(log.locator(".ansi-red-fg").first).to_have_text("line 1")
    expect(log.locator(".ansi-green-fg").first).to_have_text("done")
    good = "getComputedStyle(document.querySelector('#steps [data-status=completed] .mark')).color"
    assert log.locator(".ansi-green-fg").first.evaluate("n => getComputedStyle(n).color") == (
        tab.evaluate(good)
    )


def open_growing(tab: Page, place: Place, text: str) -> None:
    """Open a log that grows, on a page whose time a test moves on."""
    place.cloud.texts["log.1.setup"] = text
    place.cloud.open_texts.add("log.1.setup")
    tab.clock.install()
    script = [*good_start()[:12], preparing(13, "setup", "running")]
    place.open(tab, place.session(script=script))
    open_log(tab, "setup")
    expect(tab.get_by_role("region", name="Log of")).to_have_text(text.strip())


@pytest.mark.long
@pytest.mark.own
def test_a_log_that_begins_anew_is_not_mixed_with_the_try_before(tab: Page, place: Place):
    open_growing(tab, place, "the first try\n")
    log = tab.get_by_role("region", name="Log of")
    place.cloud.texts["log.1.setup"] = "another try\n"
    place.cloud.texts["log.1.setup"] += "goes on\n"
    restarted = Reply(200, place.cloud.text_of("log.1.setup"))
    answer = place.cloud.answer
    place.cloud.answer = lambda seen: restarted if "/texts/" in seen.path else answer(seen)
    tab.clock.fast_forward(LOOKS)
    expect(log).to_have_text("another try\ngoes on")


@pytest.mark.long
@pytest.mark.own
def test_what_is_drawn_of_a_log_is_not_drawn_again(tab: Page, place: Place):
    open_growing(tab, place, "first\n")
    log = tab.get_by_role("region", name="Log of")
    log.evaluate("node => { node.firstChild.before = true }")
    place.cloud.texts["log.1.setup"] += "\x1b[31mred\n10%\r20%"
    tab.clock.fast_forward(LOOKS)
    expect(log).to_have_text("first\nred\n20%")
    place.cloud.texts["log.1.setup"] += "\rdone\nlast\n"
    tab.clock.fast_forward(LOOKS)
    expect(log).to_have_text("first\nred\ndone\nlast")
    assert log.evaluate("node => node.firstChild.before")
    # A look goes on from one look at it to the next.
    expect(log.locator(".ansi-red-fg").last).to_contain_text("last")
    tab.get_by_label("Only lines of this log").fill("ST")
    expect(log).to_have_text("first\nlast")
    place.cloud.texts["log.1.setup"] += "more\nat last\n"
    tab.clock.fast_forward(LOOKS)
    expect(log).to_have_text("first\nlast\nat last")


@pytest.mark.long
def test_of_a_log_that_nobody_reads_the_end_is_shown_and_all_can_be_had(tab: Page, place: Place):
    lines = [f"line {n} {'x' * 40}" for n in range(80_000)]
    place.cloud.texts["log.1.clone"] = "".join(
        f"\x1b[3{n % 8}m{line}\x1b[0m\n" for n, line in enumerate(lines)
    )
    place.open(tab, place.session(script=good_session()))
    expect(tab.locator("#status")).to_have_text("ready")
    open_log(tab, "clone")
    log = tab.get_by_role("region", name="Log of")
    expect(log.locator(".piece").last).to_contain_text(lines[-1])
    expect(tab.locator(".log .note")).to_contain_text("Only its end is shown")
    shown = (log.text_content() or "").splitlines()
    # No comparison that would print it.
    assert 1_000 < len(shown) < 20_000
    assert shown == lines[-len(shown) :], "the end is not what is shown"
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Download").click()
    assert download.value.path().read_text().splitlines() == lines, "not all of it"
    tab.get_by_label("Only lines of this log").fill("line 7 ")
    expect(log).to_have_text(lines[7])
    expect(tab.locator(".log .note")).to_be_empty()


@pytest.mark.long
@pytest.mark.own
def test_a_log_goes_on_after_requests_that_failed(tab: Page, place: Place):
    open_growing(tab, place, "begun\n")
    answer, lost = place.cloud.answer, []

    def failing_once(seen: Seen) -> Reply:
        if "/texts/" in seen.path and len(lost) < TRIES:
            lost.append(seen)
            return problem(503, "Unavailable", "not now")
        return answer(seen)

    place.cloud.answer = failing_once
    place.cloud.texts["log.1.setup"] += "and more\n"
    log = tab.get_by_role("region", name="Log of")
    while "more" not in (log.text_content() or ""):
        assert len(tab.get_by_text("can't be had").all()) == 0
        tab.clock.run_for(LOOKS)
    expect(log).to_have_text("begun\nand more")
    assert len(lost) == TRIES


@pytest.mark.long
def test_how_long_a_step_will_take_is_told(tab: Page, place: Place):
    script = [*good_start()[:6], preparing(5, "clone", "running", 1000, percent=10, etaMs=42_000)]
    place.open(tab, place.session(script=script))
    expect(tab.locator("#preparation")).to_contain_text(re.compile(r"4[0-2] s"))


@pytest.mark.long
def test_an_api_that_answers_nonsense_is_said(tab: Page, place: Place):
    place.connect(tab)
    place.cloud.canned.append(Reply(500, b"<html>"))
    session = place.session(script=good_session())
    with place.cloud.watched(session):
        tab.evaluate("id => { location.hash = id; }", session.session_id)
    expect(tab.locator("#status")).to_have_text("ready")


@pytest.mark.long
def test_after_a_retry_the_logs_of_the_attempt_before_can_be_read(tab: Page, place: Place):
    before = [
        *good_start()[:6],
        preparing(3, "clone", "completed", 100),
        preparing(4, "setup", "running", 100),
        failed("setup", "SetupFailed", "exit code 1"),
    ]
    again = [
        ("session.preparing", {"attemptNumber": 2, "cause": "retry"}),
        preparing(1, "clone", "skipped", 0, attempt=2, message="Done in attempt 1"),
        preparing(2, "setup", "running", 100, attempt=2),
    ]
    session = place.session(script=[*before, *again])
    place.cloud.texts |= {
        "log.1.clone": "Cloning\n",
        "log.1.setup": "what went wrong\n",
        "log.2.setup": "better\n",
    }
    place.open(tab, session)
    open_log(tab, "clone")
    log = tab.get_by_role("region", name="Log of: Cloning")
    expect(log).to_have_text("Cloning")
    expect(tab.locator("[data-step=clone] select")).to_have_text("Attempt 1")
    open_log(tab, "setup")
    log = tab.get_by_role("region", name="Log of: Running setup")
    expect(log).to_have_text("better")
    choice = tab.locator("[data-step=setup] select")
    expect(choice).to_have_value("2")
    choice.select_option("1")
    expect(log).to_have_text("what went wrong")
    expect(choice).to_be_focused()
    expect(tab.locator("[data-step=agent] .more")).to_be_hidden()
