"""What waits to be reported: bounded, merged where that loses nothing, in order.

Durable items (results, output of a failed step, agent events, ends of turns) are in the journal
too and survive the runner. Volatile ones (progress, deltas, snapshots) are dropped first.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from headstart.domain.channel import (
    AgentDelta,
    AgentEvent,
    AgentSnapshot,
    CommandResult,
    InputRequested,
    InputResolved,
    Output,
    Progress,
    TurnEnded,
    TurnRetrying,
    WorkChanged,
    WorkPushed,
)
from headstart_runner import wire
from headstart_runner.journal import Entry, Journal
from headstart_runner.log import logger
from headstart_runner.uplink.texts import ITEM_BYTES, Pieces, Told

SPOOL_BYTES = 8 * 1024 * 1024
_ENVELOPE = 256

_DELTA_BYTES = 8 * 1024
"""How long a delta's text may become by merging, or a snapshot's be at all, in bytes of JSON."""

_MERGED_OUTPUT_BYTES = 16 * 1024
PROGRESS_SECONDS = 0.5
QUIET_PROGRESS_SECONDS = 2.0
"""Progress of a command at most this often; with no viewers it only feeds the attempt's row."""


@dataclass(slots=True)
class _Item:
    entry: Entry
    bytes: int
    place: int | None = None
    urgent: bool = False

    @property
    def event_type(self) -> str:
        return str(self.entry["event"]["type"]) if "event" in self.entry else "result"


@dataclass(slots=True)
class Batch:
    """What the next report carries, and its items' places in the journal."""

    entries: list[Entry] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    @property
    def has_result(self) -> bool:
        """Whether a result is among the entries."""
        return bool(self.entries) and "result" in self.entries[-1]


class Spool:
    """The queue in front of the reporter. Times are seconds of `clock`."""

    def __init__(self, journal: Journal, clock: Callable[[], float]) -> None:
        self._journal = journal
        self._clock = clock
        self._items: list[_Item] = []
        self._bytes = 0
        self._progress: dict[str, Progress] = {}
        self._progress_sent: dict[str, float] = {}
        self.viewers = 0
        self.pieces = Pieces(journal)
        self._told = Told(self.pieces)
        self._passed_over = False
        for place, entry in journal.spooled():
            if entry.get("event", {}).get("type") == "text":
                self.pieces.restore(place, entry)
            else:
                self._append(entry, place, urgent=True)
        self.pieces.end_what_was_written()

    def __len__(self) -> int:
        return len(self._items)

    def add_volatile(self, event: Progress | AgentDelta | AgentSnapshot | TurnRetrying) -> None:
        """Queue something that only those who watch now care for."""
        if isinstance(event, Progress):
            self._progress[event.command_id] = _merged(self._progress.get(event.command_id), event)
            return
        if self.viewers:
            for piece in _pieces(event):
                if not (isinstance(piece, AgentDelta) and self._extended(piece)):
                    self._append({"event": piece.to_json()})

    def add_event(
        self,
        event: Output | AgentEvent | InputRequested | InputResolved | WorkChanged | WorkPushed,
    ) -> None:
        """Queue something that must arrive; what is long of the agent's answer goes in pieces."""
        entry, texts = self._told.short(event)
        entry = _fitting(entry)
        # First: who dies in between must not leave the name of a text that never comes.
        self._told.send(texts)
        self._append(entry, self._journal.spool(entry), urgent=isinstance(event, WorkPushed))

    def add_turn_end(self, event: TurnEnded) -> bool:
        """Queue the end of a turn; return False if it had ended before."""
        entry, texts = self._told.short(event)
        entry = _fitting(entry)
        self._told.send(texts)
        place = self._journal.end_turn(event.turn_id, entry)
        if place is not None:
            self._append(entry, place, urgent=True)
        return place is not None

    def add_result(self, result: CommandResult) -> None:
        """Queue a command's result behind everything the command reported before."""
        progress = self._progress.pop(result.command_id, None)
        self._progress_sent.pop(result.command_id, None)
        if progress is not None and self.viewers:
            self._append({"event": progress.to_json()})
        entry = _fitting({"result": result.to_json()})
        place = self._journal.finish_command(result.command_id, entry["result"])
        self._append(entry, place, urgent=True)

    def repeat_result(self, result: dict[str, Any]) -> None:
        """Queue a stored result again, unless it still waits here."""
        entry = _fitting({"result": result})
        if not any(item.entry == entry for item in self._items):
            self._append(entry, self._journal.spool(entry), urgent=True)

    def forget_progress(self, command_id: str) -> None:
        """Drop the progress of a command that was cancelled."""
        self._progress.pop(command_id, None)
        self._progress_sent.pop(command_id, None)

    def ready_at(self, last_batch: float, pause: float) -> float | None:
        """Return when the next batch may go: `pause` after the last, urgent items at once."""
        if self.pieces.fill_a_batch or any(item.urgent for item in self._items):
            return self._clock()
        times = [max(self._progress_due(command), last_batch + pause) for command in self._progress]
        if self._items or self.pieces:
            times.append(last_batch + pause)
        return min(times, default=None)

    def take(self) -> Batch:
        """Return as much as fits one batch; its volatile items leave the spool now.

        Pieces of texts have the room that is left, or come first if the last batch left them none
        and nobody waits.
        """
        batch, room = Batch(), ITEM_BYTES
        now, waiting = self._clock(), len(self.pieces)
        if self._passed_over and not any(item.urgent for item in self._items):
            room = self._take_pieces(batch, room)
        for command in [c for c in self._progress if self._progress_due(c) <= now]:
            entry = _fitting({"event": self._progress[command].to_json()})
            if (needed := wire.size(entry)) > room:
                break
            room -= needed
            batch.entries.append(entry)
            del self._progress[command]
            self._progress_sent[command] = now
        taken = 0
        for item in self._items:
            # A report's results are read after its events: only results may follow a result.
            if item.bytes > room or ("event" in item.entry and batch.has_result):
                break
            room -= item.bytes
            taken += 1
            batch.entries.append(item.entry)
            if item.place is not None:
                batch.places.append(item.place)
        self._remove(self._items[:taken])
        self._take_pieces(batch, room)
        self._passed_over = len(self.pieces) == waiting > 0
        return batch

    def _take_pieces(self, batch: Batch, room: int) -> int:
        entries, places, left = self.pieces.take(room)
        batch.entries += entries
        batch.places += places
        return left

    def _progress_due(self, command: str) -> float:
        interval = PROGRESS_SECONDS if self.viewers else QUIET_PROGRESS_SECONDS
        return self._progress_sent.get(command, float("-inf")) + interval

    def _extended(self, delta: AgentDelta) -> bool:
        """Merge a delta into the item before it, if that is the same part's and ends there."""
        last = self._items[-1] if self._items else None
        if last is None or last.event_type != "agent.delta":
            return False
        event, grown = last.entry["event"], wire.size(delta.text) - 2
        follows = (event["turnId"], event["partId"], event["offset"] + len(event["text"]))
        if follows != (delta.turn_id, delta.part_id, delta.offset):
            return False
        if wire.size(event["text"]) - 2 + grown > _DELTA_BYTES:
            return False
        event["text"] += delta.text
        last.bytes += grown
        self._bytes += grown
        return True

    def _append(self, entry: Entry, place: int | None = None, *, urgent: bool = False) -> None:
        """Queue an item, the one way in: what no batch can hold would hold up all behind it."""
        size = wire.size(entry)
        if size > ITEM_BYTES:
            entry = _fitting(entry)
            size = wire.size(entry)
        self._items.append(_Item(entry, size, place, urgent))
        self._bytes += size
        if self._bytes > SPOOL_BYTES:
            self._shed()

    def _shed(self) -> None:
        """Make room: deltas and snapshots go first, then the oldest agent events."""
        volatile = [item for item in self._items if item.place is None]
        events = [item for item in self._items if item.event_type == "agent.event"]
        for group in (volatile, events):
            excess = self._bytes - SPOOL_BYTES * 3 // 4
            victims = []
            for item in group:
                if excess <= 0:
                    break
                excess -= item.bytes
                victims.append(item)
            self._remove(victims)
            places = [item.place for item in victims if item.place is not None]
            self._journal.drop(places)
            if places:
                logger.warning("%d agent events were dropped: the spool is full", len(places))

    def _remove(self, items: Iterable[_Item]) -> None:
        gone = {id(item) for item in items}
        self._items = [item for item in self._items if id(item) not in gone]
        self._bytes = sum(item.bytes for item in self._items)


