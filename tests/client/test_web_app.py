"""The whole page in node, on a document of its own: what is shown, and what is asked of the API."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import web_page
from fake_headstart import NOW, SESSION_ID, FakeSession, summary
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


def test_what_was_sent_in_the_open_is_told_where_the_session_is_shown(app):
    warnings = [{"loc": ["setupCommands", 0], "msg": "looks like a credential"}]
    created = {"sessionId": SESSION_ID, "warnings": warnings}
    create = [
        ["answer", "POST /sessions", 202, created],
        ["fill", "create", {"repo": "o/n", "prompt": "p", "setup": "echo ghp_…"}],
        ["submit", "create"],
    ]
    assert app(*create, *OPEN)["notice"] == "setupCommands.0 looks like a credential."
    created["warnings"] = []
    assert app(*create, *OPEN)["notice"] == ""


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
    [
        (True, "What you write waits until you try again"),
        (False, "The session failed for good: start a new one"),
    ],
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


def test_who_lacks_secrets_is_told_what_sends_them(app):
    page = app(*OPEN, snapshot(failed(code="SecretsUnavailable")))
    assert {"retry", "sealed"} <= set(page["shown"])
    assert f"headstart retry {SESSION_ID} --secret NAME" in page["sealed"]
    assert "sealed" not in app(*OPEN, snapshot(failed(code="CloneFailed")))["shown"]


def test_a_repository_need_not_be_public():
    label = re.search(
        r"<label>(Repository.*)\n.*name=\"repo\"", (web_page.WEB / "index.html").read_text()
    )
    assert label
    assert "opens to you" in label[1]


ARCHIVE = {
    "savedAt": NOW,
    "base": {"url": "https://s3/base?x=1", "bytes": 184_320_117, "sha256": "x"},
    "difference": {"url": "https://s3/difference", "bytes": 48_210, "sha256": "x"},
    "leftOut": [],
    "missing": None,
}
PATH = f"/sessions/{SESSION_ID}"
LOST = [*OPEN, snapshot(failed(code="RestoreFailed"))]


def test_a_wake_that_failed_can_begin_without_the_saved_work_and_asks_first(app):
    retry = ["answer", f"POST {PATH}/retry", 202, {}]
    page = app(*LOST, retry, ["press", "anew"])
    assert {"ways", "anew", "download"} <= set(page["shown"])
    [question] = page["confirmed"]
    assert "What is saved then replaces what is saved now." in question
    sent = ["POST", f"{PATH}/retry", {"attemptNumber": 1, "withoutArchive": True}]
    assert page["requests"][-1] == sent
    refused = app(*LOST, retry, ["refuse"], ["press", "anew"])
    assert sent not in refused["requests"]


def test_what_is_saved_can_be_taken_away_where_a_wake_failed(app):
    page = app(*LOST, ["answer", f"GET {PATH}/archive", 200, ARCHIVE], ["press", "download"])
    assert page["links"] == [
        ["Base, 184.3 MB", "https://s3/base?x=1"],
        ["Difference, 49 kB", "https://s3/difference"],
    ]
    evil = {**ARCHIVE, "base": {**ARCHIVE["base"], "url": "javascript:alert(1)"}}
    page = app(*LOST, ["answer", f"GET {PATH}/archive", 200, evil], ["press", "download"])
    assert page["links"][0] == ["Base, 184.3 MB", None]
    nothing = [404, {"detail": "Nothing is saved.", "retryable": False, "code": "ArchiveNotFound"}]
    page = app(*LOST, ["answer", f"GET {PATH}/archive", *nothing], ["press", "download"])
    assert (page["notice"], page["links"]) == ("Nothing is saved.", [])


def test_other_failures_have_nothing_to_do_with_what_is_saved(app):
    assert "ways" not in app(*OPEN, snapshot(failed()))["shown"]


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


COUNTED = {"files": 2, "additions": 3, "deletions": 1}
CHANGES = {
    "files": [
        {"path": "<b>a</b>", "status": "renamed", "source": "b", "additions": 1, "deletions": 2,
         "mode": None},
        {"path": "x.png", "status": "added", "source": None, "additions": None,
         "deletions": None, "mode": "100644 → 100755"},
    ],
    "total": {"files": 5, "additions": 1, "deletions": 2},
    "truncated": True,
}  # fmt: skip
READY = [*OPEN, snapshot(FakeSession(status="ready"))]


def happened(number: int, kind: str, data: dict[str, Any]) -> list[Any]:
    return ["event", {"eventId": number, "type": kind, "data": data}]


def test_what_changed_is_shown_as_text_and_the_diff_line_by_line(app):
    url = "http://api/diff?signature=x"
    page = app(
        *READY,
        happened(1, "work.changed", COUNTED),
        ["answer", f"GET {PATH}/changes", 200, CHANGES],
        ["answer", f"GET {PATH}/diff", 200, {"url": url}],
        ["answer", "GET /diff", 200, "+<script>\n-old\n@@ -1 +1 @@"],
        ["press", "compare"],
    )
    assert page["work"]["summary"] == "2 files changed, 3 lines added, 1 deleted"
    assert page["work"]["files"] == [
        "b → <b>a</b> renamed, +1 -2",
        "x.png added, binary, 100644 → 100755",
        "… and 3 more",
    ]
    assert "<script>" in page["work"]["diff"]


def test_publishing_shows_how_far_it_is_and_why_not(app):
    publishing = {**FakeSession().view(), "publication": {"status": "publishing"}}
    asked = [
        *READY,
        happened(1, "work.changed", COUNTED),
        ["answer", f"POST {PATH}/publish", 202, publishing],
        ["submit", "publish"],
    ]
    page = app(*asked)
    assert page["requests"][-1] == ["POST", f"{PATH}/publish", {}]
    assert page["work"]["published"] == "Publishing…"
    refused = {"code": "PushRejected", "reason": "Not on Fridays", "retryable": True}
    page = app(*asked, happened(2, "work.publish_failed", refused))
    assert page["work"]["published"] == "Not published: Not on Fridays"
    alone = {**refused, "code": "PullRequestFailed", "reason": "GitHub refused it"}
    page = app(*asked, happened(2, "work.publish_failed", alone))
    assert page["work"]["published"] == "Not published: GitHub refused it"
    there = {"branch": "b", "commit": "c" * 40}
    page = app(
        *asked,
        happened(2, "work.published", there),
        happened(3, "work.publish_failed", alone),
    )
    said = "Published at cccccccccccc; the pull request: GitHub refused it"
    assert page["work"]["published"] == said
    page = app(
        *asked,
        happened(2, "work.published", there),
        happened(3, "work.publish_failed", refused),
    )
    assert page["work"]["published"] == "Not published: Not on Fridays"
    published = {
        "branch": "b",
        "commit": "c" * 40,
        "pullRequest": {"number": 3, "url": "javascript:x"},
    }
    page = app(*asked, happened(2, "work.published", published))
    assert page["work"]["published"] == "Published at cccccccccccc."
    assert page["work"]["page"] == [["Pull request #3", None]]
