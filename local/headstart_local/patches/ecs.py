"""ECS: tasks as real processes, and the events their lives raise."""

import json
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from headstart_local import launch_rate
from headstart_local.containers import ContainerSpec, UnknownImageError
from headstart_local.patches.context import PatchContext

# "If the parameter isn't specified, then the default value of 30 seconds is used"
# ("StopTimeout", Fargate task definition parameters).
DEFAULT_STOP_SECONDS = 30
STOPPED_SECONDS = 60 * 60
Listener = Callable[[dict[str, Any]], None]
_listeners: list[Listener] = []


class Tasks:
    """Moves task records through their lives along with the processes behind them."""

    def __init__(self, context: PatchContext) -> None:
        self._context = context
        self._ecs = context.emulator.ecs
        self._lock = threading.RLock()
        self._rate = launch_rate.of_this_machine()
        self._stop_asked: dict[str, threading.Event] = {}

    def created(self, arn: str, overrides: dict[str, Any]) -> dict[str, Any]:
        """Take over a task that ministack has recorded as running, and start it."""
        task: dict[str, Any] = self._ecs._tasks[arn]
        definition = self._ecs._task_defs[self._ecs._resolve_td_key(task["taskDefinitionArn"])]
        unset = dict.fromkeys(("startedAt", "pullStartedAt", "pullStoppedAt"))
        group = task["group"] or f"family:{definition['family']}"
        task.update(unset, lastStatus="PROVISIONING", group=group)
        for container in task["containers"]:
            container["lastStatus"] = "PENDING"
        self._tell(task)
        shown: dict[str, Any] = self._ecs._sanitize(task)
        spec = _container_spec(definition["containerDefinitions"][0], overrides)
        self._stop_asked[arn] = threading.Event()
        threading.Thread(target=self._live, args=(task, definition, spec), daemon=True).start()
        return shown

    def stop(self, task: dict[str, Any], reason: str) -> None:
        """Ask a task to end; SIGTERM, and SIGKILL after the container's stopTimeout."""
        with self._lock:
            if task["desiredStatus"] == "STOPPED":
                return
            task["desiredStatus"] = "STOPPED"
            self._change(
                task, stopCode="UserInitiated", stoppedReason=reason, stoppingAt=self._ecs._iso()
            )
        if asked := self._stop_asked.get(task["taskArn"]):
            asked.set()
        if container := self._context.containers.find(_task_id(task)):
            container.stop(task["_stop_seconds"])

    def _live(self, task: dict[str, Any], definition: dict[str, Any], spec: ContainerSpec) -> None:
        containers, task_id = self._context.containers, _task_id(task)
        main = definition["containerDefinitions"][0]
        task["_stop_seconds"] = main.get("stopTimeout", DEFAULT_STOP_SECONDS)
        self._stop_asked[task["taskArn"]].wait(self._rate.reserve())
        with self._context.emulator.scope():
            self._change(task, lastStatus="PENDING", pullStartedAt=self._ecs._iso())
            try:
                with self._lock:
                    if task["desiredStatus"] == "STOPPED":
                        self._stopped(task, "", "UserInitiated", None)
                        return
                    container = containers.start(task_id, spec)
            except (UnknownImageError, OSError) as error:
                containers.ended(task_id)
                reason = f"CannotPullContainerError: pull image manifest failed: {error}"
                self._stopped(task, reason, "TaskFailedToStart", None)
                return
            task["containers"][0]["lastStatus"] = "RUNNING"
            now = self._ecs._iso()
            self._change(task, lastStatus="RUNNING", startedAt=now, pullStoppedAt=now)
            code = container.follow(self._log_sink(main, task_id))
            containers.ended(task_id)
            reason = "Essential container in task exited"
            self._stopped(task, reason, "EssentialContainerExited", code)

    def _stopped(self, task: dict[str, Any], reason: str, code: str, status: int | None) -> None:
        with self._lock:
            self._stop_asked.pop(task["taskArn"], None)
            if task["desiredStatus"] == "STOPPED":
                reason, code = task["stoppedReason"], task["stopCode"]
            for container in task["containers"]:
                container["lastStatus"] = "STOPPED"
                container["exitCode"] = status
            now = self._ecs._iso()
            self._change(
                task,
                desiredStatus="STOPPED",
                lastStatus="STOPPED",
                stoppedReason=reason,
                stopCode=code,
                stoppingAt=task["stoppingAt"] or now,
                executionStoppedAt=now,
                stoppedAt=now,
            )

    def _change(self, task: dict[str, Any], **fields: Any) -> None:
        with self._lock:
            task.update(fields, version=task["version"] + 1)
            self._tell(task)

    def _tell(self, task: dict[str, Any]) -> None:
        for listener in _listeners:
            listener(task)

    def _log_sink(self, definition: dict[str, Any], task_id: str) -> Callable[[str], None]:
        config = self._ecs._awslogs_config(definition, task_id, task_id)
        if not config or not self._ecs._ensure_awslogs_stream(config):
            return lambda line: None
        return lambda line: self._ecs._emit_awslogs_event(config, line)


