"""What an earlier version wrote is read, changed, and lies as rows do now from then on."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headstart.adapters import earlier_layout, layout
from headstart.adapters.memory import MemoryPorts
from headstart.domain.attempt import AttemptStatus
from headstart.domain.ids import new_session_id
from headstart.domain.requests import SendMessage
from headstart.domain.sandbox import SandboxStatus
from headstart.domain.session import Status
from headstart.domain.steps import StepName
from headstart.usecases import retry
from headstart.usecases.delete import delete_session
from headstart.usecases.inbox import receive
from headstart.usecases.janitor import sweep
from headstart.usecases.prepare import StepTask, run_step
from headstart.usecases.read import get_session, list_sessions
from headstart.usecases.sandbox import sandbox_stopped
from headstart.usecases.talk import send_message
from tests.contract.earlier import TURN, Earlier
from tests.contract.helpers import NOW, LookedAt, command, read, write

STATUSES = list(Status)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.time, "sleep", lambda _: None)


@pytest.fixture
def ports(dynamodb: Any) -> MemoryPorts:
    store: Any = LookedAt(dynamodb, "headstart")
    return MemoryPorts(store=store)


def written(client: Any, status: Status) -> str:
    """Write a session of an earlier version with all that one may have; returns its id."""
    earlier = Earlier(client, status, attempt=2)
    earlier.put_session()
    earlier.put_attempt(1, "failed")
    earlier.put_sandbox()
    earlier.put_command("2.clone.1", "clone", step="clone")
    earlier.put_command("arc_1.archive", "archive", taskToken=None)
    earlier.put_command("2.disk.1", "disk", step="disk", answered=True)
    earlier.put_command("1.clone.1", "clone", step="clone", attemptNumber=1)
    earlier.put_connection("r1", "runner")
    earlier.put_connection("v1")
    earlier.put_connection("knocks", is_open=False)
    return earlier.session_id


def rows(client: Any, session_id: str, prefix: str = "") -> list[str]:
    """Return the sort keys in a session's partition that begin so."""
    pk = {":pk": {"S": f"SESSION#{session_id}"}}
    found = client.query(
        TableName="headstart", KeyConditionExpression="pk = :pk", ExpressionAttributeValues=pk
    )["Items"]
    return [item["sk"]["S"] for item in found if item["sk"]["S"].startswith(prefix)]


def calls(client: Any) -> list[str]:
    """Return the calls that the client makes from now on."""
    made: list[str] = []
    client.meta.events.register(
        "before-call.dynamodb.*", lambda model, **_: made.append(model.name)
    )
    return made


def sent(ports: MemoryPorts, connection_id: str) -> list[dict[str, Any]]:
    return [json.loads(text) for text in ports.sockets.sent[connection_id]]


@pytest.mark.parametrize("status", STATUSES)
def test_it_is_read_as_it_was_written(dynamodb: Any, ports: MemoryPorts, status: Status) -> None:
    session_id = written(dynamodb, status)
    found = ports.store.load(session_id)
    assert (found.session.status, found.session.version) == (status, 17)
    assert (found.attempt.number, found.attempt.revision) == (2, 3)
    assert found.sandbox
    assert (found.sandbox.connection_id, found.sandbox.tokens) == ("r1", ["token-sandbox"])
    assert set(found.commands) == {"2.clone.1", "arc_1.archive"}
    assert found.commands["2.clone.1"].tokens == ["token-clone"]
    assert found.commands["arc_1.archive"].tokens == []
    assert set(found.connections) == {"r1", "v1"}
    if status is not Status.DELETING:
        assert get_session(ports, "alice", session_id)["attempt"]["number"] == 2
        [item] = list_sessions(ports, "alice", None)["items"]
        assert (item["sessionId"], item["status"]) == (session_id, status)
    assert rows(dynamodb, session_id, "SESSION") == ["SESSION"]


@pytest.mark.parametrize("status", STATUSES)
def test_its_next_change_takes_all_of_it_to_where_rows_lie_now(
    dynamodb: Any, ports: MemoryPorts, status: Status
) -> None:
    session_id = written(dynamodb, status)
    before = ports.store.load(session_id)
    write(ports.store, session_id)
    made = calls(dynamodb)
    after = ports.store.load(session_id)
    assert made == ["Query"]
    before.session.version = 18
    before.receipt, after.receipt = None, None
    assert after == before
    assert rows(dynamodb, session_id, "SESSION#") == [
        "SESSION#ATTEMPT",
        "SESSION#COMMAND#2.clone.1",
        "SESSION#COMMAND#arc_1.archive",
        "SESSION#CONNECTION#r1",
        "SESSION#CONNECTION#v1",
        "SESSION#SANDBOX",
    ]
    # And so it stays: nothing is asked of the old places any more.
    write(ports.store, session_id, command(9, attempt_number=2))
    assert set(ports.store.load(session_id).commands) == {*after.commands, "1.disk.9"}


