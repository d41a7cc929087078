"""What a person sees of a session, kept up to date event by event; knows nothing of terminals."""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from headstart_client.follow import RECONNECTING
from headstart_client.inputs import Inputs
from headstart_client.models import Event, Failure, Session
from headstart_client.reducer import CAUGHT_UP

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

OUTPUT_TAIL = 8 * 1024
"""Characters of a step's output that are kept for the screen."""

_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # window titles, links, clipboard
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


def plain(text: str) -> str:
    """Return text without anything that could drive a terminal: sandboxes run untrusted code."""
    return _CONTROL.sub("", text)


def last_line(output: str) -> str:
    """Return the last line with something in it, as a terminal would show it after any \\r."""
    lines = [line for line in re.split(r"[\r\n]+", output) if plain(line).strip()]
    return plain(lines[-1]).strip() if lines else ""


@dataclass
class Step:
    """One step on the screen; `elapsed` is in seconds and was right at `seen_at`."""

    name: str
    title: str
    status: str = "pending"
    message: str | None = None
    percent: int | None = None
    output: str = ""
    elapsed: float = 0.0
    seen_at: float = 0.0
    revision: int = -1

    def seconds(self, now: float) -> float:
        """Return how long it has taken, ticking while it runs."""
        return self.elapsed + (now - self.seen_at if self.status == "running" else 0.0)


@dataclass
class Part:
    """One part of the agent's answer; deltas may come twice, late or out of order.

    `data` is the part's last `agent.event`; offsets count characters (Unicode code points).
    """

    kind: str = "text"
    text: str = ""
    final: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)
    _early: dict[int, str] = field(default_factory=dict)

    def grow(self, offset: int, text: str) -> None:
        """Take in a delta, or keep it until what comes before it is there."""
        if self.final:
            return
        self._early[offset] = text
        for start in sorted(self._early):
            if start > len(self.text):
                break
            self.text += self._early.pop(start)[len(self.text) - start :]

    def settle(self, data: Mapping[str, Any]) -> None:
        """Take in an `agent.event`: for text the whole and final state."""
        self.data = data
        if "text" in data:
            self.text, self.final = data["text"], True
            self._early.clear()


@dataclass(frozen=True)
class Outcome:
    """How a watch ended; `failure` says why for `failed` (the preparation) and `turn`."""

    kind: Literal["completed", "prepared", "failed", "turn", "deleted"]
    failure: Failure | None = None


