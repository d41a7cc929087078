"""The commands on the fake cloud: what a person reads of each, and what it asks the API."""

import json
import re
import subprocess
import sys
from pathlib import Path

import fake_headstart as fake
import pytest
from cli_kit import FAILURE, RUN, lines, nobody_reads, steady
from fake_headstart import SESSION_ID, FakeSession
from session_scripts import good_session, good_start, good_turn, preparing, receipt

from headstart_client import cli
from headstart_client.text import plain

pytestmark = pytest.mark.usefixtures("environment")

TURN = {"turnId": "turn_1", "messageId": "msg_1", "startedAt": fake.NOW}


def test_run_shows_each_step_the_answer_and_a_receipt(cloud, capsys):
    cloud.next_session.script = good_session()
    assert cli.main([*RUN, "--branch", "dev", "--setup", "npm ci", "--setup", "make"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [line for line in out.splitlines() if line != line.rstrip()] == []
    assert steady(out) == lines(
        """
        session ses_0123456789abABCDEFGHIJKLMN (answered in N ms)
        > Say hello
        sandbox: starting the sandbox
        sandbox: completed after 1.5 s
        disk: checking the disk
        disk: completed after 20 ms
        clone: cloning the repository
        clone: 25%
        clone: 75%
        clone: completed after 1.2 s
        branch: checking out the branch
        branch: completed after 30 ms
        restore: restoring the agent's session
        restore: completed after 40 ms
        setup: skipped: no commands
        agent: starting the agent
        agent: completed after 800 ms
        deliver: delivering the first message
        deliver: completed after 60 ms
        ready in 1.2 s
        ▸ bash ls -l
        Hello, world.

        Receipt
        answer to the POST N ms
        sandbox 100 ms
        disk 100 ms
        clone 100 ms
        branch 100 ms
        restore 100 ms
        setup skipped
        agent 100 ms
        deliver 100 ms
        ready, in all 1.2 s
        first word of the answer N ms after the POST
        """
    )
    assert cloud.requests("POST", "/sessions")[0].body == {
        "prompt": "Say hello",
        "autoInitiate": True,
        "gitUrl": "https://example.com/r.git",
        "upstreamBranch": "dev",
        "setupCommands": ["npm ci", "make"],
    }


def test_json_prints_the_events_as_they_were_sent(cloud, capsys):
    cloud.next_session.script = good_session()
    assert cli.main([*RUN, "--json"]) == 0
    out, err = capsys.readouterr()
    events = [json.loads(line) for line in out.splitlines()]
    assert events[0]["type"] == "session.snapshot"
    assert events[1:] == [
        {
            "eventId": event_id,
            "sessionId": SESSION_ID,
            "type": kind,
            "timestamp": fake.NOW,
            "data": data,
        }
        for event_id, (kind, data) in zip(ids(good_session()), good_session(), strict=True)
    ]
    assert "answered in" in err


def ids(script):
    number = 0
    for kind, _ in script:
        number += kind not in fake.VOLATILE
        yield None if kind in fake.VOLATILE else number


def test_hold_ends_when_prepared_and_initiate_goes_on(cloud, capsys):
    session = cloud.next_session
    session.script = [*good_start(), ("session.prepared", receipt())]
    assert cli.main([*RUN, "--hold"]) == 0
    assert f"`headstart initiate {SESSION_ID}` releases it" in capsys.readouterr().out
    session.queue = [{"messageId": "msg_1", "status": "held"}]
    session.script = good_turn()
    assert cli.main(["initiate", SESSION_ID]) == 0
    out = capsys.readouterr().out
    assert out == "▸ bash ls -l\nHello, world.\n"
    assert len(cloud.requests("POST", "/initiate")) == 1


def finished(cloud) -> FakeSession:
    session = cloud.add(FakeSession())
    for kind, data in good_session():
        cloud.emit(session, kind, data)
    session.steps = {name: {"status": "completed"} for name in fake.STEPS}
    session.steps["setup"] = {"status": "skipped"}
    return session


def test_follow_shows_what_was_and_ends_at_rest(cloud, capsys):
    finished(cloud)
    assert cli.main(["follow", SESSION_ID]) == 0
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "> Say hello",
        "ready in 1.2 s",
        "▸ bash ls -l",
        "Hello, world.",
    ]


def test_send_shows_only_the_new_turn(cloud, capsys):
    session = finished(cloud)
    session.script = good_turn("turn_2", "msg_2")
    assert cli.main(["send", SESSION_ID, "and now?"]) == 0
    assert capsys.readouterr().out == "> and now?\n▸ bash ls -l\nHello, world.\n"


def test_send_follows_its_message_through_the_loss_of_the_turn_before_it(cloud, capsys):
    session = cloud.add(
        FakeSession(status="running", active_turn={"turnId": "turn_1", "messageId": "msg_1"})
    )
    lost = {"messageId": "msg_1", "code": "SandboxStopped", "reason": "exit code 137"}
    session.script = [
        ("turn.failed", {"turnId": "turn_1", **lost}),
        ("session.asleep", {"reason": "exit code 137"}),
        ("session.preparing", {"attemptNumber": 2, "cause": "wake"}),
        *good_turn("turn_2", "msg_2")[:2],
        ("session.ready", {"receipt": {**receipt(2)["receipt"], "steps": []}}),
        *good_turn("turn_2", "msg_2")[2:],
    ]
    assert cli.main(["send", SESSION_ID, "and now?"]) == 0
    assert capsys.readouterr() == (
        "> and now?\n"
        "the turn failed: exit code 137\n"
        "asleep: exit code 137; the next message wakes it\n"
        "ready in 1.2 s\n"
        "▸ bash ls -l\n"
        "Hello, world.\n",
        "",
    )


def test_retry_prepares_the_failed_attempt_again(cloud, capsys):
    session = cloud.add(FakeSession(attempt=3, status="failed", failure=FAILURE))
    session.status = "preparing"
    session.script = [
        ("session.preparing", {"attemptNumber": 4, "cause": "retry"}),
        preparing(1, "clone", "skipped", 0, attempt=4, message="done before"),
        ("session.ready", receipt(4)),
        *good_turn(),
    ]
    assert cli.main(["retry", SESSION_ID, "--setup", "make"]) == 0
    assert cloud.requests("POST", "/retry")[0].body == {
        "attemptNumber": 3,
        "setupCommands": ["make"],
    }
    assert "clone: skipped: done before\n" in capsys.readouterr().out


def test_run_says_how_the_session_is_prepared(cloud):
    cloud.next_session.script = good_session()
    inputs = ["--setup-input", "package-lock.json", "--setup-input", "uv.lock"]
    clone = ["--depth", "1", "--submodules"]
    assert cli.main([*RUN, *inputs, *clone, "--prepared-tree", "off"]) == 0
    sent = cloud.requests("POST", "/sessions")[0].body
    assert sent["setupInputs"] == ["package-lock.json", "uv.lock"]
    assert (sent["clone"], sent["preparedTree"]) == ({"depth": 1, "submodules": True}, "off")


def test_retry_begins_without_the_saved_work_where_that_is_asked_for(cloud):
    session = cloud.add(FakeSession(status="failed", failure=FAILURE))
    session.status = "preparing"
    session.script = [("session.ready", receipt(2)), *good_turn()]
    assert cli.main(["retry", SESSION_ID, "--without-archive"]) == 0
    sent = cloud.requests("POST", "/retry")[0].body
    assert sent == {"attemptNumber": 1, "withoutArchive": True}


def test_retry_begins_on_another_branch_where_one_is_named(cloud, capsys):
    session = cloud.add(FakeSession(status="failed", failure=FAILURE))
    cloud.canned.append(fake.Reply(200, session.view()))
    session.status = "preparing"
    session.script = [("session.ready", receipt(2)), *good_turn()]
    assert cli.main(["retry", SESSION_ID, "--branch", "dev"]) == 0
    changes = [(seen.method, seen.body) for seen in cloud.seen if seen.body]
    assert changes == [("PATCH", {"upstreamBranch": "dev"}), ("POST", {"attemptNumber": 1})]


def test_retry_clones_another_repository_where_one_is_named(cloud, capsys):
    session = cloud.add(FakeSession(status="failed", failure=FAILURE))
    cloud.canned.append(fake.Reply(200, session.view()))
    session.status = "preparing"
    session.script = [("session.ready", receipt(2)), *good_turn()]
    assert cli.main(["retry", SESSION_ID, "--repo", "org/other", "--branch", "dev"]) == 0
    changes = [(seen.method, seen.body) for seen in cloud.seen if seen.body]
    assert changes == [
        ("PATCH", {"githubRepo": "org/other", "upstreamBranch": "dev"}),
        ("POST", {"attemptNumber": 1}),
    ]


def test_a_retry_that_is_refused_changes_no_branch(cloud, capsys):
    cloud.add(FakeSession(status="ready"))
    cloud.canned.extend([fake.Reply(200, cloud.sessions[SESSION_ID].view())])
    cloud.canned.append(fake.problem(409, "WrongStatus", "Preparing again is not possible"))
    assert cli.main(["retry", SESSION_ID, "--branch", "dev"]) == 1
    assert [seen.method for seen in cloud.seen] == ["GET", "POST"]


@pytest.mark.parametrize(
    ("status", "turn", "said"),
    [
        ("running", TURN, f"is being stopped; .* headstart initiate {SESSION_ID}"),
        ("preparing", None, f"Its preparation is being cancelled; .* follow {SESSION_ID}"),
        ("ready", None, f"There is nothing to stop: {SESSION_ID} is ready"),
        ("failed", None, f"There is nothing to stop: {SESSION_ID} is failed"),
    ],
)
def test_stop_says_what_comes_of_it(cloud, capsys, status, turn, said):
    cloud.add(FakeSession(status=status, active_turn=turn))
    assert cli.main(["stop", SESSION_ID]) == 0
    assert len(cloud.requests("POST", f"/sessions/{SESSION_ID}/interrupt")) == 1
    assert re.search(said, capsys.readouterr().out)


def test_initiate_says_that_nothing_waits(cloud, capsys):
    cloud.add(FakeSession(status="ready"))
    assert cli.main(["initiate", SESSION_ID]) == 0
    assert capsys.readouterr().out == f"Nothing waits in {SESSION_ID}, so nothing was sent\n"
    assert len(cloud.requests("POST", "/initiate")) == 1


def test_ls_prints_sessions_as_they_were_sent(cloud, capsys):
    sessions = [cloud.add(FakeSession(session_id=f"ses_{n}", status="ready")) for n in range(3)]
    assert cli.main(["ls", "--json"]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert printed == [fake.summary(session) for session in reversed(sessions)]


def test_what_is_read_by_programs_is_not_wrapped(cloud, capsys):
    title = "Say hello " * 15
    cloud.add(FakeSession(title=title, queue=[{"messageId": "m", "status": "held"}]))
    assert cli.main(["ls"]) == 0
    [line] = capsys.readouterr().out.splitlines()
    assert line.split("\t")[:2] == [SESSION_ID, "preparing"]
    assert line.split("\t")[3:] == ["https://example.com/r.git", title.rstrip()]


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        (120, rf"{SESSION_ID} +preparing +2026-\S+ \S+ +(Say hello ){{5}}Say hell…"),
        (80, rf"{SESSION_ID} +preparing +2026-\S+ \S+ +Say hello Say hell…"),
        (60, rf"{SESSION_ID} +preparing +Say hello Say he…"),
        (20, rf"{SESSION_ID[:-1]}…|{SESSION_ID}"),
    ],
)
def test_ls_cuts_titles_to_the_width_of_the_terminal(cloud, capsys, monkeypatch, columns, row):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("FORCE_COLOR", "1")
    cloud.add(FakeSession(title="Say hello " * 15))
    assert cli.main(["ls"]) == 0
    shown = plain(capsys.readouterr().out).replace("\n", "")
    assert re.fullmatch(row, shown)


