"""A message that waits can be taken back, and nothing of it reaches the agent afterwards."""

from collections.abc import Callable

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.change import message_key
from headstart.domain.errors import (
    AlreadyDelivered,
    DeliveryUnknown,
    IdempotencyKeyReused,
    MessageNotFound,
    QueueFull,
    SessionNotFound,
    WrongStatus,
)
from headstart.domain.failure import Failure
from headstart.domain.message import MessageStatus
from headstart.domain.requests import SendMessage
from headstart.domain.session import Hold, Session, Status
from headstart.domain.steps import StepName
from headstart.usecases import commit, read, talk
from tests.unit.helpers import (
    Runner,
    created,
    opened,
    prepared_up_to,
    running,
    turn_ended,
    types,
)


def say(ports: MemoryPorts, session_id: str, text: str, key: str | None = None) -> str:
    answer = talk.send_message(ports, "alice", session_id, SendMessage(prompt=text), key)
    return str(answer["messageId"])


def withdraw(ports: MemoryPorts, session_id: str, message_id: str) -> None:
    talk.withdraw_message(ports, "alice", session_id, message_id)


def prompts(runner: Runner) -> list[str]:
    return [f["args"]["text"] for f in runner.new_frames() if f.get("kind") == "prompt"]


def status_of(ports: MemoryPorts, session_id: str, message_id: str) -> str:
    listed = read.list_messages(ports, "alice", session_id)["items"]
    return next(str(m["status"]) for m in listed if m["messageId"] == message_id)


def waiting(ports: MemoryPorts, session_id: str) -> list[str]:
    return [m["messageId"] for m in read.get_session(ports, "alice", session_id)["queue"]]


def deliver(ports: MemoryPorts, session_id: str, runner: Runner) -> None:
    """Have the agent take what was sent, and end its turn."""
    turn = ports.store.session(session_id).active_turn
    assert turn
    runner.complete(turn.command_id, agentMessageId="msg")
    runner.report(turn_ended(ports, session_id))


@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_withdrawn_is_never_sent_and_the_rest_is_in_order(
    ports: MemoryPorts, which: int
) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    texts = ["a", "b", "c"]
    sent = [say(ports, session_id, text) for text in texts]
    runner.new_frames()
    withdraw(ports, session_id, sent[which])
    left = [text for text in texts if text != texts[which]]
    assert ports.store.session(session_id).queue_length == 2
    assert waiting(ports, session_id) == [m for m in sent if m != sent[which]]
    assert status_of(ports, session_id, sent[which]) == "withdrawn"
    runner.report(turn_ended(ports, session_id))
    deliver(ports, session_id, runner)
    deliver(ports, session_id, runner)
    assert prompts(runner) == left
    session = ports.store.session(session_id)
    assert (session.queue_length, session.withdrawn, session.status) == (0, [], Status.READY)


def test_it_is_told_once_however_often_it_is_asked_for(ports: MemoryPorts) -> None:
    session_id = created(ports)
    running(ports, session_id)
    message_id = say(ports, session_id, "a")
    for _ in range(3):
        withdraw(ports, session_id, message_id)
    events = [e for e in ports.store.event_log[session_id] if e.type == "message.withdrawn"]
    assert [e.data for e in events] == [{"messageId": message_id}]


