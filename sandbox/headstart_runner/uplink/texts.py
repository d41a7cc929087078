"""Long texts on their way: cut into pieces, which go when there is room beside everything else."""

import asyncio
import hashlib
import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any

from headstart.domain.channel import BATCH_BYTES, RunnerEvent
from headstart.domain.ids import new_id
from headstart.domain.long_texts import (
    LONG_OF_ERRORS,
    LONG_OF_PARTS,
    TEXT_BYTES,
    LongField,
    Piece,
    log_ref,
)
from headstart_runner import wire
from headstart_runner.journal import Entry, Journal
from headstart_runner.log import logger
from headstart_runner.redaction import RedactedStream, Redactor

_ENVELOPE = 256
ITEM_BYTES = BATCH_BYTES - _ENVELOPE
"""The most one item of a report may take, so that it fits a batch of its own."""

PIECE_BYTES = ITEM_BYTES - 512
"""Bytes of JSON of a piece's text: the rest of it is its names and numbers."""

WAITING_BYTES = 16 * 1024 * 1024
"""How much may wait to be sent, in memory and in the journal; what is said then is gone."""

_MOST_PIECES = 16
"""In one report: each may be two rows of the transaction that takes it, which has 100."""

LOG_SECONDS = 1.0
"""How long what was printed waits for more, so that a piece is worth a row."""

_MOST = ITEM_BYTES - _ENVELOPE
_LEAST_HEAD = 4 * 1024
"""Bytes of JSON of a long text's beginning that its event has, whatever else is in it."""

_NAMES = 128
"""What the name of a text and its length take in an event, and more."""

_MOST_SENT = 64
"""Of how many texts it is known that they were sent: a tool's end follows its start soon."""

_STEP = re.compile(r"([0-9]{1,9})\.([a-z]{1,20})\.([0-9]{1,9})")


class Pieces:
    """The queue of pieces; they are in the journal until their batch is acknowledged."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._waiting: deque[tuple[int | None, Entry, int]] = deque()
        self.bytes = 0
        self.added: Callable[[], None] = lambda: None
        """Called with each new one."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether there is no room for another one."""
        return self.bytes > WAITING_BYTES

    @property
    def fill_a_batch(self) -> bool:
        """Whether so much waits that waiting for more is of no use."""
        return self.bytes >= PIECE_BYTES

    def restore(self, place: int | None, entry: Entry) -> None:
        """Take what an earlier runner left in the journal."""
        size = wire.size(entry)
        self._waiting.append((place, entry, size))
        self.bytes += size

    def end_what_was_written(self) -> None:
        """End the texts that an earlier runner was writing: their rest died with it."""
        for ref, writer, length in self._journal.open_texts():
            self.add(
                Piece(ref=ref, writer=writer, offset=length, text="", last=True, truncated=True)
            )

    def end_what_was_dropped(self, events: list[dict[str, Any]]) -> None:
        """End the texts of which the cloud dropped pieces, with a whole batch of events.

        What follows would be a hole; nothing follows a last piece. Ends that nothing came with are
        not said again: they would be dropped each time.
        """
        lost = [Piece.model_validate(event) for event in events if event["type"] == "text"]
        if len(lost) == len(events) and all(piece.is_end and piece.truncated for piece in lost):
            return
        for piece in {(piece.ref, piece.writer): piece for piece in lost}.values():
            # Behind what is there, never at 0: that would begin anew what another try has written.
            behind = piece.offset + len(piece.text.encode()) + 1
            self.add(piece.as_lost().model_copy(update={"offset": behind}))

    def add(self, piece: Piece) -> None:
        """Queue a piece."""
        entry = {"event": piece.to_json()}
        end = piece.offset + len(piece.text.encode())
        known = None if piece.last else (piece.ref, piece.writer, end)
        self.restore(self._journal.spool_piece(entry, piece.ref, known), entry)
        self.added()

    def take(self, room: int) -> tuple[list[Entry], list[int], int]:
        """Return the next pieces that fit, their places in the journal, and the room left."""
        entries: list[Entry] = []
        places: list[int] = []
        while self._waiting and self._waiting[0][2] <= room and len(entries) < _MOST_PIECES:
            place, entry, size = self._waiting.popleft()
            self.bytes -= size
            room -= size
            entries.append(entry)
            if place is not None:
                places.append(place)
        return entries, places, room


class Writing:
    """One writing of a text; it ends by itself, truncated, where it has no room any more."""

    def __init__(self, pieces: Pieces, ref: str) -> None:
        self._pieces = pieces
        self._ref = ref
        self._writer = new_id("try")
        self._bytes = 0
        self.over = False
        self.truncated = False

    def write(self, text: str) -> None:
        """Add to the text; what is added once it is over is gone."""
        for piece in wire.pieces(text, PIECE_BYTES):
            if self.over:
                return
            size = len(piece.encode())
            if self._bytes + size > TEXT_BYTES or self._pieces.is_full:
                logger.warning("a text was cut after %d bytes: %s", self._bytes, self._ref)
                self.end(truncated=True)
                return
            self._add(piece)
            self._bytes += size

    def end(self, *, truncated: bool = False) -> None:
        """Say that this was all, or that there was more."""
        if not self.over:
            self.over, self.truncated = True, truncated
            self._add("", last=True, truncated=truncated)

    def _add(self, text: str, **more: bool) -> None:
        self._pieces.add(
            Piece(ref=self._ref, writer=self._writer, offset=self._bytes, text=text, **more)
        )


