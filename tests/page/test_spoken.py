"""What a screen reader is told: what is read where, what is announced, and where the focus goes."""

import pytest
from playwright.sync_api import Locator, Page, expect
from session_scripts import good_session, good_start, preparing

from tests.page.looks import log_of
from tests.page.scripted import Place
from tests.page.told import (
    FAILED,
    PREPARED,
    RUNNING,
    STOPPED,
    Event,
    asked_permission,
    asked_question,
    asleep,
    ended,
    failed,
    held,
    queued,
    said,
    used,
    written,
)

LISTEN = """() => {
  window.announced = [];
  window.listener?.disconnect();
  const quiet = (node) => {
    if (!node.checkVisibility()) return true;
    const region = node.closest("[aria-live], [role=log], [role=status], [role=alert]");
    return !region || region.ariaLive === "off";
  };
  const spoken = (node) => {
    const copy = node.cloneNode(true);
    const unspoken = "[aria-live=off], [hidden], details:not([open]) > :not(summary)";
    for (const part of copy.querySelectorAll(unspoken)) part.remove();
    return copy.textContent;
  };
  const tell = (text) => text.trim() && announced.push(text.trim().replace(/\\s+/g, " "));
  window.listener = new MutationObserver((changes) => {
    // What was put there and then filled in is told as it ended up, once.
    const fresh = new Set();
    for (const { type, target, addedNodes } of changes) {
      if (type === "childList") addedNodes.forEach((node) => fresh.add(node));
      if (type !== "attributes" || target.hidden || fresh.has(target)) continue;
      fresh.add(target);
      for (const alert of target.querySelectorAll("[role=alert]")) {
        if (!quiet(alert)) tell(alert.textContent);
      }
    }
    const within = (node) => node && (fresh.has(node) || within(node.parentNode));
    for (const { type, target, addedNodes } of changes) {
      const node = target.nodeType === Node.ELEMENT_NODE ? target : target.parentElement;
      if (!node || quiet(node) || within(target)) continue;
      if (type === "characterData") tell(target.data);
      for (const added of addedNodes) {
        if (added.nodeType === Node.TEXT_NODE) tell(added.data);
        else if (!quiet(added)) tell(spoken(added));
      }
    }
  });
  listener.observe(document.body, { childList: true, characterData: true, subtree: true, attributes: true, attributeFilter: ["hidden"] });
}"""  # noqa: E501 - one call


def announced(tab: Page, *words: str) -> list[str]:
    """Wait until these words were announced; returns all that was."""
    for word in words:
        tab.wait_for_function("(word) => announced.some((text) => text.includes(word))", arg=word)
    told: list[str] = tab.evaluate("announced")
    return told


def listen(tab: Page, place: Place, script: list[Event]):
    session = place.session(script=script)
    place.open(tab, session)
    expect(log_of(tab)).to_contain_text("You wrote:")
    expect(tab.locator("#status")).to_have_text("running" if script is RUNNING else "preparing")
    tab.evaluate(LISTEN)
    return session


def test_an_answer_is_announced_block_by_block_and_each_once(tab: Page, place: Place):
    session = listen(tab, place, RUNNING)
    running = used("t", "bash", "running", title="make", input={"command": "make"})
    place.tell(session, running)
    place.tell(session, used("t", "bash", "completed", title="make", input={"command": "make"}))
    text = "The first block.\n\nThe second block.\n\nThe third"
    for at, letter in enumerate(text):
        place.tell(session, written("a", at, letter))
    announced(tab, "The first block.")
    place.tell(session, said("a", f"{text} block."), ended(1))
    told = announced(tab, "The third block.", "ready")
    for words in ("make", "The first block.", "The second block.", "The third block."):
        assert len([one for one in told if words in one]) == 1, told


