"""A container task: its life, and the runner's side of the channel."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from headstart.domain.errors import TicketRefused
from headstart.domain.steps import HEARTBEAT_INTERVAL
from headstart.usecases import watch
from headstart.usecases.ports import SandboxSpec
from tests.property.desk import Desk
from tests.property.wires import End

if TYPE_CHECKING:
    from tests.property.world import World

STOP_TIMEOUT = timedelta(seconds=120)
"""What ECS gives a container between SIGTERM and SIGKILL."""

_SAVE_PATIENCE = timedelta(seconds=100)
_ANSWER_PATIENCE = timedelta(seconds=10)
"""How long a welcome, an ack or the answer to a heartbeat may take."""

_KERNEL_PATIENCE = timedelta(seconds=15)
"""How long the kernel tries to send something to nobody."""

_SENDS = 2
_REJECTIONS = 3
_BATCHES = 4
"""How many batches go in one round."""


class Box:
    """A task with one runner in it, which gives up for good when it is refused or dismissed."""

    def __init__(self, world: "World", spec: SandboxSpec, handle: str, boots_at: datetime) -> None:
        self.world = world
        self.spec = spec
        self.handle = handle
        self.session_id = spec.session_id
        self.process = f"run:{handle}"
        self.born = world.now
        self.is_alive = True
        self.kill_at: datetime | None = None
        self.frozen_until: datetime | None = None
        self.desk = Desk(self)
        self.viewers = 0
        self.seq = 0
        self.batch: dict[str, Any] | None = None
        self.spool: list[dict[str, Any]] = []
        self.end: End | None = None
        self._boots_at = boots_at
        self._key = spec.key
        self._connections = 0
        self._rejections = 0
        self._welcomed = False
        self._answered = False
        self._said_leaving = False
        self._dismissed = False
        self._asked_at: datetime | None = None
        self._sent_at: datetime | None = None
        self._sends = 0
        self._beat_at: datetime | None = None
        self._named: set[str] = set()
        self._recounted = False
        self._settles_at: datetime | None = None
        self._exits_at: datetime | None = None
        self._unknown: list[str] | None = None

    @property
    def has_booted(self) -> bool:
        """Whether the runner runs."""
        return self.world.now >= self._boots_at

    @property
    def is_frozen(self) -> bool:
        """Whether nothing in it moves."""
        return self.frozen_until is not None and self.world.now < self.frozen_until

    @property
    def backlog(self) -> int:
        """How many items wait to be acknowledged."""
        return len(self.spool) + (len(_items(self.batch)) if self.batch else 0)

    def waits_with(self, kind: str, turn_id: str) -> bool:
        """Say whether an event of a turn waits to be acknowledged."""
        items = [*(_items(self.batch) if self.batch else []), *self.spool]
        events = [item.get("event", {}) for item in items]
        return any(e.get("type") == kind and e.get("turnId") == turn_id for e in events)

    # Its life.

    def die(self, reason: str) -> None:
        """Stop, from one moment to the next."""
        if self.is_alive:
            self.is_alive = False
            self._hang_up()
            self.world.ecs.ended(self, reason)

    def must_stop(self, reason: str) -> None:
        """Take SIGTERM: have the work saved if that can be, and be killed at last."""
        if self.kill_at is None:
            self.kill_at = self.world.now + STOP_TIMEOUT
            self._settles_at = self.world.now
            patience = _SAVE_PATIENCE if self.desk.has_repository else timedelta()
            self._exits_at = self.world.now + patience
            self.desk.begin_leaving()

    def live(self) -> None:
        """One round of all it does by itself."""
        if not self.is_alive or not self.has_booted or self.is_frozen:
            return
        if self.frozen_until:
            self.frozen_until = None
            self._hang_up()
        if self._is_cut_off():
            self._hang_up()
        if self.end is None:
            self._connect()
        self._listen()
        self.desk.work()
        self._leave()
        self._beat()
        for _ in range(_BATCHES):
            self._report()
            self._listen()
        self._exit()

    def _exit(self) -> None:
        if self._dismissed or (self._exits_at and self.world.now >= self._exits_at):
            self.desk.close()
            for _ in range(_BATCHES):
                self._report()
                self._listen()
            self.die("exit code 0")

    # The connection.

    def _is_cut_off(self) -> bool:
        """Notice a connection that is closed, or on which what should come does not."""
        if self.end is None or not self.end.is_open:
            return True
        now = self.world.now
        if self._asked_at and now - self._asked_at >= _ANSWER_PATIENCE:
            return True
        if self._sends >= _SENDS and self._sent_at and now - self._sent_at >= _ANSWER_PATIENCE:
            return True
        unnoticed = self._beat_at and now - self._beat_at >= _KERNEL_PATIENCE
        return bool(self.end.is_silent and unnoticed)

    def _hang_up(self) -> None:
        if self.end:
            self.world.wires.drop(self.end)
        self.end = self._asked_at = self._sent_at = self._beat_at = None
        self._sends, self.viewers = 0, 0
        self._welcomed = self._answered = self._said_leaving = False

    def reconnect(self) -> None:
        """Lose the connection, and know it."""
        self._hang_up()

    def _connect(self) -> None:
        ports, session_id, key = self.world.ports, self.session_id, self._key
        end = self.world.wires.connect(
            lambda connection: watch.connect_runner(ports, connection, session_id, key)
        )
        if not isinstance(end, End):
            self._rejections += isinstance(end, TicketRefused)
            if self._rejections >= _REJECTIONS:
                self.die("the key is no longer valid")
            return
        self.end, self._rejections = end, 0
        self._connections += 1
        self._asked_at = self.world.now
        self._say(
            "hello",
            attemptNumber=self.spec.attempt_number,
            process=self.process,
            connection=self._connections,
            lastSeq=self.seq,
        )

    def _say(self, action: str, **body: Any) -> bool:
        return self.end is not None and self.world.wires.send(self.end, action, **body)

    def _listen(self) -> None:
        for frame in self.end.read() if self.end else []:
            if self.is_alive:
                self._hear(frame)

    def _hear(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "welcome":
                self._key = frame.get("resumeKey") or self._key
                self._welcomed, self._asked_at = True, None
                self._answered = frame.get("answersHeartbeats", False)
                self.viewers = frame["viewers"]
            case "heard":
                self._asked_at = None
                if not self._recounted:  # else a newer count overtook the answer
                    self.viewers = frame["viewers"]
            case "viewers":
                self._recounted, self.viewers = True, frame["count"]
            case "refused":
                self.die(f"refused: {frame['code']}")
            case "leave":
                self._dismissed = True
            case "ack" if self.batch and frame["seq"] == self.batch["seq"]:
                acked, self.batch = self.batch, None
                self.world.truth.acked(self, _items(acked))
            case "cancel":
                self.desk.cancel(frame["id"])
            case "command":
                self.desk.start(frame["id"], frame["kind"], frame["args"])

    # What it says.

    def tell(self, item: dict[str, Any], *, unless_waiting: bool = False) -> None:
        """Queue an event or a result."""
        if not (unless_waiting and item in self.spool):
            self.spool.append(item)

    def _report(self) -> None:
        """Send the next batch, or the one that was not acknowledged once more."""
        if not self._welcomed:
            return
        now = self.world.now
        if self.batch is None and self.spool:
            self.seq += 1
            self.batch, self._sends = {"seq": self.seq, **self._next_items()}, 0
        elif self.batch is None or (self._sent_at and now - self._sent_at < _ANSWER_PATIENCE):
            return
        if self._sends < _SENDS:
            self._sends, self._sent_at = self._sends + 1, now
            self._say("report", **self.batch)

    def _next_items(self) -> dict[str, list[Any]]:
        """Take what one batch carries: events first, for they happened before the results."""
        events: list[Any] = []
        results: list[Any] = []
        while self.spool and ("result" in self.spool[0] or not results):
            item = self.spool.pop(0)
            if "event" in item:
                events.append(item["event"])
            else:
                results.append(item["result"])
        return {"events": events, "results": results}

    def _beat(self) -> None:
        now = self.world.now
        due = self._beat_at is None or now - self._beat_at >= timedelta(seconds=HEARTBEAT_INTERVAL)
        unnamed = set(self.desk.running) - self._named
        if not self._welcomed or self._asked_at or not (due or unnamed):
            return
        self._beat_at, self._named, self._recounted = now, set(self.desk.running), False
        if self._answered:
            self._asked_at = now
        turn = self.desk.turn
        if self._say(
            "heartbeat",
            running=self.desk.running,
            turn=turn.turn_id if turn else None,
            lastSeq=self.seq,
            backlog=self.backlog,
            viewers=self.viewers,
        ):
            self.world.truth.heard_beat(self)

    def _leave(self) -> None:
        """Say that it must stop, once it is known what became of the deliveries or can't be."""
        if self._settles_at is None:
            return
        if self._unknown is None:
            if self.desk.delivering and self.world.now == self._settles_at:
                return
            self._unknown = self.desk.delivering
            self.desk.end_turn("SandboxStopped")
        if self._welcomed and not self._said_leaving and not self.backlog:
            self._said_leaving = True
            self._say("leaving", delivering=self._unknown)


def _items(batch: dict[str, Any]) -> list[dict[str, Any]]:
    events = [{"event": event} for event in batch["events"]]
    return [*events, *({"result": result} for result in batch["results"])]
