"""What a session leaves in an embedded cloud, place by place, as text to look through."""

import io
import json
import subprocess
import zipfile
from collections.abc import Iterator

from tests.flow.conftest import Cloud


def unpacked(data: bytes) -> Iterator[bytes]:
    """Yield what is in a file of the bucket's, however it is packed."""
    if data[:4] == b"\x28\xb5\x2f\xfd":
        yield subprocess.run(["zstd", "-dc"], input=data, check=True, capture_output=True).stdout
    elif data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                yield from unpacked(archive.read(name))
    else:
        yield data


def rows(cloud: Cloud) -> str:
    """Return all that is in the table."""
    pages = cloud.aws("dynamodb").get_paginator("scan").paginate(TableName=table_of(cloud))
    return json.dumps([page["Items"] for page in pages], default=str)


def objects(cloud: Cloud, session_id: str) -> bytes:
    """Return what is in a session's objects, unpacked."""
    s3, found = cloud.aws("s3"), []
    for bucket in s3.list_buckets()["Buckets"]:
        listed = s3.list_objects_v2(Bucket=bucket["Name"], Prefix="archives/").get("Contents", [])
        for key in (item["Key"] for item in listed if session_id in item["Key"]):
            data = s3.get_object(Bucket=bucket["Name"], Key=key)["Body"].read()
            found += [*unpacked(data)]
    return b"\n".join(found)


def executions(cloud: Cloud, session_id: str) -> str:
    """Return what Step Functions keeps of a session's attempts."""
    machines, found = cloud.aws("stepfunctions"), []
    for machine in machines.list_state_machines()["stateMachines"]:
        for one in machines.list_executions(stateMachineArn=machine["stateMachineArn"])[
            "executions"
        ]:
            if session_id in one["name"]:
                arn = one["executionArn"]
                found += [machines.describe_execution(executionArn=arn)]
                found += machines.get_execution_history(executionArn=arn)["events"]
    assert found
    return json.dumps(found, default=str)


def logs(cloud: Cloud, session_id: str) -> str:
    """Return the log of the session's sandbox."""
    service, found = cloud.aws("logs"), []
    for group in service.describe_log_groups()["logGroups"]:
        pages = service.get_paginator("filter_log_events")
        for page in pages.paginate(logGroupName=group["logGroupName"]):
            found += [event["message"] for event in page["events"]]
    told = "\n".join(found)
    assert session_id in told
    return told


def table_of(cloud: Cloud) -> str:
    """Return the name of the stack's table."""
    names = cloud.aws("dynamodb").list_tables()["TableNames"]
    [name] = [name for name in names if "headstart" in name.lower() and "Restored" not in name]
    return str(name)


def backup(cloud: Cloud) -> str:
    """Return the rows of a table that was restored from a backup made now."""
    table = cloud.aws("dynamodb")
    made = table.create_backup(TableName=table_of(cloud), BackupName="hunt")["BackupDetails"]
    table.restore_table_from_backup(TargetTableName="Restored", BackupArn=made["BackupArn"])
    try:
        pages = table.get_paginator("scan").paginate(TableName="Restored")
        return json.dumps([page["Items"] for page in pages], default=str)
    finally:
        table.delete_table(TableName="Restored")


def functions(cloud: Cloud) -> str:
    """Return what Lambda says of the functions, their environments above all."""
    pages = cloud.aws("lambda").get_paginator("list_functions").paginate()
    return json.dumps([page["Functions"] for page in pages], default=str)
