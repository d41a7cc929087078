"""ECS: tasks that are processes, their lives, events and logs."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from headstart_local import containers, processes
from headstart_local.launch_rate import LaunchRate
from headstart_local.patches import ecs
from tests.conformance.conftest import Probe, eventually


def run_task(probe: Probe, task: str = "Task", **given: Any) -> dict[str, Any]:
    environment = given.pop("environment", {})
    pairs = [{"name": name, "value": value} for name, value in environment.items()]
    response = probe.cloud.client("ecs").run_task(
        cluster=probe.cloud.outputs["Cluster"],
        taskDefinition=probe.cloud.outputs[task],
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": ["subnet-1"]}},
        overrides={"containerOverrides": [{"name": "box", "environment": pairs}]},
        **given,
    )
    described: dict[str, Any] = response["tasks"][0]
    return described


def describe(probe: Probe, task: dict[str, Any]) -> dict[str, Any]:
    response = probe.cloud.client("ecs").describe_tasks(
        cluster=probe.cloud.outputs["Cluster"], tasks=[task["taskArn"]]
    )
    described: dict[str, Any] = response["tasks"][0]
    return described


def reached(probe: Probe, task: dict[str, Any], status: str, seconds: float = 10) -> dict[str, Any]:
    def ask() -> dict[str, Any] | None:
        described = describe(probe, task)
        return described if described["lastStatus"] == status else None

    return eventually(ask, seconds)


def log_of(probe: Probe, task: dict[str, Any], lines: int = 1) -> list[str]:
    """Wait for the first lines of a task's log in CloudWatch."""
    logs = probe.cloud.client("logs")
    stream = f"box/box/{task['taskArn'].rpartition('/')[2]}"

    def ask() -> list[str] | None:
        try:
            events = logs.get_log_events(
                logGroupName=probe.cloud.outputs["TaskLogs"], logStreamName=stream
            )["events"]
        except logs.exceptions.ResourceNotFoundException:
            return None
        return [event["message"] for event in events] if len(events) >= lines else None

    return eventually(ask)


