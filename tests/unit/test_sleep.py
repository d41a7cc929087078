"""Sleep and wake, and what the janitor does about time."""

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.message import MessageStatus
from headstart.domain.requests import SendMessage
from headstart.domain.session import Cause, Status
from headstart.domain.steps import StepName
from headstart.usecases.delete import delete_session
from headstart.usecases.inbox import receive
from headstart.usecases.janitor import stop_orphans, sweep
from headstart.usecases.ports import StartedSandbox
from headstart.usecases.read import get_session, stream_ticket
from headstart.usecases.sandbox import sandbox_stopped
from headstart.usecases.talk import send_message
from headstart.usecases.watch import connect_viewer
from tests.unit.archives import BASE, archive_of, differs, keys, last, make, save
from tests.unit.helpers import Runner, begin, created, running, turn_ended


def idle(ports: MemoryPorts) -> tuple[str, Runner]:
    """Return a session whose first turn is over and saved."""
    session_id = created(ports)
    runner = running(ports, session_id)
    runner.report(turn_ended(ports, session_id))
    save(ports, runner)
    return session_id, runner


def falling(ports: MemoryPorts) -> tuple[str, Runner]:
    """Return a session that is stopping."""
    session_id, runner = idle(ports)
    ports.clock.advance(minutes=15)
    sweep(ports)
    assert ports.store.session(session_id).status is Status.STOPPING
    return session_id, runner


def say(ports: MemoryPorts, session_id: str) -> None:
    send_message(ports, "alice", session_id, SendMessage(prompt="more"), None)


def test_the_work_is_saved_after_each_turn(ports: MemoryPorts) -> None:
    session_id, _ = idle(ports)
    assert archive_of(ports, session_id).base.sha256 == "base"
    assert differs(ports, session_id) == "hash"


def test_only_the_last_archive_is_kept_and_deleting_takes_it_along(ports: MemoryPorts) -> None:
    session_id, runner = falling(ports)
    save(ports, runner)
    assert set(ports.objects.stored) == keys(archive_of(ports, session_id))
    ports.objects.stored[f"archives/{session_id}/arc_1/never-kept"] = (1, "x")
    delete_session(ports, "alice", session_id)
    assert ports.objects.stored == {}


def test_an_upload_that_is_not_there_does_not_replace_the_last_good_one(
    ports: MemoryPorts,
) -> None:
    session_id, runner = falling(ports)
    good = archive_of(ports, session_id)
    make(runner, last(runner, "archive"))
    runner.complete(last(runner, "upload")["id"])
    assert archive_of(ports, session_id) == good
    asleep = ports.store.event_log[session_id][-1]
    assert asleep.type == "session.asleep"
    assert asleep.data["saved"] is False
    assert "not saved" in asleep.data["reason"]


def test_an_idle_session_is_saved_stopped_and_sleeps(ports: MemoryPorts) -> None:
    session_id, runner = falling(ports)
    save(ports, runner)
    assert ports.store.session(session_id).status is Status.ASLEEP
    assert not ports.sandboxes.alive
    assert ports.store.quota["alice"] == set()
    assert ports.store.event_log[session_id][-1].data == {
        "reason": "Idle",
        "saved": True,
        "leftOut": [],
    }


def test_a_follow_up_wakes_it_and_the_saved_work_is_sent_along(ports: MemoryPorts) -> None:
    session_id, runner = falling(ports)
    save(ports, runner)
    say(ports, session_id)
    say(ports, session_id)
    assert ports.machine.started == [(session_id, 1), (session_id, 2)]
    session = ports.store.session(session_id)
    assert (session.status, session.attempt_cause) == (Status.PREPARING, Cause.WAKE)
    begin(ports, session_id, StepName.SANDBOX, attempt=2)
    woken = Runner(ports, session_id, connection_id="r2", process="p2")
    woken.connect()
    woken.hello()
    said: list[str | None] = []
    for step in (StepName.DISK, StepName.CLONE):
        begin(ports, session_id, step, attempt=2)
        said.append(ports.store.attempt(session_id, 2).step(step).message)
        clone = woken.frames()[-1]
        woken.complete(clone["id"])
    # Not its name once more, and not that it clones.
    assert said == [None, "Restoring the saved work"]
    archive = clone["args"]["archive"]
    kept = archive_of(ports, session_id)
    assert archive["base"] == {"url": f"https://objects.test/{kept.base.key}", **BASE}
    assert (archive["difference"]["bytes"], archive["difference"]["sha256"]) == (7, "hash")


