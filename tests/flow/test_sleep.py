"""Sleep and wake: an idle session's work is saved, and a message brings everything back."""

import concurrent.futures
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.flow.conftest import (
    PATIENCE,
    Cloud,
    Repositories,
    git,
    long,
    processes_of,
    runner_is_gone,
)
from tests.flow.test_main_job import STEPS, statuses

FILES = {"README.md": "# Demo\n", "src/app.py": "print('hello')\n"}

WORK = (
    "test -e new.txt || { date +%s%N > new.txt; date +%s%N >> README.md; chmod +x src/app.py;"
    " echo unpushed > committed; git add committed; git commit -qm 'Ours, unpushed'; }"
)
"""Work that is done once: what a wake-up shows of it can only have been put back."""


def make_due(cloud: Cloud, session_id: str) -> None:
    """Let the quarter of an hour be over, as DynamoDB and the row itself see it."""
    due_by = time.monotonic() + PATIENCE
    while not _set_due(cloud, session_id):
        assert time.monotonic() < due_by, "the session never stops changing"


def _set_due(cloud: Cloud, session_id: str) -> bool:
    dynamodb = cloud.aws("dynamodb")
    [table] = [t for t in dynamodb.list_tables()["TableNames"] if "eadstart" in t or "Table" in t]
    key = {"pk": {"S": f"SESSION#{session_id}"}, "sk": {"S": "SESSION"}}
    row = dynamodb.get_item(TableName=table, Key=key, ConsistentRead=True)["Item"]
    past = datetime.now(UTC) - timedelta(seconds=5)
    due = past.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    version = int(row["version"]["N"])
    data = json.loads(row["data"]["S"]) | {"dueAt": due, "version": version + 1}
    try:
        dynamodb.update_item(
            TableName=table,
            Key=key,
            UpdateExpression="SET #data = :data, dueAt = :due, version = :next",
            ConditionExpression="version = :version",
            ExpressionAttributeNames={"#data": "data"},
            ExpressionAttributeValues={
                ":data": {"S": json.dumps(data)},
                ":due": {"S": due},
                ":version": row["version"],
                ":next": {"N": str(version + 1)},
            },
        )
    except dynamodb.exceptions.ConditionalCheckFailedException:
        return False
    return True


def sweep(cloud: Cloud) -> None:
    """Run the janitor now."""
    functions = cloud.aws("lambda")
    names = [f["FunctionName"] for f in functions.list_functions()["Functions"]]
    [janitor] = [name for name in names if "janitor" in name.lower()]
    answer = functions.invoke(FunctionName=janitor, Payload=b"{}")
    assert "FunctionError" not in answer, answer["Payload"].read()


def fall_asleep(cloud: Cloud, session_id: str) -> None:
    """Put a session that is ready to sleep, and wait until it does."""
    cloud.wait(session_id, "running")
    make_due(cloud, session_id)
    sweep(cloud)
    session = cloud.wait(session_id, "stopping")
    assert session["status"] == "asleep"
    assert runner_is_gone(session_id)


def repository_of(session_id: str) -> Path:
    """Return where a session's clone is on this machine."""
    [pid, *_] = processes_of(session_id)
    environment = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    [workspace] = [v for v in environment if v.startswith("HEADSTART_WORKSPACE=")]
    return Path(workspace.partition("=")[2]) / "repo"


def seen(repository: Path) -> dict[str, str]:
    """Return what there is of a session's work."""
    return {
        "status": git(repository, "status", "--porcelain"),
        "log": git(repository, "log", "--format=%H %s"),
        "branch": git(repository, "symbolic-ref", "HEAD"),
        "new": (repository / "new.txt").read_text(),
        "changed": (repository / "README.md").read_text(),
    }


def answers(cloud: Cloud, session_id: str) -> list[str]:
    events = cloud.events(session_id)
    return [e["data"]["text"] for e in events if e["data"].get("kind") == "text"]


def send(cloud: Cloud, session_id: str, prompt: str) -> dict[str, Any]:
    answer = cloud.client().post(f"/sessions/{session_id}/messages", json={"prompt": prompt})
    assert answer.status_code == 202, answer.text
    sent: dict[str, Any] = answer.json()
    return sent


def first_turn(cloud: Cloud, **body: Any) -> str:
    """Create a session and wait for its first answer."""
    session_id: str = cloud.create(**body)["sessionId"]
    with cloud.watch(session_id) as viewer:
        assert viewer.until_type("turn.completed", "session.failed")["type"] == "turn.completed"
    return session_id


def test_a_message_brings_the_work_and_the_session_back(
    cloud: Cloud, repositories: Repositories
) -> None:
    url = repositories.make("sleepy", FILES)
    session_id = first_turn(cloud, gitUrl=url, setupCommands=[WORK], prompt="Where is the lamp?")
    before = seen(repository_of(session_id))
    assert before["log"].count("\n") == 2
    assert "?? new.txt" in before["status"]
    fall_asleep(cloud, session_id)
    told = [e["data"] for e in cloud.events(session_id) if e["type"] == "session.asleep"]
    assert len(told) == 1

    with cloud.watch(session_id) as viewer:
        while viewer.next().get("type") != "replayed":
            pass
        cloud.get(session_id)
        cloud.events(session_id)
        assert cloud.get(session_id)["status"] == "asleep"
        old = len(viewer.events)
        send(cloud, session_id, "And the horn?")
        viewer.until_type("turn.completed", "session.failed")
        new = viewer.events[old:]
    session = cloud.wait(session_id, "running")
    assert session["status"] == "ready", session["failure"]
    assert session["attempt"]["cause"] == "wake"
    put_back = {"branch": "skipped", "setup": "skipped"}
    assert statuses(session) == dict.fromkeys(STEPS, "completed") | put_back
    shown = [e["data"]["step"] for e in new if e["type"] == "preparing"]
    assert list(dict.fromkeys(shown)) == STEPS[STEPS.index(shown[0]) :]
    assert STEPS.index(shown[0]) <= 1
    types = [e["type"] for e in new]
    assert types.index("session.ready") < types.index("turn.completed")
    assert any(e["type"] == "agent.delta" for e in new)
    assert seen(repository_of(session_id)) == before
    assert "Where is the lamp?" in answers(cloud, session_id)[-1]
    assert "new.txt" in answers(cloud, session_id)[-1]


