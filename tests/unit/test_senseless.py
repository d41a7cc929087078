"""What can't be understood costs itself and nothing else, and is never repeated for ever."""

import json
import logging
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.change import Change
from headstart.domain.errors import ChangeRefused
from headstart.domain.intake import MAX_DEPTH, parse
from headstart.domain.life import reporting
from headstart.domain.message import Input
from headstart.domain.session import Session, Status
from headstart.domain.steps import StepName
from headstart.usecases.inbox import receive
from tests.unit.helpers import (
    Runner,
    another,
    begin,
    connected,
    created,
    running,
    turn_ended,
    types,
)

SECRET = "hunter2hunter2"


@pytest.fixture
def work(ports: MemoryPorts) -> tuple[Session, Runner]:
    """Return a session at work, with its runner."""
    session_id = created(ports)
    return ports.store.session(session_id), running(ports, session_id)


def turn_of(ports: MemoryPorts, session_id: str) -> str:
    turn = ports.store.session(session_id).active_turn
    assert turn
    return turn.turn_id


def said(turn_id: str, **data: Any) -> dict[str, Any]:
    return {"type": "agent.event", "turnId": turn_id, "data": {"kind": "text", **data}}


def answer(runner: Runner) -> dict[str, Any]:
    return runner.frames()[-1]


def dropped(ports: MemoryPorts, name: str = "EventsDropped") -> int:
    return sum(value for known, value, _ in ports.metrics.measured if known == name)


@pytest.mark.parametrize(
    "strange",
    [
        {"type": "agent.thought", "turnId": "t", "text": "of a newer runner"},
        {"type": "progress", "commandId": "1.disk.1", "message": "m", "elapsedMs": "soon"},
        {"type": "agent.delta", "turnId": "t", "partId": "p", "offset": "far", "text": "x"},
        {"type": "input.resolved", "turnId": "t", "requestId": "r" * 1020, "outcome": "answered"},
        {"turnId": "t"}, "text", None, 7, [],
    ],
    ids=str,
)  # fmt: skip
def test_one_event_that_is_not_understood_costs_no_other(
    ports: MemoryPorts, work: tuple[Session, Runner], strange: object
) -> None:
    session, runner = work
    turn_id = turn_of(ports, session.session_id)
    runner.seq += 1
    events = [said(turn_id, text="a"), strange, said(turn_id, text="b")]
    runner.send("report", seq=runner.seq, events=events, results=[])
    assert answer(runner) == {"type": "ack", "seq": runner.seq, "accepted": True}
    log = ports.store.event_log[session.session_id]
    assert [e.data["text"] for e in log if e.type == "agent.event"] == ["a", "b"]
    assert dropped(ports) == 1


def test_an_end_without_sense_is_a_failed_end(
    ports: MemoryPorts, work: tuple[Session, Runner]
) -> None:
    session, runner = work
    runner.report(turn_ended(ports, session.session_id, usage="a lot"))
    [failed] = [e for e in ports.store.event_log[session.session_id] if e.type == "turn.failed"]
    assert failed.data["code"] == "InternalStepError"
    assert ports.store.session(session.session_id).status is Status.READY


def test_a_result_without_sense_is_a_failed_result(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    waiting = begin(ports, session_id, StepName.DISK)
    runner.report(results=[{"commandId": "1.disk.1", "status": "splendid"}])
    assert ports.machine.answers[waiting] == "InternalStepError"
    assert answer(runner)["accepted"] is True


@pytest.mark.parametrize("result", [{"commandId": "x" * 2000, "status": "completed"}, {}, 3])
def test_a_result_of_nothing_is_dropped(ports: MemoryPorts, result: Any) -> None:
    runner = connected(ports, created(ports))
    runner.report(results=[result])
    assert answer(runner)["accepted"] is True
    assert dropped(ports) == 1


@pytest.mark.parametrize("body", [{"events": "none"}, {"results": {}}, {"events": None}], ids=str)
def test_a_batch_that_can_not_be_read_is_dropped_once(
    ports: MemoryPorts, body: dict[str, Any]
) -> None:
    runner = connected(ports, created(ports))
    runner.send("report", seq=3, **body)
    assert answer(runner) == {"type": "ack", "seq": 3, "accepted": False}
    assert dropped(ports, "BatchesDropped") == 1


def test_over_an_older_connection_it_is_not_even_dropped(ports: MemoryPorts) -> None:
    runner = connected(ports, created(ports))
    another(runner, "r2").hello()
    ports.sockets.gone.discard("r1")
    runner.new_frames()
    runner.send("report", seq=3, events="none")
    assert runner.new_frames() == []
    assert "r1" in ports.sockets.gone


@pytest.mark.parametrize("seq", ["1", True, None, 1.5, 2**63])
def test_a_batch_without_a_number_is_a_bad_frame(ports: MemoryPorts, seq: object) -> None:
    runner = connected(ports, created(ports))
    runner.send("report", seq=seq, events=[], results=[])
    assert answer(runner)["code"] == "BadFrame"


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "[" * 30_000,
        '{"action":' * 6000,
        "9" * 200_000,
        '{"action":"heartbeat"}x',
        '{"action":["report"]}',
    ],
    ids=["words", "brackets", "objects", "digits", "more", "a list"],
)
def test_what_is_no_frame_is_answered(ports: MemoryPorts, text: str) -> None:
    runner = connected(ports, created(ports))
    receive(ports, "r1", text)
    assert answer(runner)["code"] == "BadFrame"


