"""A session's messages in pages that fit one answer."""

import json

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.message import Message, MessageStatus
from headstart.usecases.ports import Store
from headstart.usecases.read import PAGE_LIMIT, list_messages
from tests.contract.helpers import NOW, created, read

LAMBDA_ANSWER = 6 * 1024 * 1024
"""What a function may answer ("Lambda quotas", AWS Lambda Developer Guide)."""


def with_messages(store: Store, count: int, text: str) -> str:
    session_id = created(store)
    for start in range(1, count + 1, 10):
        change = read(store, session_id)
        for number in range(start, min(start + 10, count + 1)):
            change.save(
                Message(
                    message_id=f"msg_{number}",
                    number=number,
                    text=text,
                    status=MessageStatus.HELD,
                    created_at=NOW,
                )
            )
        change.session.message_count = count
        store.commit(change)
    return session_id


def numbers(page: tuple[list[Message], bool]) -> list[int]:
    return [message.number for message in page[0]]


def test_a_page_has_at_most_so_many_and_says_whether_more_follow(store: Store) -> None:
    session_id = with_messages(store, 5, "x")
    assert numbers(store.messages_page(session_id, 0, 2)) == [1, 2]
    assert store.messages_page(session_id, 0, 2)[1]
    assert numbers(store.messages_page(session_id, 2, 3)) == [3, 4, 5]
    assert not store.messages_page(session_id, 2, 3)[1]
    assert store.messages_page(session_id, 5, 2) == ([], False)


@pytest.mark.parametrize(
    ("count", "text"),
    [(64, "x" * 100_000), (24, "ü" * 50_000), (27, "\x01" * 40_000), (PAGE_LIMIT * 2 + 1, "x")],
    ids=["long", "not ASCII", "escaped", "many"],
)
def test_all_messages_come_in_order_and_each_page_fits_an_answer(
    store: Store, count: int, text: str
) -> None:
    session_id = with_messages(store, count, text)
    ports = MemoryPorts(store=store)  # type: ignore[arg-type]
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = list_messages(ports, "alice", session_id, cursor)
        assert len(json.dumps(page)) < LAMBDA_ANSWER
        assert len(page["items"]) <= PAGE_LIMIT
        found += [item["messageId"] for item in page["items"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert found == [f"msg_{number}" for number in range(1, count + 1)]
