"""The page on the embedded cloud, where Chromium is there (`make test` does without)."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.flow.conftest import PATIENCE, Cloud, Repositories, kill_runner
from tests.flow.test_publishing import FILES, WORK, files_of, saved_with, there
from tests.flow.test_sleep import fall_asleep
from tests.page.browser import chromium, executable, profile
from tests.page.looks import log_of, open_log

WHOLE = PATIENCE * 1000
"""Milliseconds for what a cloud has to do, a preparation or a turn."""


@pytest.fixture
def tab() -> Iterator[Page]:
    try:
        executable()
    except RuntimeError as missing:
        pytest.skip(str(missing))
    # Of one test only: where a browser is driven, no other test can run an event loop.
    with chromium() as browser, profile(browser) as own:
        yield own.context.new_page()
        own.check()


def begin(tab: Page, cloud: Cloud, prompt: str, setup: str = "", repo: str = "") -> str:
    """Start a session from the form; returns its id."""
    tab.goto(cloud.info["pageUrl"])
    # The sample that a local cloud brings is there already.
    expect(tab.locator("#create [name=repo]")).to_have_value(cloud.info["gitUrl"])
    if repo:
        tab.locator("#create [name=repo]").fill(repo)
    tab.locator("#create [name=prompt]").fill(prompt)
    if setup:
        tab.locator("#create summary").first.click()
        tab.locator("#create [name=setup]").fill(setup)
    tab.locator("#create button.primary").click()
    expect(tab).to_have_url(re.compile("#ses_"))
    session_id = tab.url.partition("#")[2]
    cloud.created.append(("demo", session_id))
    return session_id


def test_a_prompt_becomes_an_answer_and_is_there_after_a_reload(tab: Page, cloud: Cloud):
    begin(tab, cloud, "What is in here?")
    log = log_of(tab)
    expect(log.get_by_text("What is in here?").first).to_be_visible()
    expect(log).to_contain_text("demo agent", timeout=WHOLE)
    expect(tab.locator("#status")).to_have_text("ready", timeout=WHOLE)
    told = log.inner_text()
    tab.reload()
    expect(tab.locator("#status")).to_have_text("ready")
    expect(log).to_contain_text("demo agent")
    assert log.inner_text() == told


@pytest.mark.long
def test_a_failed_setup_shows_all_it_printed_and_goes_on_with_other_commands(
    tab: Page, cloud: Cloud
):
    setup = "seq 1 20000; echo the last words; exit 3"
    begin(tab, cloud, "What is in here?", setup)
    printed = tab.get_by_role("region", name=re.compile("Log of"))
    expect(printed).to_contain_text("20000\nthe last words", timeout=WHOLE)
    expect(tab.locator("#status")).to_have_text("failed")
    below = "node => node.scrollHeight - node.scrollTop - node.clientHeight"
    assert printed.evaluate(below) < 30
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Download", exact=True).locator("visible=true").click()
    lines = download.value.path().read_text().splitlines()
    assert [line for line in lines if line.isdigit()] == [f"{n}" for n in range(1, 20_001)]
    expect(tab.locator("#retry [name=setup]")).to_have_value(setup)
    tab.locator("#retry [name=setup]").fill("echo well done")
    tab.get_by_role("button", name="Try again").click()
    expect(tab.locator("#status")).to_have_text("ready", timeout=WHOLE)
    open_log(tab, "setup")
    expect(tab.locator("#steps")).to_contain_text("well done")


@pytest.mark.long
def test_what_is_written_while_it_prepares_is_answered_in_its_turn(tab: Page, cloud: Cloud):
    begin(tab, cloud, "first words")
    box = tab.locator("#text")
    for text in ("second words", "third words"):
        box.fill(text)
        box.press("Enter")
        expect(box).to_have_value("")
    log = log_of(tab)
    answered = log.get_by_text("I am Headstart's built-in demo agent")
    expect(answered).to_have_count(3, timeout=WHOLE)
    expect(tab.locator("#status")).to_have_text("ready")
    told = log.inner_text()
    with_answers = [told.index(text) for text in ("first words", "second words", "third words")]
    assert with_answers == sorted(with_answers)
    tab.reload()
    expect(answered).to_have_count(3)
    assert log.inner_text() == told


@pytest.mark.long
def test_a_question_is_answered_where_it_is_asked(tab: Page, cloud: Cloud):
    begin(tab, cloud, "ask me a question, please")
    expect(tab.locator("#status")).to_have_text("waits for you", timeout=WHOLE)
    tab.locator("#asked").get_by_role("button", name=re.compile("Write a test")).click()
    expect(tab.locator("#status")).to_have_text("ready", timeout=WHOLE)
    expect(log_of(tab)).to_contain_text("Where should I begin?")


@pytest.mark.long
def test_a_turn_is_stopped_and_what_waits_is_sent_when_somebody_says_so(tab: Page, cloud: Cloud):
    begin(tab, cloud, "ask me first")
    expect(tab.locator("#status")).to_have_text("waits for you", timeout=WHOLE)
    tab.locator("#text").fill("and then this")
    tab.locator("#text").press("Enter")
    expect(log_of(tab)).to_contain_text("and then this")
    tab.get_by_role("button", name="Stop", exact=True).click()
    release = tab.get_by_role("button", name="Send what waits")
    expect(release).to_be_visible(timeout=WHOLE)
    release.click()
    expect(log_of(tab)).to_contain_text("I am Headstart's built-in demo agent", timeout=WHOLE)
    expect(release).to_be_hidden()


@pytest.mark.long
def test_a_sandbox_that_dies_is_told_as_what_it_is(tab: Page, cloud: Cloud):
    session_id = begin(tab, cloud, "What is in here?")
    expect(tab.locator("#status")).to_have_text("ready", timeout=WHOLE)
    kill_runner(session_id)
    expect(log_of(tab)).to_contain_text(re.compile("lost|not saved"), timeout=WHOLE)
    expect(tab.locator("#status")).to_have_text("asleep")


@pytest.mark.long
def test_a_session_sleeps_and_wakes_before_its_readers_eyes(tab: Page, cloud: Cloud):
    session_id = begin(tab, cloud, "What is in here?")
    status, log = tab.locator("#status"), log_of(tab)
    expect(status).to_have_text("ready", timeout=WHOLE)
    fall_asleep(cloud, session_id)
    expect(status).to_have_text("asleep")
    expect(log).to_contain_text("The session fell asleep")
    told = log.inner_text()
    tab.reload()
    expect(status).to_have_text("asleep")
    expect(log).to_contain_text("The session fell asleep")
    assert log.inner_text() == told
    tab.locator("#text").fill("And what else?")
    tab.locator("#text").press("Enter")
    expect(status).to_have_text("preparing")
    expect(tab.locator("#steps [data-step=restore]")).to_be_visible()
    expect(log.get_by_text("And what else?").first).to_be_visible()
    expect(status).to_have_text("ready", timeout=WHOLE)
    expect(log.get_by_text("I am Headstart's built-in demo agent")).to_have_count(2)
    assert log.inner_text().startswith(told)


@pytest.mark.long
def test_work_is_seen_and_published_from_the_page(
    tab: Page, cloud: Cloud, repositories: Repositories
):
    url = repositories.make("page", FILES)
    session_id = begin(tab, cloud, "What is in here?", WORK, url)
    expect(tab.locator("#status")).to_have_text("ready", timeout=WHOLE)
    worked, published = tab.locator("#worked"), tab.locator("#published")
    expect(worked).to_contain_text("1 file changed, 1 line added")
    worked.click()
    publish = tab.get_by_role("button", name="Publish", exact=True)
    publish.click()
    expect(published).to_contain_text("Published at", timeout=WHOLE)
    commit = there(repositories, "page", session_id)
    expect(published).to_contain_text(commit[:12])
    assert "work.txt" in files_of(repositories, "page", session_id)
    expect(publish).to_be_enabled()
    tab.reload()
    worked.click()
    expect(published).to_contain_text(commit[:12])
    saved_with(cloud, session_id, commit)
    tab.get_by_role("button", name="Show what changed").click()
    expect(tab.locator("#changed")).to_contain_text("work.txt added, +1 -0")
    expect(tab.get_by_role("link", name="The whole diff")).to_be_visible()
    publish.click()
    expect(published).to_contain_text("nothing new", timeout=WHOLE)
    assert there(repositories, "page", session_id) == commit
