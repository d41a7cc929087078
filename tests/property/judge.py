"""What must hold of every decision: it is pure, repeats itself, and is allowed."""

import random
from collections.abc import Callable
from typing import Any

from headstart.domain import errands
from headstart.domain.attempt import AttemptStatus
from headstart.domain.change import Change
from headstart.domain.message import Message, MessageStatus
from headstart.domain.session import TRANSITIONS, Status
from tests.property.copies import copied
from tests.property.violation import hold

Decided = Callable[[Change, Any], Any]
_OF_COMMANDS = (
    errands.SendStep,
    errands.SendPrompt,
    errands.SendOrder,
    errands.SendUpload,
    errands.LookForCopy,
)


def judged(decided: Decided) -> Decided:
    """Return the maker of decisions that has each made twice, on equal sets, and looks at it."""

    def both(change: Change, decide: Any) -> Any:
        twin = _twin(change)
        before = change.attempt.number, change.attempt.status
        chance = random.getstate()
        once = _outcome(decided, twin, decide)
        random.setstate(chance)
        again = _outcome(decided, change, decide)
        if isinstance(again, Exception):
            hold(type(once) is type(again), "a decision is refused only the second time")
            raise again
        hold(once == again, "a decision answers something else the second time")
        for name, part in vars(change).items():
            hold(vars(twin)[name] == part, f"a decision changes something else: {name}")
        _check(change, *before)
        return again

    return both


def _twin(change: Change) -> Change:
    twin = Change.__new__(Change)
    vars(twin).update({name: copied(part) for name, part in vars(change).items()})
    return twin


def _outcome(decided: Decided, change: Change, decide: Any) -> Any:
    try:
        return decided(change, decide)
    except Exception as error:
        return error


def _is_withdrawn(message: Message) -> bool:
    return message.status is MessageStatus.WITHDRAWN


def _check(change: Change, number: int, status: AttemptStatus) -> None:
    session, before = change.session, change.before
    hold(session.version == before.version, "a decision counts versions")
    hold(_leads_to(before.status, session.status), "a status that can't follow")
    hold(change.attempt.number == session.attempt_number, "another attempt than the session's")
    if change.attempt.number == number and status is not AttemptStatus.RUNNING:
        hold(change.attempt.status is status, "an attempt ends twice")
    hold(session.attempt_number - before.attempt_number in {0, 1}, "attempts are passed over")
    given = [event.event_id for event in change.persisted_events]
    following = list(range(before.last_event_id + 1, session.last_event_id + 1))
    hold(given == following, "events are not numbered one after another")
    taken_back = {r.number for r in change.rows if isinstance(r, Message) and _is_withdrawn(r)}
    passed = {n for n in before.waiting if n < session.next_message} - taken_back
    is_forward = session.next_message >= before.next_message and session.queue_length >= 0
    hold(is_forward and len(passed) <= 1, "messages are passed over")
    for errand in change.errands:
        if isinstance(errand, _OF_COMMANDS):
            hold(errand.command_id in change.commands, "an errand for a command that is gone")
    for row in change.gone:
        hold(not any(row is other for other in change.rows), "what is forgotten is written")


def _leads_to(before: Status, after: Status) -> bool:
    reached = {before}
    while more := {to for status in reached for to in TRANSITIONS[status]} - reached:
        reached |= more
    return after in reached
