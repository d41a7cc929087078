"""What a session changed and its publishing, on the command line and by the client."""

import json
import subprocess
import sys

import fake_headstart as fake
import pytest
from cli_kit import RUN
from fake_headstart import NOW, SESSION_ID, FakeSession
from session_scripts import good_session

from headstart_client import Conflict, Headstart, NotFound, cli

pytestmark = pytest.mark.usefixtures("environment")

CHANGES = {
    "savedAt": NOW,
    "base": "a" * 40,
    "head": "b" * 40,
    "files": [
        {"path": "a\x1b[2J.py", "status": "renamed", "source": "b.py", "additions": 3,
         "deletions": 1, "mode": None},
        {"path": "run.sh", "status": "modified", "source": None, "additions": 0, "deletions": 0,
         "mode": "100644 → 100755"},
        {"path": "x.png", "status": "added", "source": None, "additions": None,
         "deletions": None, "mode": None},
    ],
    "total": {"files": 3, "additions": 3, "deletions": 1},
    "truncated": False,
}  # fmt: skip
PUBLISHED = {"branch": "session/x", "commit": "c" * 40, "url": None, "pullRequest": None}
REFUSED = {"code": "PushRejected", "reason": "The remote refused it: no", "retryable": True}


def test_stat_names_each_file(cloud, capsys):
    cloud.add(FakeSession(changes=CHANGES))
    assert cli.main(["diff", "--stat", SESSION_ID]) == 0
    assert capsys.readouterr().out.splitlines() == [
        r'renamed +3 -1 b.py → "a\u001b[2J.py"',
        "modified +0 -0 run.sh (100644 → 100755)",
        "added binary x.png",
        "3 files changed, 3 lines added, 1 deleted",
    ]


def test_diff_prints_it_byte_by_byte_into_a_pipe(cloud):
    import base64  # noqa: PLC0415
    import hashlib  # noqa: PLC0415

    text = b"--- a\n+++ b\n\xff\r\n"
    cloud.files["diff"] = text
    sha256 = base64.b64encode(hashlib.sha256(text).digest()).decode()
    url = f"{cloud.url}/files/diff"
    cloud.add(FakeSession(diff={"savedAt": NOW, "url": url, "bytes": len(text), "sha256": sha256}))
    done = subprocess.run(
        [sys.executable, "-m", "headstart_client.cli", "diff", SESSION_ID],
        check=True,
        capture_output=True,
        timeout=60,
    )
    assert done.stdout == text


def test_where_nothing_is_saved_there_is_no_diff(cloud, capsys):
    cloud.add(FakeSession())
    for more in ([], ["--stat"]):
        assert cli.main(["diff", SESSION_ID, *more]) == 1
    assert "Nothing of the session is saved yet" in capsys.readouterr().err


def test_publish_shows_what_came_of_it(cloud, capsys):
    pull_request = {"number": 3, "url": "https://x/3"}
    cloud.add(
        FakeSession(
            status="ready",
            publishes=[("work.published", {**PUBLISHED, "pullRequest": pull_request})],
        )
    )
    arguments = ["publish", SESSION_ID, "--message", "Done", "--pull-request"]
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out == "published: session/x at cccccccccccc, https://x/3\n"
    [sent] = cloud.requests("POST", "/publish")
    assert sent.body == {"message": "Done", "pullRequest": {"draft": False}}


@pytest.mark.parametrize(
    "events",
    [
        [("work.publish_failed", REFUSED)],
        [("work.published", PUBLISHED), ("work.publish_failed", REFUSED)],
    ],
)
def test_publish_fails_where_not_all_was_published(cloud, capsys, events):
    failure = {"step": None, **REFUSED}
    publication = {"status": "failed", "branch": "session/x", "failure": failure}
    cloud.add(FakeSession(status="ready", publishes=events, publication=publication))
    assert cli.main(["publish", SESSION_ID]) == 1
    err = capsys.readouterr().err
    assert err == (f"headstart: The remote refused it: no; again: headstart publish {SESSION_ID}\n")


def test_nothing_new_is_no_failure(cloud, capsys):
    cloud.add(FakeSession(status="ready", publishes=[("work.unchanged", {"branch": "x"})]))
    assert cli.main(["publish", SESSION_ID]) == 0
    assert capsys.readouterr().out == "nothing new to publish\n"


def test_run_waits_for_what_it_had_published(cloud, capsys):
    cloud.next_session.script = [
        *good_session(),
        ("work.changed", {"files": 1, "additions": 2, "deletions": 0}),
        ("work.published", PUBLISHED),
    ]
    assert cli.main([*RUN, "--auto-commit", "--pull-request", "--draft"]) == 0
    out = capsys.readouterr().out
    assert "1 file changed, 2 lines added, 0 deleted\n" in out
    assert "published: session/x at cccccccccccc\n" in out
    [sent] = cloud.requests("POST", "/sessions")
    assert (sent.body["autoCommit"], sent.body["pullRequest"]) == (True, {"draft": True})


def test_who_wants_a_pull_request_is_told_what_brings_it(cloud, capsys):
    cloud.next_session.script = good_session()
    assert cli.main([*RUN, "--draft"]) == 0
    assert "The pull request comes with `headstart publish`" in capsys.readouterr().out


def test_json_lines_have_the_events_as_they_are(cloud, capsys):
    cloud.add(FakeSession(status="ready", publishes=[("work.published", PUBLISHED)]))
    assert cli.main(["publish", SESSION_ID, "--json"]) == 0
    kinds = [json.loads(line)["type"] for line in capsys.readouterr().out.splitlines()]
    assert "work.published" in kinds


def test_the_client_has_the_same_calls(cloud):
    cloud.add(FakeSession(changes=CHANGES))
    with Headstart(cloud.url, "token") as headstart:
        assert headstart.changes(SESSION_ID).files[0].source == "b.py"
        with pytest.raises(NotFound):
            headstart.diff(SESSION_ID)
        assert headstart.publish(SESSION_ID, message="m").publication is None
        busy = fake.problem(409, "SessionBusy", "A turn is active")
        cloud.canned.append(busy)
        with pytest.raises(Conflict):
            headstart.publish(SESSION_ID)