class Log:
    """What a step's commands print, from the first to the last of it, without the secrets.

    Of a command that is no step's nothing is kept.
    """

    def __init__(self, pieces: Pieces, redactor: Redactor, command_id: str) -> None:
        step = _STEP.fullmatch(command_id)
        self._writing = Writing(pieces, log_ref(int(step[1]), step[2])) if step else None
        self._again = step is not None and int(step[3]) > 1
        self._stream = RedactedStream(redactor)
        self._held: list[str] = []
        self._size = 0
        self._begun = False
        self._in_line = False
        self._timer: asyncio.TimerHandle | None = None

    def write(self, text: str) -> None:
        """Add what was printed."""
        if self._writing is None or self._writing.over or not text:
            return
        self._in_line = not text.endswith("\n")
        self._hold(self._stream.feed(text))
        if self._size >= PIECE_BYTES:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOG_SECONDS, self._flush)

    def line(self, text: str) -> None:
        """Add a line of our own."""
        self.write(f"\n{text}\n" if self._in_line else f"{text}\n")

    def end(self) -> None:
        """Add the rest: the step is over. One that printed nothing takes an earlier try's place."""
        if self._writing is None or self._writing.over:
            return
        self._hold(self._stream.finish())
        self._flush()
        if self._begun or self._again:
            self._writing.end()
        else:
            self._writing.over = True

    def _hold(self, text: str) -> None:
        self._held.append(text)
        self._size += len(text)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        text, self._held, self._size = "".join(self._held), [], 0
        if text and self._writing is not None:
            self._begun = True
            self._writing.write(text)


class Told:
    """Events with the beginnings of what is long in them; each text goes in pieces, once.

    A tool's input is told at its start and at its end: the same text has the same name.
    """

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._sent: OrderedDict[str, str] = OrderedDict()

    def short(self, event: RunnerEvent) -> tuple[Entry, dict[str, str]]:
        """Return an event that fits a batch but for what can't be long, and the texts to `send`.

        Those are in it by their beginnings, and by the names that they have here.
        """
        entry: Entry = {"event": event.to_json()}
        holder, fields = _long_in(entry)
        whole = {field: holder[field.name] for field in fields if holder.get(field.name)}
        if not whole or wire.size(entry) <= _MOST:
            return entry, {}
        for field, value in whole.items():
            holder[field.name] = type(value)()
        sizes = {field: wire.size(value) for field, value in whole.items()}
        least = sum(min(_LEAST_HEAD, size) + _NAMES for size in sizes.values())
        entry, was_cut = wire.fit(entry, _MOST - least)
        holder, _ = _long_in(entry)
        if was_cut:
            holder["truncated"] = True
        texts: dict[str, str] = {}
        for number, field in enumerate(sorted(sizes, key=sizes.__getitem__)):
            # The shorter one first: what it does not take is the longer one's.
            share = (_MOST - wire.size(entry)) // (len(sizes) - number)
            if sizes[field] <= share:
                holder[field.name] = whole[field]
                continue
            head, text = _beginning(whole[field], share - _NAMES)
            ref = self._sent.get(_digest(text)) or new_id("txt")
            texts[ref] = text
            told = {field.name: head, field.ref: ref, field.bytes: len(text.encode())}
            holder.update(told)
        return entry, texts

    def send(self, texts: dict[str, str]) -> None:
        """Queue the pieces of texts, but for those that were sent before."""
        for ref, whole in texts.items():
            digest = _digest(whole)
            if self._sent.get(digest) == ref:
                continue
            writing = Writing(self._pieces, ref)
            writing.write(whole)
            writing.end()
            if not writing.truncated:  # else there may be room the next time
                self._sent[digest] = ref
                if len(self._sent) > _MOST_SENT:
                    self._sent.popitem(last=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _beginning(value: Any, room: int) -> tuple[Any, str]:
    """Return the beginning of a long value, and the text that all of it is."""
    if isinstance(value, str):
        return next(wire.pieces(value, room), ""), value
    return wire.fit(value, room)[0], wire.dumps(value)


def _long_in(entry: Entry) -> tuple[dict[str, Any], tuple[LongField, ...]]:
    """Return what of an event has fields that may be long, and which."""
    match entry["event"]:
        case {"type": "agent.event", "data": dict() as data}:
            return data, LONG_OF_PARTS.get(str(data.get("kind")), ())
        case {"type": "turn.ended", "error": dict() as error}:
            return error, LONG_OF_ERRORS
        case _:
            return {}, ()


def other_than_pieces(entries: Iterable[Entry]) -> bool:
    """Say whether somebody waits for one of these events."""
    return any(event["type"] != "text" for event in entries)
