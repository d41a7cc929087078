"""Putting the adapters behind the ports, once a container and only when first used."""

import os
import random
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache, cached_property, partial, wraps
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from headstart.config import Settings
from headstart.domain.model import Model
from headstart.domain.policy import Policy
from headstart.usecases.ports import (
    CallbackQueue,
    Clock,
    GitHub,
    Machine,
    Metrics,
    Objects,
    Receivers,
    SandboxProvider,
    Sealing,
    Secrets,
    Signing,
    Sockets,
    Store,
)

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

Event = dict[str, Any]


class Services:
    """The Ports on AWS."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def identify(self, session_id: str) -> None:
        """Name the session in every log line that follows."""
        logger().append_keys(session_id=session_id)

    @cached_property
    def policy(self) -> Policy:
        """The deployment's choices."""
        return self.settings.policy()

    @cached_property
    def clock(self) -> Clock:
        """The time."""
        return lambda: datetime.now(UTC)

    @cached_property
    def metrics(self) -> Metrics:
        """Where measurements go."""
        from headstart.adapters.metrics import EmfMetrics  # noqa: PLC0415  only when measured

        return EmfMetrics(self.settings.stack)

    @cached_property
    def store(self) -> Store:
        """The table."""
        from headstart.adapters.aws import make_client  # noqa: PLC0415
        from headstart.adapters.dynamodb import DynamoStore  # noqa: PLC0415

        return DynamoStore(
            make_client("dynamodb"),
            self.settings.table,
            lambda count: self.metrics.count("RowsUnreadable", count),
        )

    @cached_property
    def machine(self) -> Machine:
        """The state machine."""
        from headstart.adapters.aws import make_client  # noqa: PLC0415
        from headstart.adapters.stepfunctions import StepFunctionsMachine  # noqa: PLC0415

        client = make_client("stepfunctions")
        return StepFunctionsMachine(client, self.settings.state_machine_arn)

    @cached_property
    def sandboxes(self) -> SandboxProvider:
        """What runs containers."""
        from headstart.adapters.aws import make_client  # noqa: PLC0415
        from headstart.adapters.ecs import EcsConfig, EcsSandboxes  # noqa: PLC0415

        settings = self.settings
        return EcsSandboxes(
            make_client("ecs"),
            EcsConfig(
                cluster=settings.cluster,
                task_definition=settings.task_definition,
                subnets=settings.subnet_ids(),
                security_groups=settings.security_group_ids(),
                assign_public_ip=settings.assign_public_ip,
                capacity_provider=settings.capacity_provider,
            ),
        )

    @cached_property
    def objects(self) -> Objects:
        """Where archives are kept."""
        from headstart.adapters.aws import make_client  # noqa: PLC0415
        from headstart.adapters.s3 import S3Objects  # noqa: PLC0415

        return S3Objects(make_client("s3"), self.settings.bucket)

    @cached_property
    def secrets(self) -> Secrets:
        """What only agents get."""
        from headstart.adapters.aws import make_client  # noqa: PLC0415
        from headstart.adapters.secrets import ManagedSecrets  # noqa: PLC0415

        make = partial(make_client, "secretsmanager")
        return ManagedSecrets(make, self.settings.provider_secret)

    @cached_property
    def github(self) -> GitHub:
        """What opens private repositories."""
        from headstart.adapters.aws import make_client  # noqa: PLC0415
        from headstart.adapters.github import GitHubApp  # noqa: PLC0415
        from headstart.adapters.signing import KmsSigner  # noqa: PLC0415
        from headstart.domain.repository import github_api  # noqa: PLC0415

        settings = self.settings
        api = github_api(settings.github_url, settings.github_url) or ""
        sign = KmsSigner(cache(partial(make_client, "kms")), settings.github_app_key)
        return GitHubApp(settings.github_app_id, api, sign)

    @cached_property
    def sealing(self) -> Sealing:
        """The key pair for secrets."""
        from headstart.adapters.aws import make_client  # noqa: PLC0415
        from headstart.adapters.kms import KmsSealing  # noqa: PLC0415

        return KmsSealing(
            cache(partial(make_client, "kms")),
            self.settings.secrets_alias,
            on_key_failure=lambda: self.metrics.count("SecretsKeyFailures"),
        )

    @cached_property
    def callback_queue(self) -> CallbackQueue:
        """What waits to be told to receivers."""
        from headstart.adapters.aws import make_client  # noqa: PLC0415
        from headstart.adapters.sqs import SqsCallbacks  # noqa: PLC0415

        return SqsCallbacks(make_client("sqs"), self.settings.callback_queue)

    @cached_property
    def signing(self) -> Signing:
        """What proves to receivers who calls."""
        from headstart.adapters.aws import make_client  # noqa: PLC0415
        from headstart.adapters.callback_signing import ManagedSigning  # noqa: PLC0415

        make = partial(make_client, "secretsmanager")
        return ManagedSigning(make, self.settings.callback_secret)

    @cached_property
    def receivers(self) -> Receivers:
        """What sessions' owners want to be told at."""
        from headstart.adapters.receivers import HttpReceivers  # noqa: PLC0415

        return HttpReceivers(self.policy.allowed_callback_targets)

    @cached_property
    def sockets(self) -> Sockets:
        """The way back to WebSocket peers."""
        from headstart.adapters.aws import make_client  # noqa: PLC0415
        from headstart.adapters.sockets import ApiGatewaySockets  # noqa: PLC0415

        url = self.settings.socket_management_url
        return ApiGatewaySockets(make_client("apigatewaymanagementapi", url))


@cache
def services() -> Services:
    """Return this container's services, made from its environment on first use."""
    return Services(Settings.from_environment(os.environ))


def prime() -> None:
    """Do now what the first request would have to: clients, the policy, every model's validator.

    For SnapStart, whose snapshot is taken once and started from many times. Nothing is sent.
    """
    ports = services()
    _ = ports.store, ports.machine, ports.policy, ports.metrics
    waiting: list[type[Model]] = [Model]
    while waiting:
        model = waiting.pop()
        waiting += model.__subclasses__()
        model.model_rebuild()


def _prime_before_snapshot() -> None:
    """Register `prime` where the runtime has snapshots; elsewhere this costs a failed lookup."""
    try:
        import snapshot_restore_py  # type: ignore[import-not-found]  # noqa: PLC0415
    except ModuleNotFoundError:
        return
    snapshot_restore_py.register_before_snapshot(prime)
    # Else every copy of the snapshot waits the same "random" times before it tries again.
    snapshot_restore_py.register_after_restore(random.seed)


@cache
def logger() -> Logger:
    """Return the structured logger behind every `headstart.*` logger of the standard library."""
    return Logger(service="headstart", level=os.environ.get("HEADSTART_LOG_LEVEL", "INFO"))


def entry(
    handle: Callable[[Event, "LambdaContext", Services], Any],
) -> Callable[[Event, "LambdaContext"], Any]:
    """Make a Lambda handler: request id and, where the event names them, session and attempt in
    every log line of the invocation."""
    _prime_before_snapshot()

    @wraps(handle)
    def lambda_handler(event: Event, context: "LambdaContext") -> Any:
        log = logger()
        log.clear_state()
        log.append_keys(request_id=context.aws_request_id, **_identity(event))
        return handle(event, context, services())

    return lambda_handler


def _identity(event: Event) -> dict[str, Any]:
    session_id = event.get("sessionId") or (event.get("pathParameters") or {}).get("id")
    found = {"session_id": session_id, "attempt": event.get("attemptNumber")}
    return {name: value for name, value in found.items() if value is not None}
