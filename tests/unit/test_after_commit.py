"""What fails after a commit does not make the change look as if it had not been made."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import ServiceUnavailable
from headstart.domain.message import MessageStatus
from headstart.domain.requests import RetrySession, SendMessage
from headstart.domain.session import Status
from headstart.domain.steps import StepName
from headstart.usecases import outbox, talk
from headstart.usecases.talk import initiate, send_message
from tests.unit.helpers import Runner, begin, created, prepared_up_to, running, turn_ended
from tests.unit.test_sleep import idle


@contextmanager
def failing(doing: str) -> Iterator[None]:
    """Let one thing that follows a commit meet a service that does not answer."""

    def fails(*_: object) -> None:
        raise ServiceUnavailable(doing)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outbox, doing, fails)
        yield


def failures(ports: MemoryPorts) -> int:
    return sum(name == "FollowUpsFailed" for name, *_ in ports.metrics.measured)


def say(ports: MemoryPorts, session_id: str) -> Any:
    return send_message(ports, "alice", session_id, SendMessage(prompt="more"), None)


def test_a_message_that_nobody_was_told_of_is_queued_and_delivered(ports: MemoryPorts) -> None:
    session_id, runner = idle(ports)
    with failing("publish"):
        answer = say(ports, session_id)
    assert answer["status"] == "queued"
    assert ports.store.session(session_id).message_count == 2
    assert [f["kind"] for f in runner.frames() if f["type"] == "command"][-1] == "prompt"
    assert failures(ports) == 1


def test_a_message_whose_delivery_fails_is_accepted_and_sent_by_the_next_heartbeat(
    ports: MemoryPorts,
) -> None:
    session_id, runner = idle(ports)
    with failing("prompt_frame"):
        assert say(ports, session_id)["status"] == "queued"
    assert failures(ports) > 0
    ports.clock.advance(seconds=15)
    runner.send("heartbeat", running=[])
    assert [f["kind"] for f in runner.frames() if f["type"] == "command"][-1] == "prompt"
    assert ports.store.message(session_id, 2).status is MessageStatus.DELIVERING


def test_a_retry_that_nobody_was_told_of_is_started(ports: MemoryPorts) -> None:
    session_id = created(ports)
    prepared_up_to(ports, session_id, StepName.CLONE)
    talk.interrupt(ports, "alice", session_id)
    with failing("publish"):
        talk.retry(ports, "alice", session_id, RetrySession(attempt_number=1))
    assert (session_id, 2) in ports.machine.started


def test_an_interrupt_reaches_the_machine_though_the_runner_can_not_be_told(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports)
    prepared_up_to(ports, session_id, StepName.DISK)
    begin(ports, session_id, StepName.DISK)
    with failing("send"):
        talk.interrupt(ports, "alice", session_id)
    assert (session_id, 1) in ports.machine.stopped
    assert ports.store.session(session_id).status is Status.FAILED


def test_a_batch_that_nobody_was_told_of_is_acknowledged(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    say(ports, session_id)
    with failing("publish"):
        runner.report(turn_ended(ports, session_id))
    assert runner.frames()[-1] == {"type": "ack", "seq": runner.seq, "accepted": True}
    assert ports.store.message(session_id, 2).status is MessageStatus.DELIVERING


def test_a_hello_is_served_though_its_predecessor_can_not_be_closed(ports: MemoryPorts) -> None:
    session_id = created(ports, autoInitiate=False)
    runner = prepared_up_to(ports, session_id, StepName.DELIVER)

    def down(*_: object) -> None:
        raise ServiceUnavailable("DeleteConnection")

    ports.sockets.close = down  # type: ignore[method-assign]
    again = Runner(ports, session_id, connection_id="r2", seq=runner.seq)
    again.connect(runner.key)
    again.hello()
    assert again.frames()[0]["type"] == "welcome"


@pytest.mark.parametrize("error", [KeyError("x"), UnicodeEncodeError("utf-8", "x", 0, 1, "y")])
def test_no_defect_in_telling_is_told_to_the_caller(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    session_id = created(ports, autoInitiate=False)

    def breaks(*_: object) -> None:
        raise error

    monkeypatch.setattr("headstart.usecases.outbox.event_frames", breaks)
    say(ports, session_id)
    initiate(ports, "alice", session_id)
    assert ports.store.session(session_id).message_count == 2
    assert failures(ports) == 1
