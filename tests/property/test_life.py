"""Whatever happens, in any order, with anything dying anywhere: what must hold, holds."""

import pytest

from tests.property.campaign import Walk, campaign, draw, run
from tests.property.walk import Move
from tests.property.world import Moment

BAD = {"session.failed", "message.failed", "turn.failed"}


@pytest.mark.parametrize("first", [0, *(pytest.param(n, marks=pytest.mark.long) for n in (10, 20))])
def test_what_must_hold_holds(first: int) -> None:
    campaign(first, 10)


@pytest.mark.parametrize("number", range(10))
def test_undisturbed_everything_goes_well(number: int) -> None:
    talk = Move(pause=Moment.REST, talk=True)
    world = run(Walk(draw(number).scene, (talk, talk, Move(pause=5, talk=True))))
    [log] = world.base.store.event_log.values()
    types = [event.type for event in log]
    assert not BAD & set(types)
    assert types.count("turn.completed") == types.count("message.queued") > 1
    assert [event.data["saved"] for event in log if event.type == "session.asleep"] == [True]


def test_a_walk_is_the_same_each_time() -> None:
    once, again = (run(draw(7)).base.store.event_log for _ in range(2))
    assert once
    assert once == again
