"""One suite against the store in memory and the one on DynamoDB (moto, in-process)."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from headstart.adapters.aws import make_client
from headstart.adapters.memory_store import MemoryStore
from headstart.usecases.ports import Store
from headstart_local.packaging import read_template
from tests.contract.helpers import LookedAt

ROOT = Path(__file__).parents[2]


@cache
def table_definition() -> dict[str, Any]:
    """Return the template's own table, as CreateTable takes it."""
    properties = read_template(ROOT / "template.yaml")["Resources"]["Table"]["Properties"]
    names = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    return {"TableName": "headstart", **{name: properties[name] for name in names}}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        yield


@pytest.fixture
def dynamodb(aws: None) -> Any:
    client = make_client("dynamodb")
    client.create_table(**table_definition())
    return client


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "memory":
        return MemoryStore()
    return LookedAt(request.getfixturevalue("dynamodb"), "headstart")
