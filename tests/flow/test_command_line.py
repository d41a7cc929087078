"""The command line and the client as their users have them, against the whole product."""

import os
import subprocess
import sys

import pytest

from headstart_client import Event, Headstart, TurnFailed, events
from tests.flow.conftest import PATIENCE, Cloud
from tests.flow.test_held import ASKS, busy
from tests.flow.test_long_texts import COMMIT, MANY, SUBJECT


def headstart(cloud: Cloud, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run one command to its end, not on a terminal."""
    environment = {"HEADSTART_URL": cloud.info["httpUrl"], "HEADSTART_TOKEN": cloud.info["token"]}
    return subprocess.run(
        [sys.executable, "-m", "headstart_client.cli", *arguments],
        input=given,
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def newest(cloud: Cloud) -> list[str]:
    """Return the fields of the last line of `ls`, and see to the session's deletion."""
    listed = headstart(cloud, "ls", "--limit", "1")
    assert listed.returncode == 0, listed.stderr
    fields = listed.stdout.rstrip("\n").split("\t")
    cloud.created.append(("demo", fields[0]))
    return fields


def test_a_session_from_a_pipe_to_its_end(cloud: Cloud) -> None:
    setup = ["--setup", MANY, "--setup", COMMIT]
    ran = headstart(
        cloud, "run", "--repo", cloud.info["gitUrl"], *setup, given="What is in here?\n"
    )
    session_id, status, _, repository, title = newest(cloud)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (status, repository, title) == ("ready", cloud.info["gitUrl"], "What is in here?")
    # Of the answer the event has the beginning; all of it is there, and once.
    answer = ran.stdout.partition("I have read the repository")[2]
    assert answer.count(SUBJECT.strip()) == 1
    assert "truncated" not in ran.stdout

    log = headstart(cloud, "logs", session_id, "setup")
    assert (log.returncode, log.stderr) == (0, "")
    assert "".join(f"line {n}\n" for n in range(1, 40_001)) in log.stdout

    assert headstart(cloud, "rename", session_id, "A better title").returncode == 0
    assert "title      A better title\n" in headstart(cloud, "show", session_id).stdout
    found = headstart(cloud, "ls", "--search", "BETTER title", "--repo", repository)
    assert found.stdout.split("\t")[0] == session_id

    doctor = headstart(cloud, "doctor")
    assert (doctor.returncode, doctor.stdout.count("✓")) == (0, 6)
    assert headstart(cloud, "rm", session_id).returncode == 0


def test_what_waits_is_withdrawn_and_what_runs_is_stopped(cloud: Cloud) -> None:
    session_id = busy(cloud)
    with Headstart(cloud.info["httpUrl"], cloud.info["token"]) as client:
        turn = client.send(session_id, "And now?")
        message_id = turn.message.message_id
        assert headstart(cloud, "withdraw", session_id, message_id).returncode == 0
        with pytest.raises(TurnFailed) as caught:
            turn.result(timeout=PATIENCE)
        assert caught.value.code == "MessageWithdrawn"
        assert [m.status for m in client.messages(session_id)] == ["delivered", "withdrawn"]
    stopped = headstart(cloud, "stop", session_id)
    assert (stopped.returncode, stopped.stderr) == (0, "")
    followed = headstart(cloud, "follow", session_id)
    assert followed.returncode == 1
    assert "withdrawn: " in followed.stdout
    assert "The turn was interrupted" in followed.stderr


@pytest.mark.long
def test_a_held_message_is_told_of_wherever_its_session_stands(cloud: Cloud) -> None:
    run = ["run", "--repo", cloud.info["gitUrl"], "--hold", "Say hello"]
    assert headstart(cloud, *run).returncode == 0
    session_id = newest(cloud)[0]
    followed = headstart(cloud, "follow", session_id)
    assert followed.returncode == 0
    assert f"`headstart initiate {session_id}` releases it" in followed.stdout


def test_the_client_has_the_answer_in_a_line(cloud: Cloud) -> None:
    with Headstart(cloud.info["httpUrl"], cloud.info["token"]) as client:
        answer = client.run("What is in here?", cloud.info["gitUrl"], timeout=PATIENCE)
        cloud.created.append(("demo", answer.session_id))
        assert "I have read the repository" in answer.text
        assert answer.usage["outputTokens"] > 0
        again = client.send(answer.session_id, "And the tests?").result(timeout=PATIENCE)
        assert "This follows what you asked before" in again.text
        types = [type(event) for event in client.events(answer.session_id)]
        assert Event not in types
        assert types.count(events.TurnCompleted) == 2
        asked = client.send(answer.session_id, ASKS)
        for event in client.follow(answer.session_id):
            match event:
                case events.InputRequested(request_id=request_id):
                    client.answer_input(answer.session_id, request_id, {"reply": "once"})
                    break
        assert asked.result(timeout=PATIENCE).session_id == answer.session_id
        assert client.defaults().agent == "demo"
