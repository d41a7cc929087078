"""Long texts in pages that fit one answer, from memory and from DynamoDB."""

import json

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.change import text_key
from headstart.domain.long_texts import TEXT_BYTES, Text, TextPiece
from headstart.usecases.ports import Store
from headstart.usecases.texts import get_text
from tests.contract.helpers import created, read, write
from tests.contract.test_message_pages import LAMBDA_ANSWER

REF = "txt_1"


def with_text(store: Store, piece: str, writer: str = "w1") -> tuple[str, str]:
    """Keep a text of the most that is kept, in pieces; returns the session's id and the text."""
    session_id = created(store)
    count = TEXT_BYTES // len(piece.encode())
    for start in range(0, count, 20):
        change = read(store, session_id)
        for number in range(start, min(start + 20, count)):
            at = number * len(piece.encode())
            change.save(TextPiece(ref=REF, writer=writer, offset=at, text=piece))
        change.session.text_bytes += 1
        store.commit(change)
    change = read(store, session_id)
    change.save(Text(ref=REF, writer=writer, bytes=count * len(piece.encode()), ended=True))
    change.save(TextPiece(ref=REF, writer="w0", offset=0, text="an earlier try"))
    change.save(TextPiece(ref=f"{REF}.1", writer=writer, offset=0, text="another"))
    store.commit(change)
    return session_id, piece * count


@pytest.mark.parametrize(
    "piece", ["x" * 23_000, "ü" * 11_500, "\x01" * 20_000], ids=["long", "not ASCII", "escaped"]
)
def test_all_of_a_text_comes_in_order_and_each_page_fits_an_answer(
    store: Store, piece: str
) -> None:
    session_id, whole = with_text(store, piece)
    ports = MemoryPorts(store=store)  # type: ignore[arg-type]
    owner = store.session(session_id).owner
    said, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = get_text(ports, owner, session_id, REF, cursor)
        assert len(json.dumps(page).encode()) < LAMBDA_ANSWER
        said += [item["text"] for item in page["items"]]
        cursor, pages = page["nextCursor"], pages + 1
        assert pages < 50, "a page brought nothing"
    assert "".join(said) == whole
    assert pages > 1


def test_texts_are_found_by_how_their_refs_begin(store: Store) -> None:
    session_id = created(store)
    change = read(store, session_id)
    for ref in ("log.1.setup", "log.1.clone", "logbook", "txt_1"):
        change.save(Text(ref=ref))
    change.session.text_bytes = 1
    store.commit(change)
    assert [text.ref for text in store.texts(session_id, "log.")] == ["log.1.clone", "log.1.setup"]


def test_texts_go_with_their_session(store: Store) -> None:
    session_id, _ = with_text(store, "x" * 100_000)
    while not store.purge(session_id, 40):
        pass
    assert store.named(session_id, [text_key(REF)]) == {text_key(REF): None}
    assert store.text_pieces(session_id, Text(ref=REF, writer="w1"), 0) == []


def test_as_many_are_found_by_name_as_are_named(store: Store) -> None:
    session_id = created(store)
    for start in (0, 50, 100, 150):
        write(store, session_id, *[Text(ref=f"t{start + n}", bytes=start + n) for n in range(50)])
    keys = [text_key(f"t{number}") for number in range(210)]
    found = store.named(session_id, keys)
    assert [row and row.bytes for row in found.values() if not row or isinstance(row, Text)] == [
        *range(200),
        *[None] * 10,
    ]
