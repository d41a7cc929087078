"""What a person says while something else is still under way: the last word counts."""

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import (
    AlreadyInitiated,
    ChangeRefused,
    StepTimedOut,
    WorkspaceGone,
)
from headstart.domain.life.asking import MAX_PENDING_INPUTS
from headstart.domain.message import MessageStatus
from headstart.domain.requests import AnswerInput, PatchSession, RetrySession
from headstart.domain.session import Cause, Hold, Status
from headstart.usecases import talk
from headstart.usecases.prepare import fail_preparation, finish_preparation
from headstart.usecases.read import get_session
from headstart.usecases.sandbox import sandbox_stopped
from headstart.usecases.talk import answer_input, initiate
from tests.unit.archives import save
from tests.unit.helpers import begin, created, prepared_up_to, running, turn_ended
from tests.unit.test_control import S, asked, say, types
from tests.unit.test_sleep import falling


@pytest.mark.parametrize("how", ["message", "initiate"])
def test_who_goes_on_before_an_interrupted_turn_has_ended_is_not_forgotten(
    ports: MemoryPorts, how: str
) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    if how == "initiate":
        say(ports, session_id, "do this instead")
    talk.interrupt(ports, "alice", session_id)
    if how == "message":
        say(ports, session_id, "do this instead")
    else:
        initiate(ports, "alice", session_id)
    runner.report(turn_ended(ports, session_id, interrupted=True))
    assert ports.store.message(session_id, 2).status is MessageStatus.DELIVERING


