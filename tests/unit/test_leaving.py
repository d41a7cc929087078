"""A sandbox that must stop: its work is saved first where there is any, else it goes at once."""

from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.message import MessageStatus
from headstart.domain.model import format_time
from headstart.domain.session import Cause, Status
from headstart.domain.steps import StepName
from headstart.usecases.delete import delete_session
from headstart.usecases.janitor import sweep
from headstart.usecases.read import get_archive, get_session
from tests.unit.archives import archive_of, differs, last, make, put, save
from tests.unit.helpers import Runner, created, prepared_up_to, running, turn_ended
from tests.unit.test_sleep import idle, say


def kinds(runner: Runner) -> list[str]:
    return [str(frame.get("kind", frame["type"])) for frame in runner.new_frames()]


def asleep(ports: MemoryPorts, session_id: str) -> list[dict[str, object]]:
    log = ports.store.event_log[session_id]
    return [event.data for event in log if event.type == "session.asleep"]


def test_its_work_is_saved_and_then_the_session_sleeps(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    runner.new_frames()
    runner.send("leaving")
    assert ports.store.session(session_id).status is Status.STOPPING
    assert kinds(runner) == ["archive"]

    save(ports, runner)

    assert kinds(runner) == ["upload", "ack", "leave", "ack"]
    assert ports.store.session(session_id).status is Status.ASLEEP
    assert asleep(ports, session_id) == [
        {"reason": "The sandbox had to stop", "saved": True, "leftOut": []}
    ]
    assert ports.store.quota["alice"] == set()
    assert ("SandboxesLeaving", 1, {}) in ports.metrics.measured


def test_saying_it_again_asks_for_nothing_more(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    runner.new_frames()
    runner.send("leaving")
    version = ports.store.session(session_id).version
    runner.send("leaving")
    first, again = runner.new_frames()
    assert first == again
    assert ports.store.session(session_id).version == version


def test_a_copy_of_the_work_as_it_is_now_replaces_the_one_before(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    error = {"code": "SandboxStopped", "reason": "The sandbox had to stop"}
    runner.report(turn_ended(ports, session_id, error))
    [before] = [frame for frame in runner.new_frames() if frame.get("kind") == "archive"]
    runner.send("leaving")
    [now] = [frame for frame in runner.new_frames() if frame.get("kind") == "archive"]
    assert now["id"] != before["id"]
    save(ports, runner)
    assert "leave" in kinds(runner)
    assert [sleep["saved"] for sleep in asleep(ports, session_id)] == [True]


def test_work_that_cannot_be_saved_says_so(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    runner.send("leaving")
    snapshot = [f for f in runner.frames() if f.get("kind") == "archive"][-1]
    runner.fail(snapshot["id"], "ArchiveFailed", "the disk is full")
    [told] = asleep(ports, session_id)
    assert told["saved"] is False
    since = format_time(archive_of(ports, session_id).created_at)
    assert f"The sandbox had to stop; the work since {since} was not saved" in str(told["reason"])
    assert "leave" in kinds(runner)


MANY = [f"f{n}" for n in range(27)]


@pytest.mark.parametrize(
    ("left_out", "told", "shown"),
    [
        (["big.bin", "app/"], ["big.bin", "app/"], ["big.bin", "app/"]),
        (MANY, [*MANY[:20], "7 more"], [*MANY[:5], "22 more"]),
        (["x" * 999], ["x" * 300], ["x" * 200]),
        ([], [], []),
        ("no list", [], []),
        ([7, None, "", "a"], ["a"], ["a"]),
    ],
)
def test_a_copy_without_some_files_names_them(
    ports: MemoryPorts, left_out: object, told: list[str], shown: list[str]
) -> None:
    session_id, runner = idle(ports)
    runner.send("leaving")
    save(ports, runner, leftOut=left_out)
    reason = "The sandbox had to stop"
    assert asleep(ports, session_id) == [{"reason": reason, "saved": True, "leftOut": told}]
    assert get_session(ports, "alice", session_id)["leftOut"] == shown
    assert get_archive(ports, "alice", session_id)["leftOut"] == told
    assert all(len(path) <= 300 for path in archive_of(ports, session_id).left_out.paths)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("the agent's session (no answer in time)", True),
        (None, False),
        (["no", {"words": 1}], False),
    ],
)
def test_a_copy_without_the_agents_session_says_so(
    ports: MemoryPorts, missing: object, *, said: bool
) -> None:
    session_id, runner = idle(ports)
    runner.send("leaving")
    save(ports, runner, missing=missing)
    more = f"; saved without {missing}" if said else ""
    reason = f"The sandbox had to stop{more}"
    assert asleep(ports, session_id) == [{"reason": reason, "saved": True, "leftOut": []}]


def test_a_message_meanwhile_wakes_the_session_in_another_sandbox(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    runner.new_frames()
    runner.send("leaving")
    say(ports, session_id)
    assert "prompt" not in kinds(runner)
    save(ports, runner)
    session = ports.store.session(session_id)
    assert (session.status, session.attempt_cause) == (Status.PREPARING, Cause.WAKE)
    assert ports.store.message(session_id, 2).status is MessageStatus.QUEUED


def test_one_that_still_prepares_is_let_go_and_its_step_fails_when_it_is_gone(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, StepName.SETUP)
    runner.new_frames()
    runner.send("leaving")
    assert kinds(runner) == ["leave"]
    assert ports.store.session(session_id).status is Status.PREPARING


def test_one_with_a_turn_that_did_not_end_is_let_go(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    runner.new_frames()
    runner.send("leaving")
    assert kinds(runner) == ["leave"]
    assert ports.store.session(session_id).status is Status.RUNNING


def test_one_that_was_stopped_is_let_go(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    ports.clock.advance(minutes=15)
    sweep(ports)
    save(ports, runner)
    assert ports.store.session(session_id).status is Status.ASLEEP
    runner.new_frames()
    runner.send("leaving")
    assert kinds(runner) == ["leave"]
    assert get_session(ports, "alice", session_id)["status"] == "asleep"


@pytest.mark.parametrize("answered", [False, True])
def test_one_whose_session_is_being_deleted_is_not_kept(ports: MemoryPorts, answered: bool) -> None:
    session_id, runner = idle(ports)
    runner.send("leaving")
    if answered:
        snapshot = [f for f in runner.frames() if f.get("kind") == "archive"][-1]
        make(runner, snapshot)
    runner.new_frames()
    delete_session(ports, "alice", session_id)
    runner.send("leaving")
    assert "archive" not in kinds(runner)
    sweep(ports)
    assert ports.store.sessions == {}


def copies(runner: Runner) -> list[str]:
    """Return the copies that the runner was asked for since the last look."""
    return [frame["id"] for frame in runner.new_frames() if frame.get("kind") == "archive"]


def sleeping(ports: MemoryPorts) -> tuple[str, Runner, dict[str, Any]]:
    """Return a session about to sleep, and the copy that is being made for that."""
    session_id, runner = idle(ports)
    ports.clock.advance(minutes=15)
    sweep(ports)
    assert ports.store.session(session_id).status is Status.STOPPING
    asked = last(runner, "archive")
    runner.new_frames()
    return session_id, runner, asked


def test_one_that_leaves_while_its_session_falls_asleep_is_asked_anew_and_once(
    ports: MemoryPorts,
) -> None:
    session_id, runner, before = sleeping(ports)
    runner.send("leaving")
    [now] = copies(runner)
    assert now != before["id"]
    runner.send("leaving")
    assert copies(runner) == [now], "the same command again"
    make(runner, before)
    put(ports, last(runner, "upload"))
    runner.complete(last(runner, "upload")["id"])
    assert ports.store.session(session_id).status is Status.STOPPING, "it began before the leave"
    make(runner, last(runner, "archive"), "now")
    put(ports, last(runner, "upload"))
    runner.complete(last(runner, "upload")["id"])
    reason = "The sandbox had to stop"
    assert asleep(ports, session_id) == [{"reason": reason, "saved": True, "leftOut": []}]
    assert differs(ports, session_id) == "now"


def test_a_copy_of_before_the_leave_is_kept_and_not_said_to_be_the_work(
    ports: MemoryPorts,
) -> None:
    session_id, runner, before = sleeping(ports)
    make(runner, before, "before")
    upload = last(runner, "upload")
    ports.clock.advance(seconds=1)
    runner.send("leaving")
    put(ports, upload)
    runner.complete(upload["id"])
    assert differs(ports, session_id) == "before"
    runner.fail(last(runner, "archive")["id"], "ArchiveFailed", "the disk is full")
    since = format_time(archive_of(ports, session_id).created_at)
    reason = f"The sandbox had to stop; the work since {since} was not saved: the disk is full"
    told = {"reason": reason, "saved": False, "leftOut": []}
    assert asleep(ports, session_id) == [told]


def test_who_never_had_an_archive_is_told_of_none(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    runner.report(turn_ended(ports, session_id))
    runner.send("leaving")
    runner.fail(last(runner, "archive")["id"], "ArchiveFailed", "the disk is full")
    reason = "The sandbox had to stop; the work was not saved: the disk is full"
    assert asleep(ports, session_id) == [{"reason": reason, "saved": False, "leftOut": []}]