def test_a_change_that_writes_nothing_leaves_it_where_it_is(
    dynamodb: Any, ports: MemoryPorts
) -> None:
    session_id = written(dynamodb, Status.RUNNING)
    receive(ports, "v1", json.dumps({"action": "ping"}))
    assert [frame["type"] for frame in sent(ports, "v1")] == ["pong"]
    assert rows(dynamodb, session_id, "SESSION") == ["SESSION"]


def test_only_the_first_of_two_changes_of_it_commits(dynamodb: Any, ports: MemoryPorts) -> None:
    session_id = written(dynamodb, Status.RUNNING)
    late = read(ports.store, session_id)
    write(ports.store, session_id)
    late.session.title = "late"
    with pytest.raises(Exception, match="meanwhile"):
        ports.store.commit(late)
    assert ports.store.load(session_id).session.title != "late"


KINDS = st.sampled_from(["clone", "prompt", "archive", "upload", "abort", "input"])
DRAWN = st.fixed_dictionaries(
    {
        "status": st.sampled_from(STATUSES),
        "has_sandbox": st.booleans(),
        "commands": st.lists(
            st.tuples(KINDS, st.integers(1, 3), st.booleans()),
            max_size=4,
            unique_by=lambda drawn: drawn[:2],
        ),
        "connections": st.lists(
            st.tuples(st.sampled_from(["viewer", "runner"]), st.booleans()), max_size=6
        ),
    }
)
"""A status, and beside SESSION: kinds of commands of an attempt, answered or not; connections by
role, open or not."""


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(drawn=DRAWN)
def test_whatever_it_has_is_carried_over_once(
    dynamodb: Any, ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch, drawn: dict[str, Any]
) -> None:
    monkeypatch.setattr(earlier_layout, "CARRIED_OVER", 3)
    session_id, owner = new_session_id(NOW), new_session_id(NOW)
    earlier = Earlier(dynamodb, drawn["status"], session_id, owner, attempt=3)
    earlier.put_session()
    if drawn["has_sandbox"]:
        earlier.put_sandbox()
    for kind, attempt, answered in drawn["commands"]:
        earlier.put_command(f"{attempt}.{kind}", kind, attemptNumber=attempt, answered=answered)
    for number, (role, is_open) in enumerate(drawn["connections"]):
        earlier.put_connection(f"c{number}", role, is_open=is_open)
    before = ports.store.load(session_id)
    assert (before.sandbox is not None) == drawn["has_sandbox"]
    waits = {f"3.{kind}" for kind, attempt, done in drawn["commands"] if attempt == 3 and not done}
    assert set(before.commands) == waits
    alive = [f"c{number}" for number, (_, is_open) in enumerate(drawn["connections"]) if is_open]
    assert set(before.connections) <= set(alive)
    assert len(before.connections) == min(len(alive), 3)
    write(ports.store, session_id)
    after = ports.store.load(session_id)
    before.session.version, before.receipt, after.receipt = 18, None, None
    assert after == before


def test_of_many_connections_the_runners_own_is_carried_over_and_viewers_come_again(
    dynamodb: Any, ports: MemoryPorts
) -> None:
    earlier = Earlier(dynamodb)
    earlier.put_session()
    earlier.put_sandbox(connectionId="z")
    for number in range(25):
        earlier.put_connection(f"r{number:02d}", "runner")
        earlier.put_connection(f"v{number:02d}")
    earlier.put_connection("z", "runner")
    found = ports.store.load(earlier.session_id)
    assert "z" in found.connections
    assert len(found.connections) == 20
    write(ports.store, earlier.session_id)
    receive(ports, "v24", json.dumps({"action": "ping"}))
    assert [frame["code"] for frame in sent(ports, "v24")] == ["TicketRefused"]
    assert "v24" in ports.sockets.gone
    receive(ports, "z", json.dumps({"action": "heartbeat"}))
    assert [frame["type"] for frame in sent(ports, "z")] == ["heard"]


# What goes on through the day on which the version changes.


def result(command_id: str) -> dict[str, Any]:
    return {"commandId": command_id, "status": "completed", "output": {}}


def test_a_steps_result_is_taken_and_its_task_answered(dynamodb: Any, ports: MemoryPorts) -> None:
    session_id = written(dynamodb, Status.PREPARING)
    receive(ports, "r1", json.dumps({"action": "heartbeat", "running": ["2.clone.1"]}))
    assert ports.machine.beats == ["token-clone"]
    body = {"action": "report", "seq": 8, "results": [result("2.clone.1")]}
    receive(ports, "r1", json.dumps(body))
    assert ports.machine.answers == {"token-clone": "ok"}
    assert sent(ports, "r1")[-1] == {"type": "ack", "seq": 8, "accepted": True}
    assert [e["type"] for f in sent(ports, "v1") for e in f["events"]] == ["preparing"]
    found = ports.store.load(session_id)
    assert found.attempt.step(StepName.CLONE).status == "completed"