def test_the_last_word_before_a_turn_ends_counts(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    talk.interrupt(ports, "alice", session_id)
    say(ports, session_id, "do this instead")
    talk.interrupt(ports, "alice", session_id)
    runner.report(turn_ended(ports, session_id, interrupted=True))
    assert ports.store.session(session_id).hold is Hold.PAUSED


def test_an_interrupt_that_did_not_help_can_be_repeated(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    runner.new_frames()
    told = []
    for _ in range(25):
        talk.interrupt(ports, "alice", session_id)
        talk.interrupt(ports, "alice", session_id)
        first, again = runner.new_frames()
        assert first == again, "while it is not answered it is the same"
        assert first["kind"] == "abort"
        told.append(first["id"])
        runner.complete(first["id"])
        runner.new_frames()
    assert len(set(told)) == 25


def test_a_first_message_on_its_way_can_be_interrupted(ports: MemoryPorts) -> None:
    session_id = prepared(ports)
    initiate(ports, "alice", session_id)
    talk.interrupt(ports, "alice", session_id)
    assert [row.kind for row in ports.store.commands(session_id)][-1] == "abort"


def prepared(ports: MemoryPorts) -> str:
    session_id = created(ports, autoInitiate=False)
    prepared_up_to(ports, session_id, S.DELIVER)
    begin(ports, session_id, S.DELIVER)
    finish_preparation(ports, session_id, 1)
    return session_id


def test_patching_auto_initiate_delivers_and_wakes(ports: MemoryPorts) -> None:
    session_id = prepared(ports)
    sandbox = ports.store.sandbox(session_id)
    assert sandbox
    sandbox_stopped(ports, sandbox.name(session_id), str(sandbox.task_arn), "retired")
    assert ports.store.session(session_id).status is Status.ASLEEP
    talk.patch_session(ports, "alice", session_id, PatchSession(auto_initiate=True))
    session = ports.store.session(session_id)
    assert (session.status, session.attempt_cause) == (Status.PREPARING, Cause.WAKE)
    assert ports.store.message(session_id, 1).status is MessageStatus.QUEUED


def test_a_message_that_may_have_been_delivered_is_not_changed_or_released_by_patch(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports)
    prepared_up_to(ports, session_id, S.DELIVER)
    begin(ports, session_id, S.DELIVER)
    fail_preparation(ports, session_id, 1, StepTimedOut("too slow"))
    assert ports.store.session(session_id).hold is Hold.INITIATE
    with pytest.raises(AlreadyInitiated):
        talk.patch_session(ports, "alice", session_id, PatchSession(auto_initiate=True))


def test_what_the_agent_asked_is_withdrawn_when_its_sandbox_dies(ports: MemoryPorts) -> None:
    session_id, _, _ = asked(ports)
    sandbox = ports.store.sandbox(session_id)
    assert sandbox
    sandbox_stopped(ports, sandbox.name(session_id), str(sandbox.task_arn), "out of memory")
    resolved = [e.data for e in ports.store.event_log[session_id] if e.type == "input.resolved"]
    assert resolved == [{"requestId": "per_1", "outcome": "withdrawn"}]


def test_an_agent_that_asks_too_much_is_not_heard(ports: MemoryPorts) -> None:
    session_id, runner, _ = asked(ports)
    turn = ports.store.session(session_id).active_turn
    assert turn
    more = {"type": "input.requested", "turnId": turn.turn_id, "kind": "question", "body": {}}
    runner.report(*({**more, "requestId": f"more_{n}"} for n in range(99)))
    assert len(ports.store.session(session_id).pending_inputs) == MAX_PENDING_INPUTS
    assert types(ports, session_id).count("input.requested") == MAX_PENDING_INPUTS


def test_output_that_came_between_two_writes_is_marked_as_missing(ports: MemoryPorts) -> None:
    session_id = created(ports, setupCommands=["make"])
    runner = prepared_up_to(ports, session_id, S.SETUP)
    begin(ports, session_id, S.SETUP)
    said = {"type": "progress", "commandId": "1.setup.1", "message": "make", "elapsedMs": 1}
    ports.clock.advance(seconds=3)
    for offset, piece in enumerate("ABC"):
        runner.report({**said, "output": piece, "outputOffset": offset})
        ports.clock.advance(seconds=1.5)
    [step] = [
        s for s in get_session(ports, "alice", session_id)["attempt"]["steps"] if "output" in s
    ]
    assert step["output"] == "A\n…\nC"
    assert "outputEnd" not in step


def test_an_answer_to_what_was_just_withdrawn_is_one_change_and_one_event(
    ports: MemoryPorts,
) -> None:
    session_id, runner, turn_id = asked(ports)
    answer_input(ports, "alice", session_id, "per_1", AnswerInput(reply="once"))
    [command] = [row for row in ports.store.commands(session_id) if row.kind == "input"]
    gone = {"code": "InputGone", "reason": "The turn is over"}
    withdrawn = {"type": "input.resolved", "turnId": turn_id, "requestId": "per_1"}
    runner.report(
        {**withdrawn, "outcome": "withdrawn"},
        results=[{"commandId": command.command_id, "status": "failed", "error": gone}],
    )
    assert types(ports, session_id).count("input.resolved") == 1
    assert runner.frames()[-1] == {"type": "ack", "seq": runner.seq, "accepted": True}


def test_a_batch_that_can_never_be_written_holds_nothing_up(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)

    def refuses(*_: object) -> None:
        raise ChangeRefused("too large")

    with monkeypatch.context() as patch:
        patch.setattr(ports.store, "commit", refuses)
        runner.report(turn_ended(ports, session_id))
    assert runner.frames()[-1] == {"type": "ack", "seq": runner.seq, "accepted": False}
    assert ("BatchesDropped", 1, {}) in ports.metrics.measured
    runner.report(turn_ended(ports, session_id))
    assert ports.store.session(session_id).active_turn is None


def test_patching_auto_initiate_holds_and_clearing_it_is_its_default(ports: MemoryPorts) -> None:
    session_id = created(ports)
    talk.patch_session(ports, "alice", session_id, PatchSession(auto_initiate=False))
    assert ports.store.session(session_id).hold is Hold.INITIATE
    assert ports.store.message(session_id, 1).status is MessageStatus.HELD
    talk.patch_session(ports, "alice", session_id, PatchSession(auto_initiate=None))
    assert ports.store.session(session_id).hold is None
    assert ports.store.message(session_id, 1).status is MessageStatus.QUEUED


@pytest.mark.parametrize("body", [{"mode": ""}, {"model": ""}, {"upstreamBranch": ""}])
def test_empty_clears_like_null(body: dict[str, object]) -> None:
    cleared = PatchSession.model_validate(body)
    assert set(cleared.model_dump(exclude_unset=True).values()) == {None}


def test_a_cancelled_wake_does_not_say_that_the_work_is_lost(ports: MemoryPorts) -> None:
    session_id, runner = falling(ports)
    save(ports, runner)
    say(ports, session_id)
    talk.interrupt(ports, "alice", session_id)
    told = [e.data for e in ports.store.event_log[session_id] if e.type == "session.asleep"]
    assert told[-1] == {"reason": "The wake-up was cancelled", "saved": True, "leftOut": []}


def test_a_work_tree_that_is_gone_is_cloned_into_a_new_sandbox(ports: MemoryPorts) -> None:
    session_id = created(ports, setupCommands=["rm -rf ."])
    prepared_up_to(ports, session_id, S.SETUP)
    fail_preparation(ports, session_id, 1, WorkspaceGone("The work tree is gone"))
    talk.retry(ports, "alice", session_id, RetrySession(attempt_number=1))
    begin(ports, session_id, S.SANDBOX, 2)
    assert len(ports.sandboxes.specs) == 2
    steps = {s.step: s.status.value for s in ports.store.attempt(session_id, 2).steps}
    assert steps[S.CLONE] == "pending"


def test_a_permission_is_declined_either_way(ports: MemoryPorts) -> None:
    session_id, runner, _ = asked(ports)
    answer_input(ports, "alice", session_id, "per_1", AnswerInput(reject=True))
    assert runner.frames()[-1]["args"]["answer"] == {"reply": "reject"}


def test_a_prompt_that_is_changed_and_released_at_once_is_the_changed_one(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports, autoInitiate=False)
    request = PatchSession(prompt="another one", auto_initiate=True)
    talk.patch_session(ports, "alice", session_id, request)
    message = ports.store.message(session_id, 1)
    assert (message.text, message.status) == ("another one", MessageStatus.QUEUED)
