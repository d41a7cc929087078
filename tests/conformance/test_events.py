"""EventBridge rules, schedules and asynchronous invocations."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conformance.conftest import Probe, eventually


def tries(probe: Probe, key: str) -> int:
    item = probe.cloud.client("dynamodb").get_item(
        TableName=probe.cloud.outputs["TableName"],
        Key={"pk": {"S": "flaky"}, "sk": {"S": key}},
        ConsistentRead=True,
    )
    return int(item.get("Item", {}).get("tries", {}).get("N", 0))


@pytest.mark.proves("events.rules_invoke_asynchronously")
def test_rules_retry_their_function(probe: Probe, unique: str) -> None:
    detail = json.dumps({"id": unique, "failures": 1})
    entry = {"Source": "conformance", "DetailType": "flaky", "Detail": detail}
    answer = probe.cloud.client("events").put_events(Entries=[entry])
    assert answer["FailedEntryCount"] == 0
    eventually(lambda: True if tries(probe, unique) == 2 else None)


def test_events_of_aws_cannot_be_forged(probe: Probe) -> None:
    entry = {"Source": "aws.ecs", "DetailType": "ECS Task State Change", "Detail": "{}"}
    assert probe.cloud.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 1


def test_async_failures_reach_the_destination(probe: Probe, unique: str) -> None:
    answer = probe.cloud.client("lambda").invoke(
        FunctionName=probe.cloud.outputs["EventFunction"],
        InvocationType="Event",
        Payload=json.dumps({"fail": unique}),
    )
    assert answer["StatusCode"] == 202
    sqs, queue = probe.cloud.client("sqs"), probe.cloud.outputs["Dead"]

    def ask() -> dict[str, Any] | None:
        found = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", [])
        return next((message for message in found if unique in message["Body"]), None)

    assert eventually(ask, 30)


def test_schedule_of_the_template_is_in_place(probe: Probe) -> None:
    client = probe.cloud.client("scheduler")
    names = [schedule["Name"] for schedule in client.list_schedules()["Schedules"]]
    found = [client.get_schedule(Name=name) for name in names]
    rates = [one for one in found if one["ScheduleExpression"] == "rate(1 minute)"]
    assert [one["State"] for one in rates] == ["ENABLED"]


def test_schedules_fire(probe: Probe, unique: str) -> None:
    client = probe.cloud.client("scheduler")
    function = probe.cloud.outputs["EventFunction"]
    arn = probe.cloud.client("lambda").get_function(FunctionName=function)
    # Far enough that it is not over before it is known, on a machine that is busy.
    when = datetime.now(UTC) + timedelta(seconds=4)
    client.create_schedule(
        Name=unique,
        ScheduleExpression=f"at({when:%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": arn["Configuration"]["FunctionArn"],
            "RoleArn": "arn:aws:iam::000000000000:role/any",
            "Input": json.dumps({"fired": unique}),
        },
    )

    def ask() -> bool | None:
        return (
            any(note["event"].get("fired") == unique for note in probe.items("scheduled")) or None
        )

    assert eventually(ask, 30)
