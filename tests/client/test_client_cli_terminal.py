"""The command line on a terminal: the live display, hostile text, narrow encodings, Ctrl-C."""

import io
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from cli_kit import RUN, command_line
from fake_headstart import SESSION_ID
from rich.console import Console
from session_scripts import good_session, good_start, good_turn, preparing, receipt
from test_client_reducer import VECTORS

from headstart_client import Event, cli, tools
from headstart_client.live import LiveScreen
from headstart_client.parts import Part
from headstart_client.text import last_line, plain, visible
from headstart_client.verbatim import verbatim
from headstart_client.view import View

pytestmark = pytest.mark.usefixtures("environment")


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

    show("client.caught_up", {})
    for kind, data in good_start()[:8]:
        show(kind, data)
    now[0] += 2
    rows = frame()
    assert len(rows) == 8
    assert rows[0].split("  ")[0] == "✓ Starting the sandbox"
    assert re.fullmatch(r". Cloning the repository\s+2\.5 s ━+.*30% Receiving objects", rows[2])
    assert rows[3] == "· Checking out the branch"
    show(*preparing(8, "clone", "running", 1000, etaMs=12_400))
    now[0] += 2
    assert re.search(r"\s3\.0 s, about 10 s left ━", frame()[2])
    now[0] += 20
    assert "left" not in frame()[2]
    show(*preparing(9, "setup", "running", 0, output="one\ntwo\x1b[31m three\rdone"))
    rows = frame()
    assert rows[2].startswith("✓ Cloning the repository")
    assert rows[5].endswith(" done")
    show("session.ready", receipt())
    now[0] += 3
    shown = plain(console.file.getvalue())
    assert shown.index("Delivering the first message") < shown.index("ready in 1.2 s")
    paper = Console(file=io.StringIO(), width=80)
    paper.print(screen._live.get_renderable())
    assert paper.file.getvalue().rstrip().endswith("the agent is thinking… 3.0 s")
    for kind, data in good_turn()[2:]:
        show(kind, data)
    assert screen._live is None
    screen.close()
    shown = console.file.getvalue()
    assert shown.endswith("▸ bash ls -l\nHello, world.\n")
    assert shown.count("\x1b[?25h") == shown.count("\x1b[?25l") == 2


def test_nothing_is_cut_of_what_an_ended_step_says():
    notes = (
        "From a prepared tree of 2 h ago, 3 commits fetched; main at 0123456789ab; no submodules"
    )
    view = View()
    for kind, data in [
        preparing(1, "clone", "completed", 9, message=notes),
        preparing(2, "setup", "skipped", message=notes),
    ]:
        view.apply(Event(event_id=None, type=kind, data=data))
    console = Console(file=io.StringIO(), width=80)
    console.print(LiveScreen(console)._display(view))
    shown = " ".join(console.file.getvalue().split())
    words = notes.split()
    assert all(shown.count(word) >= 2 for word in words)


def test_untrusted_text_can_not_drive_the_terminal():
    assert plain("a\x1b[2Jb\x1b]0;title\x07c\x9b31md\x08\te\nf") == "abc31md\te\nf"
    assert last_line("one\n 50%\r100%\n\n\x1b[0m\n") == "100%"
    assert last_line("\n \n") == ""


@pytest.mark.parametrize("vector", VECTORS["texts"], ids=lambda v: v["name"])
def test_what_can_not_be_seen_is_left_out_or_spelled_out(vector):
    assert plain(vector["text"]) == vector["plain"]
    assert visible(vector["text"]) == vector["visible"]


def test_what_a_stranger_wrote_is_printed_as_it_came():
    console = Console(file=io.StringIO(), force_terminal=True, color_system=None, width=20)
    verbatim(console, "a[0:100:2]\t:smile: [bold]x[/bold] longer than a line\n", "bold")
    assert console.file.getvalue() == "a[0:100:2]\t:smile: [bold]x[/bold] longer than a line\n"


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


def test_a_tool_has_one_line_of_the_terminals_width_and_says_what_took_long():
    data = {"tool": "bash", "title": "bash", "status": "running", "input": {"command": "x" * 90}}
    assert tools.line(data, 0.0, 40) == f"▸ bash {'x' * 32}…"
    ended = {**data, "status": "completed", "exitCode": 2}
    assert tools.line(ended, 61.0, 40) == f"✗ bash {'x' * 12}… (exit 2, 1 min 1 s)"
    assert tools.line({**data, "status": "completed"}, 0.9, 200) == f"▸ bash {'x' * 90}"
    edit = {"tool": "edit", "title": "edit a.py", "status": "completed", "input": {"path": "a.py"}}
    assert tools.line(edit, 0.0, 40) == "▸ edit edit a.py"


def test_a_tool_takes_from_its_first_event_to_its_last():
    part, began = Part(kind="tool"), datetime(2026, 1, 2, tzinfo=UTC)
    part.settle({"status": "running"}, began)
    part.settle({"status": "completed"}, began + timedelta(seconds=2))
    assert part.seconds == 2
