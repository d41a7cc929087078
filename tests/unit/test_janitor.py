"""The janitor gets to everybody: whatever one session does, and however many there are."""

import random
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.change import Change
from headstart.domain.errors import ServiceUnavailable, SessionNotFound
from headstart.domain.life import hosting, settling
from headstart.domain.policy import DUE_SHARDS
from headstart.domain.requests import SendMessage
from headstart.domain.sandbox import SandboxStatus
from headstart.domain.session import Status
from headstart.domain.steps import StepName
from headstart.usecases import janitor, talk
from headstart.usecases.delete import delete_session
from headstart.usecases.janitor import ORPHANS_TIME, SWEEP_TIME, run, stop_orphans, sweep
from headstart.usecases.ports import StartedSandbox
from headstart_local.packaging import read_template
from tests.unit.helpers import Runner, begin, connected, created, running

ROOT = Path(__file__).parents[2]


def errors(ports: MemoryPorts) -> int:
    return sum(name == "JanitorErrors" for name, *_ in ports.metrics.measured)


def due(ports: MemoryPorts, count: int) -> list[str]:
    """Return sessions whose start the janitor has to look at, oldest first."""
    ports.policy.active_sessions = 1000
    ids = []
    for _ in range(count):
        ids.append(created(ports))
        ports.clock.advance(milliseconds=1)
    ports.machine.started.clear()
    ports.clock.advance(minutes=1)
    return ids


def looked_at(ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch, seconds: float = 0) -> list[str]:
    """Return the ids that are looked at, each look taking that long."""
    seen: list[str] = []
    look_after = janitor.look_after

    def note(ports: MemoryPorts, session_id: str, until: datetime) -> None:
        seen.append(session_id)
        ports.clock.advance(seconds=seconds)
        look_after(ports, session_id, until)

    monkeypatch.setattr(janitor, "look_after", note)
    return seen