def _pieces(
    event: AgentDelta | AgentSnapshot | TurnRetrying,
) -> Iterator[AgentDelta | AgentSnapshot | TurnRetrying]:
    """Cut what an answer's text makes long, without a hole for those who put it together.

    Of a snapshot's part the beginning stays, and the rest follows as if it were said just now.
    """
    match event:
        case AgentDelta():
            offset = event.offset
            for text in wire.pieces(event.text, _DELTA_BYTES):
                yield event.model_copy(update={"offset": offset, "text": text})
                offset += len(text)
        case AgentSnapshot():
            for part in event.parts:
                text = part["text"]
                head = next(wire.pieces(text, _DELTA_BYTES), "")
                yield event.model_copy(update={"parts": [{**part, "text": head}]})
                yield from _pieces(
                    AgentDelta(
                        turn_id=event.turn_id,
                        part_id=part["partId"],
                        offset=part["offset"] + len(head),
                        text=text[len(head) :],
                    )
                )
        case _:
            yield event


def _fitting(entry: Entry) -> Entry:
    cut, was_cut = wire.fit(entry, ITEM_BYTES - _ENVELOPE)
    if was_cut and isinstance(cut.get("event", {}).get("data"), dict):
        cut["event"]["data"]["truncated"] = True
    return cut


def _merged(old: Progress | None, new: Progress) -> Progress:
    """Return the newest progress with the output of both, the oldest of it dropped."""
    if old is None or old.output is None or old.output_offset is None:
        return new
    if new.output is None or new.output_offset is None:
        return new.model_copy(update={"output": old.output, "output_offset": old.output_offset})
    if old.output_offset + len(old.output.encode()) != new.output_offset:
        return new
    joined = (old.output + new.output).encode()
    kept = joined[-_MERGED_OUTPUT_BYTES:].decode(errors="ignore")
    offset = old.output_offset + len(joined) - len(kept.encode())
    return new.model_copy(update={"output": kept, "output_offset": offset})