class View:
    """One session on the screen. `awaited` are messages whose turns must have ended, too."""

    def __init__(
        self, awaited: set[str] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.session_id = ""
        self.status = "preparing"
        self.attempt_number = 0
        self.steps = {name: Step(name, title) for name, title in STEP_TITLES.items()}
        self.receipt: Mapping[str, Any] | None = None
        self.failure: Failure | None = None
        self.parts: dict[str, Part] = {}
        self.inputs = Inputs()
        self.answered_at: float | None = None
        self._clock = clock
        self._awaited = awaited or set()
        self._pending: set[str] = set(self._awaited)
        self._turn: str | None = None
        self._ended_badly: Failure | None = None
        self._caught_up = False
        self._deleted = False

    def outcome(self) -> Outcome | None:
        """Return how it ended once nothing more will happen by itself, else None."""
        if self._deleted:
            return Outcome("deleted")
        if not self._caught_up or self.status == "preparing" or self._turn:
            return None
        if self.status == "failed":
            return Outcome("failed", self.failure)
        if self._ended_badly:
            return Outcome("turn", self._ended_badly)
        if self.status == "prepared" and not self._awaited:
            return Outcome("prepared")
        return None if self._pending else Outcome("completed")

    def apply(self, event: Event) -> None:
        """Take in one event of `follow`; types it does not know change nothing."""
        self.session_id = event.session_id or self.session_id
        self.inputs.apply(event)
        handler = _HANDLERS.get(event.type)
        if handler:
            handler(self, event)

    def _snapshot(self, event: Event) -> None:
        session = Session.model_validate(event.data)
        self._caught_up = False
        self.status, self.failure = session.status, session.failure
        self._turn = session.active_turn.turn_id if session.active_turn else None
        self._pending |= {m.message_id for m in session.queue if m.status != "held"}
        if session.attempt is None or session.attempt.number < self.attempt_number:
            return
        self._begin_attempt(session.attempt.number)
        for state in session.attempt.steps:
            step = self._step(state.step)
            if step.revision > session.attempt.revision:
                continue
            step.revision = session.attempt.revision
            step.status, step.message, step.percent = state.status, state.message, state.percent
            step.output = state.output or step.output
            if state.started_at:
                end = state.ended_at or event.timestamp or state.started_at
                self._clock_step(step, _seconds(state.started_at, end))

    def _preparing(self, event: Event) -> None:
        data = event.data
        self._begin_attempt(data["attemptNumber"])
        step = self._step(data["step"])
        # A frame that was overtaken is dropped, so a later step's start also ends the earlier ones.
        for earlier in self._steps_before(step):
            if earlier.status == "running":
                earlier.elapsed, earlier.status = earlier.seconds(self._clock()), "completed"
        step.status, step.revision = data["status"], data["revision"]
        step.message = data.get("message") or step.message
        step.percent = data.get("percent", step.percent)
        step.output = (step.output + data.get("output", ""))[-OUTPUT_TAIL:]
        self._clock_step(step, data["elapsedMs"] / 1000)

    def _attempt_began(self, event: Event) -> None:
        self.status, self.failure, self._ended_badly = "preparing", None, None
        self._begin_attempt(event.data["attemptNumber"])

    def _attempt_done(self, event: Event) -> None:
        self.status = "prepared" if event.type == "session.prepared" else "ready"
        self.receipt = event.data["receipt"]
        for line in event.data["receipt"]["steps"]:
            step = self._step(line["step"])
            step.status, step.elapsed = line["status"], line["elapsedMs"] / 1000

    def _attempt_failed(self, event: Event) -> None:
        self.status, self._turn = "failed", None
        self.failure = Failure.model_validate(event.data["failure"])
        if self.failure.step:
            step = self._step(self.failure.step)
            step.elapsed, step.status = step.seconds(self._clock()), "failed"

    def _asleep(self, event: Event) -> None:
        if self.status == "preparing" or self._turn:
            self._ended_badly = Failure(code="Asleep", reason=event.data.get("reason", "asleep"))
        self.status, self._turn = "asleep", None

    def _message_queued(self, event: Event) -> None:
        self._pending.add(event.data["messageId"])
        self._ended_badly = None

    def _message_failed(self, event: Event) -> None:
        self._pending.discard(event.data["messageId"])
        self._turn = None
        self._ended_badly = Failure.model_validate(event.data)

    def _turn_started(self, event: Event) -> None:
        self._turn, self._ended_badly = event.data["turnId"], None
        if self.status != "preparing":
            self.status = "running"

    def _turn_ended(self, event: Event) -> None:
        self._turn = None
        self._pending.discard(event.data["messageId"])
        if self.status == "running":
            self.status = "ready"
        if event.type == "turn.failed":
            self._ended_badly = Failure.model_validate(event.data)
        elif event.type == "turn.interrupted":
            self._ended_badly = Failure(code="Interrupted", reason="The turn was interrupted")

    def _agent_event(self, event: Event) -> None:
        self._part(event.data).settle(event.data)
        self._note_answer(event.data)

    def _agent_delta(self, event: Event) -> None:
        self._part(event.data).grow(event.data["offset"], event.data["text"])
        self._note_answer(event.data)

    def _agent_snapshot(self, event: Event) -> None:
        for data in event.data.get("parts", []):
            self._part(data).grow(0, data.get("text", ""))

    def _note_answer(self, data: Mapping[str, Any]) -> None:
        part = self._part(data)
        if self.answered_at is None and part.kind == "text" and part.text:
            self.answered_at = self._clock()

    def _part(self, data: Mapping[str, Any]) -> Part:
        part = self.parts.setdefault(data.get("partId", ""), Part())
        part.kind = data.get("kind", part.kind)
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

    def _was_deleted(self, _: Event) -> None:
        self._deleted = True

    def _all_there(self, _: Event) -> None:
        self._caught_up = True

    def _lost(self, _: Event) -> None:
        self._caught_up = False


def _seconds(start: datetime, end: datetime) -> float:
    return max(0.0, (end - start).total_seconds())


_HANDLERS: dict[str, Callable[[View, Event], None]] = {
    "session.snapshot": View._snapshot,
    "preparing": View._preparing,
    "session.preparing": View._attempt_began,
    "session.prepared": View._attempt_done,
    "session.ready": View._attempt_done,
    "session.failed": View._attempt_failed,
    "session.asleep": View._asleep,
    "session.deleted": View._was_deleted,
    "message.queued": View._message_queued,
    "message.failed": View._message_failed,
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