def _task_id(task: dict[str, Any]) -> str:
    return str(task["taskArn"]).rpartition("/")[2]


def _container_spec(definition: dict[str, Any], overrides: dict[str, Any]) -> ContainerSpec:
    own = [
        override
        for override in overrides.get("containerOverrides", [])
        if override.get("name") == definition["name"]
    ]
    override = own[0] if own else {}
    pairs = [*definition.get("environment", []), *override.get("environment", [])]
    return ContainerSpec(
        name=definition["name"],
        image=definition.get("image", ""),
        command=override.get("command") or definition.get("command") or [],
        environment={pair["name"]: pair["value"] for pair in pairs},
    )


def task_processes(context: PatchContext) -> None:
    """Start tasks as processes and report their lives: PROVISIONING, PENDING, RUNNING, STOPPED.

    A task stops when its essential container does, with that one's exit code; StopTask sends
    SIGTERM and after stopTimeout SIGKILL; an image that can't be had stops the task with
    CannotPullContainerError ("Amazon ECS task lifecycle", "StopTask", "Stopped tasks errors").
    Fargate starts so many a second ("AWS Fargate throttling quotas"), here as this machine bears.
    """
    ecs, responses = context.emulator.ecs, context.emulator.responses
    stock_run = ecs._run_task
    tasks = Tasks(context)
    ecs._get_docker = lambda: None

    def run(data: dict[str, Any]) -> Any:
        status, headers, body = stock_run(data)
        if status != 200:
            return status, headers, body
        answer = json.loads(body)
        overrides = data.get("overrides") or {}
        shown = [tasks.created(task["taskArn"], overrides) for task in answer["tasks"]]
        return responses.json_response({"tasks": shown, "failures": answer["failures"]})

    def stop(data: dict[str, Any]) -> Any:
        cluster = ecs._resolve_cluster_name(data.get("cluster", "default"))
        task = ecs._resolve_task(data.get("task", ""), cluster)
        if not task:
            message = "The referenced task was not found."
            return responses.error_response_json("InvalidParameterException", message, 400)
        tasks.stop(task, data.get("reason", "Task stopped by user"))
        return responses.json_response({"task": ecs._sanitize(task)})

    ecs._run_task = ecs._ACTION_MAP["RunTask"] = run
    ecs._stop_task = ecs._ACTION_MAP["StopTask"] = stop


def task_state_events(context: PatchContext) -> None:
    """Publish "ECS Task State Change" on every change of a task.

    Source aws.ecs, the task as detail ("Amazon ECS task state change events").
    """
    emulator = context.emulator

    def publish(task: dict[str, Any]) -> None:
        shown = {key: value for key, value in emulator.ecs._sanitize(task).items() if value != ""}
        entry = {
            "Source": "aws.ecs",
            "DetailType": "ECS Task State Change",
            "Resources": [task["taskArn"]],
            "Detail": json.dumps({**shown, "updatedAt": emulator.ecs._iso()}),
        }
        emulator.eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)

    _listeners.append(publish)


