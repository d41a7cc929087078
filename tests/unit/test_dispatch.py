"""A message that waits is delivered, whoever was to do it died or came too early."""

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import SandboxStopped
from headstart.domain.message import MessageStatus
from headstart.domain.requests import SendMessage
from headstart.domain.session import Status
from headstart.domain.steps import StepName
from headstart.usecases.prepare import finish_preparation
from headstart.usecases.sandbox import sandbox_stopped
from headstart.usecases.talk import initiate, send_message
from tests.unit.helpers import Runner, begin, created, prepared_up_to, running, turn_ended


def at_the_end(ports: MemoryPorts) -> tuple[str, Runner]:
    """Return a session whose message is held and whose steps are all done but the end."""
    session_id = created(ports, autoInitiate=False)
    runner = prepared_up_to(ports, session_id, StepName.DELIVER)
    begin(ports, session_id, StepName.DELIVER)
    runner.new_frames()
    return session_id, runner


def prompts(runner: Runner) -> int:
    return [frame.get("kind") for frame in runner.new_frames()].count("prompt")


def status(ports: MemoryPorts, session_id: str, number: int) -> MessageStatus:
    return ports.store.message(session_id, number).status


def test_a_message_released_after_the_last_step_is_delivered_at_the_end(
    ports: MemoryPorts,
) -> None:
    session_id, runner = at_the_end(ports)
    initiate(ports, "alice", session_id)
    assert prompts(runner) == 0
    finish_preparation(ports, session_id, 1)
    assert prompts(runner) == 1
    assert status(ports, session_id, 1) is MessageStatus.DELIVERING
    assert ports.store.session(session_id).status is Status.PREPARED


def test_a_sandbox_that_died_after_the_last_step_fails_the_attempt(ports: MemoryPorts) -> None:
    session_id, _ = at_the_end(ports)
    sandbox = ports.store.sandbox(session_id)
    assert sandbox
    sandbox_stopped(ports, sandbox.name(session_id), str(sandbox.task_arn), "out of memory")
    with pytest.raises(SandboxStopped, match="out of memory"):
        finish_preparation(ports, session_id, 1)
    assert ports.store.session(session_id).status is Status.PREPARING


def dying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whoever has claimed a message die before it is sent."""

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("headstart.usecases.outbox.prompt_frame", dies)


@pytest.mark.parametrize("when", ["sent", "turn ended", "initiated"])
def test_the_next_heartbeat_delivers_what_a_dead_function_left(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    if when == "initiated":
        session_id, runner = at_the_end(ports)
        finish_preparation(ports, session_id, 1)
    else:
        session_id = created(ports)
        runner = running(ports, session_id)
    more = SendMessage(prompt="more")
    if when == "sent":
        runner.report(turn_ended(ports, session_id))
    elif when == "turn ended":
        send_message(ports, "alice", session_id, more, None)
    runner.new_frames()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        dying(patch)
        if when == "sent":
            send_message(ports, "alice", session_id, more, None)
        elif when == "turn ended":
            runner.report(turn_ended(ports, session_id))
        else:
            initiate(ports, "alice", session_id)
    assert prompts(runner) == 0

    ports.clock.advance(seconds=15)
    runner.send("heartbeat", running=[])

    assert prompts(runner) == 1
    last = ports.store.session(session_id).message_count
    assert status(ports, session_id, last) is MessageStatus.DELIVERING
