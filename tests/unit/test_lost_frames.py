"""What is lost on the way, or by a process that died after its commit, is done by somebody else."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import ServiceUnavailable
from headstart.domain.message import MessageStatus
from headstart.domain.requests import RetrySession
from headstart.domain.sandbox import SandboxStatus
from headstart.domain.session import Status
from headstart.domain.steps import StepName
from headstart.usecases import talk
from headstart.usecases.janitor import sweep
from headstart.usecases.sandbox import sandbox_stopped
from tests.unit.archives import make
from tests.unit.helpers import Runner, begin, connected, created, prepared_up_to, token
from tests.unit.test_sleep import falling, idle, say


@contextmanager
def losing(ports: MemoryPorts, kind: str) -> Iterator[None]:
    """Let every frame with that word in it be refused by API Gateway."""
    post = ports.sockets.post

    def refuse(connection_id: str, text: str) -> None:
        if f'"{kind}"' in text:
            raise ServiceUnavailable("PostToConnection: ThrottlingException")
        post(connection_id, text)

    ports.sockets.post = refuse  # type: ignore[method-assign]
    yield
    ports.sockets.post = post  # type: ignore[method-assign]


def beat(ports: MemoryPorts, runner: Runner, *running: str) -> list[str]:
    """Let a heartbeat come and return the ids of what is sent because of it."""
    runner.new_frames()
    runner.send("heartbeat", running=list(running))
    *sent, heard = runner.new_frames()
    assert heard["type"] == "heard"
    return [f"{frame['type']} {frame['id']}" for frame in sent]


def test_a_prompt_is_sent_again_until_it_runs(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    with losing(ports, "prompt"):
        say(ports, session_id)
    message = ports.store.message(session_id, 2)
    assert message.status is MessageStatus.DELIVERING
    prompt = f"{message.message_id}.prompt.1"
    assert beat(ports, runner) == [], "it may still be on its way"
    ports.clock.advance(seconds=15)
    assert beat(ports, runner) == [f"command {prompt}"]
    assert beat(ports, runner, prompt) == []


def test_a_step_is_sent_again_before_its_heartbeat_is_missed(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    with losing(ports, "disk"):
        begin(ports, session_id, StepName.DISK)
    ports.clock.advance(seconds=20)
    assert beat(ports, runner) == ["command 1.disk.1"]


def test_an_upload_is_sent_again_and_the_work_is_saved(ports: MemoryPorts) -> None:
    session_id, runner = falling(ports)
    snapshot = [f for f in runner.frames() if f.get("kind") == "archive"][-1]
    with losing(ports, "upload"):
        make(runner, snapshot)
    ports.clock.advance(seconds=20)
    [again] = beat(ports, runner)
    assert again.endswith(".upload")
    assert ports.store.session(session_id).status is Status.STOPPING


def test_a_step_that_nobody_waits_for_is_cancelled(ports: MemoryPorts) -> None:
    session_id = created(ports, setupCommands=["sleep 600"])
    runner = prepared_up_to(ports, session_id, StepName.SETUP)
    begin(ports, session_id, StepName.SETUP)
    with losing(ports, "cancel"):
        talk.interrupt(ports, "alice", session_id)
    assert beat(ports, runner, "1.setup.1") == ["cancel 1.setup.1"]


def test_a_cancelled_preparation_is_told_to_the_sandbox_even_if_its_execution_goes_on(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports, setupCommands=["sleep 600"])
    runner = prepared_up_to(ports, session_id, StepName.SETUP)
    begin(ports, session_id, StepName.SETUP)
    ports.machine.down = ServiceUnavailable("StopExecution")
    talk.interrupt(ports, "alice", session_id)
    assert runner.frames()[-1] == {"type": "cancel", "id": "1.setup.1"}
    assert ports.store.session(session_id).status is Status.FAILED


def test_the_next_hello_answers_the_sandbox_step_that_the_first_could_not(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports)
    waiting = begin(ports, session_id, StepName.SANDBOX)
    runner = Runner(ports, session_id)
    runner.connect()
    ports.machine.down = ServiceUnavailable("SendTaskSuccess")
    with pytest.raises(ServiceUnavailable):
        runner.hello()
    ports.machine.down = None
    again = Runner(ports, session_id, connection_id="r2")
    again.connect()
    again.hello()
    assert ports.machine.answers[waiting] == "ok"


def test_the_repeated_event_of_a_stopped_task_answers_the_step_that_the_first_could_not(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    waiting = begin(ports, session_id, StepName.DISK)
    sandbox = ports.store.sandbox(session_id)
    assert sandbox
    event = (sandbox.name(session_id), str(sandbox.task_arn), "out of memory")
    ports.machine.down = ServiceUnavailable("SendTaskFailure")
    with pytest.raises(ServiceUnavailable):
        sandbox_stopped(ports, *event)
    ports.machine.down = None
    sandbox_stopped(ports, *event)
    assert ports.machine.answers[waiting] == "SandboxStopped"


def test_a_hello_that_is_served_late_locks_nobody_out(ports: MemoryPorts) -> None:
    session_id = created(ports)
    begin(ports, session_id, StepName.SANDBOX)
    slow, quick = Runner(ports, session_id), Runner(ports, session_id, connection_id="r2")
    slow.connect()
    quick.connect()
    quick.hello()
    slow.hello()
    Runner(ports, session_id, connection_id="r3").connect(quick.key)


def test_a_new_attempts_sandbox_is_not_stopped_for_the_old_one(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = created(ports, setupCommands=["sleep 600"])
    runner = prepared_up_to(ports, session_id, StepName.SETUP)
    begin(ports, session_id, StepName.SETUP)
    talk.interrupt(ports, "alice", session_id)
    ports.clock.advance(minutes=10)
    runner.send("heartbeat", running=[])
    stop = ports.machine.stop

    def slow(*arguments: object) -> None:
        monkeypatch.setattr(ports.machine, "stop", stop)
        talk.retry(ports, "alice", session_id, RetrySession(attempt_number=1))
        begin(ports, session_id, StepName.SANDBOX, 2)
        begin(ports, session_id, StepName.DISK, 2)

    monkeypatch.setattr(ports.machine, "stop", slow)
    sweep(ports)
    sandbox = ports.store.sandbox(session_id)
    assert sandbox
    assert sandbox.status is SandboxStatus.STARTING
    assert sandbox.task_arn in ports.sandboxes.alive
    assert token(StepName.DISK, 2) not in ports.machine.answers
