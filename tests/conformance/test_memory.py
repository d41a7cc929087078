"""What a cloud that runs for days may keep of what it has done."""

import gc
from typing import Any

import botocore.exceptions
import pytest

from headstart_local.patches import memory
from tests.conformance.conftest import Probe, eventually

PASS: dict[str, Any] = {"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}
WAIT: dict[str, Any] = {
    "StartAt": "A",
    "States": {"A": {"Type": "Wait", "Seconds": 60, "End": True}},
}


def dicts_with(text: str) -> int:
    """Count the dicts of this process, which is the cloud's too, with a text as key or value."""
    gc.collect()
    found = (list(one.items()) for one in gc.get_objects() if type(one) is dict)
    return sum(any(type(t) is str and t == text for i in items for t in i) for items in found)


def forgotten(text: str) -> bool:
    return eventually(lambda: True if dicts_with(text) == 0 else None)


def log_lines(probe: Probe, group: str, stream: str) -> list[str]:
    logs = probe.cloud.client("logs")
    found = logs.get_log_events(logGroupName=group, logStreamName=stream, startFromHead=True)
    return [event["message"] for event in found["events"]]


@pytest.mark.proves("memory.newest_logs")
def test_the_streams_written_last_are_kept(probe: Probe, unique: str) -> None:
    logs, group = probe.cloud.client("logs"), f"/{unique}"

    def write(stream: str) -> None:
        event = {"timestamp": 1, "message": "still here"}
        logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=[event])

    logs.create_log_group(logGroupName=group)
    for number in range(memory.LOG_STREAMS + 2):
        logs.create_log_stream(logGroupName=group, logStreamName=f"{number:06d}")
    write("000000")
    write(f"{memory.LOG_STREAMS + 1:06d}")
    pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=group)
    names = [stream["logStreamName"] for page in pages for stream in page["logStreams"]]
    assert len(names) == memory.LOG_STREAMS
    assert {"000000", f"{memory.LOG_STREAMS + 1:06d}"} <= set(names)
    assert set(log_lines(probe, group, "000000")) == {"still here"}


@pytest.mark.proves("memory.newest_logs")
def test_the_newest_lines_of_a_stream_are_kept(probe: Probe, unique: str) -> None:
    logs, group = probe.cloud.client("logs"), f"/{unique}"
    logs.create_log_group(logGroupName=group)
    logs.create_log_stream(logGroupName=group, logStreamName="one")
    for batch in range(2):
        numbers = range(batch * 300, batch * 300 + 300)
        events = [{"timestamp": n, "message": f"line {n}"} for n in numbers]
        logs.put_log_events(logGroupName=group, logStreamName="one", logEvents=events)
    kept = log_lines(probe, group, "one")
    assert kept == [f"line {n}" for n in range(600 - memory.STREAM_LINES, 600)]


@pytest.mark.proves("memory.no_list_of_events")
def test_an_event_is_forgotten_once_it_is_delivered(probe: Probe, unique: str) -> None:
    entry = {"Source": "test", "DetailType": f"kind {unique}", "Detail": "{}"}
    assert not probe.cloud.client("events").put_events(Entries=[entry])["FailedEntryCount"]
    del entry
    assert forgotten(f"kind {unique}")


@pytest.mark.proves("memory.newest_executions")
def test_the_newest_closed_executions_are_kept_and_all_that_run(
    probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "CLOSED_EXECUTIONS", 2)
    client, passing = probe.cloud.client("stepfunctions"), probe.machine(PASS)
    waiting = probe.start(probe.machine(WAIT))
    started = []
    for _ in range(5):
        started.append(probe.start(passing))
        probe.ended(started[-1])
    listed = client.list_executions(stateMachineArn=passing)["executions"]
    assert {one["executionArn"] for one in listed} == set(started[2:])
    assert client.describe_execution(executionArn=waiting)["status"] == "RUNNING"
    client.stop_execution(executionArn=waiting)


@pytest.mark.proves("memory.digests_of_transactions")
def test_a_transaction_is_known_again_without_being_kept(probe: Probe, unique: str) -> None:
    client, name = probe.cloud.client("dynamodb"), probe.cloud.outputs["TableName"]
    name_of_value = f":v{unique}"

    def write(value: str) -> None:
        put = {
            "TableName": name,
            "Item": {"pk": {"S": unique}, "sk": {"S": "s"}},
            "ConditionExpression": f"attribute_not_exists(pk) AND {name_of_value} <> pk",
            "ExpressionAttributeValues": {name_of_value: {"S": value}},
        }
        client.transact_write_items(TransactItems=[{"Put": put}], ClientRequestToken=unique)

    write("one")
    write("one")  # else its condition would fail
    assert forgotten(name_of_value)
    with pytest.raises(botocore.exceptions.ClientError) as raised:
        write("another")
    assert raised.value.response["Error"]["Code"] == "IdempotentParameterMismatchException"
