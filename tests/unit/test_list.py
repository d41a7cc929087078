"""The list of sessions: in short, searched, page by page."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import ValidationFailed
from headstart.domain.search import EVERY, Wanted
from headstart.usecases import talk
from headstart.usecases.read import list_sessions
from tests.unit.helpers import created, opened


def found(ports: MemoryPorts, search: str | None = None, repository: str | None = None) -> set[str]:
    page = list_sessions(ports, "alice", None, wanted=Wanted.of(search, repository))
    return {item["sessionId"] for item in page["items"]}


def test_an_item_has_what_one_looks_for_a_session_by(ports: MemoryPorts) -> None:
    created(ports)
    [item] = list_sessions(ports, "alice", None)["items"]
    assert set(item) == {
        "sessionId",
        "title",
        "status",
        "createdAt",
        "updatedAt",
        "repository",
        "agent",
        "mode",
        "queueLength",
        "pendingInputCount",
        "failure",
    }
    assert len(json.dumps(item)) < 500


def test_the_reason_of_a_failure_is_cut(ports: MemoryPorts) -> None:
    session_id = created(ports)
    talk.interrupt(ports, "alice", session_id)
    change = opened(ports, session_id)
    assert change.session.failure
    change.session.failure.reason = "x" * 9000
    ports.store.commit(change)
    [item] = list_sessions(ports, "alice", None)["items"]
    assert item["failure"] == {
        "step": "sandbox",
        "code": "Cancelled",
        "reason": "x" * 500,
        "retryable": True,
    }


def test_each_word_is_in_title_or_address_in_any_case(ports: MemoryPorts) -> None:
    lamp = created(ports, prompt="Mend the LAMP", githubRepo="house/hall")
    street = created(ports, prompt="Straße", githubRepo="house/garden")
    assert found(ports, "lamp") == {lamp}
    assert found(ports, "HOUSE") == {lamp, street}
    assert found(ports, " garden  STRASSE ") == {street}
    assert found(ports, "garden lamp") == set()
    assert found(ports, "  ") == {lamp, street}
    assert found(ports, None, "https://github.com/house/hall.git") == {lamp}
    assert found(ports, None, "https://github.com/house/hall") == set()
    assert found(ports, "street", "https://github.com/house/garden.git") == set()


def test_one_that_is_being_deleted_is_in_no_list(ports: MemoryPorts) -> None:
    from headstart.usecases.delete import delete_session  # noqa: PLC0415  its only user

    session_id, kept = created(ports), created(ports)
    delete_session(ports, "alice", session_id)
    assert found(ports) == found(ports, "health") == {kept}


@pytest.mark.parametrize("wanted", [EVERY, Wanted.of("health", None)])
@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_pages_have_each_one_once(ports: MemoryPorts, wanted: Wanted, limit: int) -> None:
    ports.policy.active_sessions = 100
    ids = []
    for _ in range(23):
        ports.clock.advance(seconds=1)
        ids.append(created(ports))
    seen: list[str] = []
    cursor, asked = None, 0
    while asked == 0 or cursor:
        page = list_sessions(ports, "alice", cursor, limit, wanted)
        assert len(page["items"]) <= limit
        seen += [item["sessionId"] for item in page["items"]]
        cursor, asked = page["nextCursor"], asked + 1
        assert asked < 50
    assert seen == ids[::-1]


@pytest.mark.parametrize(("search", "repository"), [("x" * 201, None), (None, "x" * 2001)])
def test_what_is_too_long_is_refused(search: str | None, repository: str | None) -> None:
    with pytest.raises(ValidationFailed, match="query"):
        Wanted.of(search, repository)


@given(st.text(max_size=200))
def test_any_search_is_taken(text: str) -> None:
    Wanted.of(text, None)