@pytest.mark.long
def test_each_step_is_announced_and_why_the_last_one_failed(tab: Page, place: Place):
    session = listen(tab, place, good_start()[:3])
    place.tell(session, *good_start()[3:9])
    announced(tab, "Cloning the repository")
    place.tell(session, *good_start()[9:12], preparing(13, "setup", "running"))
    announced(tab, "Running setup commands")
    place.tell(session, failed("setup", "SetupFailed", "npm ci: exit code 1"))
    told = announced(tab, "failed", "npm ci: exit code 1")
    for words in ("Checking the disk", "Cloning the repository", "npm ci: exit code 1"):
        assert len([one for one in told if words in one]) <= 1, told
    assert not [one for one in told if " ms" in one or " s" in one.split("left")[0][-4:]], told


@pytest.mark.long
@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([asked_question("q")], ["Where should I begin?", "waits for you"]),
        ([asked_permission("p")], ["May the agent do this? bash: git log", "waits for you"]),
        ([queued(2, "more"), ended(1, "interrupted"), held(2)], ["messages wait for you"]),
        ([ended(1, "failed", code="AgentFailed", reason="No credit")], ["No credit", "ready"]),
        ([ended(1), asleep()], ["asleep", "The session fell asleep"]),
        ([ended(1), asleep("It exited", saved=False)], ["It exited; the work was not saved"]),
    ],
    ids=["asks", "may it", "held", "failed turn", "asleep", "lost"],
)
def test_what_needs_somebody_is_announced(
    tab: Page, place: Place, events: list[Event], words: list[str]
):
    session = listen(tab, place, RUNNING)
    place.tell(session, *events)
    announced(tab, *words)


READ: dict[str, tuple[list[Event], str]] = {
    "preparing": (
        good_start()[:9],
        """
        - status: preparing
        - button "Stop"
        - button "Delete"
        - group:
          - progressbar "The preparation as a whole"
          - status: Cloning the repository
          - list
        - log "Conversation": /Say hello/
        - textbox "Message"
        - button "Send"
        """,
    ),
    "failed": (
        FAILED,
        """
        - status: failed
        - button "Delete"
        - group "Why the preparation ended":
          - alert: "npm ci: exit code 1"
          - button "Try again"
        - group:
          - list
        - log "Conversation": /waits for another try/
        - textbox "Message"
        """,
    ),
    "prepared": (
        PREPARED,
        """
        - status: prepared, not started
        - log "Conversation"
        - paragraph: Everything is ready and the prompt is held.
        - button "Start the agent"
        - textbox "Message"
        """,
    ),
    "held": (
        STOPPED,
        """
        - status: messages wait for you
        - log "Conversation":
          - paragraph: The turn was stopped.
          - 'button "Withdraw: second"'
        - paragraph: /What you wrote waits/
        - button "Send what waits"
        - textbox "Message"
        """,
    ),
    "asking": (
        [*RUNNING, asked_permission("p")],
        """
        - status: waits for you
        - button "Stop"
        - log "Conversation"
        - group "The agent asks":
          - paragraph: "May the agent do this? bash: git log"
          - button "Allow once"
          - button "Always"
          - button "Reject"
        - textbox "Message"
        """,
    ),
    "ready": (
        good_session(),
        """
        - heading "Say hello" [level=2]
        - status: ready
        - button "Delete"
        - log "Conversation":
          - text: /You wrote/
          - group: bash ls -l
          - text: /The agent/
          - paragraph: Hello, world.
        - textbox "Message"
        - button "Send"
        """,
    ),
}


@pytest.mark.long
@pytest.mark.parametrize("state", READ)
def test_what_is_read_and_in_which_order(tab: Page, place: Place, state: str):
    script, expected = READ[state]
    place.open(tab, place.session(script=script))
    lines = "\n".join(f"    {line[8:]}" for line in expected.strip("\n").splitlines())
    expect(tab.locator("main")).to_match_aria_snapshot(f'- region "Session":\n{lines}')


def focused(node: Locator) -> None:
    expect(node).to_be_focused()


