"""What a person sees of a session, kept up to date event by event; knows nothing of terminals."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from headstart_client.events import data_of
from headstart_client.follow import RECONNECTING
from headstart_client.inputs import Inputs
from headstart_client.models import Event, Failure
from headstart_client.parts import Part
from headstart_client.queue import Queue
from headstart_client.reducer import CAUGHT_UP
from headstart_client.rest import Rest
from headstart_client.work import Work

STEP_TITLES = {
    "sandbox": "Starting the sandbox",
    "disk": "Checking the disk",
    "clone": "Cloning the repository",
    "branch": "Checking out the branch",
    "restore": "Restoring the agent's session",
    "setup": "Running setup commands",
    "agent": "Starting the agent",
    "deliver": "Delivering the first message",
}
"""The steps in their order, as the design names them; one that is not known here is appended."""

_RESTORING = "Restoring the saved work"
"""What the cloud says of the clone's step at a wake, where nothing is cloned."""

_NO_SETUP = "Setup commands"
"""What that step is called where there are none to run."""

OUTPUT_TAIL = 8 * 1024
"""Characters of a step's output that are kept for the screen."""

CANCELLED = "Cancelled"
"""The code of a preparation that a person stopped."""

Data: TypeAlias = Mapping[str, Any]
"""What `data_of` returns."""


@dataclass
class Step:
    """One step on the screen; `elapsed` and `eta` are in seconds and were right at `seen_at`."""

    name: str
    title: str
    status: str = "pending"
    message: str | None = None
    percent: int | None = None
    output: str = ""
    elapsed: float = 0.0
    eta: float | None = None
    seen_at: float = 0.0
    revision: int = -1

    def say(self, status: str, message: str | None) -> None:
        """Take in how it stands, and be called by what it really does."""
        self.status, self.message = status, message
        if message and message.startswith(_RESTORING):
            self.title = _RESTORING
        if self.name == "setup" and status == "skipped":
            self.title = _NO_SETUP

    def detail(self) -> str | None:
        """Return its message, unless that says what its title says."""
        return None if (self.message or "").rstrip(".… ") == self.title else self.message

    def seconds(self, now: float) -> float:
        """Return how long it has taken, ticking while it runs."""
        return self.elapsed + (now - self.seen_at if self.status == "running" else 0.0)

    def left(self, now: float) -> float:
        """Return how long it is still expected to take, 0 where that is not known or over."""
        running = self.status == "running" and self.eta is not None
        return max(0.0, (self.eta or 0.0) - (now - self.seen_at)) if running else 0.0


@dataclass(frozen=True)
class Outcome:
    """How a watch ended; `failure` says why for `failed` (the preparation), `turn` and `held`.

    `held` has a message that waits for a person, for a reason that may be unknown; `prepared` is
    the same of a first message that nobody awaits.
    """

    kind: Literal["completed", "prepared", "held", "failed", "turn", "deleted"]
    failure: Failure | None = None