def test_a_message_on_its_way_is_delivered_by_the_command_that_it_had(
    dynamodb: Any, ports: MemoryPorts
) -> None:
    earlier = Earlier(dynamodb, Status.PREPARING, session={"activeTurn": TURN})
    earlier.put_session()
    earlier.put_sandbox()
    earlier.put_command("msg_1.prompt.1", "prompt", step="deliver", messageNumber=1)
    earlier.put_connection("r1", "runner")
    task = StepTask(
        session_id=earlier.session_id,
        attempt_number=1,
        step=StepName.DELIVER,
        task_token="token-again",
    )
    run_step(ports, task)
    assert [frame["id"] for frame in sent(ports, "r1")] == ["msg_1.prompt.1"]
    body = {"action": "report", "seq": 8, "results": [result("msg_1.prompt.1")]}
    receive(ports, "r1", json.dumps(body))
    assert ports.machine.answers == {"token-prompt": "ok", "token-again": "ok"}
    assert ports.store.session(earlier.session_id).status is Status.RUNNING


def test_of_two_that_may_deliver_it_the_newest_does(dynamodb: Any, ports: MemoryPorts) -> None:
    earlier = Earlier(dynamodb, Status.PREPARING, session={"activeTurn": TURN})
    earlier.put_session()
    earlier.put_sandbox()
    for number in (1, 2):
        made = f"2026-01-01T00:00:0{number}.000Z"
        earlier.put_command(f"msg_1.prompt.{number}", "prompt", createdAt=made)
    earlier.put_connection("r1", "runner")
    ports.clock.advance(minutes=1)
    receive(ports, "r1", json.dumps({"action": "heartbeat", "running": []}))
    commands = [frame["id"] for frame in sent(ports, "r1") if frame["type"] == "command"]
    assert commands == ["msg_1.prompt.2"]


def test_a_turn_ends_and_the_work_is_saved(dynamodb: Any, ports: MemoryPorts) -> None:
    session_id = written(dynamodb, Status.RUNNING)
    ended = {"type": "turn.ended", "turnId": "turn_1", "messageId": "msg_1"}
    receive(ports, "r1", json.dumps({"action": "report", "seq": 8, "events": [ended]}))
    found = ports.store.load(session_id)
    assert found.session.status is Status.READY
    kinds = [frame["kind"] for frame in sent(ports, "r1") if frame["type"] == "command"]
    assert kinds == ["archive"]
    assert [e["type"] for f in sent(ports, "v1") for e in f["events"]] == ["turn.completed"]


def test_its_sandbox_stops(dynamodb: Any, ports: MemoryPorts) -> None:
    session_id = written(dynamodb, Status.READY)
    sandbox_stopped(ports, f"{session_id}-2-1", "task", "gone")
    found = ports.store.load(session_id)
    assert found.session.status is Status.ASLEEP
    assert found.sandbox
    assert found.sandbox.status is SandboxStatus.STOPPED


def test_a_message_wakes_it(dynamodb: Any, ports: MemoryPorts) -> None:
    session_id = written(dynamodb, Status.ASLEEP)
    send_message(ports, "alice", session_id, SendMessage(prompt="more"), None)
    assert ports.machine.started == [(session_id, 3)]
    found = ports.store.load(session_id)
    assert (found.attempt.number, found.commands) == (3, {})
    # The one before is where it always was, and those before it are.
    assert rows(dynamodb, session_id, "ATTEMPT#") == ["ATTEMPT#0001", "ATTEMPT#0002"]
    assert ports.store.attempt(session_id, 2).status is AttemptStatus.COMPLETED
    assert "SESSION#COMMAND#2.clone.1" not in rows(dynamodb, session_id)


@pytest.mark.parametrize("status", STATUSES)
def test_it_is_deleted_whole(dynamodb: Any, ports: MemoryPorts, status: Status) -> None:
    session_id = written(dynamodb, status)
    delete_session(ports, "alice", session_id)
    assert rows(dynamodb, session_id) == []
    assert {"r1", "v1"} <= ports.sockets.gone
    assert ports.store.connection("v1") is None


def test_a_deletion_that_an_earlier_version_began_is_gone_on_with(
    dynamodb: Any, ports: MemoryPorts
) -> None:
    session_id = written(dynamodb, Status.DELETING)
    key = {"pk": {"S": f"SESSION#{session_id}"}, "sk": {"S": "ATTEMPT#0002"}}
    dynamodb.delete_item(TableName="headstart", Key=key)
    ports.clock.advance(minutes=1)
    assert sweep(ports) == 1
    assert rows(dynamodb, session_id) == []


def test_a_session_without_its_attempt_is_none(dynamodb: Any, ports: MemoryPorts) -> None:
    session_id = written(dynamodb, Status.READY)
    key = {"pk": {"S": f"SESSION#{session_id}"}, "sk": {"S": "ATTEMPT#0002"}}
    dynamodb.delete_item(TableName="headstart", Key=key)
    made = calls(dynamodb)
    with pytest.raises(Exception, match="No such session"):
        ports.store.load(session_id)
    assert len(made) <= 3


def test_the_layout_that_is_tested_is_the_one_before(dynamodb: Any) -> None:
    session_id = written(dynamodb, Status.RUNNING)
    items = dynamodb.query(TableName="headstart", **layout.query(session_id))["Items"]
    [session] = items
    assert "layout" not in session
    assert "hot" not in session
