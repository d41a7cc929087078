"""The whole page in node, on a document of its own: what is shown, and what is asked of the API."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import web_page
from fake_headstart import SESSION_ID, FakeSession, summary
from web_page import needs_node

pytestmark = needs_node

STREAM = {"url": "ws://api", "ticket": "t", "expiresAt": ""}
OPEN = [
    ["answer", f"POST /sessions/{SESSION_ID}/stream-ticket", 200, STREAM],
    ["go", SESSION_ID],
]


@pytest.fixture
def app(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Do some steps on the page and return what there is then; see app_check.mjs."""
    return lambda *steps: web_page.drive(tmp_path, list(steps))


def failed(**failure: Any) -> FakeSession:
    reason = {"step": "clone", "code": "CloneFailed", "reason": "no", "retryable": True, **failure}
    return FakeSession(status="failed", failure=reason)


def snapshot(session: FakeSession) -> list[Any]:
    event = {"eventId": None, "type": "session.snapshot", "data": session.view()}
    return ["event", event]


def test_a_session_that_is_not_there_is_a_sentence_and_nothing_to_press(app):
    page = app(["go", SESSION_ID])
    assert page["notice"] == "No such session."
    assert not {"session", "create", "connect"} & set(page["shown"])


def test_a_session_that_goes_while_it_is_followed_leaves_the_page(app):
    page = app(*OPEN, snapshot(FakeSession()))
    assert "session" in page["shown"]
    gone = {"eventId": None, "type": "session.deleted", "data": {}}
    page = app(*OPEN, snapshot(FakeSession()), ["event", gone])
    assert "session" not in page["shown"]


def test_the_next_session_begins_without_the_branch_of_the_last(app):
    created = {"sessionId": SESSION_ID}
    page = app(
        ["answer", "POST /sessions", 202, created],
        ["fill", "create", {"repo": "o/n", "prompt": "p", "branch": "dev", "setup": "make"}],
        ["submit", "create"],
    )
    [sent] = [
        body for method, path, body in page["requests"] if (method, path) == ("POST", "/sessions")
    ]
    assert sent["upstreamBranch"] == "dev"
    assert page["create"] == ["o/n", "", "", ""]


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


@pytest.mark.parametrize(
    ("retryable", "hint"),
    [(True, "Try again first, then write"), (False, "The session failed: start a new one")],
)
def test_a_failed_session_says_what_comes_before_a_message(app, retryable, hint):
    assert app(*OPEN, snapshot(failed(retryable=retryable)))["hint"] == hint


@pytest.mark.parametrize(
    ("code", "branch", "changed"),
    [
        ("BranchNotFound", " main ", [{"upstreamBranch": "main"}]),
        ("BranchNotFound", "", []),
        ("CloneFailed", "main", []),
    ],
)
def test_a_branch_that_is_not_there_can_be_another(app, code, branch, changed):
    path = f"/sessions/{SESSION_ID}"
    page = app(
        *OPEN,
        snapshot(failed(code=code)),
        ["answer", f"PATCH {path}", 200, {}],
        ["answer", f"POST {path}/retry", 202, {}],
        ["fill", "retry", {"branch": branch}],
        ["submit", "retry"],
    )
    assert ("elsewhere" in page["shown"]) is (code == "BranchNotFound")
    sent = page["requests"]
    assert [body for method, at, body in sent if (method, at) == ("PATCH", path)] == changed
    assert sent[-1] == ["POST", f"{path}/retry", {"attemptNumber": 1}]
