"""Which copy of the work counts, when several are asked for, late, lost or refused."""

from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.archive import Copy
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errors import StepTimedOut
from headstart.domain.message import MessageStatus
from headstart.domain.sandbox import SandboxStatus
from headstart.domain.session import Status
from headstart.usecases import talk
from headstart.usecases.janitor import sweep
from headstart.usecases.prepare import fail_preparation
from headstart.usecases.sandbox import sandbox_stopped
from tests.unit.archives import archive_of, differs, keys, last, make, put, save
from tests.unit.helpers import Runner, created, running, turn_ended
from tests.unit.test_sleep import say


def next_turn(ports: MemoryPorts, runner: Runner) -> None:
    """Deliver another message and let its turn end, five seconds later."""
    session_id = runner.session_id
    say(ports, session_id)
    ports.clock.advance(seconds=5)
    number = ports.store.session(session_id).message_count
    message = ports.store.message(session_id, number)
    runner.complete(f"{message.message_id}.prompt.1", agentMessageId="msg_1")
    runner.report(turn_ended(ports, session_id))


def asked_twice(ports: MemoryPorts) -> tuple[Runner, dict[str, Any], dict[str, Any]]:
    """Return a runner that was asked for two copies and has not made any."""
    runner = running(ports, created(ports))
    runner.report(turn_ended(ports, runner.session_id))
    first = last(runner, "archive")
    next_turn(ports, runner)
    return runner, first, last(runner, "archive")


def sent(ports: MemoryPorts, runner: Runner, asked: dict[str, Any], sha256: str) -> str:
    """Make a copy and put it into the bucket; returns the id of its upload."""
    make(runner, asked, sha256)
    upload = last(runner, "upload")
    put(ports, upload)
    return str(upload["id"])


def test_an_older_copy_that_arrives_later_does_not_replace_the_newer(ports: MemoryPorts) -> None:
    runner, first, second = asked_twice(ports)
    old = sent(ports, runner, first, "old")
    new = sent(ports, runner, second, "new")
    runner.complete(new)
    runner.complete(old)
    assert differs(ports, runner.session_id) == "new"
    assert set(ports.objects.stored) == keys(archive_of(ports, runner.session_id))


def stopping(ports: MemoryPorts, runner: Runner) -> None:
    ports.clock.advance(minutes=15)
    runner.send("heartbeat", running=[])
    sweep(ports)
    assert ports.store.session(runner.session_id).status is Status.STOPPING


def test_what_becomes_of_an_older_copy_does_not_end_the_wait_for_the_last(
    ports: MemoryPorts,
) -> None:
    runner, first, _ = asked_twice(ports)
    save(ports, runner)
    stopping(ports, runner)
    runner.fail(first["id"], "Cancelled")
    assert ports.store.session(runner.session_id).status is Status.STOPPING
    save(ports, runner)
    assert ports.store.session(runner.session_id).status is Status.ASLEEP


def test_an_older_copy_is_kept_though_the_last_fails_at_once_and_a_message_wakes_the_session(
    ports: MemoryPorts,
) -> None:
    runner, first, _ = asked_twice(ports)
    upload = sent(ports, runner, first, "old")
    stopping(ports, runner)
    say(ports, runner.session_id)
    failed = {"code": "ArchiveFailed", "reason": "the disk is full", "retryable": True}
    results = [
        {"commandId": upload, "status": "completed"},
        {"commandId": last(runner, "archive")["id"], "status": "failed", "error": failed},
    ]
    runner.report(results=results)
    assert runner.frames()[-1] == {"type": "ack", "seq": runner.seq, "accepted": True}
    assert ports.store.session(runner.session_id).status is Status.PREPARING
    assert differs(ports, runner.session_id) == "old"
    assert not [c for c in ports.store.commands(runner.session_id) if c.command_id == upload]


