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

_TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"], include_characters="\n\t"))


@given(st.lists(_TEXT, max_size=20), st.integers(0, 5), st.integers(1, 9))
def test_live_output_and_tail_agree_on_offsets(texts: list[str], step: int, length: int) -> None:
    whole = "".join(texts).encode()
    pieces = [whole[start : start + length] for start in range(0, len(whole), length)]
    now = [0.0]
    output = StepOutput(Redactor(), lambda: now[0])
    live = []
    for piece in pieces:
        now[0] += step
        live.append(output.feed(piece, watched=True))
    live.append(output.finish(watched=True))

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


_BITS = ["10%", " ", "50%\r", "\r", "\n", "\r\n", "\x1b[31m", "\x1b[2K\x1b[1G", "\x1b]0;t\x07", "ä"]


@given(st.lists(st.sampled_from(_BITS), max_size=12).map("".join), st.integers(1, 5))
def test_what_was_printed_for_a_terminal_is_the_same_in_whatever_pieces(
    text: str, length: int
) -> None:
    def tail(pieces: list[str]) -> str:
        output = StepOutput(Redactor(), lambda: 0.0)
        for piece in pieces:
            output.feed(piece.encode(), watched=False)
        output.finish(watched=False)
        return "".join(piece for _, piece in output.tail())

    whole = tail([text])
    assert whole == tail([text[start : start + length] for start in range(0, len(text), length)])
    assert not {"\r", "\x1b"} & {*whole}


def test_of_a_progress_bar_viewers_get_the_last_version_that_came() -> None:
    output = StepOutput(Redactor(), lambda: 0.0)
    live = [output.feed(piece, watched=True) for piece in (b"1%\r2%\r", b"3%\r4%", b"\rdone\n")]

    assert live == [(0, "2%"), (2, "\r4%"), (5, "\rdone\n")]
    assert output.tail() == [(6, "done\n")]


def test_what_nobody_saw_is_there_for_who_joins() -> None:
    output = StepOutput(Redactor(), lambda: 0.0)
    output.feed(b"seen\n", watched=True)
    output.feed(b"early\n", watched=False)
    output.feed(b"late\n", watched=False)

    assert output.missed() == (5, "early\nlate\n")
    assert output.missed() is None
