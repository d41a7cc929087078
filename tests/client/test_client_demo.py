"""`headstart demo` and the embedded cloud it starts: always stopped again, whatever happens."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headstart_client import cli

HERE = Path(__file__).parent


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """Start the demo on the stub; returns the process and what the stub noted at the end."""
    note = tmp_path / "note.json"
    started = []

    def start(scenario: str, *arguments: str) -> subprocess.Popen[str]:
        monkeypatch.setenv("STUB_NOTE", str(note))
        monkeypatch.setenv("STUB_SCENARIO", scenario)
        monkeypatch.setenv("PYTHONPATH", f"{HERE / 'stub_cloud'}{os.pathsep}{HERE}")
        process = subprocess.Popen(
            [sys.executable, "-m", "headstart_client.cli", "demo", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start, lambda: json.loads(note.read_text())
    for process in started:
        process.kill()
        process.communicate()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_it_runs_a_session_on_the_sample_and_stops_the_cloud(demo):
    start, noted = demo
    process = start("good", "--repo", "", "--prompt", "")
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert out.startswith("Starting the embedded cloud…\nStarting the embedded cloud: ")
    assert "\nHello, world.\n\nReceipt" in out
    assert "\nStopping the embedded cloud: " in out
    note = noted()
    assert note["argv"] == ["--json", "--port", "0", "--parameter", "Secrets=false"]
    assert note["body"]["gitUrl"] == "http://127.0.0.1/sample.git"
    assert note["body"]["prompt"]
    assert not is_running(note["pid"])


def test_a_repository_beside_https_is_allowed_by_its_origin(demo):
    start, noted = demo
    repo = "http://127.0.0.1:8080/team/r.git"
    process = start("good", "--repo", repo, "--prompt", "Do it", "--port", "4567")
    process.communicate(timeout=20)
    note = noted()
    assert note["argv"] == [
        *["--json", "--port", "4567"],
        *["--allow-git", "http://127.0.0.1:8080", "--parameter", "Secrets=false"],
    ]
    assert (note["body"]["gitUrl"], note["body"]["prompt"]) == (repo, "Do it")


def test_what_is_no_address_is_the_clouds_to_refuse(demo):
    start, noted = demo
    process = start("good", "--repo", "http://[")
    _, err = process.communicate(timeout=20)
    assert "Traceback" not in err
    assert noted()["body"]["gitUrl"] == "http://["


def test_a_failing_repository_is_1_and_a_sentence_that_can_be_followed(demo):
    start, noted = demo
    process = start("failing")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err == (
        "headstart: Cloning the repository failed: no such repository (RepositoryNotFound); "
        "try another --repo or --prompt.\n"
    )
    assert not is_running(noted()["pid"])


def test_the_command_that_answers_names_the_cloud_which_nobody_else_knows(demo):
    start, _ = demo
    out, _ = start("asking").communicate(timeout=20)
    command = r"  HEADSTART_URL=http://127\S+/stage headstart answer ses_\w+ per_1 --reply once"
    assert re.search(f"^{command}$", out, re.MULTILINE)


def test_a_cloud_that_does_not_start_shows_its_last_words(demo):
    start, _ = demo
    process = start("broken")
    _, err = process.communicate(timeout=20)
    assert process.returncode == 1
    assert err == (
        "  │ headstart up: port 4566 is taken\n"
        "headstart: The embedded cloud did not start; its last words are above.\n"
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_stops_the_cloud_too(demo, number, code):
    start, noted = demo
    process = start("endless")
    for line in process.stdout:
        if line.startswith("deliver:"):
            process.send_signal(number)
            break
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (code, "")
    assert "goes on" not in out
    assert not is_running(noted()["pid"])


@pytest.mark.parametrize("command", ["demo", "up"])
def test_the_help_says_that_sessions_run_as_who_runs_it(capsys, command):
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert "runs as you" in " ".join(capsys.readouterr().out.split())
