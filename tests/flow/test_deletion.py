"""A session deleted while its work is saved leaves nothing either, once its sandbox has stopped."""

import time
from contextlib import suppress
from datetime import UTC, datetime

from headstart.adapters.dynamodb import DynamoStore
from headstart.domain.change import Change
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errors import Conflict
from headstart.domain.policy import Policy
from headstart.domain.sandbox import Command
from headstart.usecases.retry import CONFLICT_TRIES
from tests.flow.conftest import PATIENCE, Cloud, runner_is_gone
from tests.flow.test_faults import rows_of
from tests.flow.test_sleep import first_turn, sweep


def begin_upload(cloud: Cloud, session_id: str) -> None:
    """Have an upload under way that nobody reports the end of."""
    dynamodb = cloud.aws("dynamodb")
    [table] = [name for name in dynamodb.list_tables()["TableNames"] if "Table" in name]
    store, now = DynamoStore(dynamodb, table), datetime.now(UTC)
    for _ in range(CONFLICT_TRIES):
        change = Change(store.load(session_id), now, Policy(stream_url="wss://none"))
        change.save(
            Command(
                command_id="snap_1.upload",
                kind=CommandKind.UPLOAD,
                attempt_number=1,
                created_at=now,
            )
        )
        with suppress(Conflict):
            store.commit(change)
            return
    raise AssertionError("the session kept changing")


def test_an_upload_under_way_is_deleted_with_all_the_rest(cloud: Cloud) -> None:
    session_id = first_turn(cloud)
    begin_upload(cloud, session_id)
    assert cloud.client().delete(f"/sessions/{session_id}").status_code == 202
    assert cloud.client().get(f"/sessions/{session_id}").status_code == 404
    assert rows_of(cloud, session_id)
    s3 = cloud.aws("s3")
    [bucket] = [b["Name"] for b in s3.list_buckets()["Buckets"] if "archives" in b["Name"]]
    s3.put_object(Bucket=bucket, Key=f"archives/{session_id}/late", Body=b"late")
    assert runner_is_gone(session_id)
    end = time.monotonic() + PATIENCE
    while rows_of(cloud, session_id):
        assert time.monotonic() < end, "the deletion does not end"
        sweep(cloud)
    left = s3.list_objects_v2(Bucket=bucket, Prefix=f"archives/{session_id}/")
    assert left["KeyCount"] == 0