def test_a_sandbox_that_must_stop_is_asked_anew_when_the_last_copy_failed(
    ports: MemoryPorts,
) -> None:
    runner, _, second = asked_twice(ports)
    runner.fail(second["id"], "ArchiveFailed")
    runner.new_frames()
    runner.send("leaving")
    asked = [frame["id"] for frame in runner.new_frames() if frame.get("kind") == "archive"]
    assert asked[-1] not in {second["id"], None}
    save(ports, runner)
    assert ports.store.session(runner.session_id).status is Status.ASLEEP


def test_a_message_that_a_leaving_sandbox_never_took_waits_for_the_next(
    ports: MemoryPorts,
) -> None:
    runner = running(ports, created(ports))
    runner.report(turn_ended(ports, runner.session_id))
    say(ports, runner.session_id)
    prompt = last(runner, "prompt")
    runner.new_frames()
    runner.send("leaving", delivering=[])
    assert "leave" not in [frame["type"] for frame in runner.new_frames()]
    message = ports.store.message(runner.session_id, 2)
    assert message.status is MessageStatus.QUEUED
    runner.fail(prompt["id"], "SandboxLeaving")
    save(ports, runner)
    session = ports.store.session(runner.session_id)
    assert (session.status, session.hold) == (Status.PREPARING, None)
    assert ports.store.message(runner.session_id, 2).status is MessageStatus.QUEUED


def test_a_slow_copy_and_a_slow_upload_have_their_whole_time(ports: MemoryPorts) -> None:
    runner = running(ports, created(ports))
    runner.report(turn_ended(ports, runner.session_id))
    save(ports, runner)
    stopping(ports, runner)
    ports.clock.advance(seconds=118)
    sweep(ports)
    upload = sent(ports, runner, last(runner, "archive"), "slow")
    ports.clock.advance(seconds=118)
    sweep(ports)
    runner.complete(upload)
    assert differs(ports, runner.session_id) == "slow"
    [asleep] = [
        e.data for e in ports.store.event_log[runner.session_id] if e.type == "session.asleep"
    ]
    assert asleep["saved"] is True


class Died(BaseException):
    """The process ended here."""


