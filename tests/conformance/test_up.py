"""`headstart up` and `headstart token` as their users see them: processes of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from unittest.mock import MagicMock, Mock
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from headstart_local import cloud, emulator, processes, tokens
from headstart_local.cloud import Cloud
from headstart_local.deploy import RefusedError
from headstart_local.scratch import Scratch
from tests.conformance.conftest import eventually

TEMPLATE = Path(__file__).parent / "template.yaml"
SECONDS = 30
OWN_PAGE = "http://localhost:5173"


def up(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "headstart_local.up", "--port", "0", *arguments],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def line_of(stream: IO[str] | None) -> str:
    assert stream
    return stream.readline()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = up(tmp_path, "--json", "--template", str(TEMPLATE), "--allow-origin", f"{OWN_PAGE}/")
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)


def test_up_prints_one_line_and_leaves_nothing(
    running: subprocess.Popen[str], tmp_path: Path
) -> None:
    addresses = json.loads(line_of(running.stdout))
    assert set(addresses) == {"httpUrl", "wsUrl", "pageUrl", "token", "gitUrl"}
    assert httpx.get(f"{addresses['httpUrl']}/health").status_code == 200
    headers = {"authorization": f"Bearer {addresses['token']}"}
    event = httpx.get(f"{addresses['httpUrl']}/items/1", headers=headers).json()
    assert event["requestContext"]["authorizer"]["jwt"]["claims"]["sub"] == "demo"
    page = urlsplit(addresses["pageUrl"])
    assert parse_qs(page.fragment) == {
        "api": [addresses["httpUrl"]],
        "token": [addresses["token"]],
        "repo": [addresses["gitUrl"]],
    }
    listed = subprocess.run(
        ["git", "ls-remote", addresses["gitUrl"], "main"],
        check=False,
        capture_output=True,
        timeout=SECONDS,
    )
    assert listed.returncode == 0
    family = processes.descendants(running.pid)
    assert family
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate(timeout=SECONDS)
    assert (running.returncode, output, errors) == (0, "", "")
    assert not [process for process in family if Path(f"/proc/{process}").exists()]
    assert list(tmp_path.iterdir()) == []


def test_its_page_and_those_allowed_may_call_the_api(running: subprocess.Popen[str]) -> None:
    addresses = json.loads(line_of(running.stdout))
    page = "{0.scheme}://{0.netloc}".format(urlsplit(addresses["pageUrl"]))
    health = f"{addresses['httpUrl']}/health"
    for origin in (page, OWN_PAGE):
        answer = httpx.get(health, headers={"origin": origin})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == origin
    assert httpx.get(health, headers={"origin": "http://localhost:5174"}).status_code == 403
    policy = httpx.get(page).headers["content-security-policy"]
    assert f"connect-src 'self' {addresses['httpUrl']}/ {addresses['wsUrl']};" in policy


@pytest.mark.parametrize("origin", ["*", "null", "http://", "http://a/b", "localhost:5173"])
def test_what_is_no_origin_is_refused(tmp_path: Path, origin: str) -> None:
    process = up(tmp_path, "--allow-origin", origin)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 2
    assert "is not an origin" in errors


def test_token_for_another_user(running: subprocess.Popen[str]) -> None:
    addresses = json.loads(line_of(running.stdout))
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(addresses["httpUrl"]))
    for url in (addresses["httpUrl"], origin):
        done = subprocess.run(
            [sys.executable, "-m", "headstart_local.tokens", "--sub", "alice"],
            check=False,
            env={**os.environ, "HEADSTART_URL": url},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, done.stderr
        headers = {"authorization": f"Bearer {done.stdout.strip()}"}
        event = httpx.get(f"{addresses['httpUrl']}/items/1", headers=headers).json()
        assert event["requestContext"]["authorizer"]["jwt"]["claims"]["sub"] == "alice"


def test_everything_dies_with_up(running: subprocess.Popen[str]) -> None:
    line_of(running.stdout)
    family = processes.descendants(running.pid)
    assert family
    running.kill()
    running.wait(SECONDS)

    def gone() -> bool | None:
        return None if any(Path(f"/proc/{process}").exists() for process in family) else True

    assert eventually(gone, SECONDS)


def test_a_signal_that_another_thread_gets_stops_it_too() -> None:
    program = (
        "import signal, threading\n"
        "from headstart_local.stop import Stop\n"
        "stop = Stop()\n"
        "other = threading.Thread(target=threading.Event().wait, daemon=True)\n"
        "other.start()\n"
        "kill = lambda: signal.pthread_kill(other.ident, signal.SIGTERM)\n"
        "threading.Timer(0.2, kill).start()\n"
        "stop.wait()\n"
        "print('stopped', flush=True)\n"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.check_output(command, timeout=SECONDS) == b"stopped\n"


@pytest.mark.long
def test_folders_of_a_killed_one_go_at_the_next_start(
    running: subprocess.Popen[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line_of(running.stdout)
    running.kill()
    running.wait(SECONDS)
    assert {path.name.split("-")[1] for path in tmp_path.iterdir()} == {"cloud", "git"}
    (tmp_path / "headstart-cloud-of-others").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Scratch("git") as alive:
        process = up(tmp_path, "--template", "not-there")
        process.communicate(timeout=SECONDS)
        left = {path.name for path in tmp_path.iterdir()}
    assert left == {"headstart-cloud-of-others", alive.name}
    assert [path.name for path in tmp_path.iterdir()] == ["headstart-cloud-of-others"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--parameter", "Nope=1"], "Parameters: [Nope] do not exist in the template"),
        (["--parameter", "Disk=20"], "Parameter 'Disk' must be a number not less than 21"),
        (["--template", "{folder}"], "the template {folder} can't be read: Is a directory"),
        (["--template", "{folder}/no"], "the template {folder}/no can't be read: No such file"),
        (["--template", "{folder}/text"], "the template {folder}/text has no Resources"),
        (["--template", "{folder}/broken"], "the template {folder}/broken is not YAML"),
        (["--template", "{folder}/empty"], "the template {folder}/empty has no AWS::Serverless"),
        (["--port", "{taken}"], "port {taken} of 127.0.0.1 is not free"),
        (["--port", "99999"], "99999 is not a port, 0 to 65535"),
        (["--parameter", "=1"], "=1 is not NAME=VALUE"),
        (["--parameter", "GitHubAppId=1"], "a GitHub App needs both: --app-key PEM and"),
        (["--parameter", "DefaultAgent=no-agent"], "no-agent is not on PATH: `make agents`"),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else "",
)
def test_what_it_can_not_begin_with_is_said_in_one_sentence(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    for name, text in (("text", "just words"), ("broken", "a: [b"), ("empty", "Resources: {}")):
        (tmp_path / name).write_text(text)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        names = {"folder": tmp_path, "taken": listener.getsockname()[1]}
        given = [argument.format(**names) for argument in arguments]
        process = up(temporary, "--template", str(TEMPLATE), *given)
        output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (2, "")
    last = errors.splitlines()[-1]
    assert last.startswith("headstart up: ")
    assert said.format(**names) in last
    assert len(errors.splitlines()) == 1 or errors.startswith("usage: ")
    assert list(temporary.iterdir()) == []


def test_no_place_for_temporary_files_is_said_in_one_sentence(tmp_path: Path) -> None:
    code = (
        "import sys, tempfile; from headstart_local import up;"
        "tempfile._candidate_tempdir_list = lambda: ['/proc/none'];"
        "sys.exit(up.main(['--port', '0']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "No usable temporary directory" in done.stderr


@pytest.mark.long
def test_failed_deployment_names_the_resource(tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(
        "AWSTemplateFormatVersion: 2010-09-09\n"
        "Transform: AWS::Serverless-2016-10-31\n"
        "Resources:\n"
        "  HttpApi: {Type: AWS::Serverless::HttpApi}\n"
        "  Inner:\n"
        "    Type: AWS::CloudFormation::Stack\n"
        "    Properties: {TemplateURL: http://127.0.0.1:1/nothing}\n"
        "  Sockets:\n"
        "    Type: AWS::Serverless::WebSocketApi\n"
        "    Properties:\n"
        "      RouteSelectionExpression: $request.body.action\n"
        "      Routes: {$default: {FunctionArn: arn:aws:lambda:us-east-1:0:function:f}}\n"
    )
    process = up(tmp_path, "--json", "--template", str(template))
    output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (1, "")
    assert len(errors.splitlines()) == 1
    assert errors.startswith("headstart up: Inner (AWS::CloudFormation::Stack): ")


def test_function_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/app.py").write_text("import a_module_that_is_not_there\n")
    (tmp_path / "template.yaml").write_text(
        "AWSTemplateFormatVersion: 2010-09-09\n"
        "Transform: AWS::Serverless-2016-10-31\n"
        "Resources:\n"
        "  Function:\n"
        "    Type: AWS::Serverless::Function\n"
        "    Properties:\n"
        "      {CodeUri: app, Handler: app.api, Runtime: python3.13, Events: {H: {Type: HttpApi,\n"
        "       Properties: {ApiId: !Ref HttpApi, Method: GET, Path: /health}}}}\n"
        "  HttpApi: {Type: AWS::Serverless::HttpApi}\n"
        "  Sockets:\n"
        "    Type: AWS::Serverless::WebSocketApi\n"
        "    Properties:\n"
        "      RouteSelectionExpression: $request.body.action\n"
        "      StageName: live\n"
        "      Routes: {$default: {FunctionArn: !GetAtt Function.Arn}}\n"
    )
    process = up(tmp_path, "--template", str(tmp_path / "template.yaml"))
    output, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, output) == (1, "")
    assert len(errors.splitlines()) == 1
    assert "No module named 'a_module_that_is_not_there'" in errors


@pytest.mark.parametrize(
    "folder",
    [pytest.param("headstart-git-", marks=pytest.mark.long), "headstart-cloud-", "packages"],
)
def test_stopped_while_starting(tmp_path: Path, folder: str) -> None:
    """A folder that is just made is the worst moment: nobody knows of it yet."""
    code = """
