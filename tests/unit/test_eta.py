"""How long a step will take: remembered by repository, shown in progress and in the receipt."""

import json

from headstart.adapters.memory import MemoryPorts
from headstart.domain.steps import StepName
from headstart.usecases.inbox import receive
from headstart.usecases.read import stream_ticket
from headstart.usecases.watch import connect_viewer
from tests.unit.helpers import Runner, begin, created, prepared_up_to, running

URL = "https://github.com/org/name.git"


def watch(ports: MemoryPorts, session_id: str) -> None:
    ticket = stream_ticket(ports, "alice", session_id)["ticket"]
    connect_viewer(ports, "v1", ticket)
    receive(ports, "v1", '{"action":"subscribe","after":0}')


def progress(ports: MemoryPorts) -> list[dict[str, object]]:
    frames = [json.loads(text) for text in ports.sockets.sent["v1"]]
    found = [e for frame in frames for e in frame.get("events", [])]
    return [e["data"] for e in found if e["type"] == "preparing"]


def cloning(ports: MemoryPorts) -> Runner:
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, StepName.CLONE)
    watch(ports, session_id)
    begin(ports, session_id, StepName.CLONE)
    return runner


def test_what_steps_took_is_remembered(ports: MemoryPorts) -> None:
    session_id = created(ports)
    running(ports, session_id)
    assert {"sandbox", "disk", "clone", "deliver"} <= set(
        ports.store.prepared_before("alice", URL, None)[0]
    )


def test_what_one_user_did_tells_another_nothing(ports: MemoryPorts) -> None:
    running(ports, created(ports))
    assert ports.store.prepared_before("bob", URL, None)[0] == {}


def test_a_step_seen_before_has_an_eta_and_one_never_seen_has_none(ports: MemoryPorts) -> None:
    ports.store.remember_durations("alice", URL, {"clone": 10_000})
    runner = cloning(ports)
    ports.clock.advance(seconds=4)
    report = {"type": "progress", "commandId": "1.clone.1", "message": "m", "elapsedMs": 1}
    runner.report(report)
    assert [p.get("etaMs") for p in progress(ports)] == [10_000, 6_000]
    ports.store.known_durations.clear()


def test_a_step_slower_than_usual_says_so(ports: MemoryPorts) -> None:
    ports.store.remember_durations("alice", URL, {"clone": 1_000})
    runner = cloning(ports)
    report = {"type": "progress", "commandId": "1.clone.1", "message": "m", "elapsedMs": 1}
    for seconds in (2, 3):
        ports.clock.advance(seconds=seconds)
        runner.report(report)
    assert [p.get("message") for p in progress(ports)][1:] == ["m", "m (slower than usual)"]


def test_the_receipt_tells_bytes_and_price(ports: MemoryPorts) -> None:
    ports.policy.sandbox_dollars_per_hour = 3.6
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, StepName.CLONE)
    begin(ports, session_id, StepName.CLONE)
    runner.complete("1.clone.1", bytes=1234, cached=False)
    ports.clock.advance(seconds=10)
    for step in (StepName.BRANCH, StepName.RESTORE, StepName.AGENT):
        begin(ports, session_id, step)
        runner.complete(f"1.{step.value}.1")
    begin(ports, session_id, StepName.SETUP)
    begin(ports, session_id, StepName.DELIVER)
    runner.complete(f"{ports.store.message(session_id, 1).message_id}.prompt.1")
    ready = next(e for e in ports.store.event_log[session_id] if e.type == "session.ready")
    receipt = ready.data["receipt"]
    assert (receipt["clonedBytes"], receipt["cached"]) == (1234, False)
    assert receipt["estimatedDollars"] == 0.01


def set_up(ports: MemoryPorts, seconds: int, *commands: str) -> int | None:
    """Run a setup that takes so long; returns how long it was expected to take."""
    session_id = created(ports, setupCommands=[*commands])
    runner = prepared_up_to(ports, session_id, StepName.SETUP)
    begin(ports, session_id, StepName.SETUP)
    told = ports.store.load(session_id).attempt.expected.get("setup")
    ports.clock.advance(seconds=seconds)
    runner.complete("1.setup.1", commands=len(commands))
    begin(ports, session_id, StepName.AGENT)
    runner.complete("1.agent.1")
    begin(ports, session_id, StepName.DELIVER)
    runner.complete(f"{ports.store.message(session_id, 1).message_id}.prompt.1")
    return told


def test_nothing_is_known_of_a_setup_of_other_commands(ports: MemoryPorts) -> None:
    assert set_up(ports, 4, "true") is None
    assert set_up(ports, 4, "true") == 4_000
    assert set_up(ports, 60, "npm ci") is None
    assert set_up(ports, 60, "npm ci") == 60_000


def test_a_time_that_was_kept_of_any_setup_is_not_taken_for_one(ports: MemoryPorts) -> None:
    ports.store.remember_durations("alice", URL, {"setup": 4_000, "clone": 1_000})
    assert set_up(ports, 4, "true") is None
