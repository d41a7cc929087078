"""The AWS account that tests/events happen in: moto's, with the template's own table.

The ids and the secret in the events are fixed, so minting them is too.
"""

import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from moto import mock_aws

from headstart import bootstrap
from headstart.adapters import aws
from headstart_local.packaging import read_template

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "tests" / "events"

SESSION_ID = "ses_dfd1b4dc2fffA1b2C3d4E5f6G7"
SECRET = "Zm9yLWV2ZW50cy1vbmx5LW5vdC1hLXJlYWwtdGlja2V0"
ACCOUNT = "123456789012"
REGION = "eu-west-1"
CLUSTER = "headstart-Cluster-abcDEF123456"
BUCKET = "headstart-archives"
MACHINE = "headstart-preparation"
STACK = "headstart-prod"

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "HEADSTART_STACK": STACK,
    "HEADSTART_TABLE": "headstart",
    "HEADSTART_BUCKET": BUCKET,
    "HEADSTART_STATE_MACHINE_ARN": f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{MACHINE}",
    "HEADSTART_STREAM_URL": f"wss://f6e5d4c3b2.execute-api.{REGION}.amazonaws.com/live",
    "HEADSTART_SOCKET_MANAGEMENT_URL": f"https://f6e5d4c3b2.execute-api.{REGION}.amazonaws.com/live",
    "HEADSTART_CLUSTER": CLUSTER,
    "HEADSTART_TASK_DEFINITION": "headstart-sandbox",
    "HEADSTART_ASSIGN_PUBLIC_IP": "true",
}


class Context:
    """What Lambda hands to a handler beside the event."""

    aws_request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
    function_name = "headstart"
    memory_limit_in_mb = 1024
    invoked_function_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:headstart"


def event(name: str) -> Any:
    """Return the event of that file."""
    return json.loads((EVENTS / f"{name}.json").read_text())


def function_of(event_name: str) -> str:
    """Return the function that an event is for: what stands before the case."""
    return event_name.partition("-")[0]


def handler(function: str) -> Any:
    """Return a function's real handler, its module loaded once."""
    name = f"headstart_function_{function}"
    if name not in sys.modules:
        path = ROOT / "functions" / function / "app.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec
        assert spec.loader
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name].lambda_handler


def invoke(event_name: str) -> Any:
    """Give an event to its function's handler, in this process."""
    return handler(function_of(event_name))(event(event_name), Context())


@contextmanager
def scene() -> Iterator[None]:
    """Stand up the account; the handlers' clients are made anew, and talk to it."""
    fixed = {
        "headstart.usecases.create.new_session_id": lambda now: SESSION_ID,
        "headstart.domain.connections.new_secret": lambda: SECRET,
        "headstart.usecases.sandbox.new_secret": lambda: SECRET,
    }
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, ENVIRONMENT))
        stack.enter_context(mock_aws())
        for target, value in fixed.items():
            stack.enter_context(patch(target, value))
        for cached in (bootstrap.services, aws._session):
            cached.cache_clear()
            stack.callback(cached.cache_clear)
        _make_resources()
        yield


def _make_resources() -> None:
    template = read_template(ROOT / "template.yaml")
    properties = template["Resources"]["Table"]["Properties"]
    names = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    table = {name: properties[name] for name in names}
    aws.make_client("dynamodb").create_table(TableName="headstart", **table)
    definition = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 9, "End": True}}}
    aws.make_client("stepfunctions").create_state_machine(
        name=MACHINE,
        definition=json.dumps(definition),
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/any",
    )


def make_sandboxes() -> None:
    """Make what tasks run in; apart, because moto's default VPC takes it most of a second."""
    # moto gives a task a network interface, so the subnet must be there: its default one.
    task = read_template(ROOT / "template.yaml")["Resources"]["SandboxTask"]["Properties"]
    ec2 = aws.make_client("ec2")
    os.environ["HEADSTART_SUBNETS"] = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    groups = ec2.describe_security_groups()["SecurityGroups"]
    os.environ["HEADSTART_SECURITY_GROUPS"] = groups[0]["GroupId"]
    ecs = aws.make_client("ecs")
    ecs.create_cluster(clusterName=CLUSTER)
    ecs.register_task_definition(
        family="headstart-sandbox",
        requiresCompatibilities=task["RequiresCompatibilities"],
        networkMode=task["NetworkMode"],
        cpu="1024",
        memory="4096",
        # moto wants a memory of the container's own, which Fargate does without.
        containerDefinitions=[
            {"name": "sandbox", "image": "headstart-sandbox:latest", "memory": 4096}
        ],
    )
