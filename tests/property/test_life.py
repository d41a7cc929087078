"""Whatever happens, in any order, with anything dying anywhere: what must hold, holds."""

import pytest

from headstart.domain.life import hosting, sleeping, talking
from tests.property.campaign import campaign
from tests.property.mutants import Mutant

WALKS = 100
MUTANTS = [
    Mutant(
        "a message that a leaving sandbox may have is taken back",
        sleeping._judge_delivery,
        "delivering is not None and not any(map(turn.is_by, delivering))",
        "True",
    ),
    Mutant(
        "the next runner's batches are counted on from its predecessor's",
        hosting._record,
        "change.session.runner_seq = 0",
        "pass",
    ),
    Mutant(
        "a sandbox is kept whether it is there or not",
        hosting.acquire,
        "sandbox.task_arn == newcomer.living and may_be_kept(change)",
        "sandbox.status is SandboxStatus.CONNECTED",
    ),
    Mutant(
        "a connection that is not the newest is listened to",
        hosting.require_runner,
        "or standing(connection, sandbox) is not Standing.CURRENT",
        "",
    ),
    Mutant(
        "a message of unknown fate is released by the next",
        talking.send,
        "session.hold is Hold.PAUSED",
        "session.hold is not None",
    ),
]


@pytest.mark.parametrize("first", range(0, 4 * WALKS, WALKS))
def test_what_must_hold_holds(first: int) -> None:
    campaign(first, WALKS)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.what)
def test_walks_find_what_is_broken(mutant: Mutant) -> None:
    with mutant.alive(), pytest.raises(AssertionError, match="walk"):
        campaign(0, 300)
