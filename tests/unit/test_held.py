"""A message that was sent is delivered by itself, or somebody is told that it waits."""

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.message import MessageStatus
from headstart.domain.requests import PatchSession
from headstart.domain.session import Cause, Hold, Status
from headstart.domain.steps import StepName
from headstart.usecases import talk
from headstart.usecases.janitor import sweep
from headstart.usecases.sandbox import sandbox_stopped
from headstart.usecases.watch import disconnect
from tests.unit.archives import save
from tests.unit.helpers import Runner, another, begin, created, running, turn_ended
from tests.unit.test_sleep import falling, idle, say


def held(ports: MemoryPorts, session_id: str) -> list[str]:
    """Return the messages of which it was told that they wait."""
    log = ports.store.event_log[session_id]
    return [event.data["messageId"] for event in log if event.type == "message.held"]


def is_held(ports: MemoryPorts, session_id: str, number: int) -> bool:
    """Say whether a message waits for a person, who was told so once."""
    message = ports.store.message(session_id, number)
    told = held(ports, session_id).count(message.message_id)
    assert told <= 1
    return message.status is MessageStatus.HELD and told == 1


def busy(ports: MemoryPorts) -> tuple[str, Runner]:
    """Return a session at work, with another message behind."""
    session_id = created(ports)
    runner = running(ports, session_id)
    say(ports, session_id)
    return session_id, runner


@pytest.mark.parametrize("noticed", ["by its event", "by the janitor", "by silence"])
def test_what_was_sent_before_a_death_was_noticed_goes_to_the_next_sandbox(
    ports: MemoryPorts, noticed: str
) -> None:
    session_id, _ = busy(ports)
    if noticed == "by its event":
        sandbox_stopped(ports, f"{session_id}-1-1", "task", "exit code 137")
    else:
        if noticed == "by the janitor":
            ports.sandboxes.alive.clear()
        ports.clock.advance(minutes=6)
        sweep(ports)
    session = ports.store.session(session_id)
    assert (session.status, session.attempt_cause) == (Status.PREPARING, Cause.WAKE)
    assert ports.store.message(session_id, 2).status is MessageStatus.QUEUED
    assert ports.machine.started[-1] == (session_id, 2)
    assert held(ports, session_id) == []


def test_what_was_sent_before_a_sandbox_had_to_stop_goes_to_the_next(ports: MemoryPorts) -> None:
    session_id, runner = busy(ports)
    error = {"code": "SandboxStopped", "reason": "The sandbox had to stop"}
    runner.report(turn_ended(ports, session_id, error))
    runner.send("leaving", delivering=[])
    save(ports, runner)
    assert ports.store.session(session_id).status is Status.PREPARING
    assert ports.store.message(session_id, 2).status is MessageStatus.QUEUED


@pytest.mark.parametrize("code", ["ProviderUnavailable", "AgentCrashed"])
def test_what_waits_behind_the_failure_of_an_agent_says_so(ports: MemoryPorts, code: str) -> None:
    session_id, runner = busy(ports)
    runner.report(turn_ended(ports, session_id, {"code": code, "reason": "overloaded"}))
    assert ports.store.session(session_id).hold is Hold.PAUSED
    assert is_held(ports, session_id, 2)
    say(ports, session_id)
    assert ports.store.message(session_id, 2).status is MessageStatus.DELIVERING


@pytest.mark.parametrize("interrupted", [True, False])
def test_what_waits_behind_a_stopped_turn_says_so_when_that_is_over(
    ports: MemoryPorts, interrupted: bool
) -> None:
    session_id, runner = busy(ports)
    talk.interrupt(ports, "alice", session_id)
    assert held(ports, session_id) == []
    runner.report(turn_ended(ports, session_id, interrupted=interrupted))
    assert is_held(ports, session_id, 2)
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "gone")
    assert ports.store.session(session_id).status is Status.ASLEEP
    assert is_held(ports, session_id, 2)


def test_what_came_back_after_an_interrupt_says_that_it_waits(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    say(ports, session_id)
    prompt = [frame["id"] for frame in runner.frames() if frame.get("kind") == "prompt"][-1]
    talk.interrupt(ports, "alice", session_id)
    runner.fail(prompt, "SandboxLeaving")
    assert is_held(ports, session_id, 2)


def test_what_would_have_woken_a_session_says_that_it_waits_once_that_is_cancelled(
    ports: MemoryPorts,
) -> None:
    session_id, runner = falling(ports)
    save(ports, runner)
    say(ports, session_id)
    begin(ports, session_id, StepName.SANDBOX, 2)
    talk.interrupt(ports, "alice", session_id)
    assert ports.store.session(session_id).status is Status.ASLEEP
    assert is_held(ports, session_id, 2)
    talk.initiate(ports, "alice", session_id)
    assert ports.store.session(session_id).status is Status.PREPARING


def test_what_an_earlier_version_left_waiting_says_so_at_the_next_look(ports: MemoryPorts) -> None:
    session_id, _ = busy(ports)
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "gone")
    found = ports.store.sets[session_id]
    found.session.status, found.session.hold = Status.ASLEEP, Hold.PAUSED
    found.session.due_at = ports.clock()
    sweep(ports)
    assert is_held(ports, session_id, 2)


def test_a_message_that_a_person_holds_before_it_is_sent_says_so(ports: MemoryPorts) -> None:
    session_id = created(ports)
    hold, release = PatchSession(auto_initiate=False), PatchSession(auto_initiate=True)
    for _ in range(2):
        talk.patch_session(ports, "alice", session_id, hold)
        assert is_held(ports, session_id, 1)
    talk.patch_session(ports, "alice", session_id, release)
    assert ports.store.message(session_id, 1).status is MessageStatus.QUEUED


@pytest.mark.parametrize("returns", [True, False])
def test_a_message_that_came_while_the_runner_was_away_is_not_lost_from_sight(
    ports: MemoryPorts, returns: bool
) -> None:
    session_id, runner = idle(ports)
    disconnect(ports, "r1")
    say(ports, session_id)
    if returns:
        again = another(runner, "r2")
        again.hello()
        kinds = [frame.get("kind") for frame in again.frames()]
        assert kinds.count("prompt") == 1
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "exit code 137")
    session = ports.store.session(session_id)
    if returns:
        assert ports.store.message(session_id, 2).status is MessageStatus.HELD
        assert session.hold is Hold.INITIATE
    else:
        assert session.hold is None
        assert ports.store.message(session_id, 2).status is MessageStatus.QUEUED
        assert (session.status, session.attempt_cause) == (Status.PREPARING, Cause.WAKE)


def test_a_delivery_that_a_heartbeat_had_repeated_is_of_unknown_fate_again(
    ports: MemoryPorts,
) -> None:
    session_id, runner = idle(ports)
    ports.sockets.gone.add("r1")
    say(ports, session_id)
    ports.sockets.gone.clear()
    ports.clock.advance(minutes=1)
    assert [frame.get("kind") for frame in runner.beat()].count("prompt") == 1
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "exit code 137")
    assert ports.store.message(session_id, 2).status is MessageStatus.HELD
    assert ports.store.session(session_id).hold is Hold.INITIATE
