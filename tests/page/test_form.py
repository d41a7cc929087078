"""The form: what it takes, what it sends, and what it says where something is wrong."""

import re

import pytest
from fake_headstart import problem
from playwright.sync_api import Page, expect
from session_scripts import good_session

from tests.page.scripted import Place


def start(tab: Page, repo: str = "org/name", prompt: str = "hello") -> None:
    tab.locator("#create [name=repo]").fill(repo)
    tab.locator("#create [name=prompt]").fill(prompt)
    tab.locator("#create button.primary").click()


def sent(place: Place) -> dict:
    return place.cloud.requests("POST", "/sessions")[-1].body


@pytest.mark.long
def test_a_full_deployment_is_said_at_once_with_what_is_active(tab: Page, place: Place):
    active = [place.session(title=f"active {n}", status="running") for n in range(3)]
    place.connect(tab)
    expect(tab.locator("#sessions a")).to_have_count(3)
    full = problem(429, "QuotaExceeded", "At most 3 sessions may be active")
    answer = place.cloud.answer
    place.cloud.answer = lambda seen: (
        full if (seen.method, seen.path[-9:]) == ("POST", "/sessions") else answer(seen)
    )
    start(tab)
    expect(tab.locator("main")).to_contain_text("At most 3 sessions may be active")
    links = tab.locator("main").get_by_role("link")
    expect(links).to_have_count(len(active))
    assert len(place.cloud.requests("POST", "/sessions")) == 1
    expect(tab.locator("#create [name=prompt]")).to_have_value("hello")


def test_an_error_is_at_its_field_and_the_focus_too(tab: Page, place: Place):
    place.connect(tab)
    wrong = problem(
        422,
        "InvalidRequest",
        "prompt: is not good",
        errors=[{"loc": ["prompt"], "msg": "is not good"}],
    )
    place.cloud.idempotent.clear()
    answer = place.cloud.answer
    place.cloud.answer = lambda seen: (
        wrong if (seen.method, seen.path[-9:]) == ("POST", "/sessions") else answer(seen)
    )
    start(tab)
    field = tab.locator("#create [name=prompt]")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    expect(field).to_have_accessible_description(re.compile("is not good"))


@pytest.mark.long
@pytest.mark.parametrize("keys", ["Control+Enter", "Meta+Enter"])
def test_two_keys_start_a_session_where_one_begins_a_line(tab: Page, place: Place, keys: str):
    place.cloud.next_session = place.session(script=good_session())
    place.connect(tab)
    tab.locator("#create [name=repo]").fill("org/name")
    prompt = tab.locator("#create [name=prompt]")
    prompt.fill("hello")
    prompt.press("Enter")
    prompt.press("t")
    expect(prompt).to_have_value("hello\nt")
    prompt.press(keys)
    expect(tab.locator("#status")).to_have_text("ready")
    assert sent(place)["prompt"] == "hello\nt"


@pytest.mark.long
def test_the_address_of_a_repositorys_page_is_understood(tab: Page, place: Place):
    place.cloud.next_session = place.session(script=good_session())
    place.connect(tab)
    start(tab, "https://github.com/org/name/tree/main/src")
    expect(tab.locator("#status")).to_have_text("ready")
    body = sent(place)
    assert "tree" not in str(body.get("gitUrl") or body.get("githubRepo"))
    assert "org/name" in str(body.get("gitUrl") or body.get("githubRepo"))


def test_the_form_offers_what_the_deployment_has(tab: Page, place: Place):
    place.cloud.next_session = place.session(script=good_session())
    place.connect(tab)
    tab.locator("#create summary").first.click()
    tab.locator("#create [name=agent]").select_option("opencode")
    tab.locator("#create [name=mode]").select_option("plan")
    tab.locator("#create [name=model]").fill("stub/large")
    start(tab)
    expect(tab.locator("#status")).to_have_text("ready")
    body = sent(place)
    assert (body["agent"], body["mode"], body["model"]) == ("opencode", "plan", "stub/large")


@pytest.mark.long
def test_what_was_used_is_remembered_for_its_repository_alone(tab: Page, place: Place):
    kept = {"setup": "npm ci", "inputs": "package-lock.json", "system": "Answer in English"}
    said = "setup commands, their files, system prompt"
    place.cloud.next_session = place.session(script=good_session())
    place.connect(tab)
    tab.locator("#create summary").first.click()
    for name, text in kept.items():
        tab.locator(f"#create [name={name}]").fill(text)
    start(tab, "org/one")
    expect(tab.locator("#status")).to_have_text("ready")
    tab.get_by_role("button", name="New session").click()
    repo = tab.locator("#create [name=repo]")
    for name, folded in {"two": "More", "one": f"More, with {said}"}.items():
        repo.fill(f"org/{name}")
        repo.blur()
        # What will be sent is said though nobody unfolds it.
        expect(tab.locator("#create summary").first).to_have_text(folded)
        for field, text in kept.items():
            box = tab.locator(f"#create [name={field}]")
            expect(box).to_have_value(text if name == "one" else "")


@pytest.mark.long
@pytest.mark.parametrize("what", ["variable", "secret"])
def test_the_focus_goes_on_where_a_row_is_removed(tab: Page, place: Place, what: str):
    place.connect(tab)
    tab.locator("#create details").evaluate("node => { node.open = true; }")
    add = tab.get_by_role("button", name=f"Add a {what}")
    names = tab.get_by_label(f"Name of the {what}")
    for name in ("ONE", "TWO"):
        add.click()
        names.last.fill(name)
    removal = tab.get_by_role("button", name="Remove")
    removal.first.press("Enter")
    expect(names).to_have_count(1)
    expect(names).to_be_focused()
    expect(names).to_have_value("TWO")
    removal.press("Enter")
    expect(add).to_be_focused()


@pytest.mark.long
def test_a_new_session_shows_what_is_known_at_once(tab: Page, place: Place):
    place.cloud.next_session = place.session()
    place.connect(tab)
    start(tab, "org/name", "Mend the parser")
    expect(tab).to_have_url(re.compile("#ses_"))
    expect(tab.locator("#steps")).to_be_visible()
    assert place.cloud.requests("POST", "/stream-ticket") == []
    expect(tab.locator("body")).not_to_be_focused()


@pytest.mark.long
def test_what_is_written_outlives_a_reload_and_goes_with_its_session(tab: Page, place: Place):
    place.cloud.next_session = place.session(script=good_session())
    place.connect(tab)
    repo, prompt = tab.locator("#create [name=repo]"), tab.locator("#create [name=prompt]")
    repo.fill("org/name")
    prompt.fill("a long prompt")
    tab.reload()
    expect(repo).to_have_value("org/name")
    expect(prompt).to_have_value("a long prompt")
    tab.locator("#create button.primary").click()
    expect(tab.locator("#status")).to_have_text("ready")
    tab.reload()
    tab.locator("#new").click()
    expect(prompt).to_be_visible()
    expect(prompt).to_have_value("")