def test_ls_and_rm(cloud, capsys):
    for number in range(3):
        cloud.add(FakeSession(session_id=f"ses_{number}", status="ready"))
    assert cli.main(["ls"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[:2] for row in rows] == [[f"ses_{n}", "ready"] for n in (2, 1, 0)]
    assert cli.main(["rm", "ses_1"]) == 0
    assert capsys.readouterr().out == "ses_1 is being deleted\n"
    assert cli.main(["rm", "ses_9"]) == 1
    assert "There is no such session" in capsys.readouterr().err


def test_a_lost_connection_is_said_and_does_no_harm(cloud, capsys):
    cloud.next_session.script = good_session()
    cloud.drops.append(5)
    assert cli.main(RUN) == 0
    out = capsys.readouterr().out
    assert "connection lost" in out
    assert out.count("Hello, world.") == 1


@pytest.mark.parametrize(
    "command",
    [
        ["ls"],
        ["show", SESSION_ID],
        ["show", SESSION_ID, "--json"],
        ["logs", SESSION_ID],
        RUN,
        ["completion", "bash"],
        ["--help"],
        ["up", "--help"],
    ],
    ids=" ".join,
)
def test_where_nobody_reads_any_more_it_ends_without_a_word(cloud, command):
    log = {"attemptNumber": 1, "step": "setup", "ref": "t", "bytes": 4, "complete": True}
    cloud.add(FakeSession(logs=[log])).texts["t"] = [fake.page("x" * 100_000)]
    cloud.next_session.script = good_session()
    assert nobody_reads(*command) == (141, b"")


@pytest.mark.parametrize("command", [["ls"], ["nonsense"], ["up", "--nonsense"]], ids=" ".join)
def test_where_nobody_hears_of_a_failure_either_it_ends_the_same_way(cloud, monkeypatch, command):
    monkeypatch.delenv("HEADSTART_URL")
    assert nobody_reads(*command, at_all=True) == (141, b"")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_what_was_closed_at_the_start_changes_no_exit_code(closed):
    line = f'"{sys.executable}" -m headstart_client.cli'
    for arguments, code in (("--version", 0), ("nonsense", 2)):
        done = subprocess.run(
            ["sh", "-c", f"{line} {arguments} {closed}"], capture_output=True, check=False
        )
        assert (done.returncode, b"Traceback" in done.stderr) == (code, False)


def test_output_that_finds_no_room_is_one_sentence():
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "headstart_client.cli", "completion", "bash"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, b"headstart: No space left on device.\n")


def test_other_commands_are_not_loaded_before_they_are_needed():
    code = (
        "import sys, headstart_client.command_line\n"
        "print([m for m in sys.modules if m in sys.argv])"
    )
    heavy = ["httpx", "rich", "websockets", "pydantic", "asyncio"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_no_model_is_built_before_it_is_needed():
    code = (
        "from headstart_client import commands, events, models\n"
        "print([one for one in (models.Session, events.AgentEvent) if one.__pydantic_complete__])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_a_token_of_the_embedded_cloud_takes_no_parts_of_it():
    code = "import sys, headstart_local.tokens; print('headstart_local.cloud' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"False\n"