import os, signal, sys
from headstart_local import up

make = os.mkdir

def make_and_stop(path, *rest, **more):
    make(path, *rest, **more)
    if sys.argv[1] in os.fspath(path):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)

os.mkdir = make_and_stop
sys.exit(up.main(sys.argv[2:]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, folder, "--port", "0", "--template", str(TEMPLATE)],
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=4 * SECONDS,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_a_parameter_that_is_none_is_refused_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(emulator, "load", Mock(side_effect=AssertionError))
    with pytest.raises(RefusedError, match=r"\[Nope, Key\] do not exist in the template"):
        Cloud(TEMPLATE, parameters={"Word": "x", "Nope": "1"}, keys={"Key": b""}).start()


def test_who_stops_a_start_waits_for_one_step_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    load = MagicMock()
    monkeypatch.setattr(emulator, "load", load)
    monkeypatch.setattr(cloud, "deploy", Mock(side_effect=AssertionError))

    def between() -> None:
        if load.called:
            raise SystemExit

    with pytest.raises(SystemExit):
        Cloud(TEMPLATE, between=between, patches=()).start()


@pytest.mark.parametrize("url", ["nonsense", "http://", "http://[::1", "http://127.0.0.1:99999"])
def test_token_of_no_address(url: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("HEADSTART_URL", url)
    assert tokens.main([]) == 2
    said = f"headstart token: HEADSTART_URL: {url} is not a URL such as http://127.0.0.1:4599\n"
    assert capsys.readouterr() == ("", said)


@pytest.mark.long
def test_token_of_something_else(
    running: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The git server answers, but not as a cloud does."""
    git = json.loads(line_of(running.stdout))["gitUrl"]
    monkeypatch.setenv("HEADSTART_URL", git)
    assert tokens.main([]) == 1
    assert "no embedded cloud answers at" in capsys.readouterr().err


def test_token_without_a_cloud(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headstart_local.tokens"],
        check=False,
        env={**os.environ, "HEADSTART_URL": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 1
    assert "headstart up" in done.stderr
