"""Invocations of one state that overlap: nobody knows which one's token counts, so all do."""

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.change import Change
from headstart.domain.errors import TaskTokenGone
from headstart.domain.sandbox import Command, Sandbox
from headstart.domain.steps import StepName
from headstart.usecases.sandbox import sandbox_stopped
from tests.unit.helpers import Runner, begin, connected, created, prepared_up_to, token

S = StepName


def overlapping(ports: MemoryPorts, step: StepName, session_id: str) -> tuple[str, str]:
    """Let a second invocation commit between the first one's read and its commit.

    Returns the first one's token, which is dead, and the second one's.
    """
    commit = ports.store.commit

    def let_the_second_in(work: Change) -> None:
        ports.store.commit = commit  # type: ignore[method-assign]
        begin(ports, session_id, step, number=2)
        commit(work)

    ports.store.commit = let_the_second_in  # type: ignore[method-assign]
    begin(ports, session_id, step, number=1)
    return token(step, number=1), token(step, number=2)


def dead(ports: MemoryPorts, token_: str) -> None:
    """Have a token not be waited with any more."""
    ports.machine.answers[token_] = "dead"


def test_a_result_answers_the_living_token(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    first, second = overlapping(ports, S.DISK, session_id)
    dead(ports, first)
    runner.complete("1.disk.1")
    assert ports.machine.answers[second] == "ok"


def test_a_failure_answers_the_living_token(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, S.CLONE)
    first, second = overlapping(ports, S.CLONE, session_id)
    dead(ports, first)
    runner.fail("1.clone.1", "CloneFailed")
    assert ports.machine.answers[second] == "CloneFailed"


def test_a_heartbeat_keeps_the_living_token_alive(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    first, second = overlapping(ports, S.DISK, session_id)
    dead(ports, first)
    runner.beat("1.disk.1")
    assert ports.machine.beats == [second]


def test_a_delivery_answers_the_living_token(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = prepared_up_to(ports, session_id, S.DELIVER)
    first, second = overlapping(ports, S.DELIVER, session_id)
    dead(ports, first)
    message = ports.store.message(session_id, 1)
    runner.complete(f"{message.message_id}.prompt.1")
    assert ports.machine.answers[second] == "ok"


@pytest.mark.parametrize("dies", [False, True])
def test_hello_and_the_end_of_a_sandbox_answer_the_living_token(
    ports: MemoryPorts, dies: bool
) -> None:
    session_id = created(ports)
    first, second = overlapping(ports, S.SANDBOX, session_id)
    dead(ports, first)
    if dies:
        sandbox_stopped(ports, f"{session_id}-1-1", "task", "out of memory")
    else:
        runner = Runner(ports, session_id)
        runner.connect()
        runner.hello()
    assert ports.machine.answers[second] == ("SandboxStopped" if dies else "ok")


def test_a_sandbox_that_dies_fails_whatever_waits(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    first, second = overlapping(ports, S.DISK, session_id)
    dead(ports, first)
    sandbox_stopped(ports, f"{session_id}-1-1", "task", "out of memory")
    assert ports.machine.answers[second] == "SandboxStopped"


def test_only_the_last_few_tokens_are_kept_each_once(ports: MemoryPorts) -> None:
    session_id = created(ports)
    connected(ports, session_id)
    for number in (1, 2, 3, 4, 5, 3):
        begin(ports, session_id, S.DISK, number=number)
    row = ports.store.command(session_id, "1.disk.1")
    assert row
    assert row.tokens == [token(S.DISK, number=number) for number in (2, 4, 5, 3)]


@pytest.mark.parametrize("model", [Command, Sandbox])
def test_a_row_of_the_version_before_has_its_one_token(model: type[Command | Sandbox]) -> None:
    written = {
        "commandId": "1.disk.1", "kind": "disk", "attemptNumber": 1, "tryNumber": 1,
        "status": "starting", "taskToken": "t", "createdAt": "2026-01-01T00:00:00.000Z",
    }  # fmt: skip
    row = model.model_validate(written)
    row.wait_with("u")
    assert row.tokens == ["t", "u"]


def test_what_no_longer_waits_is_no_error(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = connected(ports, session_id)
    dead(ports, begin(ports, session_id, S.DISK))
    runner.complete("1.disk.1")
    assert runner.frames()[-1] == {"type": "ack", "seq": 1, "accepted": True}
    with pytest.raises(TaskTokenGone):
        ports.machine.succeed(token(S.DISK))