def test_a_message_while_stopping_is_kept_and_wakes_it_again(ports: MemoryPorts) -> None:
    session_id, runner = falling(ports)
    runner.new_frames()
    say(ports, session_id)
    assert runner.new_frames() == []
    save(ports, runner)
    assert ports.store.session(session_id).status is Status.PREPARING
    assert (session_id, 2) in ports.machine.started
    assert ports.store.message(session_id, 2).status is MessageStatus.QUEUED


def test_saving_that_takes_too_long_is_given_up(ports: MemoryPorts) -> None:
    session_id, _ = falling(ports)
    ports.clock.advance(minutes=10)
    sweep(ports)
    assert ports.store.session(session_id).status is Status.STOPPING
    ports.clock.advance(minutes=1)
    sweep(ports)
    assert ports.store.session(session_id).status is Status.ASLEEP
    assert not ports.sandboxes.alive


def test_watching_and_reading_wake_nothing(ports: MemoryPorts) -> None:
    session_id, runner = falling(ports)
    save(ports, runner)
    get_session(ports, "alice", session_id)
    connect_viewer(ports, "v", stream_ticket(ports, "alice", session_id)["ticket"])
    receive(ports, "v", '{"action":"subscribe","after":0}')
    receive(ports, "v", '{"action":"ping"}')
    ports.clock.advance(hours=1)
    sweep(ports)
    assert ports.store.session(session_id).status is Status.ASLEEP
    assert ports.machine.started == [(session_id, 1)]


def test_a_message_that_came_as_the_sandbox_died_wakes_it(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    ports.sockets.gone.add("r1")
    say(ports, session_id)
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "gone")
    message, session = ports.store.message(session_id, 2), ports.store.session(session_id)
    assert (message.status, session.hold) == (MessageStatus.QUEUED, None)
    assert (session.status, session.attempt_cause) == (Status.PREPARING, Cause.WAKE)
    assert not [frame for frame in runner.frames() if frame.get("kind") == "prompt"][1:]


def test_a_turn_without_heartbeats_fails(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    for _ in range(5):
        ports.clock.advance(minutes=2)
        runner.send("heartbeat", running=[])
        sweep(ports)
    assert ports.store.session(session_id).status is Status.RUNNING
    for _ in range(3):
        ports.clock.advance(minutes=2)
        sweep(ports)
    assert ports.store.session(session_id).status is Status.ASLEEP
    types = [e.type for e in ports.store.event_log[session_id]]
    assert types[-2:] == ["turn.failed", "session.asleep"]
    assert not ports.sandboxes.alive


@pytest.mark.parametrize(
    ("minutes", "name", "stopped"),
    [(6, "ses_unknown-1-1", 1), (4, "ses_unknown-1-1", 0), (6, "", 1), (6, None, 0)],
)
def test_a_task_nobody_owns_is_stopped_once_it_is_old(
    ports: MemoryPorts, minutes: int, name: str | None, stopped: int
) -> None:
    session_id = created(ports)
    running(ports, session_id)
    own = f"{session_id}-1-1"
    handle = f"task:{own}" if name is None else "task:stray"
    ports.sandboxes.alive.add(handle)
    started = StartedSandbox(
        handle=handle, name=own if name is None else name, started_at=ports.clock()
    )
    ports.sandboxes.listed.append(started)
    ports.clock.advance(minutes=minutes)
    assert stop_orphans(ports) == stopped
    assert (handle in ports.sandboxes.alive) == (not stopped)
