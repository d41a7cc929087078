"""What an embedded cloud holds at a moment, by kind and name, looked at from outside."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from headstart_local.processes import descendants
from tests.flow.conftest import Cloud
from tests.flow.traces import table_of

Things = dict[str, set[str]]
"""Names by kind."""

KEPT = {"worker", "row that expires", "prepared tree", "failure told"}
"""Kinds that are no leak.

Workers are kept warm, DynamoDB removes what expires, S3 what is below `trees/`, and a run of the
janitor that was killed waits for an operator in the queue of its failures.
"""

_COMMANDS = {
    "lambda_bootstrap": "worker",
    "headstart_local.container_init": "container",
    "headstart_runner": "runner",
    "nanny.py": "nanny",
    "headstart_demo_agent": "agent",
}


def things(cloud: Cloud, folder: Path) -> Things:
    """Return what there is; `folder` is the cloud's temporary one.

    Rows of an owner that stay by design (a quota without places, how long steps took) are none.
    """
    found: Things = {}
    for kind, name in (*_processes(cloud), *_rows(cloud), *_at_work(cloud), *_files(cloud, folder)):
        found.setdefault(kind, set()).add(name)
    return found


def megabytes(pids: list[int]) -> float:
    """Return the memory that processes have for themselves: what they share is not theirs."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Private_Clean", "Private_Dirty")):
                    total += int(line.split()[1])
    return total / 1024


def open_files(pid: int) -> int:
    """Return how many descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int) -> int:
    """Return how many threads a process has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def processes(cloud: Cloud) -> Iterator[tuple[str, int]]:
    """Yield what each process below the cloud is, and its id."""
    for pid in descendants(cloud.pid):
        with suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            if command:  # else it has ended, and is waited for
                kinds = (kind for mark, kind in _COMMANDS.items() if mark in command)
                yield next(kinds, command.replace("\0", " ")[:80]), pid


def _processes(cloud: Cloud) -> Iterator[tuple[str, str]]:
    for kind, pid in processes(cloud):
        known = kind in _COMMANDS.values()
        yield (kind, str(pid)) if known else ("process", f"{pid} {kind}")


def _rows(cloud: Cloud) -> Iterator[tuple[str, str]]:
    pages = cloud.aws("dynamodb").get_paginator("scan").paginate(TableName=table_of(cloud))
    for row in (row for page in pages for row in page["Items"]):
        pk, sk = row["pk"]["S"], row["sk"]["S"]
        if sk == "QUOTA":
            yield from (("place", f"{pk} {held}") for held in row.get("active", {}).get("SS", []))
            if (waiting := row.get("waiting", {}).get("N", "0")) != "0":
                yield "place", f"{pk} {waiting} in line"
        elif "expires" in row:
            yield "row that expires", f"{pk} {sk}"
        elif not sk.startswith("DURATIONS#"):
            yield "row", f"{pk} {sk}"


def _at_work(cloud: Cloud) -> Iterator[tuple[str, str]]:
    ecs = cloud.aws("ecs")
    for cluster in ecs.list_clusters()["clusterArns"]:
        for page in ecs.get_paginator("list_tasks").paginate(cluster=cluster):
            yield from (("task", arn.rpartition("/")[2]) for arn in page["taskArns"])
    machines = cloud.aws("stepfunctions")
    for machine in machines.list_state_machines()["stateMachines"]:
        pages = machines.get_paginator("list_executions").paginate(
            stateMachineArn=machine["stateMachineArn"], statusFilter="RUNNING"
        )
        yield from (("execution", one["name"]) for page in pages for one in page["executions"])
    sqs, counted = cloud.aws("sqs"), "ApproximateNumberOfMessages"
    for url in sqs.list_queues().get("QueueUrls", []):
        numbers = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        waiting = sum(int(n) for name, n in numbers.items() if name.startswith(counted))
        name = url.rpartition("/")[2]
        if waiting:
            yield "failure told" if "Failures" in name else "queue", f"{name}: {waiting}"


def _files(cloud: Cloud, folder: Path) -> Iterator[tuple[str, str]]:
    s3 = cloud.aws("s3")
    for bucket in s3.list_buckets()["Buckets"]:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket["Name"])
        for item in (item for page in pages for item in page.get("Contents", [])):
            yield "prepared tree" if item["Key"].startswith("trees/") else "object", item["Key"]
    tasks = folder.glob("headstart-cloud-*/tasks/*")
    yield from (("task folder", task.name) for task in tasks)
    yield from (("file", str(path)) for path in folder.glob("*"))
