"""The page of one session in node, on a document of its own."""

import pytest
from fake_headstart import SESSION_ID, FakeSession
from web_page import OPEN, needs_node, sent, snapshot

pytestmark = needs_node


def test_a_session_that_is_not_there_is_a_sentence_and_another_can_begin(app):
    page = app(["go", SESSION_ID])
    assert page["notice"] == "No such session."
    assert {"session", "create", "connect"} & set(page["shown"]) == {"create"}


def test_a_session_that_goes_while_it_is_followed_leaves_the_page(app):
    page = app(*OPEN, snapshot(FakeSession()))
    assert "session" in page["shown"]
    gone = {"eventId": None, "type": "session.deleted", "data": {}}
    page = app(*OPEN, snapshot(FakeSession()), ["event", gone])
    assert "session" not in page["shown"]


def test_of_a_session_that_is_not_known_yet_nothing_is_claimed(app):
    page = app(*OPEN)
    assert page["known"] == "false"
    assert app(*OPEN, snapshot(FakeSession()))["known"] == "true"


def test_a_session_deleted_elsewhere_is_told(app):
    gone = ["event", {"eventId": None, "type": "session.deleted", "data": {}}]
    page = app(*OPEN, snapshot(FakeSession()), gone)
    assert page["notice"] == "“Say hello” was deleted elsewhere."
    assert "create" in page["shown"]
    delete = [["answer", f"DELETE /sessions/{SESSION_ID}", 202, {}], ["press", "remove"]]
    assert app(*OPEN, snapshot(FakeSession()), *delete)["notice"] == ""


def test_a_title_is_changed_in_place_and_where_others_changed_it(app):
    path = f"/sessions/{SESSION_ID}"
    page = app(
        *OPEN,
        snapshot(FakeSession()),
        ["answer", f"PATCH {path}", 200, {"title": "Mine"}],
        ["press", "naming"],
        ["fill", "rename", {"title": " Mine "}],
        ["submit", "rename"],
    )
    assert sent(page, "PATCH", path) == [{"title": "Mine"}]
    assert page["title"] == "preparing - Mine · Headstart"
    renamed = {"eventId": 1, "type": "session.renamed", "data": {"title": "Theirs"}}
    page = app(*OPEN, snapshot(FakeSession()), ["event", renamed])
    assert page["title"] == "preparing - Theirs · Headstart"


def test_an_older_title_does_not_come_back_by_a_replay(app):
    at = {**FakeSession(title="New").view(), "lastEventId": 5}
    seen = ["event", {"eventId": None, "type": "session.snapshot", "data": at}]
    old = ["event", {"eventId": 1, "type": "session.renamed", "data": {"title": "Old"}}]
    assert app(*OPEN, seen, old)["title"] == "preparing - New · Headstart"


@pytest.mark.parametrize(
    ("known", "shown"), [(0, "https://x.test/new"), (5, "https://example.com/")]
)
def test_an_address_that_somebody_corrected_is_shown_and_an_older_one_is_not(app, known, shown):
    at = {**FakeSession(status="failed").view(), "lastEventId": known}
    seen = ["event", {"eventId": None, "type": "session.snapshot", "data": at}]
    data = {"gitUrl": "https://x.test/new"}
    moved = ["event", {"eventId": 1, "type": "session.moved", "data": data}]
    assert app(*OPEN, seen, moved)["where"].startswith(shown)


@pytest.mark.parametrize(("many", "opened"), [(0, None), (3, True), (21, False)])
def test_what_is_not_saved_is_listed_and_folded_where_it_is_long(app, many, opened):
    names = [f"{n}.bin" for n in range(many)]
    page = app(*OPEN, snapshot(FakeSession(status="ready", left_out=names)))
    assert ("left" in page["shown"]) is bool(names)
    assert page["left"] == ([opened, names] if names else page["left"])


def test_the_receipt_says_what_a_prepared_tree_saved(app):
    receipt = {"totalMs": 3200, "preparedTree": {"age": 7300, "bytes": 1, "saved": 41_000}}
    ready = {"eventId": 1, "type": "session.ready", "data": {"receipt": receipt}}
    page = app(*OPEN, snapshot(FakeSession()), ["event", ready])
    assert page["summary"] == "Ready in 3.2 s; a prepared tree of 2 h ago saved 41.0 s"