@pytest.mark.parametrize("error", [ServiceUnavailable(), KeyError("a defect"), SessionNotFound()])
def test_sessions_that_can_not_be_handled_starve_nobody(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    ids = due(ports, 60)
    start_again = settling.start_again

    def refuse_most(change: Change) -> None:
        if change.session.session_id in ids[:55]:
            raise error
        start_again(change)

    monkeypatch.setattr(settling, "start_again", refuse_most)
    assert sweep(ports) == 60
    assert [session_id for session_id, _ in ports.machine.started] == ids[55:]
    assert errors(ports) == (0 if isinstance(error, SessionNotFound) else 55)
    now = ports.clock()
    assert {ports.store.session(i).due_at for i in ids[:55]} == {now + timedelta(minutes=1)}


def test_those_that_can_not_even_be_put_off_are_passed(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = due(ports, 60)
    load = ports.store.load

    def unreadable(session_id: str) -> object:
        if session_id in ids[:55]:
            raise ValueError("not a session")
        return load(session_id)

    monkeypatch.setattr(ports.store, "load", unreadable)
    sweep(ports)
    assert [session_id for session_id, _ in ports.machine.started] == ids[55:]


def test_a_deletion_that_fails_is_put_off_too(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = created(ports)
    monkeypatch.setattr(ports.machine, "down", ServiceUnavailable())
    with pytest.raises(ServiceUnavailable):
        delete_session(ports, "alice", session_id)
    sweep(ports)
    session = ports.store.session(session_id)
    assert session.status is Status.DELETING
    assert session.due_at == ports.clock() + timedelta(minutes=1)
    monkeypatch.undo()
    ports.clock.advance(minutes=1)
    sweep(ports)
    assert ports.store.sessions == {}


def test_a_sweep_ends_in_time(ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch) -> None:
    due(ports, 60)
    seen = looked_at(ports, monkeypatch, seconds=1)
    began = ports.clock()
    assert sweep(ports) == len(seen) == 30
    assert ports.clock() - began == SWEEP_TIME


def test_one_shard_is_not_always_the_last(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(ports.store, "due", lambda shard, now, limit: asked.append(shard) or [])
    for _ in range(50):
        sweep(ports)
    rounds = [asked[at : at + DUE_SHARDS] for at in range(0, len(asked), DUE_SHARDS)]
    assert all(sorted(shards) == list(range(DUE_SHARDS)) for shards in rounds)
    assert len({tuple(shards) for shards in rounds}) > 1


def test_a_shard_that_can_not_be_asked_hides_no_other(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    [session_id] = due(ports, 1)

    def all_but_one(shard: int, now: datetime, limit: int) -> list[str]:
        if shard == 0:
            raise ServiceUnavailable()
        return [session_id] if shard == 7 else []

    monkeypatch.setattr(ports.store, "due", all_but_one)
    with pytest.raises(ServiceUnavailable):
        sweep(ports)
    assert ports.machine.started == [(session_id, 1)]


def task(ports: MemoryPorts, name: str) -> StartedSandbox:
    ports.sandboxes.alive.add(f"task:{name}")
    return StartedSandbox(handle=f"task:{name}", name=name, started_at=ports.clock())


def test_a_task_that_can_not_be_stopped_leaves_no_other_running(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports.sandboxes.listed = [task(ports, f"ses_{number}-1-1") for number in range(3)]
    stop = ports.sandboxes.stop

    def refuse_one(handle: str, reason: str) -> None:
        if handle == "task:ses_1-1-1":
            raise RuntimeError
        stop(handle, reason)

    monkeypatch.setattr(ports.sandboxes, "stop", refuse_one)
    ports.clock.advance(minutes=6)
    assert stop_orphans(ports) == 2
    assert ports.sandboxes.alive == {"task:ses_1-1-1"}
    assert errors(ports) == 1


def test_tasks_that_can_not_be_listed_hold_up_no_session_and_are_heard_of(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    [session_id] = due(ports, 1)
    assert run(ports) == {"orphansStopped": 0, "lookedAt": 1, "sentCallbacks": 0}
    ports.machine.started.clear()
    ports.clock.advance(minutes=1)

    def refuse() -> list[StartedSandbox]:
        raise ServiceUnavailable()

    monkeypatch.setattr(ports.sandboxes, "started", refuse)
    with pytest.raises(ServiceUnavailable):
        run(ports)
    assert ports.machine.started == [(session_id, 1)]


def test_looking_for_orphans_ends_in_time_and_leaves_others_the_next_time(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    random.seed(0)
    tasks = [task(ports, f"ses_{number}-1-1") for number in range(40)]
    ports.sandboxes.listed = tasks
    ports.clock.advance(minutes=6)
    asked: list[str] = []

    def slow(handle: str, reason: str) -> None:
        asked.append(handle)
        ports.clock.advance(seconds=1)

    monkeypatch.setattr(ports.sandboxes, "stop", slow)
    assert stop_orphans(ports) == ORPHANS_TIME.seconds
    stop_orphans(ports)
    assert len(set(asked)) > ORPHANS_TIME.seconds


def test_a_run_has_time_to_end_before_its_function_does() -> None:
    function = read_template(ROOT / "template.yaml")["Resources"]["JanitorFunction"]
    left = function["Properties"]["Timeout"] - (SWEEP_TIME + ORPHANS_TIME).seconds
    assert left >= 15


# Whose task is whose.


def without_a_handle(ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Return a session and the task of its accepted runner, which nobody wrote down."""
    session_id = created(ports)

    def fail(*_: object, **__: object) -> None:
        raise ServiceUnavailable()

    with monkeypatch.context() as patch:
        patch.setattr(hosting, "remember", fail)
        with pytest.raises(ServiceUnavailable):
            begin(ports, session_id, StepName.SANDBOX)
    runner = Runner(ports, session_id)
    runner.connect()
    runner.hello()
    begin(ports, session_id, StepName.SANDBOX, number=2)
    row = ports.store.sandbox(session_id)
    assert row
    assert (row.status, row.task_arn) == (SandboxStatus.CONNECTED, None)
    name = row.name(session_id)
    ports.sandboxes.listed = [task(ports, name)]
    return session_id, f"task:{name}"


@pytest.mark.parametrize("minutes", [1, 6])
def test_an_accepted_task_that_was_not_written_down_is_kept_and_known_from_then_on(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    session_id, handle = without_a_handle(ports, monkeypatch)
    ports.clock.advance(minutes=minutes)
    assert stop_orphans(ports) == 0
    row = ports.store.sandbox(session_id)
    assert row
    assert row.task_arn == handle
    delete_session(ports, "alice", session_id)
    assert handle not in ports.sandboxes.alive


def test_one_whose_session_was_deleted_is_nobodys(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, handle = without_a_handle(ports, monkeypatch)
    delete_session(ports, "alice", session_id)
    ports.clock.advance(minutes=6)
    assert stop_orphans(ports) == 1
    assert handle not in ports.sandboxes.alive


def test_a_task_of_an_earlier_try_is_not_taken_for_the_sessions_own(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    ports.sandboxes.listed = [task(ports, f"{session_id}-1-0")]
    ports.clock.advance(minutes=6)
    assert stop_orphans(ports) == 1
    row = ports.store.sandbox(session_id)
    assert row
    assert row.task_arn == f"task:{session_id}-1-1"


def write_and_withdraw(ports: MemoryPorts, session_id: str) -> None:
    message = SendMessage(prompt="are you there?")
    sent = talk.send_message(ports, "alice", session_id, message, None)
    talk.withdraw_message(ports, "alice", session_id, sent["messageId"])


@pytest.mark.parametrize("phase", ["in a turn", "in the preparation"])
def test_who_goes_on_writing_does_not_put_off_the_look_at_a_dead_runner(
    ports: MemoryPorts, phase: str
) -> None:
    session_id = created(ports)
    if phase == "in a turn":
        running(ports, session_id)
    else:
        connected(ports, session_id)
    due_at = ports.store.session(session_id).due_at
    for _ in range(3):
        ports.clock.advance(seconds=20)
        write_and_withdraw(ports, session_id)
    talk.send_message(ports, "alice", session_id, SendMessage(prompt="at last"), None)
    assert ports.store.session(session_id).due_at == due_at


def test_a_turn_whose_runner_is_silent_ends_however_much_is_written(ports: MemoryPorts) -> None:
    session_id = created(ports)
    running(ports, session_id)
    for _ in range(12):
        ports.clock.advance(seconds=20)
        write_and_withdraw(ports, session_id)
        sweep(ports)
    assert ports.store.session(session_id).status is Status.ASLEEP
