"""What the adapters ask of AWS, where no emulator would notice a mistake."""

import json
from datetime import UTC, datetime
from itertools import islice
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import EndpointConnectionError
from moto import mock_aws

from headstart.adapters import aws
from headstart.adapters.ecs import EcsConfig, EcsSandboxes
from headstart.adapters.s3 import S3Objects
from headstart.domain.errors import SandboxStartFailed, ServiceUnavailable
from headstart.usecases.ports import SandboxSpec

TASK = "arn:aws:ecs:eu-west-1:123456789012:task/headstart/1"
SHA256 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="


@pytest.fixture
def region(monkeypatch: pytest.MonkeyPatch) -> str:
    return in_region("eu-west-1", monkeypatch)


def in_region(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let clients be made for a region, with credentials that are none."""
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(variable, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", name)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    aws._session.cache_clear()
    return name


def client(service: str, status: int = 200, **answers: list[dict[str, Any]]) -> Any:
    """Return a client that is given its answers, one a call, and keeps what it was asked.

    An exception among them is raised.
    """
    made = aws.make_client(service)
    made.asked = []

    def answer(model: Any, params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        made.asked.append(params["body"])
        given = answers[model.name].pop(0)
        if isinstance(given, Exception):
            raise given
        return SimpleNamespace(status_code=status), given

    made.meta.events.register(f"before-call.{service}", answer)
    return made


def sandboxes(ecs: Any, capacity_provider: str = "FARGATE_SPOT") -> EcsSandboxes:
    config = EcsConfig(
        cluster="headstart",
        task_definition="headstart-sandbox",
        subnets=["subnet-1"],
        security_groups=["sg-1"],
        assign_public_ip=True,
        capacity_provider=capacity_provider,
    )
    return EcsSandboxes(ecs, config)


def spec(try_number: int) -> SandboxSpec:
    return SandboxSpec(
        name=f"ses_1-1-{try_number}",
        session_id="ses_1",
        attempt_number=1,
        try_number=try_number,
        key="k",
        stream_url="wss://x",
    )


STARTED: dict[str, Any] = {"tasks": [{"taskArn": TASK}], "failures": []}


def test_a_task_is_started_by_a_provider_with_a_weight_and_under_its_name(region: str) -> None:
    ecs = client("ecs", RunTask=[STARTED])
    assert sandboxes(ecs).start(spec(1)) == TASK
    [asked] = ecs.asked
    assert b'"capacityProvider": "FARGATE_SPOT", "weight": 1' in asked
    assert b'"clientToken": "ses_1-1-1", "startedBy": "ses_1-1-1"' in asked
    assert b"launchType" not in asked


def test_spot_without_room_is_followed_by_fargate_itself(region: str) -> None:
    full = {"tasks": [], "failures": [{"reason": "Capacity is unavailable at this time"}]}
    ecs = client("ecs", RunTask=[full, STARTED, STARTED])
    with pytest.raises(SandboxStartFailed, match="Capacity is unavailable"):
        sandboxes(ecs).start(spec(1))
    # Who was asked twice under one name was asked for the same: else ECS sees a conflict.
    assert [sandboxes(ecs).start(spec(2)) for _ in range(2)] == [TASK, TASK]
    first, second, repeated = ecs.asked
    assert b"FARGATE_SPOT" in first
    assert b'"launchType": "FARGATE"' in second
    assert b"capacityProviderStrategy" not in second
    assert repeated == second


def test_fargate_needs_no_provider_of_the_clusters(region: str) -> None:
    ecs = client("ecs", RunTask=[STARTED])
    sandboxes(ecs, "FARGATE").start(spec(1))
    [asked] = ecs.asked
    assert b'"launchType": "FARGATE"' in asked
    assert b"capacityProviderStrategy" not in asked


def test_the_words_of_a_refusal_are_for_the_log(
    region: str, caplog: pytest.LogCaptureFixture
) -> None:
    words = "Unable to assume the service linked role."
    refusal = {"Error": {"Code": "InvalidParameterException", "Message": words}}
    ecs = client("ecs", status=400, RunTask=[refusal])
    with pytest.raises(SandboxStartFailed) as raised:
        sandboxes(ecs).start(spec(1))
    assert raised.value.reason == "ECS refused the task: InvalidParameterException"
    [record] = caplog.records
    assert words in record.reason  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (EndpointConnectionError(endpoint_url="https://ecs.test"), "https://ecs.test"),
        ({"tasks": [], "failures": [{"reason": "RESOURCE:ENI"}]}, "RESOURCE:ENI"),
    ],
    ids=["unreachable", "no place"],
)
def test_a_task_that_was_not_started_is_for_the_log_too(
    region: str, caplog: pytest.LogCaptureFixture, failure: Any, words: str
) -> None:
    ecs = client("ecs", RunTask=[failure])
    with pytest.raises(SandboxStartFailed):
        sandboxes(ecs).start(spec(1))
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert words in record.reason  # type: ignore[attr-defined]


def listed(pages: int, *, more: bool = False) -> Any:
    """Return an ECS with pages of a hundred tasks, the last of them followed by more or not."""
    arns = [[f"{page}-{number}" for number in range(100)] for page in range(pages)]
    answers: list[dict[str, Any]] = [
        {"taskArns": page, "nextToken": str(index)} for index, page in enumerate(arns, start=1)
    ]
    if not more:
        del answers[-1]["nextToken"]
    ecs = client("ecs", ListTasks=answers)
    born = datetime(2026, 1, 1, tzinfo=UTC)

    def describe(params: dict[str, Any], **_: Any) -> tuple[Any, dict[str, Any]]:
        tasks = json.loads(params["body"])["tasks"]
        ecs.described.append(len(tasks))
        known = [{"taskArn": arn, "lastStatus": "RUNNING", "createdAt": born} for arn in tasks]
        return SimpleNamespace(status_code=200), {"tasks": known}

    ecs.described = []
    ecs.meta.events.register_first("before-call.ecs.DescribeTasks", describe)
    return ecs


def test_all_pages_of_tasks_are_looked_at(region: str) -> None:
    ecs = listed(12)
    found = [task.handle for task in sandboxes(ecs).started()]
    assert sorted(found) == sorted(f"{p}-{n}" for p in range(12) for n in range(100))
    assert ecs.described == [100] * 12


def test_whoever_looks_at_a_few_of_them_gets_to_all_in_time(region: str) -> None:
    seen: set[str] = set()
    for _ in range(60):
        ecs = listed(12)
        seen |= {task.handle for task in islice(sandboxes(ecs).started(), 150)}
        assert ecs.described == [100, 100]
    assert len(seen) > 1150


def test_listing_tasks_has_an_end(region: str) -> None:
    ecs = listed(101, more=True)
    assert sum(1 for _ in sandboxes(ecs).started()) == 10_000


@pytest.mark.parametrize(
    "name", ["us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-2"]
)
def test_a_copy_is_sent_to_its_own_region_with_its_length_and_checksum_signed(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    in_region(name, monkeypatch)
    objects = S3Objects(aws.make_client("s3"), "saved-work")
    put, headers = objects.presign_put("archives/ses_1/arc_1/base", 7, SHA256)
    for url in (put, objects.presign_get("archives/ses_1/arc_1/base")):
        parts = urlsplit(url)
        assert parts.hostname == f"saved-work.s3.{name}.amazonaws.com"
        assert parse_qs(parts.query)["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    signed = parse_qs(urlsplit(put).query)["X-Amz-SignedHeaders"][0].split(";")
    assert {name.lower() for name in headers} <= set(signed)


def test_objects_that_can_not_be_deleted_are_not_asked_for_for_ever(region: str) -> None:
    page = {"Contents": [{"Key": "archives/ses_1/arc_1/base"}]}
    refused = {"Errors": [{"Key": "archives/ses_1/arc_1/base", "Code": "AccessDenied"}]}
    s3 = client("s3", ListObjectsV2=[page], DeleteObjects=[refused])
    with pytest.raises(ServiceUnavailable, match="refused"):
        S3Objects(s3, "saved-work").delete("archives/ses_1/")


def test_objects_that_keep_coming_are_given_up(region: str) -> None:
    page = {"Contents": [{"Key": "archives/ses_1/arc_1/base"}]}
    s3 = client("s3", ListObjectsV2=[page] * 99, DeleteObjects=[{}] * 99)
    with pytest.raises(ServiceUnavailable, match="kept coming"):
        S3Objects(s3, "saved-work").delete("archives/ses_1/")
    assert len(s3.asked) < 99


def test_a_small_object_is_read_whole_or_not_at_all(region: str) -> None:
    with mock_aws():
        s3 = aws.make_client("s3")
        here: Any = {"LocationConstraint": "eu-west-1"}
        s3.create_bucket(Bucket="saved-work", CreateBucketConfiguration=here)
        s3.put_object(Bucket="saved-work", Key="archives/ses_1/changes", Body=b"12345")
        objects = S3Objects(s3, "saved-work")
        assert objects.read("archives/ses_1/changes", 5) == b"12345"
        assert objects.read("archives/ses_1/changes", 4) is None
        assert objects.read("archives/ses_1/gone", 5) is None
