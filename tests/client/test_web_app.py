"""The whole page in node, on a document of its own: what is shown, and what is asked of the API."""

import base64
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


CREATED = [
    ["answer", "POST /sessions", 202, {"sessionId": SESSION_ID}],
    ["fill", "create", {"repo": "o/n", "prompt": "p", "branch": "dev", "setup": "make"}],
    ["submit", "create"],
]


def sent(page: dict[str, Any], method: str, path: str) -> list[Any]:
    """The bodies of a call, in order."""
    return [body for *call, body in page["requests"] if call == [method, path]]


def test_the_branch_and_commands_of_the_last_session_are_its_repositorys(app):
    page = app(*CREATED)
    [body] = sent(page, "POST", "/sessions")
    assert body["upstreamBranch"] == "dev"
    assert page["create"] == ["o/n", "", "dev", "make"]
    other = app(*CREATED, ["change", "create", "repo", "o/other"])
    assert other["create"] == ["o/other", "", "", ""]
    again = ["change", "create", "repo", "https://github.com/O/N.git"]
    assert app(*CREATED, ["change", "create", "repo", "o/other"], again)["create"][2:] == [
        "dev",
        "make",
    ]


def test_what_a_person_filled_in_is_not_taken_away(app):
    changed = [["fill", "create", {"branch": "mine"}], ["change", "create", "repo", "o/other"]]
    assert app(*CREATED, *changed)["create"] == ["o/other", "", "mine", ""]


def test_the_address_of_a_page_names_its_repository_and_branch(app):
    page = app(["change", "create", "repo", "https://github.com/o/n/tree/dev"])
    assert page["create"] == ["o/n", "", "dev", ""]
    page = app(["change", "create", "repo", "https://me:pw@github.com/o/n"])
    assert "password" in page["wrong"]["repo"]


@pytest.mark.parametrize("after", ["https://github.com/o/n", "https://github.com/o/n/pull/3"])
def test_a_branch_goes_with_the_address_that_named_it(app, after):
    named = ["change", "create", "repo", "https://github.com/o/n/tree/feat"]
    other = ["change", "create", "repo", after]
    begin = [["fill", "create", {"prompt": "p"}], ["submit", "create"]]
    [body] = sent(app(named, other, *begin), "POST", "/sessions")
    assert "upstreamBranch" not in body
    mine = ["fill", "create", {"branch": "mine"}]
    [body] = sent(app(named, mine, other, *begin), "POST", "/sessions")
    assert body["upstreamBranch"] == "mine"
    [body] = sent(app(named, *begin), "POST", "/sessions")
    assert body["upstreamBranch"] == "feat"
    assert app(*CREATED, named, other)["create"] == ["o/n", "", "dev", "make"]


def test_what_is_wrong_is_said_at_its_field_in_words(app):
    errors = [
        {"loc": ["gitUrl"], "msg": "must name a host."},
        {"loc": ["setupCommands", 1], "msg": "must be at most 10000 characters"},
        {
            "loc": ["envVars", "A B", "[key]"],
            "msg": "has a character that may not be there: it must match ^a$",
        },
    ]
    refusal = {"code": "ValidationFailed", "detail": "x", "errors": errors, "retryable": False}
    page = app(["answer", "POST /sessions", 422, refusal], *CREATED[1:])
    assert page["wrong"] == {
        "repo": "It must name a host.",
        "setup": "Line 2: It may have 10000 characters at most.",
        "env": "A B: It has a character that may not be there.",
    }
    assert page["notice"] == ""
    assert page["create"] == ["o/n", "p", "dev", "make"]


def test_at_the_limit_the_active_sessions_are_named_at_once(app):
    full = {"code": "QuotaExceeded", "detail": "At most 2.", "retryable": True}
    listed = {"items": [summary(FakeSession(status="ready"))], "nextCursor": None}
    asleep = summary(FakeSession(session_id="ses_1", title="Naps", status="asleep"))
    listed["items"].append(asleep)
    page = app(
        ["answer", "GET /sessions", 200, listed],
        ["answer", "POST /sessions", 429, full],
        *CREATED[1:],
    )
    assert len(sent(page, "POST", "/sessions")) == 1
    assert page["notice"].startswith("At most 2. These are active")
    assert "Say hello" in page["notice"]
    assert "Naps" not in page["notice"]


def test_who_went_elsewhere_is_not_led_away(app):
    other = "ses_other"
    page = app(
        *CREATED[:2],
        ["answer", f"POST /sessions/{other}/stream-ticket", 200, STREAM],
        ["leave while submitting", "create", other],
    )
    assert page["hash"] == f"#{other}"
    assert page["notice"] == "The session has begun: p"


def test_a_new_session_shows_its_title_and_first_step_before_the_cloud_says_anything(app):
    created = {"sessionId": SESSION_ID, "attemptNumber": 1, "stream": STREAM}
    page = app(["answer", "POST /sessions", 202, created], *CREATED[1:])
    assert page["title"] == "preparing - p · Headstart"
    assert "stop" in page["shown"]
    # The ticket of the answer is used instead of another one.
    assert not sent(page, "POST", f"/sessions/{SESSION_ID}/stream-ticket")


def test_of_a_session_that_is_not_known_yet_nothing_is_claimed(app):
    page = app(*OPEN)
    assert page["known"] == "false"
    assert app(*OPEN, snapshot(FakeSession()))["known"] == "true"


def test_a_stopped_preparation_has_not_failed(app):
    page = app(*OPEN, snapshot(failed(code="Cancelled")))
    assert (page["status"], page["summary"]) == ("stopped", "The preparation was stopped")
    assert app(*OPEN, snapshot(failed()))["status"] == "failed"


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


