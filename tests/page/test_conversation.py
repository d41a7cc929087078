"""How a conversation reads: each answer under its message, what waits, what ends, what is asked."""

import re

import pytest
from playwright.sync_api import Page, expect
from session_scripts import good_session, good_start, receipt

from tests.page.looks import log_of
from tests.page.scripted import Place
from tests.page.told import (
    PREPARED,
    RUNNING,
    asked_question,
    asleep,
    ended,
    erred,
    held,
    queued,
    said,
    started,
    used,
)

READY = good_session()


def in_order(text: str, *words: str) -> bool:
    """Say whether these words are all there, one after the other."""
    return re.search(".*".join(map(re.escape, words)), text, re.DOTALL) is not None


def test_each_answer_stands_under_its_own_message(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    place.tell(
        session,
        queued(2, "second question"),
        queued(3, "third question"),
        said("a1", "answer one"),
        ended(1),
        started(2),
        said("a2", "answer two"),
        ended(2),
        started(3),
        said("a3", "answer three"),
        ended(3),
    )
    expect(log_of(tab)).to_contain_text("answer three")
    order = ("first", "answer one", "second question", "answer two", "third question", "answer thr")
    assert in_order(log_of(tab).inner_text(), *order)
    with place.cloud.watched(session):
        tab.reload()
    expect(log_of(tab)).to_contain_text("answer three")
    assert in_order(log_of(tab).inner_text(), *order)


def test_what_waits_is_marked_in_order_and_can_be_withdrawn(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    place.tell(session, queued(2, "second question"), queued(3, "third question"))
    section = tab.locator("#session")
    expect(section).to_contain_text("third question")
    assert in_order(section.inner_text(), "second question", "third question")
    withdraw = tab.get_by_role("button", name=re.compile("withdraw", re.IGNORECASE))
    expect(withdraw).to_have_count(2)
    withdraw.first.click()
    expect(section).not_to_contain_text("second question")
    expect(section).to_contain_text("third question")
    assert len(place.cloud.requests("DELETE", "/messages/msg_2")) == 1


def test_after_a_stop_what_waits_is_told_and_released_once(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    place.tell(
        session,
        queued(2, "second question"),
        ended(1, "interrupted"),
        held(2),
    )
    release = tab.get_by_role("button", name="Send what waits")
    expect(release).to_be_visible()
    release.click()
    expect(release).to_be_hidden()
    assert len(place.cloud.requests("POST", "/initiate")) == 1


@pytest.mark.long
def test_a_held_prompt_can_be_released_while_the_session_sleeps(tab: Page, place: Place):
    session = place.session(script=good_start()[:-1])
    place.open(tab, session)
    place.tell(
        session,
        ("session.prepared", receipt()),
        held(1),
        asleep(),
    )
    expect(
        tab.get_by_role("button", name=re.compile("Send what waits|Start the agent"))
    ).to_be_visible()


def test_people_can_write_while_it_prepares(tab: Page, place: Place):
    place.open(tab, place.session(script=good_start()[:5]))
    box = tab.locator("#text")
    expect(box).to_be_enabled()
    box.fill("and the tests, please")
    box.press("Enter")
    expect(tab.locator("#session")).to_contain_text("and the tests, please")
    expect(box).to_have_value("")


@pytest.mark.long
def test_a_draft_stays_with_its_session(tab: Page, place: Place):
    one = place.session(title="one", script=READY)
    two = place.session(title="two", script=READY)
    place.open(tab, one)
    tab.locator("#text").fill("only for one")
    place.go(tab, two)
    expect(tab.locator("#title")).to_contain_text("two")
    expect(tab.locator("#text")).to_have_value("")
    place.go(tab, one)
    expect(tab.locator("#text")).to_have_value("only for one")
    with place.cloud.watched(one):
        tab.reload()
    expect(tab.locator("#text")).to_have_value("only for one")


@pytest.mark.long
def test_a_stop_that_was_asked_for_is_told_once_and_is_no_error(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    place.tell(session, erred("e", "Aborted"))
    expect(log_of(tab)).to_contain_text("Aborted")
    place.tell(session, ended(1, "interrupted"))
    expect(log_of(tab)).to_contain_text(re.compile("stopped", re.IGNORECASE))
    assert len(re.findall("stopped|aborted", log_of(tab).inner_text(), re.IGNORECASE)) == 1
    expect(log_of(tab).locator(".bad").locator("visible=true")).to_have_count(0)


@pytest.mark.long
def test_a_failed_turn_is_told_once(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    reason = "The provider has no credit left"
    place.tell(session, erred("e", reason))
    expect(log_of(tab)).to_contain_text(reason)
    place.tell(session, ended(1, "failed", code="AgentFailed", reason=reason))
    expect(log_of(tab)).to_contain_text(reason)
    expect(tab.locator("#status")).to_have_text("ready")
    assert log_of(tab).inner_text().count(reason) == 1


@pytest.mark.long
def test_a_sandbox_that_died_unsaved_is_no_nap(tab: Page, place: Place):
    session = place.session(script=READY)
    place.open(tab, session)
    reason = "exit code 137; the work was not saved: it was gone; the work is kept as of "
    reason += "2020-05-01T12:00:00.518Z"
    place.tell(session, asleep(reason, saved=False))
    expect(log_of(tab)).to_contain_text("exit code 137")
    expect(log_of(tab)).to_contain_text(re.compile("not saved.* kept as of .*2020"))
    expect(log_of(tab)).not_to_contain_text(re.compile("T12:00|lost"))


@pytest.mark.long
def test_a_sandbox_that_was_given_up_is_not_said_to_come_back(tab: Page, place: Place):
    session = place.session(script=[*RUNNING, ended(1)])
    place.open(tab, session)
    place.tell(session, asleep(), ("runner.disconnected", {}), queued(2, "wake up"))
    expect(log_of(tab)).to_contain_text("wake up")
    expect(tab.locator(".activity")).to_be_hidden()
    place.tell(session, ("session.preparing", {"attemptNumber": 2, "cause": "message"}))
    expect(tab.locator("#status")).to_have_text("preparing")
    expect(tab.locator(".activity")).to_be_hidden()


@pytest.mark.long
def test_what_goes_on_behind_is_told(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    place.tell(session, ("turn.retrying", {"reason": "The model's provider is overloaded"}))
    expect(tab.locator("#session")).to_contain_text("overloaded")
    place.tell(session, ("runner.disconnected", {}))
    expect(tab.locator("#session")).to_contain_text(re.compile("connect", re.IGNORECASE))
    usage = {"cost": 0.0123, "tokens": {"input": 1200, "output": 345, "reasoning": 0}}
    place.tell(session, said("a", "done"), ended(1, usage=usage))
    expect(log_of(tab)).to_contain_text(re.compile(r"0\.01|1[.,\s ]?545|1[.,]2\s?k|345"))
    expect(tab.locator("#session")).not_to_contain_text("overloaded")


def test_what_the_agent_asks_waits_for_you_and_leaves_a_line(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    place.tell(session, asked_question("que_1"))
    asked = tab.locator("#asked")
    expect(asked).to_contain_text("Begin with what should be there.")
    expect(tab.locator("#status")).to_have_text(re.compile("waits for you", re.IGNORECASE))
    expect(tab).to_have_title(re.compile("waits for you|❗|\\(1\\)", re.IGNORECASE))
    with tab.expect_response("**/inputs/que_1"):
        asked.get_by_role("button", name=re.compile("A test")).click()
    answers = place.cloud.requests("POST", "/inputs/que_1")
    assert [seen.body for seen in answers] == [{"answers": [["A test"]]}]
    said = {"answer": answers[0].body}
    place.tell(session, ("input.resolved", {"requestId": "que_1", "outcome": "answered", **said}))
    expect(asked.get_by_role("button")).to_have_count(0)
    expect(log_of(tab)).to_contain_text("Where should I begin? A test")
    expect(tab.locator("#status")).to_have_text("running")
    tab.reload()
    expect(log_of(tab)).to_contain_text("Where should I begin? A test")


@pytest.mark.long
def test_a_message_that_wakes_a_session_stays_in_sight(tab: Page, place: Place):
    long = "\n\n".join(f"paragraph {n}" for n in range(80))
    session = place.session(script=[*RUNNING, said("a", long), ended(1)])
    place.open(tab, session)
    place.tell(session, asleep())
    place.tell(
        session,
        queued(2, "wake up, please"),
        ("session.preparing", {"attemptNumber": 2, "cause": "message"}),
    )
    expect(tab.get_by_text("wake up, please")).to_be_in_viewport()


@pytest.mark.long
def test_a_long_prompt_is_whole_when_asked_for(tab: Page, place: Place):
    whole = "".join(f"word{n} " for n in range(2_500))
    place.cloud.whole["msg_1"] = whole
    script = good_session()
    script[1] = queued(1, whole[:8_192], textBytes=len(whole))
    place.open(tab, place.session(script=script))
    expect(log_of(tab)).to_contain_text("word100 ")
    tab.get_by_role("button", name=re.compile("show (the )?(rest|whole)", re.IGNORECASE)).click()
    expect(log_of(tab)).to_contain_text("word2499")


@pytest.mark.long
def test_keys_send_and_stop(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    box = tab.locator("#text")
    box.fill("more")
    box.press("Control+Enter")
    expect(box).to_have_value("")
    with tab.expect_request("**/interrupt"):
        box.press("Escape")


@pytest.mark.long
@pytest.mark.parametrize("told", [{"isComposing": True}, {"keyCode": 229}])
def test_a_letter_that_is_composed_sends_and_stops_nothing(tab: Page, place: Place, told: dict):
    place.open(tab, place.session(script=RUNNING))
    box = tab.locator("#text")
    box.fill("more")
    for key in "Enter", "Escape":
        box.dispatch_event("keydown", {"key": key, "bubbles": True, **told})
    expect(box).to_have_value("more")
    # Whatever was asked for before is there by then.
    box.press("Enter")
    expect(box).to_have_value("")
    assert len(place.cloud.requests("POST", "/messages")) == 1
    assert not place.cloud.requests("POST", "/interrupt")


@pytest.mark.long
def test_none_of_several_is_an_answer_and_none_of_one_is_not(tab: Page, place: Place):
    place.open(tab, session := place.session(script=RUNNING))
    options = [{"label": "A"}, {"label": "B"}]
    asked = {
        "questions": [
            {"question": "Which?", "options": options, "multiple": True},
            {"question": "What?", "options": options},
        ]
    }
    request = {"requestId": "q", "kind": "question", "body": asked}
    place.tell(session, ("input.requested", request))
    tab.get_by_role("button", name="Answer").click()
    second = tab.get_by_role("button", name="A", exact=True).last
    expect(second).to_be_focused()
    second.click()
    expect(tab.get_by_text("This has no answer yet.")).to_have_count(0)
    with tab.expect_response("**/inputs/q"):
        tab.get_by_role("button", name="Answer").click()
    answers = [seen.body for seen in place.cloud.requests("POST", "/inputs/q")]
    assert answers == [{"answers": [[], ["A"]]}]


@pytest.mark.long
def test_a_clock_that_is_set_makes_no_tool_take_longer(tab: Page, place: Place):
    session = place.session(script=[*RUNNING, used("t", "bash", "running", input={"command": "x"})])
    place.open(tab, session)
    expect(log_of(tab)).to_contain_text("running")
    tab.evaluate("() => { const now = Date.now; Date.now = () => now() + 3_600_000; }")
    place.tell(session, used("t", "bash", "running", input={"command": "y"}))
    expect(log_of(tab)).to_contain_text("bash y")
    expect(log_of(tab)).not_to_contain_text("min")


@pytest.mark.long
def test_an_answer_that_is_written_is_sent_by_enter_once_all_are_there(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    asked = {"questions": [{"question": name, "options": []} for name in ("Who?", "Where?")]}
    request = {"requestId": "q", "kind": "question", "body": asked}
    place.tell(session, ("input.requested", request))
    who, where = tab.get_by_label("Who?"), tab.get_by_label("Where?")
    who.fill("me")
    for send in (lambda: who.press("Enter"), tab.get_by_role("button", name="Answer").click):
        send()
        expect(where).to_be_focused()
        expect(tab.get_by_text("This has no answer yet.")).to_have_count(1)
    where.fill("here")
    with tab.expect_response("**/inputs/q"):
        where.press("Enter")
    answers = [seen.body for seen in place.cloud.requests("POST", "/inputs/q")]
    assert answers == [{"answers": [["me"], ["here"]]}]


@pytest.mark.long
def test_all_of_a_conversation_is_printed(tab: Page, place: Place):
    text = "\n\n".join(f"paragraph {n}" for n in range(99))
    code = "".join(f"line {n}\n" for n in range(99))
    script = [*RUNNING, said("a", f"```\n{code}```\n\n{text}")]
    place.open(tab, place.session(script=script))
    expect(log_of(tab)).to_contain_text("paragraph 98")
    tab.emulate_media(media="print")
    hidden = (
        log_of(tab)
        .get_by_role("group", name="Code")
        .evaluate("node => node.scrollHeight - node.clientHeight")
    )
    high = "[node.clientHeight - node.scrollHeight, document.documentElement.scrollHeight]"
    rest, page = log_of(tab).evaluate(f"node => {high}")
    tab.emulate_media(media="screen")
    assert hidden == 0
    assert rest >= 0
    assert page > 99 * 20


@pytest.mark.long
def test_people_and_agent_are_told_apart_by_more_than_colour(tab: Page, place: Place):
    place.open(tab, place.session(script=READY))
    expect(log_of(tab)).to_contain_text("Hello, world.")
    told = log_of(tab).aria_snapshot()
    assert re.search("you", told, re.IGNORECASE), told


@pytest.mark.long
def test_who_writes_to_a_session_that_sleeps_knows_what_is_sent(tab: Page, place: Place):
    session = place.session(script=[*RUNNING, queued(2, "second"), ended(1, "interrupted")])
    place.open(tab, session)
    text = tab.locator("#text")
    place.tell(session, held(2), asleep())
    expect(text).to_have_attribute("placeholder", re.compile("wake.* sends what waits, too"))


def test_a_prompt_that_somebody_changed_is_shown_as_it_is_now(tab: Page, place: Place):
    session = place.session(script=PREPARED)
    place.open(tab, session)
    prompt = log_of(tab).locator(".said")
    expect(prompt).to_have_text("Say hello")
    changed = {"messageId": "msg_1", "text": "Mend the lamp", "textBytes": 9000}
    place.tell(session, ("message.changed", changed))
    expect(prompt).to_have_text("Mend the lamp")
    expect(tab.get_by_role("button", name="Show the rest (9 KB)")).to_be_visible()
    expect(tab.get_by_role("button", name="Start the agent")).to_be_visible()


@pytest.mark.long
def test_what_was_held_from_the_beginning_is_not_sent_by_another_message(tab: Page, place: Place):
    script = [*good_start()[:-1], ("session.prepared", receipt()), held(1), asleep()]
    session = place.session(script=script)
    place.open(tab, session)
    hint = "Write what comes after the prompt that is held"
    text = tab.locator("#text")
    expect(text).to_have_attribute("placeholder", hint)
    # Sent, and stopped before the agent had it, it waits for a message as anything does.
    place.tell(session, held(1), asleep())
    expect(text).to_have_attribute("placeholder", re.compile("wake.* sends what waits, too"))


@pytest.mark.long
def test_what_was_started_and_stopped_at_once_is_sent_by_another_message(tab: Page, place: Place):
    session = place.session(script=[*good_start()[:-1], ("session.prepared", receipt())])
    place.open(tab, session)
    tab.get_by_role("button", name="Start the agent").click()
    expect(tab.locator("#held")).to_be_hidden()
    place.tell(session, held(1), asleep())
    hint = re.compile("wake.* sends what waits, too")
    expect(tab.locator("#text")).to_have_attribute("placeholder", hint)


@pytest.mark.long
def test_what_the_agent_may_have_is_not_sent_by_another_message(tab: Page, place: Place):
    session = place.session(script=[*RUNNING, queued(2, "second"), ended(1)])
    place.open(tab, session)
    text, hint = tab.locator("#text"), "Write what comes after the message that is held"
    broken = {"messageId": "msg_2", "reason": "It broke"}
    place.tell(session, ("message.failed", broken | {"code": "DeliveryUnknown"}))
    expect(text).to_have_attribute("placeholder", hint)
    place.tell(session, ("message.failed", broken | {"code": "DeliveryFailed"}))
    expect(text).to_have_attribute("placeholder", re.compile("sends what waits, too"))
