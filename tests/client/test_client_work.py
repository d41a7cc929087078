"""What a session changed and its publishing, on the command line and by the client."""

import json
import subprocess
import sys
import threading
from typing import Any

import fake_headstart as fake
import pytest
from cli_kit import RUN
from fake_headstart import NOW, SESSION_ID, FakeSession
from session_scripts import good_session, good_turn

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
AGAIN = f"headstart publish {SESSION_ID}"
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
            publication={**PUBLISHED, "status": "published", "pullRequest": pull_request},
            publishes=[("work.published", {**PUBLISHED, "pullRequest": pull_request})],
        )
    )
    arguments = ["publish", SESSION_ID, "--message", "Done", "--pull-request"]
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out == "published: session/x at cccccccccccc, https://x/3\n"
    [sent] = cloud.requests("POST", "/publish")
    assert sent.body == {"message": "Done", "pullRequest": {"draft": False}}


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (REFUSED, "Not published: The remote refused it: no; again: {again}"),
        (
            {**REFUSED, "code": "RepositoryAccessDenied"},
            "Not published: The remote refused it: no; with a token that opens it: {again} "
            "--secret GIT_TOKEN",
        ),
        ({**REFUSED, "retryable": False}, "Not published: The remote refused it: no."),
    ],
)
def test_publish_fails_where_nothing_was_published(cloud, capsys, failure, said):
    cloud.add(FakeSession(status="ready", publishes=[("work.publish_failed", failure)]))
    assert cli.main(["publish", SESSION_ID]) == 1
    out, err = capsys.readouterr()
    assert err == f"headstart: {said.format(again=AGAIN)}\n"
    assert out == "not published: The remote refused it: no\n"


@pytest.mark.parametrize("before", ["work.published", "work.unchanged"])
@pytest.mark.parametrize("code", ["PullRequestFailed", "PullRequestClosed"])
def test_of_a_pull_request_that_failed_alone_it_is_said_that_the_work_is_published(
    cloud, capsys, before, code
):
    failure = {"code": code, "reason": "GitHub refused it.", "retryable": True}
    cloud.add(
        FakeSession(
            status="ready", publishes=[(before, PUBLISHED), ("work.publish_failed", failure)]
        )
    )
    assert cli.main(["publish", SESSION_ID, "--pull-request"]) == 1
    out, err = capsys.readouterr()
    said = "ublished at cccccccccccc; the pull request: GitHub refused it"
    assert err == f"headstart: P{said}; again: {AGAIN}\n"
    assert out.splitlines()[1] == f"p{said}."


def test_nothing_new_is_no_failure(cloud, capsys):
    cloud.add(FakeSession(status="ready", publishes=[("work.unchanged", {"branch": "x"})]))
    assert cli.main(["publish", SESSION_ID]) == 0
    assert capsys.readouterr().out == "nothing new to publish\n"


@pytest.mark.parametrize(
    ("note", "why"),
    [
        ("pull requests are opened on GitHub only", "pull requests are opened on GitHub only"),
        (None, "there was nothing for one"),
    ],
)
@pytest.mark.parametrize("kind", ["work.published", "work.unchanged"])
def test_it_fails_where_a_pull_request_was_asked_for_and_there_is_none(
    cloud, capsys, kind, note, why
):
    publication = {**PUBLISHED, "status": kind.removeprefix("work."), "note": note}
    cloud.add(FakeSession(status="ready", publishes=[(kind, PUBLISHED)], publication=publication))
    assert cli.main(["publish", SESSION_ID]) == 0
    assert cli.main(["publish", SESSION_ID, "--pull-request"]) == 1
    assert capsys.readouterr().err == f"headstart: There is no pull request: {why}.\n"


CHANGED = ("work.changed", {"files": 1, "additions": 2, "deletions": 0})


class Publishing(FakeSession):
    """One that is published once somebody has asked how it stands after its turn."""

    ends: tuple[Any, ...] = ()
    told_to: Any = None
    looks = 0

    def view(self) -> dict[str, Any]:
        shown = super().view()
        if self.status != "ready" or self.script:
            return shown
        self.looks += 1
        if self.ends:
            # The next looks know of it before anybody has told the viewer.
            shown["publication"] = {"status": "publishing", "branch": "session/x"}
            ends, self.ends = self.ends, ()
            threading.Thread(target=lambda: [self.told_to.emit(self, *end) for end in ends]).start()
        return shown


def publishing(cloud, *ends: tuple[str, dict[str, Any]], **fields: Any) -> Publishing:
    session = cloud.next_session = cloud.add(Publishing(**fields))
    session.told_to, session.ends = cloud, ends
    session.script = [*good_session(), CHANGED]
    return session


COMMANDS = [
    [*RUN, "--auto-commit"],
    ["follow", SESSION_ID],
    ["retry", SESSION_ID],
    ["send", SESSION_ID, "x"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_what_follows_a_session_waits_for_what_is_published_after_its_turn(
    cloud, capsys, command, more
):
    publishing(cloud, ("work.published", PUBLISHED))
    if command[0] == "send":
        cloud.sessions[SESSION_ID].script = [*good_turn("turn_2", "msg_2"), CHANGED]
    assert cli.main([*command, *more]) == 0
    told = capsys.readouterr().out
    assert ("work.published" if more else "published: session/x at cccccccccccc\n") in told


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_it_fails_where_that_failed(cloud, capsys, command):
    publishing(cloud, ("work.publish_failed", REFUSED))
    if command[0] == "send":
        cloud.sessions[SESSION_ID].script = [*good_turn("turn_2", "msg_2"), CHANGED]
    assert cli.main([*command, "--json"]) == 1
    assert f"again: {AGAIN}" in capsys.readouterr().err


def test_a_turn_is_no_failure_for_what_was_published_badly_before_it(cloud):
    session = cloud.add(FakeSession(status="ready"))
    cloud.emit(session, "work.publish_failed", REFUSED)
    session.publication = {"status": "failed", "branch": "x", "failure": {"step": None, **REFUSED}}
    session.script = good_turn("turn_2", "msg_2")
    assert cli.main(["send", SESSION_ID, "x"]) == 0
    assert cli.main(["follow", SESSION_ID]) == 1


def test_run_asks_for_what_is_published(cloud):
    publishing(cloud, ("work.published", PUBLISHED))
    assert cli.main([*RUN, "--auto-commit", "--pull-request", "--draft"]) == 0
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
