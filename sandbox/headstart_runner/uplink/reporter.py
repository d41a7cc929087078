"""Tells the cloud what happens: one batch at a time, the very same until it is acknowledged."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

from headstart.domain.channel import (
    Ack,
    AgentDelta,
    AgentEvent,
    AgentSnapshot,
    CommandResult,
    InputRequested,
    InputResolved,
    Output,
    Progress,
    RunnerEvent,
    TurnEnded,
    TurnRetrying,
    WorkChanged,
    WorkPushed,
)
from headstart.domain.model import OpenModel
from headstart_runner import wire
from headstart_runner.journal import Journal
from headstart_runner.log import logger
from headstart_runner.redaction import Redactor
from headstart_runner.terminal import plain
from headstart_runner.uplink.patience import Patience
from headstart_runner.uplink.spool import Batch, Spool
from headstart_runner.uplink.texts import Log, other_than_pieces

_SENDS_PER_CONNECTION = 2

_OURS = {"type", "status", "kind", "outcome", "command_id", "turn_id", "message_id"}
"""What the cloud goes by: a secret that is the same word must not change it."""

_Item = TypeVar("_Item", bound=OpenModel)
Send = Callable[[str], Awaitable[None]]


class AckMissing(ConnectionError):
    """A batch was not acknowledged on this connection, which must be dead."""


class Reporter:
    """Takes events and results from everywhere in the runner; nothing leaves unredacted."""

    def __init__(
        self,
        journal: Journal,
        redactor: Redactor,
        *,
        session_id: str,
        batch_seconds: float,
        patience: Patience,
    ) -> None:
        self._patience = patience
        self._session_id = session_id
        self._journal = journal
        self._redactor = redactor
        self._pause = batch_seconds
        self._clock = asyncio.get_running_loop().time
        self._spool = Spool(journal, self._clock)
        self._changed = asyncio.Event()
        self._spool.pieces.added = self._changed.set
        self._settled = asyncio.Event()
        self._last_batch = float("-inf")
        self._awaited: tuple[int, asyncio.Future[None]] | None = None
        self._taken: Batch | None = None
        """What has left the spool and could not be kept as a batch: the disk is full."""

    @property
    def viewers(self) -> int:
        """How many viewers watch; 0 while the connection is down."""
        return self._spool.viewers

    @viewers.setter
    def viewers(self, count: int) -> None:
        self._spool.viewers = count
        self._changed.set()

    @property
    def backlog(self) -> int:
        """How many items wait to be acknowledged, those under way included."""
        batch = self._journal.batch()
        under_way = json.loads(batch[1]) if batch else {"events": [], "results": []}
        return len(self._spool) + len(under_way["events"]) + len(under_way["results"])

    def report(self, event: RunnerEvent) -> None:
        """Queue an event. A turn that has ended once does not end again."""
        clean = self._clean(event)
        match clean:
            case Progress() | AgentDelta() | AgentSnapshot() | TurnRetrying():
                self._spool.add_volatile(clean)
            case (
                Output()
                | AgentEvent()
                | InputRequested()
                | InputResolved()
                | WorkChanged()
                | WorkPushed()
            ):
                self._spool.add_event(clean)
            case TurnEnded():
                self._spool.add_turn_end(clean)
        self._changed.set()

    def log(self, command_id: str) -> Log:
        """Return where a command's step writes what it prints."""
        return Log(self._spool.pieces, self._redactor, command_id)

    def result(self, result: CommandResult) -> None:
        """Journal and queue a command's result."""
        self._spool.add_result(self._clean(result))
        self._changed.set()

    def _clean(self, item: _Item) -> _Item:
        """Return what may leave: no secret is in it, and nothing that a reader stumbles over."""
        fields = dict(item)
        ours = {name: fields.pop(name) for name in _OURS & fields.keys()}
        error = fields.pop("error", None)
        if error is not None:
            ours["error"] = error.model_copy(update={"reason": self._words(error.reason)})
        if "reason" in fields:
            ours["reason"] = self._words(fields.pop("reason"))
        return type(item).model_validate(self._redactor.value(wire.readable(fields)) | ours)

    def _words(self, reason: str) -> str:
        # Redacted last: colours may have split a secret.
        return self._redactor.text(plain(wire.readable(reason)))

    def repeat(self, result: dict[str, object]) -> None:
        """Queue a stored result once more: the cloud asked for it again."""
        self._spool.repeat_result(result)
        self._changed.set()

    def forget(self, command_id: str) -> None:
        """Drop the progress of a cancelled command."""
        self._spool.forget_progress(command_id)

    def acknowledge(self, ack: Ack) -> None:
        """Take an ack; one for another batch than the awaited is an echo of a resend."""
        if self._awaited is not None and self._awaited[0] == ack.seq:
            if not ack.accepted and (batch := self._journal.batch()):
                logger.warning("batch %d makes no sense to the cloud and is dropped", ack.seq)
                self._spool.pieces.end_what_was_dropped(json.loads(batch[1])["events"])
            self._journal.end_batch(ack.seq)
            self._settled.set()
            if not self._awaited[1].done():
                self._awaited[1].set_result(None)
            self._awaited = None

    async def pump(self, send: Send) -> None:
        """Send batches over one connection until it breaks; raise AckMissing when it is dead."""
        while True:
            seq, frame = self._journal.batch() or await self._next()
            for _ in range(_SENDS_PER_CONNECTION):
                acked = asyncio.get_running_loop().create_future()
                self._awaited = (seq, acked)
                await send(frame)
                try:
                    async with self._patience.answer():
                        await acked
                    break
                except TimeoutError:
                    logger.warning("batch %d was not acknowledged in time", seq)
            else:
                raise AckMissing(f"no ack of batch {seq}")

    async def _next(self) -> tuple[int, str]:
        while True:
            if self._taken is not None:
                return self._seal(self._taken)
            self._changed.clear()
            ready_at = self._spool.ready_at(self._last_batch, self._pause)
            now = self._clock()
            if ready_at is not None and ready_at <= now:
                batch = self._spool.take()
                if batch.entries:
                    self._last_batch, self._taken = now, batch
                    continue
            try:
                async with asyncio.timeout_at(ready_at):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _seal(self, batch: Batch) -> tuple[int, str]:
        seq = self._journal.last_seq + 1
        frame = wire.dumps(
            {
                "action": "report",
                "sessionId": self._session_id,
                "seq": seq,
                "events": [entry["event"] for entry in batch.entries if "event" in entry],
                "results": [entry["result"] for entry in batch.entries if "result" in entry],
            }
        )
        self._journal.begin_batch(seq, frame, batch.places)
        self._taken = None
        return seq, frame

    async def drained(self, *, texts: bool = False) -> None:
        """Wait until every item queued has been acknowledged, the pieces of `texts` if asked."""
        while self._waits(texts=texts):
            self._settled.clear()
            await self._settled.wait()

    def _waits(self, *, texts: bool) -> bool:
        batch = self._journal.batch()
        if self._taken is not None:
            return True
        if texts or batch is None:
            return (
                batch is not None or len(self._spool) > 0 or (texts and len(self._spool.pieces) > 0)
            )
        frame = json.loads(batch[1])
        under_way = bool(frame["results"]) or other_than_pieces(frame["events"])
        return under_way or len(self._spool) > 0
