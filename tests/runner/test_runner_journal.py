"""What the journal lets happen once only."""

from pathlib import Path

import pytest

from headstart_runner.journal import Delivery, DeliveryState, Journal


@pytest.mark.parametrize("state", ["minted", "posting", "shown", "ended"])
def test_only_a_turn_that_has_begun_ends_and_only_once(
    tmp_path: Path, state: DeliveryState
) -> None:
    journal = Journal(tmp_path)
    try:
        journal.put_delivery(Delivery("msg_1", "a", "turn_1", "c", state))
        ended = [journal.end_turn("turn_1", {"event": {"turnId": "turn_1"}}) for _ in range(2)]
        assert [place is not None for place in ended] == [state == "shown", False]
        assert len(journal.spooled()) == (state == "shown")
    finally:
        journal.close()
