"""Callbacks, from a session to a receiver that listens on this machine."""

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from tests.flow.conftest import PATIENCE, Cloud

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy.md"
MANY = 1000


class Receiver:
    """Answers each path as it is told to, at first in that order; keeps every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: dict[str, list[int]] = {}
        self.released = threading.Event()
        self._news = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = receiver._told(self.path, dict(self.headers.items()), body)
                self.send_response(status)
                self.send_header("location", f"{receiver.url}/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - inherited
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def _told(self, path: str, headers: dict[str, str], body: bytes) -> int:
        with self._news:
            lowered = {name.lower(): value for name, value in headers.items()}
            self.calls.append((path, lowered, body))
            answers = self.answers.get(path, [])
            status = answers.pop(0) if answers else 204
            self._news.notify_all()
        if path.startswith("/hang"):
            self.released.wait(60)
        return status

    def at(self, path: str, *types: str) -> list[dict[str, Any]]:
        """Wait until a path has heard of all of these types; returns what it heard, in order."""

        def heard() -> list[dict[str, Any]]:
            return [json.loads(body) for where, _, body in self.calls if where == path]

        with self._news:
            done = self._news.wait_for(
                lambda: {body["type"] for body in heard()} >= set(types), PATIENCE
            )
            assert done, f"{path} heard {[body['type'] for body in heard()]}"
            return heard()

    def times(self, path: str, count: int) -> list[tuple[str, dict[str, str], bytes]]:
        """Wait until a path was called so often."""

        def made() -> list[tuple[str, dict[str, str], bytes]]:
            return [call for call in self.calls if call[0] == path]

        with self._news:
            assert self._news.wait_for(lambda: len(made()) >= count, PATIENCE), path
            return made()

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    try:
        yield made
    finally:
        made.close()


def outputs(cloud: Cloud) -> dict[str, str]:
    stack = cloud.aws("cloudformation").describe_stacks(StackName="headstart")["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


def good_secrets(cloud: Cloud) -> list[str]:
    """Return the present secret, and the one before: a function knows another in five minutes."""
    manager, found = cloud.aws("secretsmanager"), []
    for stage in ("AWSCURRENT", "AWSPREVIOUS"):
        with suppress(manager.exceptions.ResourceNotFoundException):
            arn = outputs(cloud)["CallbackSecretArn"]
            found.append(manager.get_secret_value(SecretId=arn, VersionStage=stage))
    return [f"whsec_{one['SecretString']}" for one in found]


def is_signed(secret: str, headers: dict[str, str], body: bytes) -> bool:
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def test_a_receiver_hears_of_its_session_and_can_tell_who_calls(
    cloud: Cloud, receiver: Receiver
) -> None:
    target = {"url": f"{receiver.url}/ok?a=b", "headers": {"Authorization": "Bearer mine"}}
    session_id = cloud.create(callbackTarget=target)["sessionId"]
    heard = receiver.at("/ok?a=b", "session.ready", "turn.completed")
    secrets = good_secrets(cloud)
    for _, headers, body in receiver.calls:
        assert any(is_signed(secret, headers, body) for secret in secrets)
        assert not is_signed("whsec_" + "A" * 44, headers, body)
        assert headers["authorization"] == "Bearer mine"
    events = {event["eventId"]: event for event in cloud.events(session_id)}
    for body in heard:
        event = events[body["data"]["eventId"]]
        assert (body["type"], body["timestamp"]) == (event["type"], event["timestamp"])
        assert body["data"].items() >= event["data"].items()
    assert len({headers["webhook-id"] for _, headers, _ in receiver.calls}) == len(receiver.calls)
    assert cloud.get(session_id)["callback"] == {"status": "active", "failure": None}


def test_a_failed_session_says_why(cloud: Cloud, receiver: Receiver) -> None:
    url = cloud.info["gitUrl"].replace("sample", "nowhere")
    cloud.create(callbackTarget={"url": f"{receiver.url}/bad"}, gitUrl=url)
    [body] = receiver.at("/bad", "session.failed")
    assert body["data"]["failure"]["code"] == "RepositoryNotFound"


@pytest.mark.long
def test_a_receiver_that_fails_or_sends_elsewhere_is_asked_again(
    cloud: Cloud, receiver: Receiver
) -> None:
    receiver.answers["/flaky"] = [500, 302]
    cloud.create(callbackTarget={"url": f"{receiver.url}/flaky"})
    calls = receiver.times("/flaky", 4)
    ids = [headers["webhook-id"] for _, headers, _ in calls]
    assert len(set(ids)) == 2
    assert len(ids) == 4
    assert not [path for path, _, _ in receiver.calls if path == "/elsewhere"]


def test_a_receiver_that_is_gone_is_left_alone(cloud: Cloud, receiver: Receiver) -> None:
    receiver.answers["/gone"] = [410]
    session_id = cloud.create(callbackTarget={"url": f"{receiver.url}/gone"})["sessionId"]
    receiver.times("/gone", 1)
    end = time.monotonic() + PATIENCE
    while (shown := cloud.get(session_id)["callback"])["status"] != "stopped":
        assert time.monotonic() < end
    assert shown["failure"]["code"] == "CallbackGone"
    with cloud.watch(session_id) as viewer:
        viewer.until_type("turn.completed")
    assert len(receiver.calls) <= 2


def test_a_private_address_is_refused_before_there_is_a_session(cloud: Cloud) -> None:
    for url in ("https://127.0.0.1:1/", "https://169.254.169.254/", "http://example.com/"):
        body = {"prompt": "x", "gitUrl": cloud.info["gitUrl"], "callbackTarget": {"url": url}}
        answer = cloud.client().post("/sessions", json=body)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["loc"] == ["callbackTarget", "url"]


@contextmanager
def tried_once(cloud: Cloud, found: dict[str, str]) -> Iterator[None]:
    """Have the queue give up after one try: a day is longer than a test."""
    sqs, url = cloud.aws("sqs"), found["CallbackQueueUrl"]
    known = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])
    policy = known["Attributes"]["RedrivePolicy"]
    once = json.dumps({**json.loads(policy), "maxReceiveCount": 1})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": once})
    try:
        yield
    finally:
        sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})


def runbook() -> dict[str, str]:
    """Return the commands of the page's section on callbacks, by what they are for."""
    section = DEPLOY.read_text().partition("\n## Callbacks\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```sh\n# (.+?)\n(.*?)```", section, re.S)
    return dict(blocks)


