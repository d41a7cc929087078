"""Sandboxes as tasks of ECS on Fargate."""

import logging
import random
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypedDict

from botocore.exceptions import BotoCoreError, ClientError

from headstart.adapters.aws import error_code, translated
from headstart.domain.errors import SandboxStartFailed
from headstart.domain.model import Model
from headstart.usecases.ports import SandboxSpec, StartedSandbox

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient
    from mypy_boto3_ecs.type_defs import CapacityProviderStrategyItemTypeDef, FailureTypeDef

_log = logging.getLogger(__name__)

_LIST_PAGES = 100
"""Pages of 100 tasks that are listed ("ListTasks", ECS API reference)."""

_DESCRIBE_AT_ONCE = 100
"""DescribeTasks takes 100 tasks ("DescribeTasks", ECS API reference)."""

CONTAINER = "sandbox"
"""The container's name in the task definition."""

_FARGATE: Literal["FARGATE"] = "FARGATE"


class _Where(TypedDict, total=False):
    """The part of a RunTask request that says what it runs on."""

    launchType: Literal["FARGATE"]
    capacityProviderStrategy: "list[CapacityProviderStrategyItemTypeDef]"


class EcsConfig(Model):
    """Where tasks run."""

    cluster: str
    task_definition: str
    subnets: list[str]
    security_groups: list[str]
    assign_public_ip: bool
    capacity_provider: str


class EcsSandboxes:
    """The SandboxProvider port; a handle is a task's ARN."""

    def __init__(self, client: "ECSClient", config: EcsConfig) -> None:
        self._client = client
        self._config = config

    def start(self, spec: SandboxSpec) -> str:
        """Run the task of that name, or return the one already run under it (clientToken)."""
        config = self._config
        environment = {
            "HEADSTART_URL": spec.stream_url,
            "HEADSTART_SESSION_ID": spec.session_id,
            "HEADSTART_ATTEMPT": str(spec.attempt_number),
            "HEADSTART_KEY": spec.key,
        }
        try:
            answer = self._client.run_task(
                cluster=config.cluster,
                taskDefinition=config.task_definition,
                clientToken=spec.name,
                startedBy=spec.name,
                **_where(config.capacity_provider, spec.try_number),
                networkConfiguration={
                    "awsvpcConfiguration": {
                        "subnets": config.subnets,
                        "securityGroups": config.security_groups,
                        "assignPublicIp": "ENABLED" if config.assign_public_ip else "DISABLED",
                    }
                },
                overrides={
                    "containerOverrides": [
                        {
                            "name": CONTAINER,
                            "environment": [
                                {"name": name, "value": value}
                                for name, value in environment.items()
                            ],
                        }
                    ]
                },
                propagateTags="TASK_DEFINITION",
                enableExecuteCommand=False,
            )
        except ClientError as error:
            _log_refusal(str(error))
            raise SandboxStartFailed(f"ECS refused the task: {error_code(error)}") from error
        except BotoCoreError as error:
            _log_refusal(str(error))
            raise SandboxStartFailed("ECS could not be reached") from error
        if not answer["tasks"]:
            reason = _why(answer["failures"])
            _log_refusal(reason)
            raise SandboxStartFailed(f"ECS could not place the task: {reason}")
        return answer["tasks"][0]["taskArn"]

    def is_alive(self, handle: str) -> bool:
        """Say whether a task has not stopped; one that ECS forgot has."""
        with translated():
            answer = self._client.describe_tasks(cluster=self._config.cluster, tasks=[handle])
        return any(task["lastStatus"] != "STOPPED" for task in answer["tasks"])

    def started(self) -> Iterator[StartedSandbox]:
        """Yield the tasks of our family that have not stopped, in no order, as they are asked for.

        Names are listed first, all of them up to 10 000, and cost little; what is known of a task
        is asked a hundred at a time, so who takes only some learns of others the next time.
        """
        arns = self._running()
        random.shuffle(arns)
        for begin in range(0, len(arns), _DESCRIBE_AT_ONCE):
            with translated():
                answer = self._client.describe_tasks(
                    cluster=self._config.cluster, tasks=arns[begin : begin + _DESCRIBE_AT_ONCE]
                )
            for task in answer["tasks"]:
                if task["lastStatus"] != "STOPPED":
                    yield StartedSandbox(
                        handle=task["taskArn"],
                        name=task.get("startedBy", ""),
                        started_at=task["createdAt"],
                    )

    def _running(self) -> list[str]:
        family = self._config.task_definition.rpartition("/")[2].partition(":")[0]
        with translated():
            pages = self._client.get_paginator("list_tasks").paginate(
                cluster=self._config.cluster, family=family, desiredStatus="RUNNING"
            )
            return [arn for page in islice(pages, _LIST_PAGES) for arn in page["taskArns"]]

    def stop(self, handle: str, reason: str) -> None:
        """Stop a task; one that ECS forgot is fine."""
        with translated():
            try:
                self._client.stop_task(cluster=self._config.cluster, task=handle, reason=reason)
            except self._client.exceptions.InvalidParameterException:
                return


def _log_refusal(words: str) -> None:
    """Log what ECS said: it names roles, quotas and subnets, for who runs this, not who uses it."""
    _log.warning("ECS started no task", extra={"reason": words})


def _where(provider: str, try_number: int) -> _Where:
    """Return what a try runs on: the chosen provider first, Fargate itself from the second try on.

    Spot has no way back of its own: it refuses a task that it has no capacity for, at once or by
    stopping it. The number alone decides, so that a repeated call asks for the same.
    """
    if provider == _FARGATE or try_number > 1:
        # Needs no provider to be associated with the cluster ("PutClusterCapacityProviders").
        return {"launchType": _FARGATE}
    # With the weight's default, 0, nothing is placed ("CapacityProviderStrategyItem").
    return {"capacityProviderStrategy": [{"capacityProvider": provider, "weight": 1}]}


def _why(failures: "list[FailureTypeDef]") -> str:
    return ", ".join(failure.get("reason", "unknown") for failure in failures) or "unknown"


def stopped_reason(detail: dict[str, object]) -> str:
    """Return ECS's own reason for a stopped task, with the container's exit code if it had one."""
    reason = str(detail.get("stoppedReason") or "The task stopped")
    containers = detail.get("containers")
    for container in containers if isinstance(containers, list) else []:
        if container.get("name") == CONTAINER:
            if container.get("reason"):
                reason = f"{reason}: {container['reason']}"
            if container.get("exitCode") is not None:
                reason = f"{reason} (exit code {container['exitCode']})"
    return reason
