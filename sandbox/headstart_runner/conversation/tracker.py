"""Reads one turn out of an agent's event stream: what to report, and whether it is over.

The events are those of opencode's `GET /event`. An assistant's message belongs to the turn by its
parent, so trailing events of an earlier turn (like a second idle after an abort) change nothing.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from headstart.domain.channel import AgentDelta, AgentEvent, RunnerEvent, TurnRetrying
from headstart.domain.errors import AgentRefused, Cancelled, ProviderUnavailable, StepError
from headstart_runner.agents.said import OddEvent
from headstart_runner.conversation import shapes
from headstart_runner.conversation.shapes import Json
from headstart_runner.redaction import RedactedStream, Redactor
from headstart_runner.wire import head

_PROVIDER_ERRORS = {"APIError", "ProviderAuthError"}
_SILENT_PARTS = {"step-start", "snapshot"}
_TOKENS = ("input", "output", "reasoning")
_CACHE = ("read", "write")
_SNAPSHOT_CHARACTERS = 100_000
"""How much of an open part is told again: more than models say in one, and no flood."""

_OPEN_CHARACTERS = 1_000_000
"""How much text is kept of all open parts together; their final states are told all the same."""

_MOST_PARTS = 10_000
_MOST_MESSAGES = 10_000


class Phase(Enum):
    """Where a turn stands; OVER only if a quiet moment follows."""

    WORKING = 1
    RETRYING = 2
    STALLED = 3
    OVER = 4


@dataclass(slots=True)
class _Failure:
    name: str
    text: str

    @classmethod
    def of(cls, error: Any) -> "_Failure | None":
        """Return what a message or an event says of its error, None where there is none."""
        if not error:
            return None
        told = shapes.record(error)
        name = shapes.text(told.get("name"), shapes.LINE_CHARACTERS)
        said = (shapes.record(told.get("data")).get("message"), error)
        message = next(filter(None, (shapes.text(s, shapes.LONG_CHARACTERS) for s in said)), "")
        return cls(name, message or name or "unknown error")

    def error(self) -> StepError:
        if self.name == "MessageAbortedError":
            return Cancelled("The turn was stopped")
        if self.name in _PROVIDER_ERRORS:
            return ProviderUnavailable(f"The model provider answered: {self.text}")
        return AgentRefused(f"The agent gave up: {self.text}")


@dataclass(slots=True)
class _Message:
    finished: bool
    failure: _Failure | None
    tokens: Json
    cost: int | float


@dataclass(slots=True)
class _Part:
    kind: str
    message_id: str
    stream: RedactedStream
    raw: io.StringIO = field(default_factory=io.StringIO)
    shown: io.StringIO = field(default_factory=io.StringIO)
    full: bool = False
    reported: set[str] = field(default_factory=set)


class TurnTracker:
    """The state of one turn, fed with every event of the server."""

    def __init__(
        self, session_id: str, turn_id: str, agent_message_id: str, redactor: Redactor
    ) -> None:
        self._session_id = session_id
        self._turn_id = turn_id
        self._agent_message_id = agent_message_id
        self._redactor = redactor
        self._assistant: dict[str, _Message] = {}
        self._parts: dict[str, _Part] = {}
        self._open_characters = 0
        self._failure: _Failure | None = None
        self.shown = False
        """Whether the agent has our message."""
        self._idle = False
        self._handlers: dict[str, Callable[[Json], list[RunnerEvent]]] = {
            "message.updated": self._message,
            "message.part.updated": self._part,
            "message.part.delta": self._delta,
            "message.part.removed": self._removed,
            "session.status": self._status,
            "session.idle": lambda _: self._now("idle"),
            "session.error": lambda properties: self._failed(
                _Failure.of(properties.get("error") or "unknown error")
            ),
        }
        self.retrying: str | None = None
        """What the provider's failure is while the agent keeps trying."""

    @property
    def begun(self) -> bool:
        """Whether the agent works on an answer, or has failed to."""
        return bool(self._assistant) or self._failure is not None

    @property
    def over(self) -> bool:
        """Whether the turn has ended, provided that a quiet moment follows."""
        return self.shown and self._idle and self._answered

    @property
    def phase(self) -> Phase:
        """Where the turn stands."""
        if self.over:
            return Phase.OVER
        if self._idle:
            return Phase.STALLED
        return Phase.WORKING if self.retrying is None else Phase.RETRYING

    @property
    def _answered(self) -> bool:
        """Whether the newest assistant message is finished, or the turn has failed."""
        if self._failure is not None:
            return True
        newest = next(reversed(self._assistant.values()), None)
        return newest is not None and (newest.finished or newest.failure is not None)

    @property
    def error(self) -> StepError | None:
        """What the turn failed with."""
        failures = [m.failure for m in self._assistant.values() if m.failure]
        found = self._failure or (failures[-1] if failures else None)
        return found.error() if found else None

    @property
    def usage(self) -> Json:
        """What the assistant's messages cost, added up."""
        messages = self._assistant.values()
        total = {f"{kind}Tokens": sum(m.tokens[kind] for m in messages) for kind in _TOKENS}
        return {**total, "cost": sum((m.cost for m in messages), 0.0)}

    def feed(self, event: Json) -> list[RunnerEvent] | None:
        """Take one event and return what it means for those who watch, None if it is not ours.

        OddEvent for one that is ours and makes no sense.
        """
        properties = shapes.record(event.get("properties"))
        handler = self._handlers.get(shapes.text(event.get("type")))
        if handler is None or _session_of(properties) != self._session_id:
            return None
        reports = handler(properties)
        if any(isinstance(report, AgentEvent | AgentDelta) for report in reports):
            # Not at `busy`, which stands between any two tries.
            self.retrying = None
        return reports

    def _status(self, properties: Json) -> list[RunnerEvent]:
        status = shapes.record(properties.get("status"))
        return self._now(
            shapes.text(status.get("type")),
            shapes.text(status.get("message"), shapes.LINE_CHARACTERS),
        )

    def _now(self, kind: str, reason: str = "") -> list[RunnerEvent]:
        if not kind:
            raise OddEvent("a status without a type")
        self._idle = kind == "idle"
        before = self.retrying
        if self._idle:
            self.retrying = None
        elif kind == "retry":
            self.retrying = reason or "no reason given"
        if self.retrying in {None, before}:
            return []
        return [TurnRetrying(turn_id=self._turn_id, reason=str(self.retrying))]

    def close(self) -> list[RunnerEvent]:
        """Return the last state of the parts that were still open when the turn ended."""
        closing: list[RunnerEvent] = []
        for part_id, part in self._parts.items():
            if (text := part.raw.getvalue()) and "final" not in part.reported:
                part.reported.add("final")
                said = self._redactor.broken_off(text)
                more = {"truncated": True} if part.full else {}
                closing.append(self._event(part_id, part, text=said, **more))
        return closing

    def snapshot(self) -> list[Json]:
        """Return the open parts for a viewer that joins now.

        From their beginnings: text is put together from there, and after a hole nothing is shown.
        """
        return [
            {
                "kind": part.kind,
                "messageId": part.message_id,
                "partId": part_id,
                "offset": 0,
                "text": part.shown.getvalue()[:_SNAPSHOT_CHARACTERS],
            }
            for part_id, part in self._parts.items()
            if part.shown.tell() and "final" not in part.reported
        ]

    def _message(self, properties: Json) -> list[RunnerEvent]:
        info = shapes.record(properties.get("info"))
        message_id = shapes.identifier(info.get("id"))
        if not message_id:
            raise OddEvent("a message without an id")
        if message_id == self._agent_message_id:
            self.shown = True
        elif info.get("role") == "assistant" and info.get("parentID") == self._agent_message_id:
            known = self._assistant.get(message_id)
            told = self._assistant[message_id] = _Message(
                finished=bool(info.get("finish")),
                failure=_Failure.of(info.get("error")),
                tokens=_tokens(info.get("tokens")),
                cost=shapes.number(info.get("cost")),
            )
            if len(self._assistant) > _MOST_MESSAGES:
                del self._assistant[next(iter(self._assistant))]
            if told.failure and not (known and known.failure):
                return self._failed(told.failure)
        return []

    def _failed(self, failure: _Failure | None) -> list[RunnerEvent]:
        if failure is None or not self.shown or self._failure is not None:
            return []
        self._failure = failure
        message_id = next(reversed(self._assistant), self._agent_message_id)
        part = _Part("error", message_id, RedactedStream(self._redactor))
        return [self._event(f"{message_id}.error", part, name=failure.name, text=failure.text)]

    def _part(self, properties: Json) -> list[RunnerEvent]:
        part = shapes.record(properties.get("part"))
        kind = shapes.text(part.get("type"), shapes.LINE_CHARACTERS)
        message_id = shapes.identifier(part.get("messageID"))
        part_id = shapes.identifier(part.get("id"))
        if message_id not in self._assistant or kind in _SILENT_PARTS or _is_transient(part):
            return []
        if not part_id or not kind:
            raise OddEvent("a part without an id or a type")
        known = self._known(part_id, kind, message_id)
        known.kind = kind
        if kind in {"text", "reasoning"}:
            return self._text(part_id, known, part)
        if kind == "tool":
            return self._tool(part_id, known, part)
        return self._whole(part_id, known, part)

    def _whole(self, part_id: str, known: _Part, part: Json) -> list[RunnerEvent]:
        """Report a part that comes complete, and once."""
        if "final" in known.reported:
            return []
        known.reported.add("final")
        if known.kind == "patch":
            data: Json = {"files": shapes.texts(part.get("files"))}
        elif known.kind == "step-finish":
            tokens, cost = _tokens(part.get("tokens")), shapes.number(part.get("cost"))
            data = {"kind": "usage", "tokens": tokens, "cost": cost}
        else:
            data = {"kind": "other", "type": known.kind}
        return [self._event(part_id, known, **data)]

    def _known(self, part_id: str, kind: str, message_id: str) -> _Part:
        if part_id not in self._parts:
            self._parts[part_id] = _Part(kind, message_id, RedactedStream(self._redactor))
            while len(self._parts) > _MOST_PARTS:
                self._forget(next(iter(self._parts)))
        return self._parts[part_id]

    def _forget(self, part_id: str) -> None:
        if part := self._parts.pop(part_id, None):
            self._empty(part)

    def _keep(self, part: _Part, text: str) -> None:
        part.raw.write(text)
        self._open_characters += len(text)

    def _empty(self, part: _Part) -> None:
        """Let go of a part's text: it is told, or not wanted any more."""
        self._open_characters -= part.raw.tell()
        part.raw, part.shown = io.StringIO(), io.StringIO()

    def _text(self, part_id: str, known: _Part, part: Json) -> list[RunnerEvent]:
        text = shapes.text(part.get("text"), shapes.LONG_CHARACTERS)
        if "final" in known.reported or not text:
            return []
        if shapes.record(part.get("time")).get("end"):
            known.reported.add("final")
            self._empty(known)
            return [self._event(part_id, known, text=text)]
        before = known.raw.getvalue()
        if text.startswith(before):
            return self._grow(part_id, known, text[len(before) :])
        # Another text than was streamed: the part's end will tell it, whenever that is.
        self._empty(known)
        known.full = True
        self._keep(known, head(text, _OPEN_CHARACTERS - self._open_characters))
        return []

    def _delta(self, properties: Json) -> list[RunnerEvent]:
        message_id = shapes.identifier(properties.get("messageID"))
        if message_id not in self._assistant or properties.get("field") != "text":
            return []
        part_id = shapes.identifier(properties.get("partID"))
        if not part_id:
            raise OddEvent("a delta without a part")
        known = self._known(part_id, "text", message_id)
        return self._grow(part_id, known, shapes.text(properties.get("delta")))

    def _grow(self, part_id: str, known: _Part, text: str) -> list[RunnerEvent]:
        known.full = known.full or self._open_characters + len(text) > _OPEN_CHARACTERS
        if known.full or "final" in known.reported:
            return []
        self._keep(known, text)
        offset, new = known.shown.tell(), known.stream.feed(text)
        known.shown.write(new)
        if not new:
            return []
        return [AgentDelta(turn_id=self._turn_id, part_id=part_id, offset=offset, text=new)]

    def _removed(self, properties: Json) -> list[RunnerEvent]:
        self._forget(shapes.identifier(properties.get("partID")))
        return []

    def _tool(self, part_id: str, known: _Part, part: Json) -> list[RunnerEvent]:
        state = shapes.record(part.get("state"))
        status = shapes.text(state.get("status"))
        stage = {"running": "start", "completed": "final", "error": "final"}.get(status)
        if stage is None or {stage, "final"} & known.reported:
            return []
        known.reported.add(stage)
        tool = shapes.text(part.get("tool"), shapes.LINE_CHARACTERS) or "tool"
        given, was_cut = shapes.long(shapes.record(state.get("input")))
        data: Json = {
            "tool": tool,
            "status": status,
            "title": shapes.text(state.get("title"), shapes.LINE_CHARACTERS) or tool,
            "input": given,
            **({"truncated": True} if was_cut else {}),
        }
        if stage == "final":
            data["output"] = shapes.prose(state.get("output") or state.get("error"))
            # A shell's status is "completed" whatever its command came to.
            exited = shapes.exit_code(shapes.record(state.get("metadata")).get("exit"))
            data |= {} if exited is None else {"exitCode": exited}
        return [self._event(part_id, known, **data)]

    def _event(self, part_id: str, part: _Part, **data: Any) -> AgentEvent:
        common = {"kind": part.kind, "messageId": part.message_id, "partId": part_id}
        return AgentEvent(turn_id=self._turn_id, data={**common, **data})


def _is_transient(part: Json) -> bool:
    """Return whether a text is Kilo's own progress, which it takes back, and no answer."""
    metadata = shapes.record(part.get("metadata"))
    return bool(metadata.get("kilocode.lifecycle") == "transient")


def _session_of(properties: Json) -> str | None:
    for name in (None, "info", "part"):
        holder = shapes.record(properties.get(name)) if name else properties
        if "sessionID" in holder:
            return shapes.text(holder["sessionID"])
    return None


def _tokens(value: Any) -> Json:
    told = shapes.record(value)
    cache = shapes.record(told.get("cache"))
    counted: Json = {kind: shapes.number(told.get(kind)) for kind in _TOKENS}
    return {**counted, "cache": {kind: shapes.number(cache.get(kind)) for kind in _CACHE}}
