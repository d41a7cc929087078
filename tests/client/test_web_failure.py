"""A preparation that failed, in node: why, its log, and what can be done."""

import pytest
from fake_headstart import NOW, SESSION_ID, FakeSession
from web_page import OPEN, PATH, failed, needs_node, sent, snapshot

pytestmark = needs_node


def test_a_stopped_preparation_has_not_failed(app):
    page = app(*OPEN, snapshot(failed(code="Cancelled")))
    assert (page["status"], page["summary"]) == ("stopped", "The preparation was stopped")
    assert app(*OPEN, snapshot(failed()))["status"] == "failed"


LOG = f"/sessions/{SESSION_ID}/texts/log.1.setup"


def test_the_log_of_the_step_that_failed_opens_by_itself(app):
    items = [{"offset": 0, "text": "one\n"}, {"offset": 4, "text": "\x1b[31mtwo\x1b[0m"}]
    text = {"items": items, "bytes": 16, "complete": True, "truncated": False, "nextCursor": None}
    answer = ["answer", f"GET {LOG}", 200, text]
    page = app(answer, *OPEN, snapshot(failed(step="setup", code="SetupCommandFailed")))
    assert page["logs"] == ["Downloadone\ntwo"]
    cut = ["answer", f"GET {LOG}", 200, {**text, "truncated": True}]
    page = app(cut, *OPEN, snapshot(failed(step="setup", code="SetupCommandFailed")))
    assert page["logs"] == [
        "DownloadThis is all that was kept: it printed more, or its sandbox ended.one\ntwo"
    ]


def test_without_a_log_there_is_what_the_stream_told(app):
    session = failed(step="setup", code="SetupCommandFailed")
    session.steps["setup"] = {"status": "failed", "output": "the end"}
    [log] = app(*OPEN, snapshot(session))["logs"]
    assert "the end" in log


def test_what_a_reason_names_is_shown_without_its_backticks(app):
    page = app(*OPEN, snapshot(failed(reason="`npm ci`: exit code 1, see `log")))
    assert page["reason"] == ["npm ci: exit code 1, see `log", ["npm ci"]]


def test_a_second_click_on_try_again_is_harmless(app):
    stale = {"code": "StaleAttempt", "detail": "The last attempt is 2.", "retryable": False}
    again = [["answer", f"POST {PATH}/retry", 409, stale], ["submit", "retry"]]
    page = app(*OPEN, snapshot(failed()), *again)
    assert page["notice"] == ""
    assert "failure" not in page["shown"]


def test_corrected_commands_are_those_of_the_next_session(app):
    page = app(
        *OPEN,
        snapshot(failed(step="setup", code="SetupCommandFailed")),
        ["answer", f"POST {PATH}/retry", 202, {}],
        ["unfold", "change"],
        ["fill", "retry", {"setup": "npm ci"}],
        ["submit", "retry"],
        ["go", ""],
        ["change", "create", "repo", "https://example.com/r.git"],
    )
    assert sent(page, "POST", f"{PATH}/retry")[0]["setupCommands"] == ["npm ci"]
    assert page["create"][3] == "npm ci"


def test_another_session_begins_with_what_a_failed_one_was_given(app):
    messages = {"items": [{"text": "the whole prompt"}], "nextCursor": None}
    page = app(
        *OPEN,
        snapshot(failed(code="RepositoryNotFound")),
        ["answer", f"GET {PATH}/messages", 200, messages],
        ["press", "copy"],
    )
    assert page["create"][:2] == [FakeSession().view()["repository"]["gitUrl"], "the whole prompt"]
    assert "create" in page["shown"]


@pytest.mark.parametrize(
    ("retryable", "hint"),
    [
        (True, "What you write waits until you try again"),
        (False, "The session failed for good: start a new one"),
    ],
)
def test_a_failed_session_says_what_comes_before_a_message(app, retryable, hint):
    assert app(*OPEN, snapshot(failed(retryable=retryable)))["hint"] == hint


def test_a_late_answer_brings_back_no_older_address(app):
    def told(number, kind, **data):
        return ["event", {"eventId": number, "type": f"session.{kind}", "data": data}]

    mine = {"repository": {"gitUrl": "https://x.test/mine", "branch": "b"}, "lastEventId": 1}
    page = app(
        *OPEN,
        snapshot(failed(code="RepositoryNotFound")),
        ["answer", f"PATCH {PATH}", 200, FakeSession().view() | mine],
        ["answer", f"POST {PATH}/retry", 202, {}],
        told(1, "moved", gitUrl="https://x.test/mine"),
        told(2, "moved", gitUrl="https://x.test/theirs"),
        ["fill", "retry", {"repo": "https://x.test/mine"}],
        ["submit", "retry"],
        told(3, "renamed", title="Another"),
    )
    assert sent(page, "PATCH", PATH)
    assert page["title"].endswith("Another · Headstart")
    assert page["where"].startswith("https://x.test/theirs")


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
        ["answer", f"PATCH {path}", 200, FakeSession().view()],
        ["answer", f"POST {path}/retry", 202, {}],
        ["fill", "retry", {"branch": branch}],
        ["submit", "retry"],
    )
    assert ("elsewhere" in page["shown"]) is (code == "BranchNotFound")
    assert sent(page, "PATCH", path) == changed
    assert page["requests"][-1] == ["POST", f"{path}/retry", {"attemptNumber": 1}]


def test_who_lacks_secrets_is_told_what_sends_them(app):
    page = app(*OPEN, snapshot(failed(code="SecretsUnavailable")))
    assert {"retry", "sealed"} <= set(page["shown"])
    assert f"headstart retry {SESSION_ID} --secret NAME" in page["sealed"]
    assert "sealed" not in app(*OPEN, snapshot(failed(code="CloneFailed")))["shown"]


ARCHIVE = {
    "savedAt": NOW,
    "base": {"url": "https://s3/base?x=1", "bytes": 184_320_117, "sha256": "x"},
    "difference": {"url": "https://s3/difference", "bytes": 48_210, "sha256": "x"},
    "leftOut": [],
    "missing": None,
}


LOST = [*OPEN, snapshot(failed(code="RestoreFailed"))]


def test_a_wake_that_failed_can_begin_without_the_saved_work_and_asks_first(app):
    retry = ["answer", f"POST {PATH}/retry", 202, {}]
    page = app(*LOST, retry, ["press", "anew"])
    assert {"ways", "anew", "download"} <= set(page["shown"])
    [question] = page["confirmed"]
    assert "What is saved then replaces what is saved now." in question
    anew = ["POST", f"{PATH}/retry", {"attemptNumber": 1, "withoutArchive": True}]
    assert page["requests"][-1] == anew
    refused = app(*LOST, retry, ["refuse"], ["press", "anew"])
    assert anew not in refused["requests"]


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
