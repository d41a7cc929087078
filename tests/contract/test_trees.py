"""Prepared trees in the table and in the bucket, in memory and on AWS (moto, in-process)."""

import base64
import hashlib
from datetime import timedelta
from typing import Any

import pytest

from headstart.adapters.aws import make_client
from headstart.adapters.dynamodb import DynamoStore
from headstart.adapters.memory import MemoryObjects
from headstart.adapters.s3 import S3Objects
from headstart.domain.archive import StoredFile, Tree
from headstart.usecases.ports import Objects, Store
from tests.contract.helpers import NOW, created, read

URL = "https://github.com/org/name.git"
CONTENT = b"a base"
SHA256 = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()


def tree(name: str = "one", seconds: int = 0) -> Tree:
    return Tree(
        key="k",
        file=StoredFile(key=f"trees/k/{name}", bytes=1, sha256="x"),
        commit="a" * 40,
        branch="session/ses_1",
        made_ms=1,
        created_at=NOW + timedelta(seconds=seconds),
        expires_at=NOW + timedelta(days=7),
    )


def known(store: Store) -> Tree | None:
    return store.prepared_before("alice", URL, "k")[1]


def test_a_tree_is_found_by_its_key_with_what_is_known_of_the_steps(store: Store) -> None:
    assert store.prepared_before("alice", URL, "k") == ({}, None)
    assert store.put_tree(tree()) is None
    change = read(store, created(store))
    change.durations = {"clone": 7}
    store.commit(change)
    assert store.prepared_before("alice", URL, "k") == ({"clone": 7}, tree())
    assert store.prepared_before("bob", URL, "k") == ({}, tree())
    assert store.prepared_before("alice", URL, "other") == ({"clone": 7}, None)
    assert store.prepared_before("alice", URL, None) == ({"clone": 7}, None)


def test_the_newest_tree_has_the_row(store: Store) -> None:
    assert store.put_tree(tree()) is None
    assert store.put_tree(tree("two", 1)) == tree()
    assert store.put_tree(tree("late")) == tree("late")
    assert store.put_tree(tree("at once", 1)) == tree("at once", 1)
    assert store.put_tree(tree("two", 1)) is None
    assert known(store) == tree("two", 1)


def test_what_was_put_meanwhile_is_not_written_over(
    dynamodb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store: Any = DynamoStore(dynamodb, "headstart")
    table, found = store._table, store._table.get

    def late(*place: str) -> Any:
        item = found(*place)
        monkeypatch.setattr(table, "get", found)
        store.put_tree(tree("rival", 2))
        return item

    monkeypatch.setattr(table, "get", late)
    assert store.put_tree(tree("two", 1)) == tree("two", 1)
    assert known(store) == tree("rival", 2)


def test_a_tree_of_a_newer_version_is_none_and_is_replaced(dynamodb: Any) -> None:
    unreadable: list[int] = []
    store = DynamoStore(dynamodb, "headstart", unreadable.append)
    item = {"pk": {"S": "TREE#k"}, "sk": {"S": "TREE"}, "data": {"S": '{"layout": 2}'}}
    dynamodb.put_item(TableName="headstart", Item=item)
    assert known(store) is None
    assert unreadable == [1]
    assert store.put_tree(tree()) is None
    assert known(store) == tree()


def test_a_trees_row_has_a_time_to_live(dynamodb: Any) -> None:
    DynamoStore(dynamodb, "headstart").put_tree(tree())
    key = {"pk": {"S": "TREE#k"}, "sk": {"S": "TREE"}}
    row = dynamodb.get_item(TableName="headstart", Key=key)["Item"]
    assert row["expires"]["N"] == str(int(tree().expires_at.timestamp()))


# The bucket.


@pytest.fixture(params=["memory", "s3"])
def objects(request: pytest.FixtureRequest) -> Objects:
    """Return a bucket with one object, `archives/base`."""
    if request.param == "memory":
        return MemoryObjects(stored={"archives/base": (len(CONTENT), SHA256)})
    request.getfixturevalue("aws")
    client = make_client("s3")
    client.create_bucket(
        Bucket="saved-work", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    client.put_object(Bucket="saved-work", Key="archives/base", Body=CONTENT, ChecksumSHA256=SHA256)
    return S3Objects(client, "saved-work")


def copied(key: str = "trees/k/one", **more: Any) -> StoredFile:
    return StoredFile.model_validate({"key": key, "bytes": len(CONTENT), "sha256": SHA256, **more})


def test_an_object_is_copied_whole(objects: Objects) -> None:
    assert not objects.is_there(copied())
    assert objects.copy("archives/base", copied())
    assert objects.copy("archives/base", copied())
    assert objects.is_there(copied())
    assert objects.is_there(copied("archives/base"))


def test_what_is_gone_is_not_copied(objects: Objects) -> None:
    assert not objects.copy("archives/gone", copied())
    assert objects.listed("trees/") == []


@pytest.mark.parametrize("other", [{"bytes": 7}, {"sha256": "A" * 43 + "="}])
def test_what_is_not_what_it_should_be_does_not_stay(
    objects: Objects, other: dict[str, Any]
) -> None:
    assert objects.copy("archives/base", copied(**other)) is False
    assert objects.listed("trees/") == []


def test_one_object_is_dropped_and_none_that_begins_alike(objects: Objects) -> None:
    for key in ("trees/k/one", "trees/k/one-more"):
        assert objects.copy("archives/base", copied(key))
    objects.drop("trees/k/one")
    objects.drop("trees/k/one")
    assert [found.key for found in objects.listed("trees/")] == ["trees/k/one-more"]


def test_objects_are_listed_with_their_sizes_and_ages(objects: Objects) -> None:
    for key in ("trees/k/one", "trees/l/two"):
        objects.copy("archives/base", copied(key))
    found = objects.listed("trees/")
    assert [(o.key, o.bytes) for o in found] == [("trees/k/one", 6), ("trees/l/two", 6)]
    assert found[0].written_at <= found[1].written_at


def test_more_than_a_page_is_listed_and_no_more_than_twenty(aws: None) -> None:
    client = make_client("s3")
    asked: list[dict[str, Any]] = []

    def page(**given: Any) -> dict[str, Any]:
        asked.append(given)
        item = {"Key": f"trees/{len(asked)}", "Size": 1, "LastModified": NOW}
        return {"Contents": [item], "NextContinuationToken": f"after {len(asked)}"}

    client.list_objects_v2 = page
    found = S3Objects(client, "saved-work").listed("trees/")
    assert [given.get("ContinuationToken") for given in asked[:3]] == [None, "after 1", "after 2"]
    assert (len(asked), len(found)) == (20, 20)
