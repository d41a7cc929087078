"""What is to be told to receivers, in the store, in the queue, and signed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headstart.adapters.aws import make_client
from headstart.adapters.callback_signing import ManagedSigning
from headstart.adapters.rows import MAX_WRITES
from headstart.adapters.sqs import SqsCallbacks
from headstart.domain.callbacks import SECRET_LIFE, DueCallbacks, read_secret
from headstart.domain.errors import Conflict, ServiceUnavailable
from headstart.domain.policy import DUE_SHARDS
from headstart.usecases.ports import Store
from tests.contract.helpers import NOW, created, read, write

SECRET = "A" * 44


def due(store: Store, now: datetime, limit: int = 50) -> list[tuple[str, list[int]]]:
    found = [row for shard in range(DUE_SHARDS) for row in store.callbacks_due(shard, now, limit)]
    return sorted((session_id, row.event_ids) for session_id, row in found)


def test_what_is_due_is_found_until_it_is_forgotten(store: Store) -> None:
    one, other = created(store), created(store, "bob")
    later = NOW + timedelta(minutes=1)
    write(store, one, DueCallbacks(owner="alice", event_ids=[3, 4], due_at=NOW))
    write(store, one, DueCallbacks(owner="alice", event_ids=[7], due_at=later))
    write(store, other, DueCallbacks(owner="alice", event_ids=[3], due_at=NOW))
    assert due(store, NOW) == sorted([(one, [3, 4]), (other, [3])])
    assert due(store, NOW - timedelta(seconds=1)) == []
    assert len(due(store, later)) == 3
    store.forget_callbacks(one, 4)
    store.forget_callbacks(one, 4)
    assert due(store, later) == sorted([(one, [7]), (other, [3])])


def test_what_is_due_is_no_session_that_is_due(store: Store) -> None:
    session_id = created(store)
    write(store, session_id, DueCallbacks(owner="alice", event_ids=[3], due_at=NOW))
    assert [i for shard in range(DUE_SHARDS) for i in store.due(shard, NOW, 50)] == []


def test_a_deleted_session_has_nothing_due(store: Store) -> None:
    session_id = created(store)
    write(store, session_id, DueCallbacks(owner="alice", event_ids=[3], due_at=NOW))
    while not store.purge(session_id, MAX_WRITES):
        pass
    assert due(store, NOW) == []


def test_a_commit_that_fails_leaves_nothing_due(store: Store) -> None:
    session_id = created(store)
    stale = read(store, session_id)
    write(store, session_id)
    stale.save(DueCallbacks(owner="alice", event_ids=[3], due_at=NOW))
    with pytest.raises(Conflict):
        store.commit(stale)
    assert due(store, NOW) == []


# The queue.


@pytest.fixture
def queue(aws: None) -> tuple[Any, str]:
    client = make_client("sqs")
    return client, client.create_queue(QueueName="callbacks")["QueueUrl"]


def taken(client: Any, url: str) -> list[Any]:
    found: list[Any] = []
    while more := client.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"]
    ).get("Messages"):
        found += more
    return found


def test_any_number_of_events_is_put_in_the_queue(queue: tuple[Any, str]) -> None:
    client, url = queue
    SqsCallbacks(client, url).put("alice", "ses_1", tuple(range(1, 26)))
    messages = taken(client, url)
    bodies = sorted(message["Body"] for message in messages)
    assert bodies == sorted(f'{{"sessionId": "ses_1", "eventId": {n}}}' for n in range(1, 26))
    # One group of its owner's, whatever the name is made of.
    SqsCallbacks(client, url).put("ü" * 500, "ses_2", (1,))
    groups = {m["Attributes"]["MessageGroupId"] for m in [*messages, *taken(client, url)]}
    assert len(groups) == 2
    assert all(len(group) <= 128 and group.isalnum() for group in groups)


def test_a_message_that_is_put_off_comes_again(queue: tuple[Any, str]) -> None:
    client, url = queue
    adapter = SqsCallbacks(client, url)
    adapter.put("alice", "ses_1", (1,))
    [first] = taken(client, url)
    adapter.put_off(first["ReceiptHandle"], timedelta(seconds=0.4))
    [again] = taken(client, url)
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    with pytest.raises(ServiceUnavailable):
        adapter.put_off("no receipt", timedelta(seconds=1))


def test_a_queue_that_takes_some_only_took_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def send_message_batch(self, **_: Any) -> dict[str, Any]:
            return {"Failed": [{"Id": "1", "SenderFault": False, "Code": "InternalError"}]}

    client: Any = Full()
    with pytest.raises(ServiceUnavailable):
        SqsCallbacks(client, "https://sqs.test/q").put("alice", "ses_1", (1, 2))


# The secret.


class Clock:
    """Seconds that pass when told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_after_a_rotation_both_secrets_sign_for_a_week(aws: None) -> None:
    client, clock = make_client("secretsmanager"), Clock()
    client.create_secret(Name="callbacks", SecretString=SECRET)
    signing = ManagedSigning(lambda: client, "callbacks", clock)
    now = datetime.now(UTC)
    old = signing.secrets(now)
    assert len(old) == 1
    client.put_secret_value(SecretId="callbacks", SecretString="whsec_" + "B" * 44)
    assert signing.secrets(now) == old
    clock.now += 301
    both = signing.secrets(now)
    assert both[1:] == old
    assert len(both) == 2
    assert signing.secrets(now + SECRET_LIFE + timedelta(minutes=1)) == both[:1]


