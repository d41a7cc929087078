"""What a person needs of a session is in sight on a phone, whatever goes on in it."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect
from session_scripts import good_start, preparing

from tests.page.looks import DESK, PHONE
from tests.page.scripted import Place
from tests.page.told import RUNNING, Event, asked_permission, asked_question, said

SIDE = {"width": 720, "height": 360}

SETUP = preparing(13, "setup", "running", 8_000, etaMs=40_000, message="npm ci")

STATES: dict[str, list[Event]] = {
    "setup": [*good_start()[:12], SETUP],
    "asked": [*RUNNING, asked_question("q"), asked_permission("p")],
    "running": [*RUNNING, said("a", "word " * 999)],
}


@pytest.fixture
def session(request: pytest.FixtureRequest, tab: Page, place: Place) -> Iterator[Locator]:
    tab.set_viewport_size(PHONE)
    shown = place.session(title="A title " * 8, script=STATES[request.param])
    place.open(tab, shown)
    expect(tab.locator("#status")).not_to_be_empty()
    yield tab.locator("#session")
    tab.set_viewport_size(DESK)


def box(node: Locator) -> tuple[float, float]:
    """Return where it begins and where it ends, from the top."""
    found = node.bounding_box()
    assert found
    return found["y"], found["y"] + found["height"]


@pytest.mark.long
@pytest.mark.parametrize("session", STATES, indirect=True)
def test_the_composer_is_in_sight_and_the_heading_takes_three_lines(session: Locator) -> None:
    expect(session.locator("#stop")).to_be_visible()
    assert box(session.locator("#message"))[1] <= PHONE["height"]
    assert box(session.locator("#stop"))[0] == box(session.locator("#remove"))[0]


@pytest.mark.long
@pytest.mark.parametrize("session", ["asked"], indirect=True)
def test_no_answer_is_hidden_below_an_edge(session: Locator) -> None:
    refusals = session.get_by_role("button", name="Reject")
    expect(refusals).to_have_count(2)
    end = box(session.locator("#asked"))[1]
    assert box(refusals.last)[1] <= end <= box(session.locator("#message"))[0]


@pytest.mark.long
@pytest.mark.parametrize("session", ["setup"], indirect=True)
def test_the_title_of_a_step_is_one_line(session: Locator) -> None:
    step = session.locator("[data-step=setup]")
    expect(step.locator(".time")).to_contain_text("left")
    top, end = box(step.locator(".title"))
    assert end - top < 30
    assert box(step.locator(".time"))[0] >= end


@pytest.mark.long
@pytest.mark.parametrize("session", ["running"], indirect=True)
def test_on_its_side_a_phone_shows_what_is_said(session: Locator) -> None:
    """As a desk's page does at twice its size: its heading and lists took all of that."""
    tab = session.page
    tab.set_viewport_size(SIDE)
    log, message = box(session.get_by_role("log")), box(session.locator("#message"))
    assert log[1] - log[0] > SIDE["height"] / 3
    assert message[1] <= SIDE["height"]
    tab.locator("#new").click()
    button = tab.locator("#create button.primary")
    button.scroll_into_view_if_needed()
    # What leads elsewhere goes out of sight with the form's beginning.
    assert box(tab.locator("aside"))[0] < 0
    assert tab.evaluate("document.documentElement.scrollWidth") == SIDE["width"]
