"""One embedded cloud for all conformance tests, and the ways to look into it."""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from headstart_local import tokens
from headstart_local.cloud import Cloud
from headstart_local.patches import PATCHES, patch_name

T = TypeVar("T")
HERE = Path(__file__).parent
ORIGIN = "http://127.0.0.1:3000"
OTHER_ORIGIN = "http://localhost:5173"
# Set by prove_patches.py, to see that the tests of a patch fail without it.
WITHOUT = os.environ.get("CONFORMANCE_WITHOUT_PATCH", "")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "proves(name): fails when the patch of that name is left out"
    )


def eventually(ask: Callable[[], T | None], seconds: float = 10.0) -> T:
    """Return the first answer that isn't None; there is nothing to wait on in a data store."""
    deadline = time.monotonic() + seconds
    while (answer := ask()) is None:
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
    return answer


@dataclass(frozen=True)
class Probe:
    """What the tests do with the cloud, in their own words."""

    cloud: Cloud
    docker: socket.socket

    def invoke(self, **event: Any) -> tuple[Any, bool]:
        """Invoke the step function; its answer and whether it failed."""
        function = self.cloud.outputs["StepFunction"]
        response = self.cloud.client("lambda").invoke(
            FunctionName=function, Payload=json.dumps(event)
        )
        return json.loads(response["Payload"].read()), "FunctionError" in response

    def items(self, pk: str) -> list[dict[str, Any]]:
        """Return what the functions have noted under a key, oldest first."""
        response = self.cloud.client("dynamodb").query(
            TableName=self.cloud.outputs["TableName"],
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
            ConsistentRead=True,
        )
        return [json.loads(item["body"]["S"]) for item in response["Items"]]

    def item(self, pk: str, sk: str) -> dict[str, Any]:
        """Wait for a note and return it."""

        def ask() -> dict[str, Any] | None:
            item = self.cloud.client("dynamodb").get_item(
                TableName=self.cloud.outputs["TableName"],
                Key={"pk": {"S": pk}, "sk": {"S": sk}},
                ConsistentRead=True,
            )
            return json.loads(item["Item"]["body"]["S"]) if "Item" in item else None

        return eventually(ask)

    def machine(self, definition: dict[str, Any]) -> str:
        """Create a state machine."""
        response = self.cloud.client("stepfunctions").create_state_machine(
            name=f"m-{uuid4().hex}",
            definition=json.dumps(definition),
            roleArn="arn:aws:iam::000000000000:role/any",
        )
        return str(response["stateMachineArn"])

    def start(self, machine: str, **given: Any) -> str:
        """Start an execution."""
        response = self.cloud.client("stepfunctions").start_execution(
            stateMachineArn=machine, **given
        )
        return str(response["executionArn"])

    def ended(self, execution: str, seconds: float = 10.0) -> dict[str, Any]:
        """Wait for the end of an execution."""

        def ask() -> dict[str, Any] | None:
            described: dict[str, Any] = self.cloud.client("stepfunctions").describe_execution(
                executionArn=execution
            )
            return None if described["status"] == "RUNNING" else described

        return eventually(ask, seconds)

    def run(self, definition: dict[str, Any], given: str = "{}") -> dict[str, Any]:
        """Run a state machine to its end."""
        return self.ended(self.start(self.machine(definition), input=given))

    def token_task(self, token_id: str, payload: dict[str, Any], **fields: Any) -> dict[str, Any]:
        """Return a state that hands its task token to the step function."""
        return {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
            "Parameters": {
                "FunctionName": self.cloud.outputs["StepFunction"],
                "Payload": {
                    "id": token_id,
                    "token.$": "$$.Task.Token",
                    "count.$": "$$.State.RetryCount",
                    **payload,
                },
            },
            "End": True,
            **fields,
        }

    def task_token(self, token_id: str, count: int = 0) -> str:
        """Wait for the token of a task's n-th try."""
        return str(self.item("token", f"{token_id}#{count}")["token"])


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Probe]:
    folder = tmp_path_factory.mktemp("docker")
    container = HERE / "container.py"
    with socket.socket(socket.AF_UNIX) as docker, pytest.MonkeyPatch.context() as environment:
        docker.bind(str(folder / "docker.sock"))
        docker.listen()
        environment.setenv("DOCKER_HOST", f"unix://{folder}/docker.sock")
        environment.setenv("SECRET_OF_THE_DEVELOPER", "must not leak")
        cloud = Cloud(
            HERE / "template.yaml",
            parameters={"Word": "given"},
            offered={"NotDeclared": "not passed on"},
            images={"conformance:1": [sys.executable, "-u", str(container)]},
            origins=[ORIGIN, OTHER_ORIGIN],
            patches=[patch for patch in PATCHES if patch_name(patch) != WITHOUT],
        )
        with cloud:
            yield Probe(cloud, docker)


@pytest.fixture(scope="session")
def token(probe: Probe) -> str:
    return tokens.issue(probe.cloud.endpoint, "alice")


@pytest.fixture
def unique() -> str:
    return uuid4().hex
