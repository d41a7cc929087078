"""The command line on the fake cloud: what a person reads, and the exit codes."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import textwrap

import fake_headstart as fake
import pytest
from fake_headstart import SESSION_ID, FakeSession
from rich.console import Console
from session_scripts import good_session, good_start, good_turn, preparing, receipt
from test_client_reducer import VECTORS

from headstart_client import Event, cli
from headstart_client.screen import LiveScreen
from headstart_client.text import last_line, plain, visible
from headstart_client.view import View

RUN = ["run", "--repo", "https://example.com/r.git", "--prompt", "Say hello"]
FAILURE = {
    "step": "setup",
    "code": "SetupCommandFailed",
    "reason": "`npm ci` exited with status 1.",
    "retryable": True,
}


@pytest.fixture(autouse=True)
def environment(cloud, monkeypatch):
    monkeypatch.setenv("HEADSTART_URL", cloud.url)
    monkeypatch.setenv("HEADSTART_TOKEN", "token")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)


def steady(text: str) -> str:
    """Take out what differs from run to run."""
    text = re.sub(r"in \d+ ms\)", "in N ms)", text)
    text = re.sub(r" +", " ", text)
    text = re.sub(r"(answer to the POST) \d+ ms", r"\1 N ms", text)
    text = re.sub(r"(first word of the answer) [\d.]+ m?s", r"\1 N ms", text)
    return "\n".join(line.rstrip() for line in text.splitlines())


def lines(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


def test_run_shows_each_step_the_answer_and_a_receipt(cloud, capsys):
    cloud.next_session.script = good_session()
    assert cli.main([*RUN, "--branch", "dev", "--setup", "npm ci", "--setup", "make"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
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


def test_a_failed_preparation_ends_with_its_output_and_what_to_do(cloud, capsys):
    session = cloud.next_session
    session.script = [
        *good_start()[:15],
        preparing(13, "setup", "running", 0, output="installing\n"),
        preparing(14, "setup", "failed", 2500, message="`npm ci` exited with status 1"),
        ("session.failed", {"attemptNumber": 1, "failure": FAILURE}),
    ]
    session.steps["setup"] = {
        "status": "failed",
        "output": "installing\n\x1b[31mnpm ERR! no lock file\x1b[0m\n\x1b]0;pwned\x07",
    }
    assert cli.main(RUN) == 1
    out, err = capsys.readouterr()
    assert out.endswith("setup: failed after 2.5 s: `npm ci` exited with status 1\n")
    assert err == (
        "  │ installing\n"
        "  │ npm ERR! no lock file\n"
        "headstart: Running setup commands failed: `npm ci` exited with status 1 "
        "(SetupCommandFailed); repair the command: "
        f"`headstart retry {SESSION_ID} --setup CMD`.\n"
    )


@pytest.mark.parametrize(
    ("ending", "sentence"),
    [
        (
            ("turn.failed", {"code": "ProviderUnavailable", "reason": "the provider is down"}),
            "headstart: The turn failed: the provider is down (ProviderUnavailable); wait a "
            f"little, then `headstart initiate {SESSION_ID}` or send a new message.\n",
        ),
        (
            ("turn.interrupted", {}),
            "headstart: The turn failed: The turn was interrupted (Interrupted); go on with "
            f"`headstart send {SESSION_ID} TEXT`.\n",
        ),
    ],
)
def test_a_failed_turn_ends_with_1(cloud, capsys, ending, sentence):
    kind, data = ending
    data = {"turnId": "turn_1", "messageId": "msg_1", **data}
    cloud.next_session.script = [*good_session()[:-2], (kind, data)]
    assert cli.main(RUN) == 1
    out, err = capsys.readouterr()
    assert "Hello, world\n" in out
    assert err == sentence


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (
            fake.problem(401, "Unauthorized", "no"),
            "The API refused the token: set HEADSTART_TOKEN to a valid one "
            "(`headstart token --sub NAME` prints one for an embedded cloud).",
        ),
        (
            fake.problem(422, "ValidationFailed", "gitUrl: must be https"),
            "The API refused the request (ValidationFailed): gitUrl: must be https.",
        ),
        (
            fake.Reply(404, {"message": "Not Found"}),
            "There is no API at URL: set HEADSTART_URL to its whole address, path included, as "
            "`headstart up` or the deployment printed it.",
        ),
        (
            fake.problem(429, "QuotaExceeded", "10 sessions are active", retryable=False),
            "10 sessions are active: end one with `headstart rm ID`, then try again.",
        ),
    ],
)
def test_a_refusal_is_one_sentence(cloud, capsys, reply, sentence):
    cloud.canned.append(reply)
    assert cli.main(RUN) == 1
    out, err = capsys.readouterr()
    assert (out, err.replace(cloud.url, "URL")) == ("", f"headstart: {sentence}\n")


@pytest.mark.parametrize("token", ["ü", "one\ntwo"])
def test_what_can_not_be_a_token_is_one_sentence(cloud, capsys, monkeypatch, token):
    monkeypatch.setenv("HEADSTART_TOKEN", token)
    assert cli.main(["ls"]) == 1
    sentence = "The token can't be one: it has a line break or is not ASCII."
    assert capsys.readouterr() == ("", f"headstart: {sentence}\n")
    assert cloud.seen == []


def test_a_token_needs_a_name(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["token", "--sub", ""])
    assert ended.value.code == 2
    assert "argument --sub: must not be empty" in capsys.readouterr().err


def test_nobody_there_is_one_sentence(capsys, monkeypatch):
    monkeypatch.setenv("HEADSTART_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("headstart_client.operations.RETRY_BASE", 0.0)
    monkeypatch.setattr("headstart_client.operations.TRIES", 1)
    assert cli.main(["ls"]) == 1
    assert re.fullmatch(
        r"headstart: The API at http://127.0.0.1:9 can't be reached \(.*\): check HEADSTART_URL, "
        r"or start an embedded cloud with `headstart up`\.\n",
        capsys.readouterr().err,
    )


def test_without_an_address_or_a_token_it_says_which(capsys, monkeypatch):
    monkeypatch.setenv("HEADSTART_URL", "https://api.example.com")
    monkeypatch.delenv("HEADSTART_TOKEN")
    assert cli.main(["ls"]) == 1
    assert "HEADSTART_TOKEN" in capsys.readouterr().err
    monkeypatch.delenv("HEADSTART_URL")
    assert cli.main(["ls"]) == 1
    assert "HEADSTART_URL" in capsys.readouterr().err


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
    assert f"release it with: headstart initiate {SESSION_ID}" in capsys.readouterr().out
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


def test_a_message_to_a_failed_session_says_that_it_waits(cloud, capsys):
    cloud.add(FakeSession(status="failed", failure=FAILURE))
    assert cli.main(["send", SESSION_ID, "and now?"]) == 1
    assert f"`headstart retry {SESSION_ID} --setup CMD`" in capsys.readouterr().err


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


def test_ls_and_rm(cloud, capsys):
    for number in range(3):
        cloud.add(FakeSession(session_id=f"ses_{number}", status="ready"))
    assert cli.main(["ls"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[:2] for row in rows[1:]] == [[f"ses_{n}", "ready"] for n in range(3)]
    assert cli.main(["rm", "ses_1"]) == 0
    assert capsys.readouterr().out == "ses_1 is being deleted\n"
    assert cli.main(["rm", "ses_9"]) == 1
    assert "There is no such session" in capsys.readouterr().err


def test_ctrl_c_leaves_the_session_and_says_how_to_come_back(cloud):
    cloud.next_session.script = good_start()
    process = subprocess.Popen(
        [sys.executable, "-m", "headstart_client.cli", *RUN],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stdout:
        if line.startswith("deliver:"):
            process.send_signal(signal.SIGINT)
            break
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    # What was shown between the line above and the signal is no matter.
    assert out.splitlines()[-1] == f"The session goes on: headstart follow {SESSION_ID}"
    assert cloud.requests("DELETE", "") == []


def test_a_lost_connection_is_said_and_does_no_harm(cloud, capsys):
    cloud.next_session.script = good_session()
    cloud.drops.append(5)
    assert cli.main(RUN) == 0
    out = capsys.readouterr().out
    assert "connection lost" in out
    assert out.count("Hello, world.") == 1


def test_the_terminal_shows_all_steps_with_time_percent_and_output():
    now = [100.0]
    console = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    view, screen = View(clock=lambda: now[0]), LiveScreen(console, clock=lambda: now[0])

    def show(kind, data):
        event = Event(event_id=None, session_id=SESSION_ID, type=kind, data=data)
        view.apply(event)
        screen.show(event, view)

    def frame():
        paper = Console(file=io.StringIO(), width=80)
        paper.print(screen._display(view))
        return [line.rstrip() for line in paper.file.getvalue().splitlines()]

    for kind, data in good_start()[:8]:
        show(kind, data)
    now[0] += 2
    rows = frame()
    assert len(rows) == 8
    assert rows[0].split("  ")[0] == "✓ Starting the sandbox"
    assert re.fullmatch(r". Cloning the repository\s+2\.5 s ━+.*30% Receiving objects", rows[2])
    assert rows[3] == "· Checking out the branch"
    show(*preparing(9, "setup", "running", 0, output="one\ntwo\x1b[31m three\rdone"))
    rows = frame()
    assert rows[2].startswith("✓ Cloning the repository")
    assert rows[5].endswith(" done")
    show("session.ready", receipt())
    now[0] += 3
    assert frame()[-1].endswith("the agent is thinking… 3.0 s")
    for kind, data in good_turn()[2:]:
        show(kind, data)
    assert screen._live is None
    screen.close()
    shown = console.file.getvalue()
    assert shown.endswith("▸ bash ls -l\nHello, world.\n")
    assert shown.count("\x1b[?25h") == shown.count("\x1b[?25l") == 1


def test_untrusted_text_can_not_drive_the_terminal():
    assert plain("a\x1b[2Jb\x1b]0;title\x07c\x9b31md\x08\te\nf") == "abc31md\te\nf"
    assert last_line("one\n 50%\r100%\n\n\x1b[0m\n") == "100%"
    assert last_line("\n \n") == ""


@pytest.mark.parametrize("vector", VECTORS["texts"], ids=lambda v: v["name"])
def test_what_can_not_be_seen_is_left_out_or_spelled_out(vector):
    assert plain(vector["text"]) == vector["plain"]
    assert visible(vector["text"]) == vector["visible"]


def test_no_name_of_an_agent_can_look_like_a_line_of_ours(cloud, capsys):
    forged = "x\n\u202eready in 0.1 s\u2028ready in 0.1 s" + " " * 200 + "\nready in 0.1 s"
    cloud.next_session.script = [
        ("message.queued", {"messageId": "msg_1", "position": 1, "text": "one\ntwo"}),
        preparing(1, "clone", "failed", 0, message=forged),
        ("session.ready", receipt()),
        *good_turn()[:2],
        ("agent.event", {"kind": "tool", "partId": "a", "tool": forged, "title": forged}),
        ("agent.event", {"kind": "patch", "partId": "b", "files": [forged]}),
        ("input.requested", {"requestId": "p", "kind": "permission", "body": {"title": forged}}),
        ("input.resolved", {"requestId": "p", "outcome": forged}),
        ("turn.failed", {"messageId": "msg_1", "code": "X", "reason": forged}),
    ]
    assert cli.main(RUN) == 1
    out, err = capsys.readouterr()
    assert [line for line in out.splitlines() if line.startswith("ready in")] == ["ready in 1.2 s"]
    assert [line for line in out.splitlines() if line.startswith(">")] == ["> one", "> two"]
    assert len(err.splitlines()) == 1
    assert "\u202e" not in out + err


def command_line(*arguments: str | bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "headstart_client.cli", *arguments],
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    "encoding",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp1252:strict"},
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_a_narrow_encoding_loses_no_session_and_no_event(cloud, encoding):
    cloud.next_session.script = good_session()
    done = command_line(*RUN[:-1], "Grüße 漢字", **encoding)
    assert (done.stderr, done.returncode) == (b"", 0)
    assert b"Hello, world.\n" in done.stdout
    assert b"ready, in all" in done.stdout
    assert cloud.requests("POST", "/sessions")[0].body["prompt"] == "Grüße 漢字"


@pytest.mark.parametrize("command", [RUN, ["send", SESSION_ID, ""], ["demo", "--prompt", ""]])
def test_what_is_not_utf_8_is_refused_in_a_sentence_before_anything_is_done(cloud, command):
    done = command_line(*command[:-1], b"caf\xe9")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"headstart: An argument is not valid UTF-8, so nothing was done.\n"
    assert cloud.seen == []


@pytest.mark.parametrize("url", ["http://\udce9", "foo", "http://"])
def test_what_is_no_address_is_one_sentence(capsys, monkeypatch, url):
    monkeypatch.setenv("HEADSTART_URL", url)
    monkeypatch.setattr("headstart_client.operations.RETRY_BASE", 0.0)
    assert cli.main(["ls"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "can't be reached" in err


def test_what_is_no_address_has_no_token_of_its_own(capsys, monkeypatch):
    monkeypatch.delenv("HEADSTART_TOKEN")
    monkeypatch.setenv("HEADSTART_URL", "http://[")
    assert cli.main(["ls"]) == 1
    assert "HEADSTART_TOKEN" in capsys.readouterr().err


def test_other_commands_are_not_loaded_before_they_are_needed():
    code = "import sys, headstart_client.cli; print([m for m in sys.modules if m in sys.argv])"
    heavy = ["httpx", "rich", "websockets", "pydantic", "asyncio"]
    done = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, check=True)
    assert done.stdout == b"[]\n"
