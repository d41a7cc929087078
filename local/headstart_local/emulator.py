"""Loads ministack into this process: the one untyped boundary of the embedded cloud.

ministack has no type information and no public Python API, so every module of it is `Any` here
and nowhere else is ministack imported. The version is pinned: the patches change internals.
"""

import importlib
import importlib.metadata
import logging
import os
from dataclasses import dataclass
from typing import Any

MINISTACK_VERSION = "1.5.33"
ACCOUNT_ID = "000000000000"
REGION = "us-east-1"

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": ACCOUNT_ID,
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_SESSION_TOKEN": "local",
}
"""What functions sign with, and what the signatures of presigned URLs are checked against."""

# Read by ministack when its modules are imported; the port is read again later.
_SETTINGS = {
    "MINISTACK_HOST": "127.0.0.1",
    "MINISTACK_REGION": REGION,
    "MINISTACK_ACCOUNT_ID": ACCOUNT_ID,
    "BIND_HOST": "127.0.0.1",
    "IOT_MTLS_ENABLED": "0",
    "SFTP_ENABLED": "0",
    "PERSIST_STATE": "0",
    "LAMBDA_EXECUTOR": "local",
    # Invocations wait in line for a worker of ours; else those that this machine's memory would not
    # hold are refused, though they don't run yet.
    "LAMBDA_ACCOUNT_CONCURRENCY": "0",
    "LOG_LEVEL": "WARNING",
}


class EmulatorError(RuntimeError):
    """The embedded cloud can't be started in this process."""


@dataclass(frozen=True)
class Emulator:
    """The ministack modules that the embedded cloud touches."""

    app: Any
    apigateway: Any
    cloudformation: Any
    cloudformation_callers: tuple[Any, ...]
    cloudwatch_logs: Any
    cognito: Any
    container_reaper: Any
    dynamodb: Any
    ecs: Any
    eventbridge: Any
    lambda_runtime: Any
    lambda_service: Any
    responses: Any
    scheduler: Any
    sqs: Any
    stepfunctions: Any

    def scope(self) -> Any:
        """Return a context manager under which ministack's stores show our account and region."""
        return self.responses.request_scope(ACCOUNT_ID, REGION)


_loaded: list[int] = []


def load(port: int) -> Emulator:
    """Import ministack for the given port.

    ministack keeps the port and all its state in module globals, so a process has one cloud, once:
    a second call raises EmulatorError, and so does another ministack version.
    """
    if _loaded:
        raise EmulatorError("this process has had its embedded cloud already; start another one")
    found = importlib.metadata.version("ministack")
    if found != MINISTACK_VERSION:
        raise EmulatorError(f"ministack {MINISTACK_VERSION} is needed, found {found}")
    _loaded.append(port)
    # Credentials too, over those of a developer's shell.
    os.environ.update(_SETTINGS, **CREDENTIALS, GATEWAY_PORT=str(port))

    # Whoever deploys is told what failed, and says it once.
    logging.getLogger("cloudformation").setLevel(logging.CRITICAL)

    def module(name: str) -> Any:
        return importlib.import_module(f"ministack.{name}")

    return Emulator(
        app=module("app"),
        apigateway=module("services.apigateway"),
        cloudformation=module("services.cloudformation.provisioners"),
        cloudformation_callers=tuple(
            module(f"services.cloudformation.{name}")
            for name in ("engine", "handlers", "changesets")
        ),
        cloudwatch_logs=module("services.cloudwatch_logs"),
        cognito=module("services.cognito"),
        container_reaper=module("core.container_reaper"),
        dynamodb=module("services.dynamodb"),
        ecs=module("services.ecs"),
        eventbridge=module("services.eventbridge"),
        lambda_runtime=module("core.lambda_runtime"),
        lambda_service=module("services.lambda_svc"),
        responses=module("core.responses"),
        scheduler=module("services.scheduler"),
        sqs=module("services.sqs"),
        stepfunctions=module("services.stepfunctions"),
    )
