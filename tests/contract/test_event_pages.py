"""What a page of events reads of the table: DynamoDB charges for that, used or not."""

from typing import Any
from unittest.mock import patch

import pytest

from headstart.adapters.dynamodb import DynamoStore
from headstart.domain import events
from tests.contract.helpers import created, read


def history(store: DynamoStore, batches: int, size: int) -> str:
    """Make a session with so many batches after its first event."""
    session_id = created(store)
    for _ in range(batches):
        change = read(store, session_id)
        for _ in range(size):
            change.emit(events.SessionAsleep(reason="x"))
        store.commit(change)
    return session_id


@pytest.mark.parametrize("batches", [3, 20])
def test_a_page_reads_little_more_than_it_gives(dynamodb: Any, batches: int) -> None:
    store = DynamoStore(dynamodb, "headstart")
    session_id = history(store, batches, 20)
    with patch.object(dynamodb, "query", wraps=dynamodb.query) as query:
        page, _ = store.events_after(session_id, 1, 200)
    assert [e.event_id for e in page] == list(range(2, 2 + min(200, 20 * batches)))
    assert sum(call.kwargs["Limit"] for call in query.call_args_list) == 16


def test_a_page_of_batches_with_one_event_each_is_whole(dynamodb: Any) -> None:
    store = DynamoStore(dynamodb, "headstart")
    session_id = history(store, 40, 1)
    page, more = store.events_after(session_id, 2, 35)
    assert ([e.event_id for e in page], more) == (list(range(3, 38)), True)
    page, more = store.events_after(session_id, 2, 100)
    assert ([e.event_id for e in page], more) == (list(range(3, 42)), False)


def test_a_page_ends_where_it_is_large(dynamodb: Any) -> None:
    store = DynamoStore(dynamodb, "headstart")
    session_id = history(store, 20, 1)
    with patch("headstart.adapters.dynamodb._PAGE_BYTES", 10):
        page, more = store.events_after(session_id, 1, 200)
    assert ([e.event_id for e in page], more) == (list(range(2, 18)), True)