def running(argument: str) -> list[int]:
    """Return the processes that have an argument like this."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if argument.encode() in arguments:
            found.append(int(entry.name))
    return found


def stop(probe: Probe, task: dict[str, Any], reason: str) -> dict[str, Any]:
    response = probe.cloud.client("ecs").stop_task(
        cluster=probe.cloud.outputs["Cluster"], task=task["taskArn"], reason=reason
    )
    described: dict[str, Any] = response["task"]
    return described


@pytest.mark.proves("ecs.task_processes")
def test_task_ends_with_its_process(probe: Probe) -> None:
    task = run_task(probe, startedBy="ses_1-1-1", environment={"MODE": "exit", "CODE": "3"})
    assert (task["lastStatus"], task["desiredStatus"]) == ("PROVISIONING", "RUNNING")
    ended = reached(probe, task, "STOPPED")
    assert ended["stopCode"] == "EssentialContainerExited"
    assert ended["stoppedReason"] == "Essential container in task exited"
    assert ended["containers"][0]["exitCode"] == 3
    assert ended["startedBy"] == "ses_1-1-1"
    assert ended["group"] == "family:conformance"


@pytest.mark.proves("ecs.task_processes")
def test_environment_of_a_container(probe: Probe) -> None:
    task = run_task(probe, environment={"MODE": "exit", "CODE": "0", "MINE": "1"})
    environment = json.loads(log_of(probe, task)[0])
    folders = {"HOME", "HEADSTART_WORKSPACE", "HEADSTART_STATE_DIR", "TMPDIR"}
    given = {"PATH", "LANG", "FROM_DEFINITION", "MODE", "CODE", "MINE"}
    assert set(environment) - {"LC_CTYPE"} == folders | given
    assert len({environment[name] for name in folders}) == len(folders)
    reached(probe, task, "STOPPED")
    eventually(lambda: None if Path(environment["HOME"]).parent.exists() else True)


@pytest.mark.proves("ecs.task_state_events")
def test_changes_raise_events(probe: Probe) -> None:
    environment = {"MODE": "exit", "CODE": "7"}
    task = run_task(probe, startedBy="someone", environment=environment)
    arn = task["taskArn"]
    notes = eventually(lambda: items if len(items := probe.items(arn)) == 4 else None)
    details = [note["event"]["detail"] for note in notes]
    statuses = [detail["lastStatus"] for detail in details]
    assert statuses == ["PROVISIONING", "PENDING", "RUNNING", "STOPPED"]
    event, last = notes[-1]["event"], details[-1]
    assert (event["source"], event["resources"]) == ("aws.ecs", [arn])
    assert event["detail-type"] == "ECS Task State Change"
    assert last["desiredStatus"] == "STOPPED"
    assert last["stopCode"] == "EssentialContainerExited"
    assert last["startedBy"] == "someone"
    assert last["containers"][0]["exitCode"] == 7
    assert last["taskDefinitionArn"] == probe.cloud.outputs["Task"]
    assert last["clusterArn"].endswith(probe.cloud.outputs["Cluster"])
    names = {pair["name"] for pair in last["overrides"]["containerOverrides"][0]["environment"]}
    assert names == set(environment)


@pytest.mark.proves("ecs.task_processes")
def test_unknown_image_cannot_be_pulled(probe: Probe) -> None:
    task = run_task(probe, "UnknownImageTask")
    ended = reached(probe, task, "STOPPED")
    assert ended["stopCode"] == "TaskFailedToStart"
    assert ended["stoppedReason"].startswith("CannotPullContainerError")


@pytest.mark.proves("ecs.task_processes")
def test_stop_is_sigterm_first(probe: Probe) -> None:
    task = run_task(probe, environment={"SECONDS": "31"})
    log_of(probe, task)
    stopping = stop(probe, task, "enough")
    assert stopping["desiredStatus"] == "STOPPED"
    ended = reached(probe, task, "STOPPED")
    assert (ended["stopCode"], ended["stoppedReason"]) == ("UserInitiated", "enough")
    assert ended["containers"][0]["exitCode"] == 128 + signal.SIGTERM


@pytest.mark.proves("ecs.task_processes")
def test_stop_kills_everything_after_the_timeout(probe: Probe) -> None:
    task = run_task(probe, environment={"MODE": "stubborn", "SECONDS": "3131.25"})
    log_of(probe, task, 2)
    assert running("3131.25")
    start = time.monotonic()
    stop(probe, task, "enough")
    ended = reached(probe, task, "STOPPED")
    assert 0.9 < time.monotonic() - start < 20
    assert ended["containers"][0]["exitCode"] == 128 + signal.SIGKILL
    assert not running("3131.25")


@pytest.mark.proves("ecs.task_processes")
def test_daemons_end_with_their_container(probe: Probe) -> None:
    task = run_task(probe, environment={"MODE": "daemon", "SECONDS": "3131.5"})
    reached(probe, task, "STOPPED")
    assert not running("3131.5")


@pytest.mark.proves("ecs.task_processes")
def test_killed_process_is_137(probe: Probe) -> None:
    task = run_task(probe, environment={"MODE": "stubborn", "SECONDS": "3131.75"})
    log_of(probe, task, 2)
    container = probe.cloud.containers and probe.cloud.containers.find(
        task["taskArn"].rpartition("/")[2]
    )
    assert container
    os.kill(container.main_process(), signal.SIGKILL)
    ended = reached(probe, task, "STOPPED")
    assert ended["containers"][0]["exitCode"] == 137
    assert not running("3131.75")


def test_stop_before_the_start_is_done(probe: Probe) -> None:
    task = run_task(probe, environment={"SECONDS": "32"})
    stop(probe, task, "at once")
    ended = reached(probe, task, "STOPPED")
    assert (ended["stopCode"], ended["stoppedReason"]) == ("UserInitiated", "at once")


@pytest.mark.proves("ecs.client_token")
def test_client_token_gives_the_same_task(probe: Probe, unique: str) -> None:
    environment = {"MODE": "exit", "CODE": "0"}
    first = run_task(probe, clientToken=unique, environment=environment)
    again = run_task(probe, clientToken=unique, environment=environment)
    assert again["taskArn"] == first["taskArn"]
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        run_task(probe, clientToken=unique, environment={**environment, "CODE": "1"})
    assert raised.value.response["Error"]["Code"] == "ConflictException"


@pytest.mark.proves("ecs.stopped_tasks_go")
def test_a_stopped_task_is_forgotten_after_an_hour(
    probe: Probe, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"MODE": "exit", "CODE": "0"}
    first = run_task(probe, clientToken=unique, environment=environment)
    reached(probe, first, "STOPPED")
    second = run_task(probe, environment=environment)
    assert describe(probe, first)["lastStatus"] == "STOPPED"
    monkeypatch.setattr(ecs, "STOPPED_SECONDS", 0)
    reached(probe, second, "STOPPED")
    third = run_task(probe, clientToken=unique, environment=environment)
    assert third["taskArn"] != first["taskArn"]
    described = probe.cloud.client("ecs").describe_tasks(
        cluster=probe.cloud.outputs["Cluster"],
        tasks=[task["taskArn"] for task in (first, second, third)],
    )
    assert [task["taskArn"] for task in described["tasks"]] == [third["taskArn"]]
    assert [failure["reason"] for failure in described["failures"]] == ["MISSING"] * 2


@pytest.mark.proves("ecs.weighed_strategy")
def test_a_strategy_without_weight_places_nothing(probe: Probe) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        probe.cloud.client("ecs").run_task(
            cluster=probe.cloud.outputs["SpotCluster"],
            taskDefinition=probe.cloud.outputs["Task"],
            capacityProviderStrategy=[{"capacityProvider": "FARGATE"}],
        )
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"


@pytest.mark.proves("cloudformation.cluster_providers")
def test_a_cluster_is_given_its_providers_after_it_was_made(probe: Probe) -> None:
    name = probe.cloud.outputs["SpotCluster"]
    [cluster] = probe.cloud.client("ecs").describe_clusters(clusters=[name])["clusters"]
    assert cluster["capacityProviders"] == ["FARGATE", "FARGATE_SPOT"]


@pytest.mark.proves("ecs.associated_providers")
def test_a_provider_is_used_by_the_clusters_that_have_it(probe: Probe) -> None:
    def spot(cluster: str) -> list[Any]:
        started: list[Any] = probe.cloud.client("ecs").run_task(
            cluster=probe.cloud.outputs[cluster],
            taskDefinition=probe.cloud.outputs["Task"],
            capacityProviderStrategy=[{"capacityProvider": "FARGATE_SPOT", "weight": 1}],
        )["tasks"]
        return started

    assert len(spot("SpotCluster")) == 1
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        spot("Cluster")
    assert refused.value.response["Error"]["Code"] == "InvalidParameterException"


def test_list_tasks_filters(probe: Probe, unique: str) -> None:
    ecs = probe.cloud.client("ecs")
    cluster = probe.cloud.outputs["Cluster"]
    task = run_task(probe, startedBy=unique, environment={"SECONDS": "33"})
    arn = task["taskArn"]
    log_of(probe, task)
    assert ecs.list_tasks(cluster=cluster, startedBy=unique)["taskArns"] == [arn]
    assert arn in ecs.list_tasks(cluster=cluster, family="conformance")["taskArns"]
    assert arn not in ecs.list_tasks(cluster=cluster, family="other")["taskArns"]
    stop(probe, task, "enough")
    reached(probe, task, "STOPPED")
    assert ecs.list_tasks(cluster=cluster, startedBy=unique)["taskArns"] == []
    stopped = ecs.list_tasks(cluster=cluster, family="conformance", desiredStatus="STOPPED")
    assert arn in stopped["taskArns"]


@pytest.mark.proves("ecs.started_by_alone")
def test_started_by_must_be_the_only_filter(probe: Probe) -> None:
    ecs = probe.cloud.client("ecs")
    with pytest.raises(ecs.exceptions.InvalidParameterException):
        ecs.list_tasks(cluster=probe.cloud.outputs["Cluster"], startedBy="a", family="b")


def test_a_task_that_is_stopped_in_the_line_is_never_started(
    probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LaunchRate, "reserve", lambda _: 3600.0)
    task = run_task(probe)
    assert reached(probe, task, "PROVISIONING")["containers"][0]["lastStatus"] == "PENDING"
    stop(probe, task, "nobody needs it")

    stopped = reached(probe, task, "STOPPED")
    assert stopped["stoppedReason"] == "nobody needs it"
    assert "startedAt" not in stopped


def test_a_task_whose_first_process_is_stopped_ends_all_the_same(
    probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "KILL_SECONDS", 0.5)
    task = run_task(probe)
    reached(probe, task, "RUNNING")
    container = probe.cloud.containers.find(task["taskArn"].rpartition("/")[2])
    assert container is not None
    [main] = eventually(lambda: processes.descendants(container._init.pid) or None)
    os.kill(container._init.pid, signal.SIGSTOP)
    container.kill()

    assert container.wait() == -signal.SIGKILL
    # It is a nice process, and dies when the machine has a moment for it.
    eventually(lambda: has_ended(main) or None, seconds=60)


def has_ended(pid: int) -> bool:
    try:
        # One that nobody has reaped yet has ended, too.
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