def typed(cloud: Cloud, commands: str) -> str:
    """Type commands in a shell, against this cloud."""
    parts = urlsplit(cloud.info["httpUrl"])
    # Of SQS in us-east-1 the CLI has an endpoint of its own, whatever the environment says.
    output = (
        'aws() { command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"; }\n'
        "output() { aws cloudformation describe-stacks --stack-name headstart "
        "--query \"Stacks[0].Outputs[?OutputKey=='$1'].OutputValue\" --output text; }\n"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "AWS_ENDPOINT_URL": f"{parts.scheme}://{parts.netloc}",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "000000000000",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", output + commands],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    ).stdout


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("aws"), reason="the AWS CLI is not on PATH")
def test_the_runbook_brings_back_what_was_given_up(cloud: Cloud, receiver: Receiver) -> None:
    found, commands = outputs(cloud), runbook()
    receiver.answers["/down"] = [503, 503]
    with tried_once(cloud, found):
        cloud.create(callbackTarget={"url": f"{receiver.url}/down"})
        receiver.at("/down", "session.ready", "turn.completed")
        end = time.monotonic() + PATIENCE
        while "sessionId" not in (seen := typed(cloud, commands["what was given up"])):
            assert time.monotonic() < end
        assert "ses_" in seen
    time_of_letters = time.monotonic()
    while len(receiver.times("/down", 2)) < 4:
        typed(cloud, commands["bring it back"])
        assert time.monotonic() - time_of_letters < PATIENCE
    calls = receiver.times("/down", 4)
    assert len({headers["webhook-id"] for _, headers, _ in calls}) == 2


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("aws"), reason="the AWS CLI is not on PATH")
def test_the_secret_is_given_out_and_changed_as_the_page_says(
    cloud: Cloud, receiver: Receiver
) -> None:
    commands = runbook()
    old = typed(cloud, commands["the secret of receivers"]).strip()
    cloud.create(callbackTarget={"url": f"{receiver.url}/old"})
    receiver.at("/old", "session.ready", "turn.completed")
    for _, headers, body in receiver.calls:
        Webhook(old).verify(body, headers)
    typed(cloud, commands["another secret"])
    new = typed(cloud, commands["the secret of receivers"]).strip()
    assert old != new
    assert old.startswith("whsec_")
    assert new.startswith("whsec_")


@pytest.mark.long
def test_one_receiver_that_hangs_holds_up_no_other(cloud: Cloud, receiver: Receiver) -> None:
    """A thousand callbacks wait for one that never answers; another has its own in time."""
    dead = cloud.create(callbackTarget={"url": f"{receiver.url}/hang"})["sessionId"]
    well = cloud.create("other", callbackTarget={"url": f"{receiver.url}/well"})["sessionId"]
    receiver.at("/well", "session.ready", "turn.completed")
    receiver.times("/hang", 1)
    event_id = json.loads(receiver.times("/hang", 1)[0][2])["data"]["eventId"]
    known = len(receiver.times("/well", 2))
    sqs, url = cloud.aws("sqs"), outputs(cloud)["CallbackQueueUrl"]
    message = json.dumps({"sessionId": dead, "eventId": event_id})
    for start in range(0, MANY, 10):
        entries = [
            {"Id": str(start + n), "MessageBody": message, "MessageGroupId": "dead"}
            for n in range(10)
        ]
        assert not sqs.send_message_batch(QueueUrl=url, Entries=entries).get("Failed")
    event_id = next(
        json.loads(body)["data"]["eventId"] for path, _, body in receiver.calls if path == "/well"
    )
    sqs.send_message(
        QueueUrl=url,
        MessageBody=json.dumps({"sessionId": well, "eventId": event_id}),
        MessageGroupId="well",
    )
    began = time.monotonic()
    receiver.times("/well", known + 1)
    waited = time.monotonic() - began
    assert waited < PATIENCE
    # What hung was asked a few times only.
    assert len(receiver.times("/hang", 1)) < 50
    print(f"the other waited {waited:.1f} s")  # noqa: T201  a figure of the page
