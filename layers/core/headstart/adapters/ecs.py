"""Sandboxes as tasks of ECS on Fargate."""

import logging
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

_LIST_PAGES = 5
"""Pages of 100 tasks that are looked at ("ListTasks", ECS API reference)."""

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
            # Its words name roles, quotas and subnets: for who runs this, not for who uses it.
            _log.warning("ECS refused a task", extra={"reason": str(error)})
            raise SandboxStartFailed(f"ECS refused the task: {error_code(error)}") from error
        except BotoCoreError as error:
            raise SandboxStartFailed("ECS could not be reached") from error
        if not answer["tasks"]:
            raise SandboxStartFailed(f"ECS could not place the task: {_why(answer['failures'])}")
        return answer["tasks"][0]["taskArn"]

    def is_alive(self, handle: str) -> bool:
        """Say whether a task has not stopped; one that ECS forgot has."""
        with translated():
            answer = self._client.describe_tasks(cluster=self._config.cluster, tasks=[handle])
        return any(task["lastStatus"] != "STOPPED" for task in answer["tasks"])

    def started(self) -> list[StartedSandbox]:
        """Return the tasks of our family that have not stopped: the first 500."""
        found: list[StartedSandbox] = []
        family = self._config.task_definition.rpartition("/")[2].partition(":")[0]
        with translated():
            pages = self._client.get_paginator("list_tasks").paginate(
                cluster=self._config.cluster, family=family, desiredStatus="RUNNING"
            )
            for page in islice(pages, _LIST_PAGES):
                if page["taskArns"]:
                    answer = self._client.describe_tasks(
                        cluster=self._config.cluster, tasks=page["taskArns"]
                    )
                    found += [
                        StartedSandbox(
                            handle=task["taskArn"],
                            name=task.get("startedBy", ""),
                            started_at=task["createdAt"],
                        )
                        for task in answer["tasks"]
                        if task["lastStatus"] != "STOPPED"
                    ]
        return found

    def stop(self, handle: str, reason: str) -> None:
        """Stop a task; one that ECS forgot is fine."""
        with translated():
            try:
                self._client.stop_task(cluster=self._config.cluster, task=handle, reason=reason)
            except self._client.exceptions.InvalidParameterException:
                return


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
