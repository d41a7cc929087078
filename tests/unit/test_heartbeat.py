"""What a heartbeat says is compared with what should be: tasks, turns, prompts and viewers."""

import json
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import ServiceUnavailable, StepTimedOut
from headstart.domain.message import MessageStatus
from headstart.domain.requests import RetrySession
from headstart.domain.session import Session, Status
from headstart.domain.steps import HEARTBEAT_INTERVAL, STEP_BY_NAME, StepName
from headstart.usecases import talk
from headstart.usecases.inbox import receive
from headstart.usecases.janitor import sweep
from headstart.usecases.prepare import fail_preparation
from headstart.usecases.talk import initiate
from tests.unit.helpers import (
    Runner,
    begin,
    connected,
    created,
    prepared_up_to,
    running,
    turn_ended,
    types,
)
from tests.unit.test_lost_frames import losing
from tests.unit.test_sleep import idle, say
from tests.unit.test_viewers import SUBSCRIBE
from tests.unit.test_viewers import connected as watching


def turn_id(ports: MemoryPorts, session_id: str) -> str:
    turn = ports.store.session(session_id).active_turn
    assert turn
    return turn.turn_id


def later(ports: MemoryPorts, session_id: str, seconds: float) -> Session:
    """Let time pass and return the session as it then is."""
    ports.clock.advance(seconds=seconds)
    return ports.store.session(session_id)


# A turn that the runner does not have.


