"""Starting sandboxes, telling theirs from other processes, and noticing how they end."""

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import (
    SandboxStartFailed,
    SandboxStopped,
    TicketRefused,
)
from headstart.domain.message import MessageStatus
from headstart.domain.sandbox import SandboxStatus
from headstart.domain.session import Status
from headstart.domain.steps import STEPS, StepName
from headstart.usecases import delete
from headstart.usecases.ports import SandboxSpec
from headstart.usecases.prepare import fail_preparation
from headstart.usecases.sandbox import sandbox_stopped
from tests.unit.helpers import (
    Runner,
    begin,
    connected,
    created,
    prepared_up_to,
    running,
    token,
    types,
)

S = StepName


def test_a_sandbox_started_for_a_session_just_deleted_is_stopped(ports: MemoryPorts) -> None:
    session_id = created(ports)
    start = ports.sandboxes.start

    def start_too_late(spec: SandboxSpec) -> str:
        handle = start(spec)
        delete.delete_session(ports, "alice", session_id)
        return handle

    ports.sandboxes.start = start_too_late  # type: ignore[method-assign]
    waiting = begin(ports, session_id, S.SANDBOX)
    assert ports.sandboxes.alive == set()
    assert ports.machine.answers[waiting] == "AttemptSuperseded"
    assert ("AttemptsSuperseded", 1, {}) in ports.metrics.measured


def test_a_sandbox_that_dies_while_delivering_leaves_the_message_unknown_and_held(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports)
    prepared_up_to(ports, session_id, S.DELIVER)
    waiting = begin(ports, session_id, S.DELIVER)
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "Essential container exited")
    assert ports.machine.answers[waiting] == "SandboxStopped"
    fail_preparation(ports, session_id, 1, SandboxStopped("Essential container exited"))
    message = ports.store.message(session_id, 1)
    assert message.status is MessageStatus.HELD
    assert message.failure
    assert message.failure.code == "DeliveryUnknown"
    assert ports.store.session(session_id).hold


@pytest.mark.parametrize("step", [s.name for s in STEPS[1:]], ids=str)
def test_a_sandbox_that_dies_fails_the_step_that_waits_for_it(
    ports: MemoryPorts, step: StepName
) -> None:
    session_id = created(ports, setupCommands=["npm ci"])
    prepared_up_to(ports, session_id, step)
    waiting = begin(ports, session_id, step)
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "out of memory")
    assert ports.machine.answers[waiting] == "SandboxStopped"


def test_a_sandbox_that_died_between_two_steps_fails_the_next(ports: MemoryPorts) -> None:
    session_id = created(ports)
    prepared_up_to(ports, session_id, S.CLONE)
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "out of memory")
    with pytest.raises(SandboxStopped, match="out of memory"):
        begin(ports, session_id, S.CLONE)


def test_a_sandbox_that_dies_before_its_hello_fails_its_own_step(ports: MemoryPorts) -> None:
    session_id = created(ports)
    waiting = begin(ports, session_id, S.SANDBOX)
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "CannotPullContainerError")
    assert ports.machine.answers[waiting] == "SandboxStopped"
    again = begin(ports, session_id, S.SANDBOX, number=2)
    assert list(ports.sandboxes.specs) == [f"{session_id}-1-1", f"{session_id}-1-2"]
    assert again not in ports.machine.answers


def test_a_session_whose_sandbox_dies_sleeps_and_its_turn_failed(ports: MemoryPorts) -> None:
    session_id = created(ports)
    running(ports, session_id)
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "out of memory")
    session = ports.store.session(session_id)
    assert (session.status, session.active_turn) == (Status.ASLEEP, None)
    assert types(ports, session_id)[-2:] == ["turn.failed", "session.asleep"]


def test_an_end_that_is_known_is_no_news(ports: MemoryPorts) -> None:
    session_id = created(ports)
    running(ports, session_id)
    for reason in ("out of memory", "it was told twice"):
        sandbox_stopped(ports, f"{session_id}-1-1", "task", reason)
    sandbox = ports.store.sandbox(session_id)
    assert sandbox
    assert sandbox.stopped_reason == "out of memory"
    stops = [name for name, *_ in ports.metrics.measured if name == "SandboxesStopped"]
    assert len(stops) == 1
    assert types(ports, session_id).count("session.asleep") == 1


def test_the_end_of_another_task_is_none_of_our_business(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    sandbox_stopped(ports, f"{session_id}-1-9", "other", "x")
    sandbox_stopped(ports, "ses_unknown-1-1", "other", "x")
    sandbox_stopped(ports, "", "other", "x")
    sandbox = ports.store.sandbox(session_id)
    assert sandbox
    assert sandbox.status is SandboxStatus.CONNECTED


def test_starting_twice_runs_one_sandbox(ports: MemoryPorts) -> None:
    session_id = created(ports)
    begin(ports, session_id, S.SANDBOX)
    begin(ports, session_id, S.SANDBOX, number=2)
    assert len(ports.sandboxes.specs) == 1
    runner = Runner(ports, session_id)
    runner.connect()
    runner.hello()
    assert ports.machine.answers[token(S.SANDBOX, number=2)] == "ok"


def test_a_sandbox_that_can_not_start_is_tried_under_a_new_name(ports: MemoryPorts) -> None:
    session_id = created(ports)
    ports.sandboxes.refusal = SandboxStartFailed("no capacity")
    with pytest.raises(SandboxStartFailed):
        begin(ports, session_id, S.SANDBOX)
    ports.sandboxes.refusal = None
    begin(ports, session_id, S.SANDBOX, number=2)
    assert list(ports.sandboxes.specs) == [f"{session_id}-1-2"]


def test_a_second_process_with_the_key_is_refused(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    second = Runner(ports, session_id, connection_id="r2", process="p2")
    second.connect()
    second.hello()
    assert second.frames()[0]["type"] == "refused"
    assert "r2" in ports.sockets.gone
    sandbox = ports.store.sandbox(session_id)
    assert sandbox
    assert sandbox.connection_id == "r1"


def test_keys_a_lost_welcome_locks_nobody_out_and_the_first_key_goes(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    again = Runner(ports, session_id, connection_id="r2")
    again.connect()
    again.hello()
    assert again.key == runner.key
    resumed = Runner(ports, session_id, connection_id="r4")
    resumed.connect(again.key)
    resumed.hello()
    with pytest.raises(TicketRefused):
        Runner(ports, session_id, connection_id="r5").connect()


def test_what_was_asked_is_asked_again_after_a_reconnect(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    ports.sockets.gone.add("r1")
    begin(ports, session_id, S.DISK)
    back = Runner(ports, session_id, connection_id="r2", seq=runner.seq)
    back.connect(runner.key)
    back.hello()
    assert [f["id"] for f in back.frames() if f["type"] == "command"] == ["1.disk.1"]
