"""`headstart doctor`, `token --check`, completion and secrets that are asked for."""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from argparse import Namespace

import pytest
from cli_kit import command_line
from fake_headstart import DEFAULTS, SESSION_ID, FakeSession, Reply
from test_client_cli_logs import log

from headstart_client import __version__, cli, completing
from headstart_client.commands import checks

pytestmark = pytest.mark.usefixtures("environment")

NOW = 1_800_000_000.0


def jwt(**claims: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"e30.{body}.x"


def checked(capsys) -> list[tuple[str, str, str]]:
    """Return mark, name and words of each line."""
    rows = [line.split(" ", 1) for line in capsys.readouterr().out.splitlines()]
    return [(mark, *said.split(": ", 1)) for mark, said in rows]


def test_the_doctor_finds_all_in_order(cloud, capsys, monkeypatch):
    cloud.add(FakeSession())
    monkeypatch.setenv("HEADSTART_TOKEN", jwt(sub="ada", exp=time.time() + 3600))
    assert cli.main(["doctor"]) == 0
    rows = checked(capsys)
    assert [(mark, name) for mark, name, _ in rows] == [
        ("✓", name) for name in ("versions", "API", "clock", "token", "account", "stream")
    ]
    assert rows[0][2].startswith(f"headstart {__version__}, Python ")
    assert "of ada, good until" in rows[3][2]
    assert rows[4][2] == "the token is taken; agents: demo"


def test_the_doctor_says_what_it_could_not_try(cloud, capsys):
    assert cli.main(["doctor"]) == 0
    rows = {name: (mark, said) for mark, name, said in checked(capsys)}
    assert rows["stream"] == ("-", "not tried: there is no session yet")
    assert rows["token"] == ("-", "it is none whose time can be read: the API decides")


@pytest.mark.parametrize(
    ("replies", "last"),
    [
        (
            [Reply(404, {"message": "Not Found"})],
            ("✗", "API", "health answered 404: set HEADSTART"),
        ),
        (
            [Reply(200, {"x": 1})],
            ("✗", "API", "health answered what no Headstart does: set HEADSTART_URL"),
        ),
        (
            [Reply(200, ["ok"])],
            ("✗", "API", "health answered what no Headstart does: set HEADSTART_URL"),
        ),
        (
            [Reply(200, {"status": "ok"}), Reply(401, {"message": "no"})],
            ("✗", "account", "The API refused the token"),
        ),
    ],
)
def test_the_doctor_stops_at_what_is_wrong(cloud, capsys, replies, last):
    cloud.canned.extend(replies)
    assert cli.main(["doctor"]) == 1
    mark, name, said = checked(capsys)[-1]
    assert (mark, name) == last[:2]
    assert last[2] in said


def test_the_doctor_finds_a_stream_that_can_not_be_reached(cloud, capsys, monkeypatch):
    monkeypatch.setattr(checks, "STREAM_SECONDS", 2.0)
    cloud.add(FakeSession())
    cloud.stream_url = "ws://127.0.0.1:9/stage"
    assert cli.main(["doctor"]) == 1
    mark, name, said = checked(capsys)[-1]
    assert (mark, name) == ("✗", "stream")
    assert "does a proxy or firewall let wss:// pass?" in said


def test_the_doctor_finds_nobody_there(capsys, monkeypatch):
    monkeypatch.setenv("HEADSTART_URL", "http://127.0.0.1:9")
    assert cli.main(["doctor"]) == 1
    assert checked(capsys)[-1][:2] == ("✗", "API")


@pytest.mark.parametrize(
    ("date", "good", "said"),
    [
        ("Fri, 15 Jan 2027 08:00:00 GMT", True, "within 1 s of the API's"),
        ("Fri, 15 Jan 2027 08:05:00 GMT", False, "it is 300 s behind the API's: set it"),
        ("Fri, 15 Jan 2027 07:00:00 GMT", False, "it is 3600 s ahead of the API's: set it"),
        ("nonsense", None, "the API does not say what time it is"),
        (None, None, "the API does not say what time it is"),
    ],
)
def test_a_clock_that_is_off_is_found(date, good, said):
    found = checks._clock(date, NOW)
    assert (found.good, found.said[: len(said)]) == (good, said)


def test_a_token_is_checked(capsys, monkeypatch):
    monkeypatch.setenv("HEADSTART_TOKEN", jwt(username="ada", exp=time.time() + 60))
    assert cli.main(["token", "--check"]) == 0
    assert capsys.readouterr().out.endswith(", which is soon\n")
    monkeypatch.setenv("HEADSTART_TOKEN", jwt(sub="ada", exp=time.time() - 60))
    assert cli.main(["token", "--check"]) == 1
    assert "of ada; it expired at" in capsys.readouterr().err
    monkeypatch.delenv("HEADSTART_TOKEN")
    assert cli.main(["token", "--check"]) == 2


@pytest.mark.parametrize("until", [1.8e12, 1e30, -1e18, float("nan"), float("inf")])
def test_a_token_of_a_time_that_there_is_not_is_told(capsys, monkeypatch, until):
    monkeypatch.setenv("HEADSTART_TOKEN", jwt(sub="ada", exp=until))
    assert cli.main(["token", "--check"]) == 1
    assert "of ada; its time is none in seconds" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(capsys, shell):
    assert cli.main(["completion", shell]) == 0
    assert "headstart" in capsys.readouterr().out


def test_bash_completes_commands_options_and_values(cloud, tmp_path, monkeypatch):
    monkeypatch.setitem(DEFAULTS["agents"][0], "models", ["acme/one"])
    session = cloud.add(FakeSession(pending_inputs=[{"requestId": "per_1", "kind": "permission"}]))
    session.queue.append({"messageId": "msg_7", "status": "queued"})
    session.logs = [log("setup")]
    (tmp_path / "some.file").touch()
    asked = [
        ("headstart re", ["rename", "retry"]),
        ("headstart logs ses_1 --f", ["--follow"]),
        ("headstart show ", [SESSION_ID]),
        (f"headstart logs {SESSION_ID} ", ["setup"]),
        (f"headstart withdraw {SESSION_ID} ", ["msg_7"]),
        (f"headstart answer {SESSION_ID} per", ["per_1"]),
        (f"headstart answer {SESSION_ID} per_1 --reply ", ["always", "once", "reject"]),
        ("headstart run --agent ", ["demo"]),
        ("headstart run --mode ", ["code"]),
        ("headstart run --model ", ["acme/one"]),
        ("headstart run --file some", ["some.file"]),
        ("headstart run --branch some", []),
    ]
    headstart = tmp_path / "headstart"
    # A loaded machine may need longer than who types is kept waiting.
    program = "from headstart_client import cli, completing; completing._SECONDS = 20; cli.main()"
    headstart.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{program}" "$@"\n')
    headstart.chmod(0o755)
    script = tmp_path / "complete.sh"
    script.write_text(
        'eval "$(headstart completion bash)"\n'
        "complete() { COMP_LINE=$1 COMP_POINT=${#1}; COMPREPLY=(); "
        '_python_argcomplete headstart; echo "${COMPREPLY[@]}"; }\n'
        + "".join(f"complete '{line}'\n" for line, _ in asked)
    )
    done = subprocess.run(
        ["bash", str(script)],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=False,
        capture_output=True,
        cwd=tmp_path,
        text=True,
        timeout=60,
    )
    found = [sorted(line.split()) for line in done.stdout.splitlines()]
    assert found == [offered for _, offered in asked], done.stderr


def test_who_completes_is_not_kept_waiting_for_an_api(cloud, monkeypatch):
    gate = threading.Event()
    original = cloud.answer
    cloud.answer = lambda request: gate.wait(20) and original(request)
    monkeypatch.setattr(completing, "_SECONDS", 0.05)
    offered = completing._from_the_api(completing._sessions)
    assert offered(parsed_args=Namespace()) == {}
    gate.set()


def test_nor_for_a_token_of_this_machine(cloud, monkeypatch):
    gate = threading.Event()
    monkeypatch.setenv("HEADSTART_TOKEN", "")
    monkeypatch.setattr(completing.embedded, "token", lambda _: (str(gate.wait(20)), ""))
    monkeypatch.setattr(completing, "_TOKEN_SECONDS", 0.05)
    began = time.monotonic()
    assert completing._from_the_api(completing._sessions)(parsed_args=Namespace()) == {}
    assert time.monotonic() - began < 10
    assert cloud.seen == []
    gate.set()


def test_version():
    done = command_line("--version")
    assert (done.returncode, done.stdout) == (0, f"headstart {__version__}\n".encode())
