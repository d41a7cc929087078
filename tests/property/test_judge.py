"""The judge of decisions sees what is no decision."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from headstart.domain.change import Change, WorkingSet
from headstart.domain.errands import SendOrder
from headstart.domain.session import Status
from headstart.usecases.commit import decided
from tests.contract.helpers import NOW, new_change, policy
from tests.property.judge import judged
from tests.property.violation import Violation

Decide = Callable[[Change], object]


def outside(numbers: Iterator[int]) -> Decide:
    """Return a decision that rests on something outside."""
    return lambda change: setattr(change.session, "title", str(next(numbers)))


def told(numbers: Iterator[int]) -> Decide:
    """Return a decision that answers what is outside."""
    return lambda _: next(numbers)


def refused(numbers: Iterator[int]) -> Decide:
    """Return a decision that is refused only once."""

    def decide(_: Change) -> None:
        if next(numbers):
            raise ValueError

    return decide


def step_back(change: Change) -> None:
    change.session.next_message -= 1


NO_DECISIONS = {
    "changes something else: session": outside(count()),
    "answers something else": told(count()),
    "refused only the second time": refused(count()),
    "a status that can't follow": lambda change: setattr(change.session, "status", Status.READY),
    "messages are passed over": step_back,
    "for a command that is gone": lambda change: change.then(SendOrder("gone")),
    "counts versions": lambda change: setattr(change.session, "version", 7),
    "numbered one after another": lambda change: setattr(change.session, "last_event_id", 9),
}


@pytest.fixture
def change() -> Change:
    """Return a change of a session that is being deleted, nothing of it decided yet."""
    made = new_change()
    made.session.status = Status.DELETING
    made.session.last_event_id = 0
    return Change(WorkingSet(session=made.session, attempt=made.attempt), NOW, policy())


@pytest.mark.parametrize("what", NO_DECISIONS)
def test_what_is_no_decision_is_seen(change: Change, what: str) -> None:
    with pytest.raises(Violation, match=what):
        judged(decided)(change, NO_DECISIONS[what])


def test_a_decision_is_let_be(change: Change) -> None:
    assert judged(decided)(change, lambda change: change.session.owner) == change.session.owner