def stop_task(cloud: Cloud, session_id: str) -> None:
    """Stop a session's container as ECS does for its own reasons: SIGTERM, and two minutes."""
    ecs = cloud.aws("ecs")
    [cluster] = ecs.list_clusters()["clusterArns"]
    tasks = ecs.list_tasks(cluster=cluster)["taskArns"]
    found = ecs.describe_tasks(cluster=cluster, tasks=tasks)["tasks"]
    [task] = [t["taskArn"] for t in found if t.get("startedBy", "").startswith(session_id)]
    ecs.stop_task(cluster=cluster, task=task, reason="Fargate retires the host")


def test_a_container_that_must_stop_has_its_work_saved_first(
    cloud: Cloud, repositories: Repositories
) -> None:
    url = repositories.make("retired", FILES)
    slow = {"DEMO_AGENT_SECONDS": "40"}
    session_id = cloud.create(gitUrl=url, envVars=slow)["sessionId"]
    with cloud.watch(session_id) as viewer:
        viewer.until_type("agent.delta")
        (repository_of(session_id) / "new.txt").write_text("not saved by any turn's end")
        stop_task(cloud, session_id)
        asleep = viewer.until_type("session.asleep")
    assert asleep["data"] == {"reason": "The sandbox had to stop", "saved": True, "leftOut": []}
    [failed] = [e["data"] for e in cloud.events(session_id) if e["type"] == "turn.failed"]
    assert failed["code"] == "SandboxStopped"

    send(cloud, session_id, "And now?")
    session = cloud.wait(session_id, "asleep")
    session = cloud.wait(session_id, "preparing")
    assert session["status"] == "running", session["failure"]
    assert (repository_of(session_id) / "new.txt").read_text() == "not saved by any turn's end"


def test_two_messages_at_once_wake_it_once_and_are_answered_in_order(cloud: Cloud) -> None:
    session_id = first_turn(cloud)
    fall_asleep(cloud, session_id)
    after = len(cloud.events(session_id))
    with cloud.watch(session_id, after) as viewer, concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda text: send(cloud, session_id, text), ["The second?", "The third?"]))
        for _ in range(2):
            viewer.until_type("turn.completed")
    attempts = [e for e in cloud.events(session_id) if e["type"] == "session.preparing"]
    assert [e["data"]["cause"] for e in attempts] == ["created", "wake"]
    delivered_once(cloud, session_id, 3)


def delivered_once(cloud: Cloud, session_id: str, count: int) -> None:
    """Check that each message was delivered, answered once, and in its order."""
    messages = cloud.client().get(f"/sessions/{session_id}/messages").json()["items"]
    assert [m["status"] for m in messages] == ["delivered"] * count
    ids = [m["messageId"] for m in messages]
    events = cloud.events(session_id)
    for kind in ("message.delivered", "turn.completed"):
        assert [e["data"]["messageId"] for e in events if e["type"] == kind] == ids


@pytest.mark.parametrize("moment", ["before the janitor", *long("while stopping")])
def test_a_message_while_it_goes_to_sleep_is_neither_lost_nor_doubled(
    cloud: Cloud, moment: str
) -> None:
    session_id = first_turn(cloud)
    cloud.wait(session_id, "running")
    with cloud.watch(session_id, after=len(cloud.events(session_id))) as viewer:
        make_due(cloud, session_id)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            if moment == "before the janitor":
                send(cloud, session_id, "One more?")
                sweep(cloud)
            else:
                sweeping = pool.submit(sweep, cloud)
                while cloud.get(session_id)["status"] == "ready" and not sweeping.done():
                    pass
                send(cloud, session_id, "One more?")
                sweeping.result(PATIENCE)
        viewer.until_type("turn.completed", "session.failed")
    assert cloud.wait(session_id, "running")["status"] == "ready"
    delivered_once(cloud, session_id, 2)


@pytest.mark.long
def test_a_wake_asks_nothing_of_the_repository(cloud: Cloud, repositories: Repositories) -> None:
    url = repositories.make("rewritten", FILES)
    session_id = first_turn(cloud, gitUrl=url)
    before = git(repository_of(session_id), "log", "--format=%H")
    fall_asleep(cloud, session_id)
    work, bare = repositories.root / "rewritten-work", repositories.root / "rewritten.git"
    git(work, "commit", "--quiet", "--amend", "--message=Another beginning")
    git(work, "push", "--quiet", "--force", "origin", "HEAD:main")
    git(bare, "gc", "--quiet", "--prune=now")
    send(cloud, session_id, "Are you there?")
    cloud.wait(session_id, "preparing")
    session = cloud.wait(session_id, "running")
    assert session["status"] == "ready", session["failure"]
    assert git(repository_of(session_id), "log", "--format=%H") == before
    delivered_once(cloud, session_id, 2)
