"""The fast path's AWS calls, counted where botocore sends them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from headstart.adapters.aws import make_client
from headstart.adapters.dynamodb import DynamoStore
from headstart.adapters.memory import MemoryPorts
from headstart.adapters.stepfunctions import StepFunctionsMachine
from headstart.domain.access import AccessRule
from headstart.domain.errors import IdempotencyKeyReused, QuotaExceeded, RepositoryForbidden
from headstart.domain.requests import CreateSession
from headstart.usecases.create import create_session
from headstart.usecases.janitor import sweep

REQUEST = CreateSession(prompt="Add a health check", github_repo="org/name")


class Cloud(MemoryPorts):
    """The memory ports with the two that the fast path calls being AWS's, every call noted."""

    def __init__(self, dynamodb: Any) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.broken: str | None = None
        machine = make_client("stepfunctions")
        definition = {"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 9, "End": True}}}
        arn = machine.create_state_machine(
            name="preparation",
            definition=json.dumps(definition),
            roleArn="arn:aws:iam::123456789012:role/any",
        )["stateMachineArn"]
        self.store = DynamoStore(dynamodb, "headstart")  # type: ignore[assignment]
        self.machine = StepFunctionsMachine(machine, arn)  # type: ignore[assignment]
        for client in (dynamodb, machine):
            client.meta.events.register("before-call.*.*", self._note)

    def _note(self, model: Any, params: dict[str, Any], **_: Any) -> None:
        self.calls.append(model.name)
        self.bodies.append(json.loads(params["body"]))
        if model.name == self.broken:
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, model.name)


@pytest.fixture
def cloud(dynamodb: Any) -> Cloud:
    return Cloud(dynamodb)


def calls_of(cloud: Cloud, action: Callable[[], object]) -> list[str]:
    cloud.calls.clear()
    action()
    return list(cloud.calls)


def test_success_is_one_transaction_and_one_start(cloud: Cloud) -> None:
    made = calls_of(cloud, lambda: create_session(cloud, "alice", REQUEST, "key-1"))
    assert made == ["TransactWriteItems", "StartExecution"]
    items = cloud.bodies[0]["TransactItems"]
    assert len(items) == 8
    sort_keys = [(i.get("Put") or i["Update"]) for i in items]
    assert [k.get("Item", k.get("Key"))["sk"]["S"] for k in sort_keys] == [
        "SESSION",
        "SESSION#ATTEMPT",
        "CONFIG",
        "MESSAGE#000001",
        "EVENTS#000000000002",
        "KEY#key-1",
        "QUOTA",
        "TICKET",
    ]
    start = cloud.bodies[1]
    assert set(json.loads(start["input"])) == {"sessionId", "attemptNumber"}
    assert start["name"] == json.loads(start["input"])["sessionId"] + "-1"


def test_access_rules_are_looked_at_without_a_call(cloud: Cloud) -> None:
    cloud.policy.access_rules = [AccessRule(group="eng", repositories=["org/*"])]

    def refused() -> None:
        with pytest.raises(RepositoryForbidden):
            create_session(cloud, "alice", REQUEST, "key-1", frozenset({"ops"}))

    assert calls_of(cloud, refused) == []
    granted = calls_of(
        cloud, lambda: create_session(cloud, "alice", REQUEST, "key-1", frozenset({"eng"}))
    )
    assert granted == ["TransactWriteItems", "StartExecution"]


def test_the_session_row_stays_under_two_kilobytes(cloud: Cloud) -> None:
    create_session(cloud, "alice", CreateSession(prompt="ü" * 1000, github_repo="o/n"), None)
    row = cloud.bodies[0]["TransactItems"][0]["Put"]["Item"]
    assert len(json.dumps(row, ensure_ascii=False).encode()) < 2048


def test_a_repeat_starts_nothing_and_brings_a_fresh_ticket(cloud: Cloud) -> None:
    first = create_session(cloud, "alice", REQUEST, "key-1")
    made = calls_of(cloud, lambda: create_session(cloud, "alice", REQUEST, "key-1"))
    assert made == ["TransactWriteItems", "GetItem", "PutItem"]
    again = create_session(cloud, "alice", REQUEST, "key-1")
    assert again["sessionId"] == first["sessionId"]
    assert again["stream"]["ticket"] != first["stream"]["ticket"]


def test_a_reused_key_makes_one_call(cloud: Cloud) -> None:
    create_session(cloud, "alice", REQUEST, "key-1")
    other = CreateSession(prompt="Something else", github_repo="org/name")

    def refused() -> None:
        with pytest.raises(IdempotencyKeyReused):
            create_session(cloud, "alice", other, "key-1")

    assert calls_of(cloud, refused) == ["TransactWriteItems"]


def test_a_refusal_by_quota_looks_for_leaked_places_and_writes_nothing(cloud: Cloud) -> None:
    cloud.policy.active_sessions = 1
    create_session(cloud, "alice", REQUEST, None)

    def refused() -> None:
        with pytest.raises(QuotaExceeded):
            create_session(cloud, "alice", REQUEST, None)

    assert calls_of(cloud, refused) == ["TransactWriteItems", "GetItem", "GetItem"]


def test_who_waits_is_written_in_a_second_transaction(cloud: Cloud) -> None:
    cloud.policy.active_sessions, cloud.policy.wait_in_line = 1, True
    create_session(cloud, "alice", REQUEST, None)
    made = calls_of(cloud, lambda: create_session(cloud, "alice", REQUEST, None))
    assert made == ["TransactWriteItems", "GetItem", "GetItem", "TransactWriteItems"]
    items = [write.get("Put") or write["Update"] for write in cloud.bodies[-1]["TransactItems"]]
    keys = [item.get("Item", item.get("Key"))["sk"]["S"] for item in items]
    assert keys[-3].startswith("LINE#")
    assert keys[-2:] == ["QUOTA", "TICKET"]


def test_a_failed_start_is_still_an_answer_and_the_janitor_starts_it_once(cloud: Cloud) -> None:
    cloud.broken = "StartExecution"
    made = calls_of(cloud, lambda: create_session(cloud, "alice", REQUEST, None))
    assert made == ["TransactWriteItems", "StartExecution"]
    cloud.broken = None
    cloud.clock.advance(minutes=1)
    assert calls_of(cloud, lambda: sweep(cloud)).count("StartExecution") == 1
    assert "StartExecution" not in calls_of(cloud, lambda: sweep(cloud))