class View:
    """One session on the screen, until the turns of the `awaited` messages have ended.

    Without any it is watched until nothing more happens by itself.
    """

    def __init__(
        self, awaited: set[str] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.session_id = ""
        self.last_event_id = 0
        self.status = "preparing"
        self.attempt_number = 0
        self.steps = {name: Step(name, title) for name, title in STEP_TITLES.items()}
        self.receipt: Mapping[str, Any] | None = None
        self.failure: Failure | None = None
        self.parts: dict[str, Part] = {}
        self.inputs = Inputs()
        self.queue = Queue()
        self.rest = Rest()
        self.work = Work()
        self.answered_at: float | None = None
        self.title = ""
        self.setup_commands: int | None = None
        self._clock = clock
        self._awaited = awaited or set()
        self._left = set(self._awaited)
        self._failed: Failure | None = None
        self._turn: str | None = None
        self._ended_badly: Failure | None = None
        self._prepared = False
        self.caught_up = False
        self._deleted = False

    def running(self) -> tuple[Step, float] | None:
        """Return the step that a preparation is at, and its seconds so far; None if at none."""
        steps = [step for step in self.steps.values() if step.status == "running"]
        if self.status != "preparing" or not steps:
            return None
        return steps[-1], steps[-1].seconds(self._clock())

    def outcome(self) -> Outcome | None:
        """Return how it ended once nothing that is awaited will happen by itself, else None."""
        if self._deleted:
            return Outcome("deleted")
        if not self.caught_up:
            return None
        if self._awaited and not self._left:
            return _over(self._failed)
        if self.status == "preparing" or self._turn:
            return None
        return self._at_rest()

    def _at_rest(self) -> Outcome | None:
        if self.status == "failed":
            return Outcome("failed", self.failure)
        # A first message stays held as it was asked to be where its sandbox goes to sleep.
        unsent = self._prepared and self.queue.held and not self._ended_badly
        if (self.status == "prepared" or unsent) and not self._awaited:
            return Outcome("prepared")
        if self.queue.held:
            return Outcome("held", self._ended_badly)
        return None if self.queue else _over(self._ended_badly)

    def apply(self, event: Event) -> None:
        """Take in one event of `follow`; types it does not know change nothing."""
        self.session_id = event.session_id or self.session_id
        self.last_event_id = max(self.last_event_id, event.event_id or 0)
        data = data_of(event)
        self.inputs.apply(event)
        self.queue.apply(event, data)
        self.rest.apply(event, data)
        self.work.apply(event, data)
        handler = _HANDLERS.get(event.type)
        if handler:
            handler(self, event, data)

    def _snapshot(self, event: Event, data: Data) -> None:
        self.caught_up = False
        self.status, self.failure = data["status"], _failure(data["failure"])
        self.title, self.setup_commands = data["title"], data["counts"]["setupCommands"]
        self._turn = data["activeTurn"]["turnId"] if data["activeTurn"] else None
        attempt = data["attempt"]
        if attempt["number"] < self.attempt_number:
            return
        self._begin_attempt(attempt["number"])
        for state in attempt["steps"]:
            step = self._step(state["step"])
            if step.revision > attempt["revision"]:
                continue
            step.revision = attempt["revision"]
            step.say(state["status"], state["message"])
            step.percent = state["percent"]
            step.output = state["output"] or step.output
            if began := state["startedAt"]:
                end = state["endedAt"] or event.timestamp or began
                self._clock_step(step, max(0.0, (end - began).total_seconds()))

    def _preparing(self, _: Event, data: Data) -> None:
        self._begin_attempt(data["attemptNumber"])
        step = self._step(data["step"])
        # A frame that was overtaken is dropped, so a later step's start also ends the earlier ones.
        for earlier in self._steps_before(step):
            if earlier.status == "running":
                earlier.elapsed, earlier.status = earlier.seconds(self._clock()), "completed"
                earlier.message = None
        step.revision = data["revision"]
        # What a step was at is no news of it once it has ended.
        before = step.message if data["status"] == "running" else None
        step.say(data["status"], data["message"] or before)
        step.percent = step.percent if data["percent"] is None else data["percent"]
        step.eta = None if data["etaMs"] is None else data["etaMs"] / 1000
        step.output = (step.output + data["output"])[-OUTPUT_TAIL:]
        self._clock_step(step, data["elapsedMs"] / 1000)

    def _attempt_began(self, _: Event, data: Data) -> None:
        self.status, self.failure, self._ended_badly = "preparing", None, None
        self._begin_attempt(data["attemptNumber"])

    def _attempt_done(self, event: Event, data: Data) -> None:
        self._prepared = event.type == "session.prepared"
        self.status = "prepared" if self._prepared else "ready"
        self.receipt = data["receipt"]
        for line in data["receipt"]["steps"]:
            step = self._step(line["step"])
            step.status, step.elapsed = line["status"], line["elapsedMs"] / 1000

    def _attempt_failed(self, _: Event, data: Data) -> None:
        self.status, self._turn = "failed", None
        self.failure = _failure(data["failure"])
        if name := data["failure"]["step"]:
            step = self._step(name)
            stopped = data["failure"]["code"] == CANCELLED
            step.elapsed = step.seconds(self._clock())
            step.status = "cancelled" if stopped else "failed"

    def _asleep(self, _: Event, data: Data) -> None:
        if self.status == "preparing" or self._turn:
            asleep = Failure(code="Asleep", reason=data["reason"] or "asleep")
            self._ended_badly = self._ended_badly or asleep
        self.status, self._turn = "asleep", None

    def _renamed(self, _: Event, data: Data) -> None:
        self.title = data["title"]

    def _message_withdrawn(self, _: Event, data: Data) -> None:
        if data["messageId"] in self._left:
            self._left.discard(data["messageId"])
            self._failed = self._failed or _WITHDRAWN

    def _message_held(self, event: Event, data: Data) -> None:
        # Also where a turn was claimed that never started: no other event takes it back.
        self._turn = None
        if event.type == "message.failed":
            self._ended_badly = _failure(data)

    def _turn_started(self, _: Event, data: Data) -> None:
        self._turn, self._ended_badly, self._prepared = data["turnId"], None, False
        if self.status != "preparing":
            self.status = "running"

    def _turn_ended(self, event: Event, data: Data) -> None:
        self._turn = None
        if self.status == "running":
            self.status = "ready"
        if event.type == "turn.failed":
            self._ended_badly = _failure(data)
        elif event.type == "turn.interrupted":
            self._ended_badly = Failure(code="Interrupted", reason="The turn was interrupted")
        if data["messageId"] in self._left:
            self._left.discard(data["messageId"])
            self._failed = self._failed or self._ended_badly

    def _agent_event(self, event: Event, data: Data) -> None:
        self._part(data).settle(data, event.timestamp)
        self._note_answer(data)

    def _agent_delta(self, _: Event, data: Data) -> None:
        self._part(data).grow(data["offset"], data["text"])
        self._note_answer(data)

    def _agent_snapshot(self, _: Event, data: Data) -> None:
        for part in data["parts"]:
            self._part(part).grow(0, part["text"])

    def _note_answer(self, data: Data) -> None:
        part = self._part(data)
        if self.answered_at is None and part.kind == "text" and part.text:
            self.answered_at = self._clock()

    def _part(self, data: Data) -> Part:
        part = self.parts.setdefault(data["partId"], Part())
        part.kind = data["kind"] or part.kind
        return part

    def _step(self, name: str) -> Step:
        return self.steps.setdefault(name, Step(name, name))

    def _steps_before(self, step: Step) -> list[Step]:
        steps = list(self.steps.values())
        return steps[: steps.index(step)]

    def _clock_step(self, step: Step, elapsed: float) -> None:
        step.elapsed, step.seen_at = elapsed, self._clock()

    def _begin_attempt(self, number: int) -> None:
        if number > self.attempt_number:
            self.attempt_number, self.receipt = number, None
            for step in self.steps.values():
                self.steps[step.name] = Step(step.name, step.title)

    def _was_deleted(self, *_: Any) -> None:
        self._deleted = True

    def _all_there(self, *_: Any) -> None:
        self.caught_up = True

    def _lost(self, *_: Any) -> None:
        self.caught_up = False


WITHDRAWN = "MessageWithdrawn"
"""The code of a message that somebody took back before a turn began."""

_WITHDRAWN = Failure(code=WITHDRAWN, reason="The message was withdrawn")


def _over(failure: Failure | None) -> Outcome:
    return Outcome("turn", failure) if failure else Outcome("completed")


def _failure(data: Data | None) -> Failure | None:
    return Failure.model_validate(data) if data else None


_HANDLERS: dict[str, Callable[[View, Event, Data], None]] = {
    "session.snapshot": View._snapshot,
    "preparing": View._preparing,
    "session.preparing": View._attempt_began,
    "session.prepared": View._attempt_done,
    "session.ready": View._attempt_done,
    "session.failed": View._attempt_failed,
    "session.asleep": View._asleep,
    "session.deleted": View._was_deleted,
    "session.renamed": View._renamed,
    "message.failed": View._message_held,
    "message.held": View._message_held,
    "message.withdrawn": View._message_withdrawn,
    "turn.started": View._turn_started,
    "turn.completed": View._turn_ended,
    "turn.failed": View._turn_ended,
    "turn.interrupted": View._turn_ended,
    "agent.event": View._agent_event,
    "agent.delta": View._agent_delta,
    "agent.snapshot": View._agent_snapshot,
    CAUGHT_UP: View._all_there,
    RECONNECTING: View._lost,
}
