"""What the walks are there for: they find these defects."""

import pytest

from tests.property.campaign import campaign, draw, failure_of, find, shrink
from tests.property.mutants import MUTANTS, Mutant

WALKS = 300


def found(mutant: Mutant) -> tuple[int, str] | None:
    """Return the walk that shows a mutant, which must be alive, and what does not hold in it."""
    return find(mutant.shown_by, 1) or find(0, WALKS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_walks_find_what_is_broken(mutant: Mutant) -> None:
    with mutant.alive():
        assert found(mutant)


@pytest.mark.long
def test_what_is_found_is_told_as_a_short_walk_that_shows_it() -> None:
    taken_back = MUTANTS[0]
    with taken_back.alive():
        number, failure = found(taken_back) or (0, "nothing")
        assert failure == "the agent was told twice"
        with pytest.raises(AssertionError, match=f"walk {number}: {failure}") as told:
            campaign(number, 1)
        whole = draw(number)
        short = shrink(whole, failure)
        assert str(short) in str(told.value)
        assert len(short.moves) < len(whole.moves)
        assert failure_of(short) == failure
    assert failure_of(short) is None
