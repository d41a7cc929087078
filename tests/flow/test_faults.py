"""A person's hand on a session at work, and faults at each step: nothing is lost or left behind."""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from headstart_local.processes import descendants
from tests.flow.conftest import PATIENCE, Cloud, long, runner_is_gone

SLOW = "sleep 1"


def step(session: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(s for s in session["attempt"]["steps"] if s["step"] == name)
    return found


def rows_of(cloud: Cloud, session_id: str) -> list[dict[str, Any]]:
    table = cloud.aws("dynamodb")
    name = next(n for n in table.list_tables()["TableNames"] if "Table" in n)
    found: list[dict[str, Any]] = table.query(
        TableName=name,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": f"SESSION#{session_id}"}},
    )["Items"]
    return found


def connection_of_runner(cloud: Cloud, session_id: str) -> str:
    rows = [r for r in rows_of(cloud, session_id) if '"role":"runner"' in r["data"]["S"]]
    return str(rows[0]["sk"]["S"].partition("#")[2])


def management(cloud: Cloud) -> Any:
    url = cloud.info["wsUrl"].replace("ws://", "http://", 1)
    return cloud.aws("apigatewaymanagementapi", url)


def workers(cloud: Cloud) -> list[int]:
    """Return this cloud's Lambda workers: killed between two calls they are only a cold start."""
    found = []
    for pid in descendants(cloud.pid):
        with contextlib.suppress(OSError):
            if b"lambda_bootstrap" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def test_a_retry_repairs_what_failed_and_keeps_the_rest(cloud: Cloud) -> None:
    session_id = cloud.create(setupCommands=["exit 3"])["sessionId"]
    assert cloud.wait(session_id)["status"] == "failed"
    path = f"/sessions/{session_id}/retry"
    stale = cloud.client().post(path, json={"attemptNumber": 7})
    assert (stale.status_code, stale.json()["code"]) == (409, "StaleAttempt")
    with cloud.watch(session_id) as viewer:
        body = {"attemptNumber": 1, "setupCommands": ["echo mended"]}
        assert cloud.client().post(path, json=body).status_code == 202
        viewer.until_type("turn.completed")
    session = cloud.get(session_id)
    assert (session["attempt"]["number"], session["attempt"]["cause"]) == (2, "retry")
    statuses = {s["step"]: s["status"] for s in session["attempt"]["steps"]}
    assert statuses["setup"] == "completed"
    assert {statuses[n] for n in ("sandbox", "clone", "branch", "restore")} == {"skipped"}


def test_a_setup_that_removes_what_the_agent_keeps_costs_a_new_session_nothing(
    cloud: Cloud,
) -> None:
    session_id = cloud.create(setupCommands=['rm -rf "$HOME"'])["sessionId"]
    with cloud.watch(session_id) as viewer:
        viewer.until_type("turn.completed")


def test_a_cancelled_preparation_kills_what_it_ran(cloud: Cloud) -> None:
    session_id = cloud.create(setupCommands=["setsid sleep 321 & sleep 322"])["sessionId"]
    with cloud.watch(session_id) as viewer:
        viewer.until(lambda e: e["type"] == "preparing" and e["data"]["step"] == "setup")
        answer = cloud.client().post(f"/sessions/{session_id}/interrupt")
        assert answer.status_code == 202
        failed = viewer.until_type("session.failed")
    assert failed["data"]["failure"]["code"] == "Cancelled"
    end = time.monotonic() + PATIENCE
    while _runs(b"sleep\x00321") or _runs(b"sleep\x00322"):
        assert time.monotonic() < end, "a setup command lives on"
        time.sleep(0.05)
    assert [m["status"] for m in cloud.get(session_id)["queue"]] == ["queued"]


def _runs(command: bytes) -> bool:
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if (folder / "cmdline").read_bytes().startswith(command):
                return True
    return False


def test_an_interrupted_turn_ends_once(cloud: Cloud) -> None:
    session_id = cloud.create()["sessionId"]
    with cloud.watch(session_id) as viewer:
        viewer.until_type("session.ready")
        assert cloud.client().post(f"/sessions/{session_id}/interrupt").status_code == 202
        viewer.until_type("turn.interrupted", "turn.completed")
    cloud.wait(session_id, "running")
    ends = {"turn.interrupted", "turn.completed", "turn.failed"}
    assert len([e for e in cloud.events(session_id) if e["type"] in ends]) == 1


@pytest.mark.parametrize("name", ["clone", "agent", *long("setup")])
def test_a_deleted_session_leaves_nothing(cloud: Cloud, name: str) -> None:
    session_id = cloud.create(setupCommands=["sleep 60"] if name == "setup" else [])["sessionId"]
    with cloud.watch(session_id) as viewer:
        viewer.until_step(name)
        assert cloud.client().delete(f"/sessions/{session_id}").status_code == 202
    assert runner_is_gone(session_id)
    # A step that was being written when the deletion came finds its session gone and stops there.
    assert rows_of(cloud, session_id) == []
    machine = cloud.aws("stepfunctions")
    arn = machine.list_state_machines()["stateMachines"][0]["stateMachineArn"]
    execution = machine.describe_execution(
        executionArn=arn.replace(":stateMachine:", ":execution:") + f":{session_id}-1"
    )
    assert execution["status"] == "ABORTED"


def _kill_workers(cloud: Cloud, _: str) -> None:
    for pid in workers(cloud):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _cut_socket(cloud: Cloud, session_id: str) -> None:
    with contextlib.suppress(ClientError, IndexError):
        connection = connection_of_runner(cloud, session_id)
        management(cloud).delete_connection(ConnectionId=connection)


@pytest.mark.parametrize("name", ["setup", *long("disk", "clone", "branch", "restore", "agent")])
@pytest.mark.parametrize("fault", [_kill_workers, _cut_socket], ids=["workers", "socket"])
def test_a_fault_in_any_step_is_survived(cloud: Cloud, name: str, fault: Any) -> None:
    session_id = cloud.create(setupCommands=[SLOW])["sessionId"]
    with cloud.watch(session_id) as viewer:
        viewer.until_step(name)
        fault(cloud, session_id)
    ended = cloud.wait(session_id)
    assert ended["status"] in {"ready", "running"}, ended["failure"]
    events = cloud.events(session_id)
    assert [e["eventId"] for e in events] == list(range(1, len(events) + 1))
    assert [e["type"] for e in events].count("message.delivered") == 1
