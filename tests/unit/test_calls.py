"""Every call in every status does what the one table says: each cell is a test."""

import re
from collections.abc import Callable

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.calls import EFFECTS, Call, Effect
from headstart.domain.errors import (
    AlreadyInitiated,
    HeadstartError,
    InputNotFound,
    MessageNotFound,
    SandboxStopped,
    SessionBusy,
    SessionNotFound,
    WrongStatus,
)
from headstart.domain.requests import (
    AnswerInput,
    PatchSession,
    PublishSession,
    RetrySession,
    SendMessage,
)
from headstart.domain.session import Status
from headstart.domain.steps import StepName
from headstart.usecases import delete, read, talk
from headstart.usecases.prepare import fail_preparation, finish_preparation
from headstart.usecases.sandbox import sandbox_stopped
from tests.unit.helpers import (
    begin,
    begin_sleep,
    connected,
    created,
    prepared_up_to,
    running,
    turn_ended,
)


def preparing(ports: MemoryPorts) -> str:
    session_id = created(ports)
    connected(ports, session_id)
    return session_id


def prepared(ports: MemoryPorts) -> str:
    session_id = created(ports, autoInitiate=False)
    prepared_up_to(ports, session_id, StepName.DELIVER)
    begin(ports, session_id, StepName.DELIVER)
    finish_preparation(ports, session_id, 1)
    return session_id


def in_turn(ports: MemoryPorts) -> str:
    session_id = created(ports)
    running(ports, session_id)
    return session_id


def ready(ports: MemoryPorts) -> str:
    session_id = created(ports)
    runner = running(ports, session_id)
    runner.report(turn_ended(ports, session_id))
    return session_id


def stopping(ports: MemoryPorts) -> str:
    session_id = ready(ports)
    assert begin_sleep(ports, session_id)
    return session_id


def asleep(ports: MemoryPorts) -> str:
    session_id = ready(ports)
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "gone")
    return session_id


def failed(ports: MemoryPorts) -> str:
    session_id = preparing(ports)
    fail_preparation(ports, session_id, 1, SandboxStopped("gone"))
    return session_id


def deleting(ports: MemoryPorts) -> str:
    session_id = preparing(ports)
    for number in range(300):
        ports.store.rows[session_id][f"OTHER#{number}"] = ports.policy
    delete.delete_session(ports, "alice", session_id)
    return session_id


REACHED: dict[Status, Callable[[MemoryPorts], str]] = {
    Status.PREPARING: preparing,
    Status.PREPARED: prepared,
    Status.READY: ready,
    Status.RUNNING: in_turn,
    Status.STOPPING: stopping,
    Status.ASLEEP: asleep,
    Status.FAILED: failed,
    Status.DELETING: deleting,
}


def do(ports: MemoryPorts, call: Call, session_id: str) -> None:
    number = ports.store.session(session_id).attempt_number
    match call:
        case Call.READ:
            read.list_messages(ports, "alice", session_id)
            read.list_events(ports, "alice", session_id, 0)
            read.stream_ticket(ports, "alice", session_id)
            read.get_session(ports, "alice", session_id)
        case Call.PATCH:
            talk.patch_session(ports, "alice", session_id, PatchSession(model="p/m"))
        case Call.INITIATE:
            talk.initiate(ports, "alice", session_id)
        case Call.MESSAGE:
            request = SendMessage(prompt="And then?")
            talk.send_message(ports, "alice", session_id, request, None)
        case Call.WITHDRAW:
            talk.withdraw_message(ports, "alice", session_id, "msg_unknown")
        case Call.ANSWER:
            answer = AnswerInput(reply="once")
            talk.answer_input(ports, "alice", session_id, "req", answer)
        case Call.INTERRUPT:
            talk.interrupt(ports, "alice", session_id)
        case Call.PUBLISH:
            talk.publish(ports, "alice", session_id, PublishSession())
        case Call.RETRY:
            request_ = RetrySession(attempt_number=number)
            talk.retry(ports, "alice", session_id, request_)
        case Call.DELETE:
            delete.delete_session(ports, "alice", session_id)


@pytest.mark.parametrize("call", list(Call), ids=lambda c: c.name.lower())
@pytest.mark.parametrize("status", list(Status), ids=str)
def test_a_call_does_what_the_table_says(ports: MemoryPorts, call: Call, status: Status) -> None:
    session_id = REACHED[status](ports)
    before = ports.store.session(session_id)
    assert before.status is status
    effect = EFFECTS[call, status]
    error = error_of(ports, call, session_id)
    refusals = {
        Effect.NOT_FOUND: SessionNotFound,
        Effect.CONFLICT: WrongStatus,
        Effect.BUSY: SessionBusy,
    }
    if effect in refusals:
        assert type(error) is refusals[effect]
        # Read by people, who know no names of calls.
        assert effect is Effect.NOT_FOUND or not re.search(rf"\b{call.value}\b", str(error))
        assert ports.store.session(session_id) == before
        return
    if effect is Effect.REPLY:
        assert type(error) is InputNotFound
        return
    if effect is Effect.WITHDRAW:
        assert type(error) is MessageNotFound
        return
    if effect is Effect.CHANGE and before.initiated_at:
        assert type(error) is AlreadyInitiated
        return
    assert error is None
    if effect is Effect.REMOVE:
        if status is not Status.DELETING:
            assert session_id not in ports.store.sessions
        return
    after = ports.store.session(session_id)
    expected = {
        Effect.WAKE: Status.PREPARING,
        Effect.PUBLISH_AND_WAKE: Status.PREPARING,
        Effect.NEW_ATTEMPT: Status.PREPARING,
        Effect.CANCEL: Status.FAILED,
    }
    assert after.status is expected.get(effect, status)
    queued = effect in {Effect.QUEUE, Effect.DISPATCH, Effect.WAKE}
    assert after.message_count == before.message_count + queued
    started = effect in {Effect.WAKE, Effect.PUBLISH_AND_WAKE, Effect.NEW_ATTEMPT}
    assert ((session_id, 2) in ports.machine.started) == started
    if effect in {Effect.PUBLISH, Effect.PUBLISH_LATER, Effect.PUBLISH_AND_WAKE}:
        assert after.publication
        assert after.publication.goes_on
    if effect is Effect.DISPATCH:
        assert after.active_turn
    if effect is Effect.CHANGE:
        assert after.model == "p/m"
    if effect is Effect.NOTHING:
        assert after == before


def error_of(ports: MemoryPorts, call: Call, session_id: str) -> HeadstartError | None:
    try:
        do(ports, call, session_id)
    except HeadstartError as error:
        return error
    return None


@pytest.mark.parametrize("call", list(Call), ids=lambda c: c.name.lower())
def test_another_users_session_is_not_found(ports: MemoryPorts, call: Call) -> None:
    session_id = ready(ports)
    ports.store.sessions[session_id].owner = "bob"
    before = ports.store.session(session_id)
    assert type(error_of(ports, call, session_id)) is SessionNotFound
    assert ports.store.session(session_id) == before


def test_every_cell_is_there() -> None:
    assert set(EFFECTS) == {(call, status) for call in Call for status in Status}
