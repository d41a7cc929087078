"""An Idempotency-Key stands for its session, and goes with it."""

from datetime import timedelta
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import IdempotencyKeyReused, SessionDeleting
from headstart.domain.requests import CreateSession
from headstart.usecases.create import create_session
from headstart.usecases.delete import delete_session
from headstart.usecases.ports import Store
from tests.contract.helpers import NOW, key_of, new_change, new_ticket, used

REQUEST = CreateSession(prompt="Add a health check", github_repo="org/name")


@pytest.fixture
def ports(store: Any) -> MemoryPorts:
    return MemoryPorts(store=store)


def create(ports: MemoryPorts) -> str:
    return str(create_session(ports, "alice", REQUEST, "key-1")["sessionId"])


def test_a_repeat_after_the_session_is_deleted_creates_another(ports: MemoryPorts) -> None:
    first = create(ports)
    delete_session(ports, "alice", first)
    second = create(ports)
    assert second != first
    assert create(ports) == second
    assert ports.store.places("alice") == {second}


def test_a_repeat_while_the_session_is_being_deleted_is_refused_by_name(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = create(ports)
    with monkeypatch.context() as patch:
        patch.setattr(ports.store, "purge", lambda *_: False)
        delete_session(ports, "alice", session_id)
    with pytest.raises(SessionDeleting):
        create(ports)
    delete_session(ports, "alice", session_id)
    assert create(ports) != session_id


def test_another_body_under_the_key_of_a_deleted_session_is_still_refused(
    ports: MemoryPorts,
) -> None:
    delete_session(ports, "alice", create(ports))
    other = CreateSession(prompt="Something else", github_repo="org/name")
    with pytest.raises(IdempotencyKeyReused):
        create_session(ports, "alice", other, "key-1")


def test_of_two_repeats_after_a_deletion_one_creates(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete_session(ports, "alice", create(ports))
    forget = ports.store.forget_key
    made: list[str] = []

    def rival_first(*args: Any) -> None:
        monkeypatch.undo()
        made.append(create(ports))
        forget(*args)

    monkeypatch.setattr(ports.store, "forget_key", rival_first)
    assert create(ports) == made[0]
    assert ports.store.places("alice") == set(made)


def test_a_key_is_forgotten_only_where_it_stands_for_that_session(store: Store) -> None:
    first, second = new_change(), new_change()
    first.key = key_of(first, NOW + timedelta(hours=24))
    store.create(first, new_ticket(first.session.session_id))
    store.forget_key("alice", key_of(second, NOW))
    store.forget_key("bob", first.key)
    assert used(store) == first.key
    store.forget_key("alice", first.key)
    store.forget_key("alice", first.key)
    assert used(store) is None
