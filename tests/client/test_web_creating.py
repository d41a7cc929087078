"""The form of a new session in node: what is filled in, sent and said."""

import re

import pytest
import web_page
from fake_headstart import SESSION_ID, FakeSession, summary
from web_page import CREATED, OPEN, STREAM, needs_node, sent

pytestmark = needs_node


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


def test_a_repository_need_not_be_public():
    label = re.search(
        r"<label>(Repository.*)\n.*name=\"repo\"", (web_page.WEB / "index.html").read_text()
    )
    assert label
    assert "opens to you" in label[1]