def nested(depth: int) -> Any:
    value: Any = "deep"
    for level in range(depth):
        value = {"in": value} if level % 2 else [value]
    return value


@pytest.mark.parametrize("depth", [60, 254, 900])
def test_what_lies_too_deep_is_kept_up_to_there(
    ports: MemoryPorts, work: tuple[Session, Runner], depth: int
) -> None:
    session, runner = work
    runner.report(said(turn_of(ports, session.session_id), input=nested(depth), text="a"))
    assert answer(runner)["accepted"] is True
    [event] = [e for e in ports.store.event_log[session.session_id] if e.type == "agent.event"]
    assert event.data["text"] == "a"
    assert json.dumps(event.to_json()).count("[") < MAX_DEPTH


def test_what_nobody_could_read_back_is_replaced() -> None:
    text = (
        '{"a": "\\ud800x", "\\udc00": 1, "n": NaN, "i": 1e999, "big": '
        + "9" * 400
        + ', "ok": [1.5, true]}'
    )
    assert parse(text) == {"a": "?x", "?": 1, "n": None, "i": None, "big": None, "ok": [1.5, True]}


def test_half_a_character_reaches_viewers_as_a_mark(
    ports: MemoryPorts, work: tuple[Session, Runner]
) -> None:
    session, runner = work
    runner.report(said(turn_of(ports, session.session_id), text="\ud800"))
    assert answer(runner)["accepted"] is True
    [event] = [e for e in ports.store.event_log[session.session_id] if e.type == "agent.event"]
    assert event.data["text"] == "?"


def asked(turn_id: str, number: int) -> list[dict[str, Any]]:
    name = {"turnId": turn_id, "requestId": f"r{number}"}
    return [
        {"type": "input.requested", "kind": "permission", "body": {}, **name},
        {"type": "input.resolved", "outcome": "answered", **name},
    ]


def test_a_batch_of_too_many_rows_loses_what_does_not_fit_and_never_an_end(
    ports: MemoryPorts, work: tuple[Session, Runner]
) -> None:
    session, runner = work
    turn_id = turn_of(ports, session.session_id)
    events = [said(turn_id, text="first")]
    events += [event for number in range(101) for event in asked(turn_id, number)]
    runner.report(*events, turn_ended(ports, session.session_id))
    assert answer(runner) == {"type": "ack", "seq": runner.seq, "accepted": True}
    seen = types(ports, session.session_id)
    assert seen.count("agent.event") == 1
    assert 30 < seen.count("input.requested") < 101
    assert seen[-1] == "turn.completed"
    assert dropped(ports) > 0
    assert ports.store.session(session.session_id).status is Status.READY


def test_a_batch_that_is_too_large_loses_what_is_in_the_way_and_never_a_result(
    ports: MemoryPorts, work: tuple[Session, Runner], monkeypatch: pytest.MonkeyPatch
) -> None:
    session, runner = work
    turn_id = turn_of(ports, session.session_id)
    runner.report(turn_ended(ports, session.session_id))
    commit = ports.store.commit

    def refuses(work: Change) -> None:
        if any(isinstance(row, Input) for row in work.rows) or work.persisted_events:
            raise ChangeRefused("too large")
        commit(work)

    [copy] = [f["id"] for f in runner.frames() if f.get("kind") == "archive"]
    monkeypatch.setattr(ports.store, "commit", refuses)
    failed = {"code": "ArchiveFailed", "reason": "no disk"}
    runner.report(
        *asked(turn_id, 1), results=[{"commandId": copy, "status": "failed", "error": failed}]
    )
    row = ports.store.command(session.session_id, copy)
    assert row
    assert row.answered
    assert answer(runner)["accepted"] is True


def breaking(ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    def breaks(*_: object) -> None:
        raise TypeError(f"a defect about {SECRET}")

    monkeypatch.setattr(reporting, method, breaks)


def test_whatever_fails_for_good_is_dropped_once_and_told(
    ports: MemoryPorts,
    work: tuple[Session, Runner],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    session, runner = work
    breaking(ports, monkeypatch, "_take_result")
    with caplog.at_level(logging.INFO):
        runner.complete("1.disk.1")
    assert answer(runner) == {"type": "ack", "seq": runner.seq, "accepted": False}
    assert dropped(ports, "BatchesDropped") == 1
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.__dict__["error"] == "TypeError"
    assert SECRET not in str(record.__dict__)
    assert ports.store.session(session.session_id).status is Status.RUNNING


def test_an_event_that_breaks_us_costs_no_result(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    waiting = begin(ports, session_id, StepName.DISK)
    breaking(ports, monkeypatch, "_take_event")
    runner.report(
        {"type": "progress", "commandId": "1.disk.1", "message": "m", "elapsedMs": 1},
        results=[{"commandId": "1.disk.1", "status": "completed"}],
    )
    assert ports.machine.answers[waiting] == "ok"
    assert answer(runner)["accepted"] is True