REFUSED = ["answer", "GET /sessions", 401, {"message": "Unauthorized"}]


def test_a_refused_token_goes_and_its_address_stays(app):
    page = app(REFUSED, ["more"])
    assert "connect" in page["shown"]
    assert page["connect"] == ["http://api", ""]
    assert page["stored"]["connection"] == '{"api":"http://api","token":"","user":null}'


PAIR = ["fill", "connect", {"api": "http://api/", "token": "new"}]
HEALTHY = ["answer", "GET /health", 200, {"status": "ok"}]


def token_of(subject: str, mark: str = "") -> str:
    claims = base64.urlsafe_b64encode(f'{{"sub": "{subject}"}}'.encode()).decode().rstrip("=")
    return f"a.{claims}.c{mark}"


DRAFT = ["store", f"draft {SESSION_ID}", "mine alone"]
UNSENT = ["store", f"unanswered http://api/sessions/{SESSION_ID}/messages", '{"text": "mine"}']
WRITTEN = [
    *[DRAFT, UNSENT],
    ["fill", "create", {"repo": "o/secret", "prompt": "p", "setup": "make", "branch": "dev"}],
]
EMPTY = ["", "", "", ""]


def test_who_disconnects_leaves_an_address_and_nothing_else(app):
    page = app(*CREATED, *WRITTEN, ["press", "disconnect"])
    assert page["stored"] == {"connection": '{"api":"http://api","token":""}'}
    assert page["create"] == EMPTY


def test_what_was_begun_by_who_has_disconnected_since_leaves_nothing_either(app):
    page = app(*CREATED[:2], ["disconnect while submitting", "create"])
    assert set(page["stored"]) == {"connection"}
    assert page["create"] == EMPTY
    assert page["notice"] == ""


ADA = ["connect elsewhere", {"api": "http://api", "token": token_of("ada")}]


@pytest.mark.parametrize(
    "other",
    [
        {"api": "http://api", "token": token_of("eve")},
        {"api": "http://other", "token": token_of("ada")},
        {"api": "http://api", "token": ""},
    ],
)
def test_what_was_written_is_not_left_to_who_another_tab_connects(app, other):
    page = app(ADA, *WRITTEN, ["connect elsewhere", other])
    assert page["create"] == EMPTY
    assert DRAFT[1] not in page["stored"]


@pytest.mark.parametrize("renewed", [token_of("ada", "2"), ""])
def test_what_was_written_waits_for_the_next_token_of_its_writer(app, renewed):
    ended = {"api": "http://api", "token": renewed, "user": "ada"}
    page = app(ADA, *WRITTEN, ["connect elsewhere", ended])
    assert page["create"][0] == "o/secret"
    assert page["stored"][DRAFT[1]] == DRAFT[2]


@pytest.mark.parametrize(("subject", "left"), [("ada", "o/secret"), ("eve", "")])
def test_what_was_written_before_a_token_was_refused_is_for_the_same_user(app, subject, left):
    listed = ["answer", "GET /sessions", 200, {"items": [], "nextCursor": None}]
    again = ["fill", "connect", {"api": "http://api", "token": token_of(subject, "2")}]
    refused = [ADA, *WRITTEN, REFUSED, ["more"]]
    page = app(*refused, listed, HEALTHY, again, ["submit", "connect"])
    assert "create" in page["shown"]
    assert page["create"][0] == left
    assert (DRAFT[1] in page["stored"]) is bool(left)


def test_a_link_that_is_followed_to_another_user_leaves_nothing_to_them(app):
    link = f"api=http://api&repo=o/theirs&token={token_of('eve')}"
    page = app(ADA, *WRITTEN, ["go", link])
    assert len(page["confirmed"]) == 1
    assert page["create"] == ["o/theirs", "", "", ""]
    assert DRAFT[1] not in page["stored"]
    kept = app(ADA, *WRITTEN, ["refuse"], ["go", link])
    assert kept["create"][0] == "o/secret"
    assert kept["stored"][DRAFT[1]] == DRAFT[2]


def test_connect_tries_address_and_token_before_it_keeps_them(app):
    start = ["press", "disconnect"]
    page = app(start, PAIR, ["submit", "connect"])
    assert "can't be reached" in page["wrong"]["api"]
    other = ["answer", "GET /health", 200, {"hello": 1}]
    assert "is no Headstart" in app(start, other, PAIR, ["submit", "connect"])["wrong"]["api"]
    refused = ["answer", "GET /sessions", 401, {"message": "Unauthorized"}]
    page = app(start, HEALTHY, refused, PAIR, ["submit", "connect"])
    assert "refuses this token" in page["wrong"]["token"]
    assert page["connect"] == ["http://api", "new"]
    assert '"token":""' in page["stored"]["connection"]
    page = app(start, HEALTHY, PAIR, ["submit", "connect"])
    assert page["wrong"] == {}
    assert page["stored"]["connection"] == '{"api":"http://api","token":"new"}'
    assert "create" in page["shown"]


def test_a_token_that_ended_is_said_to_have(app):
    claims = base64.urlsafe_b64encode(b'{"exp": 1600000000}').decode().rstrip("=")
    ended = ["fill", "connect", {"api": "http://api", "token": f"a.{claims}.c"}]
    page = app(["press", "disconnect"], HEALTHY, ended, ["submit", "connect"])
    assert page["wrong"]["token"].startswith("The token expired on ")


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
    assert sent(page, "PATCH", path) == changed
    assert page["requests"][-1] == ["POST", f"{path}/retry", {"attemptNumber": 1}]


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