@pytest.mark.long
def test_what_takes_the_focused_button_away_leaves_the_focus_near(tab: Page, place: Place):
    session = place.session(script=[*RUNNING, queued(2, "second"), asked_permission("p")])
    place.open(tab, session)
    title, log = tab.locator("#title"), log_of(tab)
    focused(title)
    tab.get_by_role("button", name="Allow once").press("Enter")
    place.tell(session, ("input.resolved", {"requestId": "p", "outcome": "answered"}))
    focused(log)
    tab.get_by_role("button", name="Withdraw").press("Enter")
    expect(log).not_to_contain_text("second")
    focused(log)
    stop = tab.get_by_role("button", name="Stop", exact=True)
    stop.focus()
    with tab.expect_response("**/interrupt"):
        stop.press("Enter")
    # Locked for a moment, it has it again; gone, the title has it.
    focused(stop)
    place.tell(session, queued(3, "third"), ended(1, "interrupted"), held(3))
    focused(title)
    tab.get_by_role("button", name="Send what waits").press("Enter")
    focused(log)
    tab.locator("#text").fill("more")
    with tab.expect_response("**/messages"):
        tab.locator("#message button").press("Enter")
    focused(tab.locator("#text"))


@pytest.mark.long
def test_who_goes_to_the_end_by_key_is_in_the_conversation(tab: Page, place: Place):
    text = "\n\n".join(f"paragraph {n}" for n in range(80))
    place.open(tab, place.session(script=[*RUNNING, said("a", text)]))
    expect(tab.get_by_text("paragraph 79")).to_be_in_viewport()
    log_of(tab).evaluate("node => { node.scrollTop = 0; }")
    expect(tab.locator("#jump")).to_be_visible()
    tab.locator("#jump").press("Enter")
    focused(log_of(tab))


@pytest.mark.long
def test_who_goes_elsewhere_keeps_the_focus_there(tab: Page, place: Place):
    session = place.session(script=RUNNING)
    place.open(tab, session)
    tab.locator("#naming").focus()
    tab.locator("#search").focus()
    place.tell(session, said("a", "an answer"), ended(1))
    expect(log_of(tab)).to_contain_text("an answer")
    focused(tab.locator("#search"))
    tab.locator("#naming").click()
    field = tab.locator("#rename input")
    focused(field)
    field.press("Escape")
    focused(tab.locator("#naming"))
    # Nothing takes it back to what a person left for nothing.
    tab.locator("#where").click()
    place.tell(session, queued(2, "second"), asked_question("q"))
    expect(tab.locator("#asked")).to_contain_text("begin")
    focused(tab.locator("body"))
    # Nor to a field whose keyboard was put away.
    tab.locator("#text").focus()
    tab.locator("#text").blur()
    place.tell(session, queued(3, "third"))
    expect(log_of(tab)).to_contain_text("third")
    focused(tab.locator("body"))


@pytest.mark.long
def test_trying_again_and_opening_lead_to_the_title_and_deleting_to_the_form(
    tab: Page, place: Place
):
    one = place.session(title="the failed one", script=FAILED)
    two = place.session(title="the other", script=good_session())
    place.open(tab, one)
    with tab.expect_response("**/retry"):
        tab.get_by_role("button", name="Try again").press("Enter")
    focused(tab.locator("#title"))
    with place.cloud.watched(two):
        tab.locator(f"#sessions a[href='#{two.session_id}']").press("Enter")
    expect(tab.locator("#title")).to_have_text("the other")
    focused(tab.locator("#title"))
    tab.once("dialog", lambda dialog: dialog.accept())
    tab.get_by_role("button", name="Delete").press("Enter")
    expect(tab.locator("#create :focus")).to_have_count(1)


@pytest.mark.long
def test_starting_leads_to_the_sessions_title(tab: Page, place: Place):
    place.cloud.next_session = place.session(script=good_start())
    place.connect(tab)
    tab.locator("#create [name=repo]").fill("org/name")
    tab.locator("#create [name=prompt]").fill("Say hello")
    tab.get_by_role("button", name="Start", exact=True).press("Enter")
    expect(tab.locator("#status")).to_have_text("preparing")
    focused(tab.locator("#title"))
    text = tab.locator("#text")
    text.fill("what comes next")
    text.press("Enter")
    expect(text).to_have_value("")
    focused(text)
