"""How many calls reading sessions takes, counted where botocore sends them."""

from datetime import timedelta
from typing import Any

from headstart.adapters import layout
from headstart.adapters.dynamodb import DynamoStore
from headstart.adapters.memory import MemoryPorts
from headstart.domain.message import Input
from headstart.domain.requests import CreateSession
from headstart.domain.search import Wanted
from headstart.usecases.create import create_session
from headstart.usecases.read import get_session, list_sessions
from tests.contract.earlier import Earlier
from tests.contract.helpers import NOW, new_change, read

REQUEST = CreateSession(prompt="Add a health check", github_repo="org/name")


def seen(client: Any) -> list[str]:
    """Return the calls that the client makes from now on."""
    made: list[str] = []
    client.meta.events.register("before-call.*.*", lambda model, **_: made.append(model.name))
    return made


def listed(client: Any, count: int) -> list[str]:
    """Put sessions of alice's there, oldest first, one a second: what of them a list reads.

    Creating them takes moto a minute: each transaction copies the whole table.
    """
    sessions = [new_change(now=NOW + timedelta(seconds=second)).session for second in range(count)]
    for session in sessions:
        client.put_item(TableName="headstart", Item=layout.session_item(session, {}))
    return [session.session_id for session in sessions]


def test_a_page_is_two_calls_however_many_sessions_are_on_it(dynamodb: Any) -> None:
    store: Any = DynamoStore(dynamodb, "headstart")
    ports = MemoryPorts(store=store)
    ids = listed(dynamodb, 100)
    made = seen(dynamodb)
    items = list_sessions(ports, "alice", None, limit=100)["items"]
    assert made == ["Query", "BatchGetItem"]
    assert [item["sessionId"] for item in items] == ids[::-1]


def test_a_search_looks_at_three_hundred_and_goes_on_from_there(dynamodb: Any) -> None:
    store: Any = DynamoStore(dynamodb, "headstart")
    ports = MemoryPorts(store=store)
    request = REQUEST.model_copy(update={"prompt": "The Lamp"})
    ports.clock.now = NOW - timedelta(days=1)
    oldest = create_session(ports, "alice", request, None)["sessionId"]
    listed(dynamodb, 309)
    made, wanted = seen(dynamodb), Wanted.of("lamp", None)
    page = list_sessions(ports, "alice", None, wanted=wanted)
    assert page["items"] == []
    assert made == ["Query", "BatchGetItem"] * 3
    page = list_sessions(ports, "alice", page["nextCursor"], wanted=wanted)
    assert [item["sessionId"] for item in page["items"]] == [oldest]
    assert page["nextCursor"] is None


def test_those_that_lie_as_an_earlier_version_kept_them_take_no_more(dynamodb: Any) -> None:
    store: Any = DynamoStore(dynamodb, "headstart")
    ports = MemoryPorts(store=store)
    new = create_session(ports, "alice", REQUEST, None)["sessionId"]
    ids = [f"ses_{number}" for number in range(9)]
    for session_id in ids:
        Earlier(dynamodb, session_id=session_id).put_session()
    made = seen(dynamodb)
    items = list_sessions(ports, "alice", None, limit=100)["items"]
    assert made == ["Query", "BatchGetItem"]
    assert {item["sessionId"] for item in items} == {new, *ids}


def test_all_that_is_asked_is_one_call(dynamodb: Any) -> None:
    store: Any = DynamoStore(dynamodb, "headstart")
    ports = MemoryPorts(store=store)
    session_id = create_session(ports, "alice", REQUEST, None)["sessionId"]
    change = read(store, session_id)
    names = [f"r{number}" for number in (2, 0, 1)]
    for name in names:
        asked = Input(request_id=name, turn_id="t", kind="question", body={}, created_at=NOW)
        change.save(asked)
    change.session.pending_inputs = [*names, "gone"]
    store.commit(change)
    made = seen(dynamodb)
    view = get_session(ports, "alice", session_id)
    assert made.count("BatchGetItem") == 1
    assert [asked["requestId"] for asked in view["pendingInputs"]] == names