def dying(patch: pytest.MonkeyPatch, port: object, call: str, after: int) -> None:
    """Have the process die at a call to a port, once some were made."""
    found, left = getattr(port, call), [after]

    def dies(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Died
        return found(*args, **kwargs)

    patch.setattr(port, call, dies)


def uploaded(ports: MemoryPorts) -> tuple[Runner, dict[str, Any]]:
    """Return a stopping session's runner, and the result that says that its work was sent."""
    runner = running(ports, created(ports))
    runner.report(turn_ended(ports, runner.session_id))
    save(ports, runner)
    stopping(ports, runner)
    upload = sent(ports, runner, last(runner, "archive"), "hash")
    return runner, {"commandId": upload, "status": "completed", "output": {}}


def slept(ports: MemoryPorts, runner: Runner) -> dict[str, Any]:
    """Return what was said when the session fell asleep, once."""
    log = ports.store.event_log[runner.session_id]
    [said] = [event.data for event in log if event.type == "session.asleep"]
    return said


def test_the_end_that_a_dead_process_left_out_is_done_for_the_repeated_report(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, result = uploaded(ports)
    with monkeypatch.context() as patch, pytest.raises(Died):
        dying(patch, ports.store, "commit", after=1)
        runner.report(results=[result])
    assert ports.store.session(runner.session_id).status is Status.STOPPING
    runner.repeat(results=[result])
    assert slept(ports, runner) == {"reason": "Idle", "saved": True, "leftOut": []}
    assert not ports.sandboxes.alive


def test_work_that_was_saved_is_said_to_be_though_nobody_repeats_the_report(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, result = uploaded(ports)
    with monkeypatch.context() as patch, pytest.raises(Died):
        dying(patch, ports.store, "commit", after=1)
        runner.report(results=[result])
    ports.clock.advance(minutes=11)
    sweep(ports)
    assert slept(ports, runner) == {"reason": "Idle", "saved": True, "leftOut": []}
    assert not ports.sandboxes.alive


def test_work_that_was_saved_is_said_to_be_though_its_sandbox_dies_at_that_moment(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, result = uploaded(ports)
    with monkeypatch.context() as patch, pytest.raises(Died):
        dying(patch, ports.store, "commit", after=1)
        runner.report(results=[result])
    sandbox_stopped(ports, f"{runner.session_id}-1-1", "task", "the host is gone")
    assert slept(ports, runner) == {"reason": "the host is gone", "saved": True, "leftOut": []}


def test_a_session_that_an_earlier_version_left_stopping_sleeps_when_its_task_ends(
    ports: MemoryPorts,
) -> None:
    runner, _ = uploaded(ports)
    row = ports.store.sandbox(runner.session_id)
    assert row
    row.status = SandboxStatus.STOPPED
    ports.store.rows[runner.session_id]["SANDBOX"] = row
    sandbox_stopped(ports, f"{runner.session_id}-1-1", "task", "told to go")
    assert ports.store.session(runner.session_id).status is Status.ASLEEP


def test_a_session_that_was_saved_sleeps_before_its_sandbox_is_stopped(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, result = uploaded(ports)
    with monkeypatch.context() as patch, pytest.raises(Died):
        dying(patch, ports.sandboxes, "stop", after=0)
        runner.report(results=[result])
    assert slept(ports, runner) == {"reason": "Idle", "saved": True, "leftOut": []}
    assert ports.sandboxes.alive
    ports.clock.advance(minutes=1)
    sweep(ports)
    assert not ports.sandboxes.alive
    ports.clock.advance(minutes=11)
    sweep(ports)
    assert slept(ports, runner) == {"reason": "Idle", "saved": True, "leftOut": []}


def test_a_copy_whose_place_another_took_is_no_failure(ports: MemoryPorts) -> None:
    runner, first, second = asked_twice(ports)
    runner.fail(first["id"], "Cancelled")
    runner.fail(second["id"], "ArchiveFailed")
    assert [name for name, *_ in ports.metrics.measured].count("ArchivesFailed") == 1


NONSENSE: list[dict[str, Any]] = [
    {"difference": None},
    {"difference": "7 bytes"},
    {"difference": {"bytes": -1, "sha256": "hash"}},
    {"difference": {"bytes": True, "sha256": "hash"}},
    {"difference": {"bytes": 5_000_000_001, "sha256": "hash"}},
    {"difference": {"bytes": 7, "sha256": {"not": "a hash"}}},
    {"difference": {"bytes": 7, "sha256": ""}},
    {"difference": {"bytes": 7}},
    {"base": {"bytes": "9", "sha256": "base"}},
    {"base": None},
]


@pytest.mark.parametrize("said", NONSENSE)
def test_a_copy_of_which_nonsense_is_told_is_not_sent(
    ports: MemoryPorts, said: dict[str, Any]
) -> None:
    runner, _, second = asked_twice(ports)
    make(runner, second, **said)
    assert not [frame for frame in runner.frames() if frame.get("kind") == "upload"]
    assert runner.frames()[-1] == {"type": "ack", "seq": runner.seq, "accepted": True}
    assert ports.store.session(runner.session_id).saving is None
    assert [name for name, *_ in ports.metrics.measured].count("ArchivesFailed") == 1


def too_late(ports: MemoryPorts) -> tuple[Runner, str]:
    """Return a runner of a session that waited for its copy no longer, and the upload's id."""
    runner = running(ports, created(ports))
    runner.report(turn_ended(ports, runner.session_id))
    save(ports, runner)
    stopping(ports, runner)
    make(runner, last(runner, "archive"), "late")
    ports.clock.advance(minutes=11)
    sweep(ports)
    assert slept(ports, runner)["saved"] is False
    return runner, str(last(runner, "upload")["id"])


def arrives(ports: MemoryPorts, runner: Runner) -> None:
    """Have the copy that was sent last arrive in the bucket."""
    put(ports, last(runner, "upload"))


def named(ports: MemoryPorts, session_id: str) -> set[str]:
    """Return the objects that the rows of a session name."""
    kept = ports.store.archive(session_id)
    commands = ports.store.commands(session_id)
    uploads = [c for c in commands if c.kind is CommandKind.UPLOAD]
    sent = [file.key for c in uploads for file in Copy.model_validate(c.args).files]
    return {*sent, *(keys(kept) if kept else ())}


def test_a_copy_that_is_said_to_be_sent_after_its_session_fell_asleep_is_kept(
    ports: MemoryPorts,
) -> None:
    runner, upload = too_late(ports)
    arrives(ports, runner)
    runner.complete(upload)
    assert differs(ports, runner.session_id) == "late"
    assert set(ports.objects.stored) == keys(archive_of(ports, runner.session_id))


@pytest.mark.parametrize("comes", [True, False])
@pytest.mark.parametrize("ends", ["cancelled", "failed"])
def test_a_copy_under_way_has_a_name_however_the_attempt_after_it_ends(
    ports: MemoryPorts, ends: str, comes: bool
) -> None:
    runner, upload = too_late(ports)
    session_id = runner.session_id
    say(ports, session_id)
    assert ports.store.session(session_id).attempt_number == 2
    if ends == "cancelled":
        talk.interrupt(ports, "alice", session_id)
    else:
        fail_preparation(ports, session_id, 2, StepTimedOut("too slow"))
    if comes:
        arrives(ports, runner)
    assert set(ports.objects.stored) <= named(ports, session_id)
    ports.clock.advance(minutes=10)
    sweep(ports)
    assert ports.store.command(session_id, upload) is None
    assert differs(ports, session_id) == ("late" if comes else "hash")
    assert set(ports.objects.stored) == keys(archive_of(ports, session_id))


def test_a_copy_that_arrived_though_its_sending_failed_is_not_left_behind(
    ports: MemoryPorts,
) -> None:
    runner, _, second = asked_twice(ports)
    upload = sent(ports, runner, second, "hash")
    runner.fail(upload, "ArchiveFailed", "the answer was lost")
    assert ports.objects.stored == {}


UNSAVED = "the work since 2026-01-01T00:00:00.000Z was not saved"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("dies", f"exit code 0; {UNSAVED}: the sandbox was gone before a new copy"),
        ("dies in turn", "exit code 0; the work was not saved: the sandbox was gone before a new"),
        ("dies sending", f"exit code 0; {UNSAVED}: it was not sent in time"),
        ("is slow", f"Idle; {UNSAVED}: making a copy took too long"),
        ("fails", f"Idle; {UNSAVED}: the disk is full"),
        ("lies", f"Idle; {UNSAVED}: it was said to be sent and is not there"),
    ],
)
def test_who_hears_that_nothing_was_saved_hears_why(
    ports: MemoryPorts, how: str, reason: str
) -> None:
    runner = running(ports, created(ports))
    if how != "dies in turn":
        runner.report(turn_ended(ports, runner.session_id))
        save(ports, runner)
        stopping(ports, runner)
    if how in {"dies sending", "lies"}:
        make(runner, last(runner, "archive"), "late")
    if how.startswith("dies"):
        sandbox_stopped(ports, f"{runner.session_id}-1-1", "task", "exit code 0")
    elif how == "is slow":
        ports.clock.advance(minutes=11)
        sweep(ports)
    elif how == "fails":
        runner.fail(last(runner, "archive")["id"], "ArchiveFailed", "the disk is full")
    else:
        runner.complete(last(runner, "upload")["id"])
    told = slept(ports, runner)
    assert told["saved"] is False
    assert str(told["reason"]).startswith(reason)
