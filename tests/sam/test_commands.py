"""What docs/sam-local.md says can be typed, and the embedded cloud answers as it says there."""

import http.client
import json
import re
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from headstart_local import emulator, sam
from headstart_local.packaging import read_template
from headstart_local.reaching import STACK, session

from .commands import COMMANDS, PAGE, ROOT, SESSION_ID, Command, told

TEMPLATE = read_template(ROOT / "template.yaml")
FUNCTIONS = {
    name: properties["Properties"]["CodeUri"]
    for name, properties in TEMPLATE["Resources"].items()
    if properties["Type"] == "AWS::Serverless::Function"
}


def test_every_function_and_every_event_has_its_command() -> None:
    assert {command.function for command in COMMANDS} == set(FUNCTIONS)
    events = [command.event for command in COMMANDS]
    assert sorted(events) == sorted((ROOT / "tests" / "events").glob("*.json"))


def test_each_event_goes_to_the_function_that_it_is_for() -> None:
    for command in COMMANDS:
        folder = command.event.stem.partition("-")[0]
        assert FUNCTIONS[command.function] == f"functions/{folder}", command


def test_what_else_is_named_is_there() -> None:
    named = re.findall(r"sam local invoke (?:-t|--template) \S+ (\w+)", PAGE)
    assert set(named) <= set(FUNCTIONS)
    assert all((ROOT / path).is_file() for path in re.findall(r"tests/events/\S+\.json", PAGE))
    for path in set(re.findall(r"\.aws-sam/local/\w+\.yaml", PAGE)):
        assert ROOT / path in {sam.BUILT, sam.CONNECTED}
    for task in re.findall(r"-m headstart_local\.sam (\w+)", PAGE):
        assert f"headstart_local.sam {task} " in (sam.__doc__ or "")


def physical(endpoint: str, logical_id: str) -> str:
    cloudformation = session().client("cloudformation", endpoint_url=endpoint)
    described = cloudformation.describe_stack_resource(
        StackName=STACK, LogicalResourceId=logical_id
    )
    return described["StackResourceDetail"]["PhysicalResourceId"]


def invoked(endpoint: str, function: str, event: bytes) -> str:
    functions = session().client("lambda", endpoint_url=endpoint)
    answer = functions.invoke(FunctionName=physical(endpoint, function), Payload=event)
    return answer["Payload"].read().decode()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.event.stem)
def test_the_embedded_cloud_answers_as_the_page_says(endpoint: str, command: Command) -> None:
    assert told(invoked(endpoint, command.function, command.event.read_bytes())) == command.answer


def test_a_session_that_was_made_by_an_event_is_there_for_another(endpoint: str) -> None:
    events = ROOT / "tests" / "events"
    made = json.loads(invoked(endpoint, "HttpApiFunction", (events / "http_api.json").read_bytes()))
    session_id = json.loads(made["body"])["sessionId"]
    event = (events / "http_api-get.json").read_text().replace(SESSION_ID, session_id)
    assert told(invoked(endpoint, "HttpApiFunction", event.encode())) == "200"


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in for what `sam build` makes: the template is enough."""
    template = tmp_path / "template.yaml"
    shutil.copy(ROOT / "template.yaml", template)
    monkeypatch.setattr(sam, "BUILT", template)
    monkeypatch.setattr(sam, "CONNECTED", tmp_path / "connected.yaml")
    return template


@pytest.mark.long
def test_connected_functions_have_what_the_clouds_own_have(endpoint: str, built: Path) -> None:
    with sam.connected(endpoint, "127.0.0.1") as path:
        resources = read_template(path)["Resources"]
        variables = resources["SocketFunction"]["Properties"]["Environment"]["Variables"]
    assert not path.exists()
    assert variables["HEADSTART_TABLE"] == physical(endpoint, "Table")
    door = variables["AWS_ENDPOINT_URL"]
    assert door != endpoint
    # Posts go through the same door; what is told to viewers and sandboxes is not for containers.
    assert variables["HEADSTART_SOCKET_MANAGEMENT_URL"].startswith(f"{door}/")
    assert variables["HEADSTART_STREAM_URL"].startswith(f"{endpoint.replace('http', 'ws')}/")
    assert set(emulator.CREDENTIALS.items()) < set(variables.items())


class Echo(BaseHTTPRequestHandler):
    """Says what it was asked."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        said = json.dumps([self.path, self.headers["host"], self.headers["x-amz-target"], body])
        self.send_response(418)
        self.send_header("x-amzn-requestid", "1")
        self.end_headers()
        self.wfile.write(said.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited name
        """Say nothing."""


def test_the_door_passes_on_what_is_asked_as_if_from_this_machine(
    built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"WaitFunction": {MANAGEMENT: "http://127.0.0.1:1"}}
    monkeypatch.setattr(sam, "_variables", lambda endpoint: variables)
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as echo:
        Thread(target=echo.serve_forever, args=(0.05,), daemon=True).start()
        endpoint = f"http://127.0.0.1:{echo.server_port}"
        with sam.connected(endpoint, "127.0.0.1") as path:
            answer = post(f"{environment(path)['AWS_ENDPOINT_URL']}/a%2Fb?c=d")
        echo.shutdown()
    assert answer == (418, "1", ["/a%2Fb?c=d", f"127.0.0.1:{echo.server_port}", "T.Put", "{}"])


MANAGEMENT = "HEADSTART_SOCKET_MANAGEMENT_URL"


def environment(path: Path) -> dict[str, str]:
    resource = yaml.safe_load(path.read_text())["Resources"]["WaitFunction"]
    found: dict[str, str] = resource["Properties"]["Environment"]["Variables"]
    return found


def post(url: str) -> tuple[int, str, Any]:
    parts = urlsplit(url)
    asked = http.client.HTTPConnection(parts.netloc, timeout=20)
    asked.request(
        "POST", url.removeprefix(f"http://{parts.netloc}"), b"{}", {"x-amz-target": "T.Put"}
    )
    answer = asked.getresponse()
    said = json.loads(answer.read())
    asked.close()
    return answer.status, answer.headers["x-amzn-requestid"], said