def client_token(context: PatchContext) -> None:
    """Answer a repeated RunTask of the same clientToken with the same tasks.

    With other parameters it is a ConflictException ("RunTask" and "Ensuring idempotency").
    """
    ecs, responses = context.emulator.ecs, context.emulator.responses
    stock = ecs._run_task
    lock = threading.Lock()
    answered: dict[str, tuple[str, list[str]]] = {}

    def run(data: dict[str, Any]) -> Any:
        token = data.get("clientToken")
        if not token:
            return stock(data)
        asked = json.dumps(data, sort_keys=True)
        with lock:
            gone = [
                t for t, (_, arns) in answered.items() if not any(arn in ecs._tasks for arn in arns)
            ]
            for forgotten in gone:
                del answered[forgotten]
            known = answered.get(token)
            if known is None:
                response = stock(data)
                if response[0] == 200:
                    arns = [task["taskArn"] for task in json.loads(response[2])["tasks"]]
                    answered[token] = (asked, arns)
                return response
        if known[0] != asked:
            message = "The provided clientToken is already in use with a different RunTask request."
            return responses.error_response_json("ConflictException", message, 400)
        shown = [ecs._sanitize(ecs._tasks[arn]) for arn in known[1]]
        return responses.json_response({"tasks": shown, "failures": []})

    ecs._run_task = ecs._ACTION_MAP["RunTask"] = run


def weighed_strategy(context: PatchContext) -> None:
    """Refuse RunTask with a strategy in which no capacity provider has a weight.

    The weight's default is 0, and one must be above it ("CapacityProviderStrategyItem").
    """
    ecs, responses = context.emulator.ecs, context.emulator.responses
    stock = ecs._run_task

    def run(data: dict[str, Any]) -> Any:
        strategy = data.get("capacityProviderStrategy")
        if strategy and not any(item.get("weight") for item in strategy):
            message = "There are no capacity providers with a weight value greater than zero"
            return responses.error_response_json("InvalidParameterException", message, 400)
        return stock(data)

    ecs._run_task = ecs._ACTION_MAP["RunTask"] = run


def associated_providers(context: PatchContext) -> None:
    """Refuse RunTask with a capacity provider that its cluster doesn't have.

    "A capacity provider must be associated with the cluster to be used in a capacity provider
    strategy" ("PutClusterCapacityProviders", API reference). A launch type needs none.
    """
    ecs, responses = context.emulator.ecs, context.emulator.responses
    stock = ecs._run_task

    def run(data: dict[str, Any]) -> Any:
        cluster = ecs._clusters.get(ecs._resolve_cluster_name(data.get("cluster", "default")), {})
        asked = {item["capacityProvider"] for item in data.get("capacityProviderStrategy") or []}
        if missing := asked - set(cluster.get("capacityProviders") or []):
            message = f"The cluster has no capacity provider {', '.join(sorted(missing))}"
            return responses.error_response_json("InvalidParameterException", message, 400)
        return stock(data)

    ecs._run_task = ecs._ACTION_MAP["RunTask"] = run


def started_by_alone(context: PatchContext) -> None:
    """Refuse ListTasks with startedBy and another filter.

    "When you specify startedBy as the filter, it must be the only filter that you use"
    ("ListTasks", API reference).
    """
    ecs = context.emulator.ecs
    stock = ecs._list_tasks

    def list_tasks(data: dict[str, Any]) -> Any:
        others = ("family", "serviceName", "containerInstance")
        if data.get("startedBy") and any(data.get(name) for name in others):
            message = "startedBy must be the only filter"
            error = "InvalidParameterException"
            return context.emulator.responses.error_response_json(error, message, 400)
        return stock(data)

    ecs._list_tasks = ecs._ACTION_MAP["ListTasks"] = list_tasks


def stopped_tasks_go(context: PatchContext) -> None:
    """Forget a task an hour after it has stopped, when the next one is run.

    "Currently, stopped tasks appear in the returned results for at least one hour"
    ("DescribeTasks", "ListTasks", API reference).
    """
    ecs = context.emulator.ecs
    stock = ecs._run_task
    stopped: deque[tuple[float, str]] = deque()
    lock = threading.Lock()

    def note(task: dict[str, Any]) -> None:
        if task["lastStatus"] == "STOPPED":
            stopped.append((monotonic(), task["taskArn"]))

    def run(data: dict[str, Any]) -> Any:
        with lock:
            while stopped and stopped[0][0] <= monotonic() - STOPPED_SECONDS:
                _, arn = stopped.popleft()
                ecs._tasks.pop(arn, None)
                ecs._tags.pop(arn, None)
        return stock(data)

    _listeners.append(note)
    ecs._run_task = ecs._ACTION_MAP["RunTask"] = run
