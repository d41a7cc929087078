"""The main job with the real agents in the embedded cloud: from POST /sessions to the answer."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx
import pytest
from agent_kit import installed
from model_stub import KEY, KEY_VARIABLE, MODEL, ModelStub

# As the template wants an ARN: with six more characters. The emulator takes them for the name's.
SECRET = "model-provider-AbCdEf"
SECRET_ARN = f"arn:aws:secretsmanager:us-east-1:000000000000:secret:{SECRET}"
PATIENCE = 90.0


@contextlib.contextmanager
def cloud(parameters: dict[str, str]) -> Iterator[dict[str, str]]:
    """Run `headstart up` with these parameters."""
    options = [f"--parameter={name}={value}" for name, value in parameters.items()]
    process = subprocess.Popen(
        [sys.executable, "-m", "headstart_local.up", "--json", "--port=0", *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        process.stdout.close()


def keep_secret(http_url: str) -> None:
    parts = urlsplit(http_url)
    boto3.client(
        "secretsmanager",
        endpoint_url=f"{parts.scheme}://{parts.netloc}",
        region_name="us-east-1",
        aws_access_key_id="000000000000",
        aws_secret_access_key="test",
    ).create_secret(Name=SECRET, SecretString=json.dumps({KEY_VARIABLE: KEY}))


def wait(client: httpx.Client, session_id: str, status: str) -> dict[str, Any]:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        query = {"while": status, "seconds": "20"}
        answer = client.get(f"/sessions/{session_id}/wait", params=query)
        session: dict[str, Any] = answer.json()
        if session["status"] != status:
            return session
    pytest.fail(f"{session_id} stayed {status}")


@pytest.mark.usefixtures("with_model")
def test_a_session_is_prepared_and_the_agent_changes_its_repository(
    agent: str, model: ModelStub
) -> None:
    if not installed(agent):
        pytest.skip(f"{agent} is not on PATH: make test-agents installs it")
    parameters = {
        "DefaultAgent": agent,
        "DefaultModel": MODEL,
        "ProviderConfig": json.dumps(model.provider()),
        "ProviderSecretArn": SECRET_ARN,
    }
    with cloud(parameters) as addresses:
        keep_secret(addresses["httpUrl"])
        client = httpx.Client(
            base_url=addresses["httpUrl"],
            headers={"Authorization": f"Bearer {addresses['token']}"},
            timeout=60,
        )
        with client:
            body = {"prompt": "write notes.txt: the lamp is lit", "gitUrl": addresses["gitUrl"]}
            session_id = client.post("/sessions", json=body).json()["sessionId"]
            prepared = wait(client, session_id, "preparing")
            assert prepared["failure"] is None
            wait(client, session_id, "running")
            client.post(f"/sessions/{session_id}/messages", json={"prompt": "Where is the lamp?"})
            wait(client, session_id, "ready")
            ready = wait(client, session_id, "running")
            events = client.get(f"/sessions/{session_id}/events").json()["items"]

    assert ready["status"] == "ready"
    assert [event["type"] for event in events].count("turn.completed") == 2
    said = [event["data"].get("text", "") for event in events if event["type"] == "agent.event"]
    assert any(text.startswith("Done:") for text in said)
    assert any("write notes.txt" in text and "Where is the lamp?" in text for text in said)
    assert {call.authorization for call in model.calls} == {f"Bearer {KEY}"}
    assert KEY not in json.dumps([events, prepared, ready])
