"""A command's output on its way: decoded, redacted, plain, its tail kept, a trickle shown live."""

import codecs
from collections.abc import Callable

from headstart.domain.channel import OUTPUT_TAIL_BYTES
from headstart_runner import wire
from headstart_runner.redaction import RedactedStream, Redactor
from headstart_runner.terminal import Screen, last_line, settled

LIVE_BYTES_PER_SECOND = 16 * 1024
_TAIL_PIECE_BYTES = 8 * 1024
_MISSED_BYTES = 8 * 1024
"""What viewers who join are shown of the output that nobody saw: as much as they keep."""


class StepOutput:
    """One step's output; offsets count bytes of the redacted, plain text from the step's start."""

    def __init__(self, redactor: Redactor, clock: Callable[[], float]) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stream = RedactedStream(redactor)
        self._screen = Screen()
        self._clock = clock
        self._tail = b""
        self._end = 0
        self._seen = 0
        self._allowance = float(LIVE_BYTES_PER_SECOND)
        self._refilled = clock()
        self._log: Callable[[str], None] = lambda _: None
        self.not_shown = 0
        """Bytes that were too many to be shown live."""

    def log_to(self, log: Callable[[str], None]) -> None:
        """Have all of it written elsewhere, too: what is kept so far, and what comes."""
        self._log = log
        log(self._tail.decode(errors="ignore"))

    def feed(self, data: bytes, *, watched: bool) -> tuple[int, str] | None:
        """Take output and return `(offset, text)` of what may be shown live, if anything."""
        text = self._stream.feed(self._decoder.decode(data))
        return self._take(self._screen.feed(text), watched)

    def finish(self, *, watched: bool) -> tuple[int, str] | None:
        """Take the end of one command's output."""
        rest = self._stream.feed(self._decoder.decode(b"", final=True)) + self._stream.finish()
        self._decoder.reset()
        return self._take(self._screen.feed(rest, over=True), watched)

    def add(self, line: str, *, watched: bool) -> tuple[int, str] | None:
        """Take a line of our own, after the end of a command's output."""
        begun = self._tail and not self._tail.endswith(b"\n")
        return self._take(f"\n{line}\n" if begun else f"{line}\n", watched)

    def _take(self, text: str, watched: bool) -> tuple[int, str] | None:
        self._log(text)
        shown = text.encode("utf-8", "replace")
        offset = self._end
        self._end += len(shown)
        self._tail += shown
        if len(self._tail) > OUTPUT_TAIL_BYTES:
            self._tail = settled(self._tail)[-OUTPUT_TAIL_BYTES:]
        if not watched:
            return None
        self._seen = self._end
        if not shown:
            return None
        now = self._clock()
        refill = (now - self._refilled) * LIVE_BYTES_PER_SECOND
        self._allowance = min(self._allowance + refill, LIVE_BYTES_PER_SECOND)
        self._refilled = now
        live = shown[: int(self._allowance)].decode(errors="ignore")
        self._allowance -= len(live.encode())
        self.not_shown += len(shown) - len(live.encode())
        return (offset, live) if live else None

    def missed(self) -> tuple[int, str] | None:
        """Return the end of what nobody watched as `(offset, text)`: now somebody does."""
        unseen = min(self._end - self._seen, _MISSED_BYTES, len(self._tail))
        self._seen = self._end
        text = self._tail[len(self._tail) - unseen :].decode(errors="ignore")
        return (self._end - len(text.encode()), text) if text else None

    def tail(self) -> list[tuple[int, str]]:
        """Return the kept end of the output as `(offset, text)` pieces that fit a batch each."""
        kept = settled(self._tail).decode(
            errors="ignore"
        )  # it may begin in the middle of a character
        pieces, offset = [], self._end - len(kept.encode())
        for text in wire.pieces(kept, _TAIL_PIECE_BYTES):
            pieces.append((offset, text))
            offset += len(text.encode())
        return pieces

    def last_line(self) -> str:
        """Return the last line that says something."""
        return last_line(self._tail.decode(errors="ignore"))