def test_a_queue_that_was_withdrawn_whole_takes_new_messages(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    for message_id in [say(ports, session_id, text) for text in "abc"]:
        withdraw(ports, session_id, message_id)
    runner.report(turn_ended(ports, session_id))
    runner.new_frames()
    say(ports, session_id, "d")
    assert prompts(runner) == ["d"]


def test_after_an_interrupt_the_next_in_line_is_held_in_its_place(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    first, second = (say(ports, session_id, text) for text in "ab")
    talk.interrupt(ports, "alice", session_id)
    runner.report(turn_ended(ports, session_id, interrupted=True))
    assert [status_of(ports, session_id, m) for m in (first, second)] == ["held", "queued"]
    withdraw(ports, session_id, first)
    assert status_of(ports, session_id, second) == "held"
    assert types(ports, session_id)[-2:] == ["message.withdrawn", "message.held"]
    assert ports.store.session(session_id).hold is Hold.PAUSED
    runner.new_frames()
    talk.initiate(ports, "alice", session_id)
    assert prompts(runner) == ["b"]


def test_after_an_interrupt_and_all_withdrawn_the_next_message_goes(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    message_id = say(ports, session_id, "a")
    talk.interrupt(ports, "alice", session_id)
    runner.report(turn_ended(ports, session_id, interrupted=True))
    withdraw(ports, session_id, message_id)
    runner.new_frames()
    say(ports, session_id, "b")
    assert prompts(runner) == ["b"]


def test_one_that_the_agent_may_have_holds_up_nobody_once_withdrawn(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    runner.report(turn_ended(ports, session_id))
    message_id = say(ports, session_id, "a")
    turn = ports.store.session(session_id).active_turn
    assert turn
    runner.fail(turn.command_id, "DeliveryUnknown")
    assert ports.store.session(session_id).hold is Hold.INITIATE
    withdraw(ports, session_id, message_id)
    runner.new_frames()
    say(ports, session_id, "b")
    assert prompts(runner) == ["b"]


@pytest.mark.parametrize("accepted", [False, True])
def test_what_is_on_its_way_or_there_is_refused(ports: MemoryPorts, accepted: bool) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    runner.report(turn_ended(ports, session_id))
    message_id = say(ports, session_id, "a")
    if accepted:
        turn = ports.store.session(session_id).active_turn
        assert turn
        runner.complete(turn.command_id, agentMessageId="msg")
    with pytest.raises(AlreadyDelivered, match="interrupt"):
        withdraw(ports, session_id, message_id)


def test_a_delivery_in_between_is_seen(ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Withdrawn while it is claimed: whoever commits second judges anew."""
    session_id = created(ports)
    runner = running(ports, session_id)
    message_id = say(ports, session_id, "a")
    write: Callable[..., None] = ports.store.commit
    rivals = [lambda: runner.report(turn_ended(ports, session_id))]

    def late(change: object) -> None:
        if rivals:
            rivals.pop()()
        write(change)

    monkeypatch.setattr(ports.store, "commit", late)
    with pytest.raises(AlreadyDelivered):
        withdraw(ports, session_id, message_id)
    assert prompts(runner)[-1:] == ["a"]


@pytest.mark.parametrize("held", [True, False])
def test_the_first_message_can_be_changed_instead(ports: MemoryPorts, held: bool) -> None:
    session_id = created(ports, autoInitiate=not held)
    prepared_up_to(ports, session_id, StepName.CLONE)
    message = ports.store.message(session_id, 1)
    with pytest.raises(WrongStatus, match="PATCH"):
        withdraw(ports, session_id, message.message_id)
    assert ports.store.message(session_id, 1).status is message.status


def test_a_first_message_that_may_be_there_can_be_sent_again_instead(ports: MemoryPorts) -> None:
    session_id = created(ports, autoInitiate=False)
    prepared_up_to(ports, session_id, StepName.CLONE)
    change = commit.read(ports, session_id, lambda _: [message_key(1)])
    row = change.message(1)
    assert row
    row.failure = Failure.of(DeliveryUnknown())
    change.save(row)
    ports.store.commit(change)
    with pytest.raises(WrongStatus, match="initiate"):
        withdraw(ports, session_id, row.message_id)


def test_messages_of_others_and_of_nobody_are_not_found(ports: MemoryPorts) -> None:
    session_id, other = created(ports), created(ports)
    running(ports, session_id)
    message_id = say(ports, session_id, "a")
    for of, unknown_id in ((session_id, "msg_unknown"), (other, message_id)):
        with pytest.raises(MessageNotFound):
            withdraw(ports, of, unknown_id)
    with pytest.raises(SessionNotFound):
        talk.withdraw_message(ports, "bob", session_id, message_id)


def test_its_idempotency_key_still_stands_for_it(ports: MemoryPorts) -> None:
    session_id = created(ports)
    running(ports, session_id)
    message_id = say(ports, session_id, "a", "key")
    withdraw(ports, session_id, message_id)
    again = talk.send_message(ports, "alice", session_id, SendMessage(prompt="a"), "key")
    assert (again["messageId"], again["status"]) == (message_id, MessageStatus.WITHDRAWN)
    assert ports.store.session(session_id).queue_length == 0
    with pytest.raises(IdempotencyKeyReused):
        say(ports, session_id, "b", "key")


def test_withdrawing_makes_room_but_not_for_ever(ports: MemoryPorts) -> None:
    ports.policy.queued_messages = 3
    session_id = created(ports)
    running(ports, session_id)
    say(ports, session_id, "stays")
    for _ in range(9):
        withdraw(ports, session_id, say(ports, session_id, "goes"))
    say(ports, session_id, "stays too")
    say(ports, session_id, "and this")
    with pytest.raises(QueueFull, match="3 messages are waiting"):
        say(ports, session_id, "one more")


def test_behind_one_that_is_stuck_any_number_comes_and_goes(ports: MemoryPorts) -> None:
    ports.policy.queued_messages = 3
    session_id = created(ports)
    runner = running(ports, session_id)
    stuck = say(ports, session_id, "stuck")
    for _ in range(40):
        withdraw(ports, session_id, say(ports, session_id, "goes"))
    middle = say(ports, session_id, "middle")
    for _ in range(40):
        withdraw(ports, session_id, say(ports, session_id, "goes too"))
    last = say(ports, session_id, "last")
    session = ports.store.session(session_id)
    assert (session.queue_length, session.withdrawn) == (3, [(3, 42), (44, 83)])
    assert waiting(ports, session_id) == [stuck, middle, last]
    withdraw(ports, session_id, middle)
    assert ports.store.session(session_id).withdrawn == [(3, 83)]
    runner.new_frames()
    runner.report(turn_ended(ports, session_id))
    deliver(ports, session_id, runner)
    deliver(ports, session_id, runner)
    assert prompts(runner) == ["stuck", "last"]


def test_numbers_of_an_earlier_version_are_runs() -> None:
    kept = {"status": "ready", "createdAt": 0, "updatedAt": 0, "withdrawn": [7, 3, 4, 9]}
    names = ("sessionId", "owner", "title", "gitUrl", "branch", "agent", "mode")
    session = Session.model_validate({**dict.fromkeys(names, "x"), **kept, "messageCount": 10})
    assert session.withdrawn == [(3, 4), (7, 7), (9, 9)]
    assert Session.model_validate_json(session.model_dump_json()) == session
    assert [*session.waiting] == [1, 2, 5, 6, 8, 10]
    assert session.queue_length == 6


def test_an_old_message_is_found_among_thousands(ports: MemoryPorts) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    runner.report(turn_ended(ports, session_id))
    old = say(ports, session_id, "old")
    deliver(ports, session_id, runner)
    change = opened(ports, session_id)
    change.session.message_count += 3000
    change.session.next_message += 3000
    ports.store.commit(change)
    with pytest.raises(AlreadyDelivered):
        withdraw(ports, session_id, old)
    with pytest.raises(MessageNotFound):
        withdraw(ports, session_id, f"{old[:-1]}-")


def test_a_message_with_an_id_of_an_earlier_version_is_found_where_it_waits(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports)
    running(ports, session_id)
    say(ports, session_id, "a")
    change = commit.read(ports, session_id, lambda _: [message_key(2)])
    row = change.message(2)
    assert row
    row.message_id = "msg_abcdefghijklmnopqrstuvwx"
    change.save(row)
    ports.store.commit(change)
    withdraw(ports, session_id, row.message_id)
    assert ports.store.message(session_id, 2).status is MessageStatus.WITHDRAWN


@pytest.mark.parametrize("status", ["asleep", "failed"])
def test_it_wakes_nothing(ports: MemoryPorts, status: str) -> None:
    session_id = created(ports)
    runner = running(ports, session_id)
    first, second = (say(ports, session_id, text) for text in "ab")
    talk.interrupt(ports, "alice", session_id)
    runner.report(turn_ended(ports, session_id, interrupted=True))
    change = opened(ports, session_id)
    change.session.status = Status(status)
    ports.store.commit(change)
    withdraw(ports, session_id, first)
    session = ports.store.session(session_id)
    assert (session.status, session.attempt_number) == (Status(status), 1)
    assert waiting(ports, session_id) == [second]
