"""The list of sessions in node."""

from fake_headstart import FakeSession, summary
from web_page import OPEN, needs_node, snapshot

pytestmark = needs_node


def test_an_error_of_the_list_and_an_empty_one_are_told_in_it(app):
    broken = {"code": "RowUnreadable", "detail": "A row.", "retryable": False}
    page = app(["answer", "GET /sessions", 503, broken], ["more"])
    assert page["told"] == "The list can't be had: A row."
    assert page["notice"] == ""
    assert app()["told"].startswith("No sessions yet")


def test_a_row_of_the_list_stays_the_same_node(app):
    listed = {"items": [summary(FakeSession(status="running"))], "nextCursor": None}
    newer = summary(FakeSession(session_id="ses_1", title="Newer"))
    page = app(
        ["answer", "GET /sessions", 200, listed],
        ["mark rows"],
        ["answer", "GET /sessions", 200, {"items": [newer, *listed["items"]], "nextCursor": None}],
        ["press", "new"],
    )
    assert page["names"] == ["Newer", "Say hello"]
    assert page["marked"] == [False, True]


def test_who_waits_for_a_person_says_so_in_the_list(app):
    waits = {**summary(FakeSession(status="running")), "pendingInputCount": 1}
    page = app(["answer", "GET /sessions", 200, {"items": [waits], "nextCursor": None}], ["more"])
    [[status, words]] = page["list"]
    assert status == "waits"
    assert words.startswith("waits for you")


def test_the_list_is_not_behind_the_session_on_display(app):
    listed = {"items": [summary(FakeSession(status="running"))], "nextCursor": None}
    steps = [["answer", "GET /sessions", 200, listed], *OPEN]
    assert app(*steps)["list"][0][0] == "running"
    [[status, words]] = app(*steps, snapshot(FakeSession(status="ready")))["list"]
    assert (status, words.partition(" ")[0]) == ("ready", "ready")


def test_a_list_that_was_asked_for_before_is_not_ahead_of_it_either(app):
    listed = {"items": [summary(FakeSession(status="running"))], "nextCursor": None}
    page = app(
        *OPEN,
        snapshot(FakeSession(status="ready")),
        ["answer", "GET /sessions", 200, listed],
        ["more"],
    )
    assert page["list"][0][0] == "ready"