def test_a_secret_that_can_not_sign_is_told_without_its_words(aws: None) -> None:
    client = make_client("secretsmanager")
    client.create_secret(Name="callbacks", SecretString="hunter2-hunter2-hunter2")
    signing = ManagedSigning(lambda: client, "callbacks")
    with pytest.raises(ServiceUnavailable) as refused:
        signing.secrets(datetime.now(UTC))
    assert "hunter2" not in refused.value.reason
    with pytest.raises(ServiceUnavailable):
        ManagedSigning(lambda: client, "nowhere").secrets(datetime.now(UTC))


def test_one_before_that_can_not_sign_keeps_no_good_one_from_it(
    aws: None, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client("secretsmanager")
    client.create_secret(Name="callbacks", SecretString="hunter2-hunter2-hunter2")
    signing, now = ManagedSigning(lambda: client, "callbacks"), datetime.now(UTC)
    with pytest.raises(ServiceUnavailable):
        signing.secrets(now)
    client.put_secret_value(SecretId="callbacks", SecretString=SECRET)
    assert signing.secrets(now) == [read_secret(SECRET)]
    assert "is left out" in caplog.text
    assert "hunter2" not in caplog.text


def test_one_of_bytes_is_left_out_and_refused_like_any_other(aws: None) -> None:
    client = make_client("secretsmanager")
    client.create_secret(Name="callbacks", SecretBinary=b"no text")
    signing, now = ManagedSigning(lambda: client, "callbacks"), datetime.now(UTC)
    with pytest.raises(ServiceUnavailable):
        signing.secrets(now)
    client.put_secret_value(SecretId="callbacks", SecretString=SECRET)
    assert signing.secrets(now) == [read_secret(SECRET)]


def test_a_secret_that_signed_goes_on_while_the_next_can_not(
    aws: None, caplog: pytest.LogCaptureFixture
) -> None:
    client, clock = make_client("secretsmanager"), Clock()
    client.create_secret(Name="callbacks", SecretString=SECRET)
    signing, now = ManagedSigning(lambda: client, "callbacks", clock), datetime.now(UTC)
    good = signing.secrets(now)
    client.put_secret_value(SecretId="callbacks", SecretString="hunter2")
    clock.now += 301
    assert signing.secrets(now) == good
    assert "can't sign" in caplog.text
    # Not asked for at each call, and found soon after it was repaired.
    client.put_secret_value(SecretId="callbacks", SecretString="B" * 44)
    assert signing.secrets(now) == good
    clock.now += 31
    assert signing.secrets(now) == [read_secret("B" * 44)]
