"""A command's output: offsets, the tail, the limit of what is live."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from headstart.domain.channel import (
    OUTPUT_TAIL_BYTES,
)
from headstart_runner import wire
from headstart_runner.processes.output import LIVE_BYTES_PER_SECOND, StepOutput
from headstart_runner.redaction import Redactor
from headstart_runner.uplink.spool import ITEM_BYTES


@given(st.lists(st.binary(max_size=200), max_size=20), st.integers(0, 5))
def test_live_output_and_tail_agree_on_offsets(pieces: list[bytes], step: int) -> None:
    now = [0.0]
    output = StepOutput(Redactor(), lambda: now[0])
    live = []
    for piece in pieces:
        now[0] += step
        live.append(output.feed(piece, watched=True))
    live.append(output.finish(watched=True))
    whole = b"".join(pieces).decode("utf-8", "replace").encode()

    for offset, text in [*(item for item in live if item), *output.tail()]:
        assert whole[offset:].startswith(text.encode())
    assert "".join(text for _, text in output.tail()).encode() == whole


def test_a_tail_that_begins_inside_a_character_has_no_hole() -> None:
    output = StepOutput(Redactor(), lambda: 0.0)
    output.feed(b"x" + "漢".encode() * 30_000 + b"\x00" * 9_000, watched=False)
    pieces = output.tail()

    for (offset, text), (following, _) in pairwise(pieces):
        assert offset + len(text.encode()) == following
    assert pieces[0][1].startswith("漢")
    assert sum(len(text.encode()) for _, text in pieces) >= OUTPUT_TAIL_BYTES - 2
    assert all(wire.size(text) < ITEM_BYTES // 2 for _, text in pieces)


def test_live_output_is_limited_and_the_rest_counted() -> None:
    output = StepOutput(Redactor(), lambda: 0.0)
    flood = b"x" * 100_000
    live = output.feed(flood, watched=True)

    assert live == (0, "x" * LIVE_BYTES_PER_SECOND)
    assert output.not_shown == len(flood) - LIVE_BYTES_PER_SECOND
    assert output.feed(b"y", watched=True) is None