def test_a_turn_that_two_heartbeats_miss_is_lost_and_the_next_message_delivered(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    say(ports, session_id)
    lost = turn_id(ports, session_id)
    runner.beat()
    assert later(ports, session_id, 20).status is Status.RUNNING
    back = runner.beat()
    assert turn_id(ports, session_id) != lost
    [failed] = [e for e in ports.store.event_log[session_id] if e.type == "turn.failed"]
    assert (failed.turn_id, failed.data["code"]) == (lost, "TurnLost")
    assert ("TurnsLost", 1, {}) in ports.metrics.measured
    assert [frame.get("kind", frame["type"]) for frame in back] == ["archive", "prompt", "heard"]
    assert ports.store.message(session_id, 2).status is MessageStatus.DELIVERING


def test_a_lost_turn_that_was_to_go_on_goes_on(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    say(ports, session_id)
    talk.interrupt(ports, "alice", session_id)
    initiate(ports, "alice", session_id)
    runner.beat()
    later(ports, session_id, 20)
    runner.beat()
    assert ports.store.message(session_id, 2).status is MessageStatus.DELIVERING


@pytest.mark.parametrize("named", ["turn", "command"])
def test_a_turn_that_is_named_in_between_goes_on(ports: MemoryPorts, named: str) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    prompt = f"{ports.store.message(session_id, 1).message_id}.prompt.1"
    for _ in range(3):
        runner.beat()
        later(ports, session_id, 20)
        if named == "turn":
            runner.beat(turn=turn_id(ports, session_id))
        else:
            runner.beat(prompt)
        later(ports, session_id, 20)
    assert ports.store.session(session_id).status is Status.RUNNING
    runner.beat()
    later(ports, session_id, 20)
    runner.beat()
    assert ports.store.session(session_id).status is Status.READY


@pytest.mark.parametrize(
    "beat",
    [{"backlog": 1}, {"lastSeq": None}, {"lastSeq": 0}],
    ids=["not all is told", "of before", "from before the turn"],
)
def test_a_runner_that_may_still_tell_the_end_loses_nothing(
    ports: MemoryPorts, beat: dict[str, object]
) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    for _ in range(5):
        runner.beat(**beat)
        later(ports, session_id, 20)
    assert ports.store.session(session_id).status is Status.RUNNING


def test_what_is_not_told_yet_is_waited_for_between_two_misses(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    runner.beat()
    later(ports, session_id, 20)
    runner.beat(backlog=1)
    later(ports, session_id, 20)
    runner.beat()
    assert ports.store.session(session_id).status is Status.RUNNING


def test_two_heartbeats_that_are_served_together_are_one(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    runner.beat()
    later(ports, session_id, 9)
    runner.beat()
    assert ports.store.session(session_id).status is Status.RUNNING
    later(ports, session_id, 1)
    runner.beat()
    assert ports.store.session(session_id).status is Status.READY


def test_a_message_on_its_way_is_no_turn_to_miss(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    say(ports, session_id)
    for _ in range(4):
        runner.beat()
        later(ports, session_id, 20)
    message = ports.store.message(session_id, 2)
    assert message.status is MessageStatus.DELIVERING
    runner.complete(f"{message.message_id}.prompt.1")
    runner.beat()
    assert ports.store.session(session_id).status is Status.RUNNING, "it was missed once"


def test_the_end_of_a_lost_turn_that_comes_after_all_changes_nothing(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    end = turn_ended(ports, session_id)
    runner.beat()
    later(ports, session_id, 20)
    runner.beat()
    runner.report(end)
    assert types(ports, session_id).count("turn.completed") == 0
    assert runner.frames()[-1] == {"type": "ack", "seq": runner.seq, "accepted": True}


def test_a_turn_that_never_ends_ends_with_its_sandbox(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    end = ports.clock() + timedelta(hours=2, minutes=10)
    while ports.clock() < end:
        assert later(ports, session_id, 120).status is Status.RUNNING
        runner.beat(turn=turn_id(ports, session_id))
        sweep(ports)
    later(ports, session_id, 120)
    runner.beat(turn=turn_id(ports, session_id))
    sweep(ports)
    session = ports.store.session(session_id)
    assert (session.status, session.active_turn, session.hold) == (Status.ASLEEP, None, None)
    assert types(ports, session_id)[-2:] == ["turn.failed", "session.asleep"]
    assert ports.store.event_log[session_id][-2].data["code"] == "TurnLost"
    assert not ports.sandboxes.alive


# Prompts that nobody wants any more.


def test_a_prompt_whose_turn_is_over_is_cancelled(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    say(ports, session_id)
    [present] = [f["id"] for f in runner.new_frames() if f.get("kind") == "prompt"][-1:]
    first = f"{ports.store.message(session_id, 1).message_id}.prompt.1"
    assert [f for f in runner.beat(first, present) if f["type"] == "cancel"] == [
        {"type": "cancel", "id": first}
    ]


def test_an_earlier_try_of_the_same_message_is_cancelled(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, StepName.DELIVER)
    begin(ports, session_id, StepName.DELIVER)
    message_id = ports.store.message(session_id, 1).message_id
    runner.fail(f"{message_id}.prompt.1", "DeliveryUnknown")
    initiate(ports, "alice", session_id)
    begin(ports, session_id, StepName.DELIVER, number=2)
    sent = runner.beat(f"{message_id}.prompt.1", f"{message_id}.prompt.2")
    assert sent[0] == {"type": "cancel", "id": f"{message_id}.prompt.1"}
    assert len(sent) == 2


def test_a_step_of_an_earlier_attempt_in_the_same_sandbox_is_cancelled(ports: MemoryPorts) -> None:
    session_id = created(ports, setupCommands=["x"])
    runner = prepared_up_to(ports, session_id, StepName.SETUP)
    begin(ports, session_id, StepName.SETUP)
    fail_preparation(ports, session_id, 1, StepTimedOut("too slow"))
    talk.retry(ports, "alice", session_id, RetrySession(attempt_number=1))
    begin(ports, session_id, StepName.SANDBOX, 2)
    begin(ports, session_id, StepName.SETUP, 2)
    sent = runner.beat("1.setup.1", "2.setup.1")
    assert [frame for frame in sent if frame["type"] == "cancel"] == [
        {"type": "cancel", "id": "1.setup.1"}
    ]


def test_a_turn_of_before_knows_its_command_by_the_message(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    turn = ports.store.sessions[session_id].active_turn
    assert turn
    turn.command_id = ""
    assert [f["type"] for f in runner.beat(f"{turn.message_id}.prompt.1")] == ["heard"]


@pytest.mark.parametrize(
    "name", ["9" * 5000 + ".disk.1", "².disk.1", "", ".", "1.disk", "x" * 4000]
)
def test_ids_without_sense_are_no_commands(ports: MemoryPorts, name: str) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    assert [f["type"] for f in runner.beat(name)] == ["heard"]


# Tasks that wait.

MOMENTS = 5 * HEARTBEAT_INTERVAL


def beats(ports: MemoryPorts, runner: Runner, phase: int, missing: int | None) -> list[datetime]:
    """Let a runner whose first frame is lost beat each 20 s, but for one; return when it counted.

    It begins what reaches it, and says so.
    """
    counted = []
    has: set[str] = set()
    for second in range(1, MOMENTS):
        ports.clock.advance(seconds=1)
        if (second - phase) % HEARTBEAT_INTERVAL or second == missing:
            continue
        before = len(ports.machine.beats)
        for frame in runner.beat(*has):
            has |= {frame["id"]} if frame["type"] == "command" else set()
        if len(ports.machine.beats) > before:
            counted.append(ports.clock())
    return counted


@pytest.mark.parametrize("phase", range(HEARTBEAT_INTERVAL))
@pytest.mark.parametrize("missed", [None, 0, 1, 2])
def test_a_command_whose_frame_is_lost_is_begun_before_its_state_gives_up(
    ports: MemoryPorts, phase: int, missed: int | None
) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    start = ports.clock()
    with losing(ports, "disk"):
        begin(ports, session_id, StepName.DISK)
    missing = None if missed is None else phase + missed * HEARTBEAT_INTERVAL
    moments = [start, *beats(ports, runner, phase, missing)]
    gaps = [after - before for before, after in pairwise(moments)]
    limit = STEP_BY_NAME[StepName.DISK].heartbeat
    assert limit
    # What is left is for the state to begin, for its function to start, and for slow calls.
    assert max(gaps) <= timedelta(seconds=limit - 10)
    assert len(moments) >= 4


def test_a_command_that_the_runner_never_begins_is_given_up(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    begin(ports, session_id, StepName.DISK)
    for _ in range(10):
        ports.clock.advance(seconds=20)
        runner.beat()
    assert len(ports.machine.beats) == 2, "else its state would wait to the end of its time"


# Viewers.


def test_each_heartbeat_is_answered_with_who_really_watches(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    assert runner.frames()[0]["answersHeartbeats"] is True
    assert runner.beat(viewers=7) == [{"type": "heard", "viewers": 0}]
    for name in ("v1", "v2"):
        watching(ports, session_id, name)
        receive(ports, name, SUBSCRIBE)
    watching(ports, session_id, "opening")
    assert runner.beat()[-1] == {"type": "heard", "viewers": 2}
    ports.clock.advance(hours=4)
    assert runner.beat()[-1] == {"type": "heard", "viewers": 0}


def test_the_answer_comes_even_where_what_is_repeated_can_not_be_sent(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    with losing(ports, "disk"):
        begin(ports, session_id, StepName.DISK)
        ports.clock.advance(seconds=20)
        assert runner.beat() == [{"type": "heard", "viewers": 0}]


def test_the_heartbeat_of_a_session_that_is_being_deleted_ends_its_connection(
    ports: MemoryPorts,
) -> None:
    session_id, runner = idle(ports)
    say(ports, session_id)
    ports.clock.advance(seconds=20)
    ports.store.sessions[session_id].status = Status.DELETING
    assert runner.beat() == []
    assert "r1" in ports.sockets.gone


def test_an_old_heartbeat_is_borne(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    for _ in range(4):
        receive(ports, "r1", json.dumps({"action": "heartbeat", "running": []}))
        ports.clock.advance(seconds=20)
    assert ports.store.session(session_id).status is Status.RUNNING
    assert runner.frames()[-1]["type"] == "heard"


def test_a_frame_that_can_not_be_sent_is_no_reason_to_fail(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)

    def down(*_: object) -> None:
        raise ServiceUnavailable("PostToConnection")

    ports.sockets.post = down  # type: ignore[method-assign]
    runner.send("heartbeat", running=[])
    assert ("PostsFailed", 1, {"Role": "runner"}) in ports.metrics.measured
