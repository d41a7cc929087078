"""SQS as the source of a function's events, and dead letters."""

import json
import time
from typing import Any

import pytest

from tests.conformance.conftest import Probe, eventually


def send(probe: Probe, group: str = "any", **order: Any) -> None:
    probe.cloud.client("sqs").send_message(
        QueueUrl=probe.cloud.outputs["Queue"],
        MessageBody=json.dumps(order),
        MessageGroupId=group,
    )


def tries(probe: Probe, name: str, count: int) -> list[dict[str, Any]]:
    """Wait until a message was taken so often; returns what was noted of each time."""

    def ask() -> list[dict[str, Any]] | None:
        found = probe.items(f"queue#{name}")
        return found if len(found) >= count else None

    return eventually(ask, 30)


def letters(probe: Probe) -> int:
    sqs = probe.cloud.client("sqs")
    url = sqs.get_queue_url(QueueName=probe.cloud.outputs["Letters"].split(":")[-1])["QueueUrl"]
    name = "ApproximateNumberOfMessages"
    return int(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])


@pytest.mark.proves("queues.mapped_concurrency")
def test_what_is_said_to_have_failed_comes_again_and_nothing_else(
    probe: Probe, unique: str
) -> None:
    send(probe, id=unique, failures=1)
    send(probe, id=f"{unique}-well")
    assert [one["count"] for one in tries(probe, unique, 2)] == [1, 2]
    assert len(tries(probe, f"{unique}-well", 1)) == 1


def test_a_message_comes_again_when_it_was_said_to(probe: Probe, unique: str) -> None:
    send(probe, id=unique, failures=1, again=2)
    began = time.monotonic()
    tries(probe, unique, 2)
    assert 1.5 < time.monotonic() - began < 20


def test_one_that_takes_long_holds_up_no_other(probe: Probe, unique: str) -> None:
    began = time.monotonic()
    send(probe, id=f"{unique}-slow", seconds=15)
    tries(probe, f"{unique}-slow", 1)
    send(probe, id=unique)
    tries(probe, unique, 1)
    assert time.monotonic() - began < 15


@pytest.mark.proves("queues.fair")
def test_who_has_many_messages_holds_up_nobody_with_few(probe: Probe, unique: str) -> None:
    for _ in range(12):
        send(probe, group=f"{unique}-many", id=f"{unique}-many", seconds=1)
    send(probe, group=f"{unique}-few", id=unique)
    tries(probe, unique, 1)
    assert len(probe.items(f"queue#{unique}-many")) < 10


@pytest.mark.proves("queues.move_tasks")
def test_dead_letters_are_brought_back_as_new_messages(probe: Probe, unique: str) -> None:
    before = letters(probe)
    send(probe, id=unique, failures=3)
    eventually(lambda: True if letters(probe) == before + 1 else None, 30)
    first = tries(probe, unique, 3)
    assert [one["count"] for one in first] == [1, 2, 3]
    sqs, arn = probe.cloud.client("sqs"), probe.cloud.outputs["Letters"]
    sqs.start_message_move_task(SourceArn=arn)
    again = tries(probe, unique, 6)[3:]
    assert [one["count"] for one in again] == [1, 2, 3]
    assert {one["message"] for one in again} != {one["message"] for one in first}
    [task] = sqs.list_message_move_tasks(SourceArn=arn)["Results"]
    assert task["Status"] == "COMPLETED"
    assert task["ApproximateNumberOfMessagesMoved"] >= 1


@pytest.mark.proves("cloudformation.generated_secrets")
def test_a_generated_secret_has_no_punctuation_where_it_must_not(probe: Probe) -> None:
    client = probe.cloud.client("secretsmanager")
    secret = client.get_secret_value(SecretId=probe.cloud.outputs["Secret"])["SecretString"]
    assert len(secret) == 200
    assert secret.isalnum()
