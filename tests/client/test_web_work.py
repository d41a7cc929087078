"""What a session changed, in node, and publishing it."""

from typing import Any

from fake_headstart import FakeSession
from web_page import OPEN, PATH, needs_node, snapshot

pytestmark = needs_node


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


def test_an_answer_that_its_own_event_overtook_says_nothing_any_more(app):
    def pressed(last: int) -> list[list[Any]]:
        asked = {"publication": {"status": "publishing"}, "lastEventId": last}
        return [
            ["answer", f"POST {PATH}/publish", 202, FakeSession().view() | asked],
            ["submit", "publish"],
        ]

    told = [
        *READY,
        happened(1, "work.changed", COUNTED),
        happened(2, "work.unchanged", {"branch": "b", "commit": "c" * 40}),
    ]
    page = app(*told, *pressed(1))
    assert page["work"]["published"] == "There is nothing new to publish."
    page = app(*told, *pressed(2))
    assert page["work"]["published"] == "Publishing…"
