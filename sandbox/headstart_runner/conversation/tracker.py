"""Reads one turn out of an agent's event stream: what to report, and whether it is over.

The events are those of opencode's `GET /event`. An assistant's message belongs to the turn by its
parent, so trailing events of an earlier turn (like a second idle after an abort) change nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from headstart.domain.channel import AgentDelta, AgentEvent, RunnerEvent, TurnRetrying
from headstart.domain.errors import Cancelled, InternalStepError, ProviderUnavailable, StepError
from headstart_runner.redaction import RedactedStream, Redactor

Json = dict[str, Any]

_PROVIDER_ERRORS = {"APIError", "ProviderAuthError"}
_SILENT_PARTS = {"step-start", "snapshot"}
_SNAPSHOT_CHARACTERS = 100_000
"""How much of an open part is told again: more than models say in one, and no flood."""


@dataclass(slots=True)
class _Part:
    kind: str
    message_id: str
    stream: RedactedStream
    raw: str = ""
    shown: str = ""
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
        self._assistant: dict[str, Json] = {}
        self._parts: dict[str, _Part] = {}
        self._error: Json | None = None
        self.shown = False
        """Whether the agent has our message."""
        self.idle = False
        self._handlers: dict[str, Callable[[Json], list[RunnerEvent]]] = {
            "message.updated": self._message,
            "message.part.updated": self._part,
            "message.part.delta": self._delta,
            "message.part.removed": self._removed,
            "session.status": self._status,
            "session.idle": self._idle,
            "session.error": lambda properties: self._failed(properties.get("error") or {}),
        }
        self.retrying: str | None = None
        """What the provider's failure is while the agent keeps trying."""

    @property
    def begun(self) -> bool:
        """Whether the agent works on an answer, or has failed to."""
        return bool(self._assistant) or self._error is not None

    @property
    def answered(self) -> bool:
        """Whether the newest assistant message is finished, or the turn has failed."""
        if self._error is not None:
            return True
        newest = list(self._assistant.values())[-1:]
        return any(message.get("finish") or message.get("error") for message in newest)

    @property
    def over(self) -> bool:
        """Whether the turn has ended, provided that a quiet moment follows."""
        return self.shown and self.idle and self.answered

    @property
    def error(self) -> StepError | None:
        """What the turn failed with."""
        errors = [m["error"] for m in self._assistant.values() if m.get("error")]
        found = self._error or (errors[-1] if errors else None)
        return _step_error(found) if found else None

    @property
    def usage(self) -> Json:
        """What the assistant's messages cost, added up."""
        total = {"inputTokens": 0, "outputTokens": 0, "reasoningTokens": 0, "cost": 0.0}
        for message in self._assistant.values():
            tokens = message.get("tokens") or {}
            for kind in ("input", "output", "reasoning"):
                total[f"{kind}Tokens"] += tokens.get(kind) or 0
            total["cost"] += message.get("cost") or 0
        return total

    def feed(self, event: Json) -> list[RunnerEvent]:
        """Take one event and return what it means for those who watch."""
        properties = event.get("properties") or {}
        if _session_of(properties) != self._session_id:
            return []
        handler = self._handlers.get(str(event.get("type")))
        return handler(properties) if handler else []

    def _idle(self, _: Json) -> list[RunnerEvent]:
        self.idle, self.retrying = True, None
        return []

    def _removed(self, properties: Json) -> list[RunnerEvent]:
        self._parts.pop(str(properties.get("partID")), None)
        return []

    def _status(self, properties: Json) -> list[RunnerEvent]:
        status = properties["status"]
        self.idle = status["type"] == "idle"
        before, self.retrying = self.retrying, None
        if status["type"] == "retry":
            self.retrying = str(status.get("message") or "no reason given")
        if self.retrying in {None, before}:
            return []
        return [TurnRetrying(turn_id=self._turn_id, reason=str(self.retrying))]

    def close(self) -> list[RunnerEvent]:
        """Return the last state of the parts that were still open when the turn ended."""
        closing: list[RunnerEvent] = []
        for part_id, part in self._parts.items():
            if part.raw and "final" not in part.reported:
                part.reported.add("final")
                closing.append(self._event(part_id, part, text=part.raw))
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
                "text": part.shown[:_SNAPSHOT_CHARACTERS],
            }
            for part_id, part in self._parts.items()
            if part.shown and "final" not in part.reported
        ]

    def _message(self, properties: Json) -> list[RunnerEvent]:
        info = properties["info"]
        if info["id"] == self._agent_message_id:
            self.shown = True
        elif info.get("role") == "assistant" and info.get("parentID") == self._agent_message_id:
            known = self._assistant.get(info["id"], {})
            self._assistant[info["id"]] = info
            if info.get("error") and not known.get("error"):
                return self._failed(info["error"])
        return []

    def _failed(self, error: Json) -> list[RunnerEvent]:
        if not self.shown or self._error is not None:
            return []
        self._error = error
        data = {"kind": "error", "name": error.get("name", ""), "text": _error_text(error)}
        return [AgentEvent(turn_id=self._turn_id, data=data)]

    def _part(self, properties: Json) -> list[RunnerEvent]:
        part = properties["part"]
        kind, message_id = str(part.get("type")), part.get("messageID")
        if message_id not in self._assistant or kind in _SILENT_PARTS or _is_transient(part):
            return []
        known = self._known(part["id"], kind, message_id)
        if kind in {"text", "reasoning"}:
            return self._text(part["id"], known, part)
        if kind == "tool":
            return self._tool(part["id"], known, part)
        return self._whole(part["id"], known, part)

    def _whole(self, part_id: str, known: _Part, part: Json) -> list[RunnerEvent]:
        """Report a part that comes complete, and once."""
        if "final" in known.reported:
            return []
        known.reported.add("final")
        if known.kind == "patch":
            data = {"files": part.get("files") or []}
        elif known.kind == "step-finish":
            tokens, cost = part.get("tokens") or {}, part.get("cost") or 0
            data = {"kind": "usage", "tokens": tokens, "cost": cost}
        else:
            data = {"kind": "other", "type": known.kind}
        return [self._event(part_id, known, **data)]

    def _known(self, part_id: str, kind: str, message_id: str) -> _Part:
        if part_id not in self._parts:
            self._parts[part_id] = _Part(kind, message_id, RedactedStream(self._redactor))
        return self._parts[part_id]

    def _text(self, part_id: str, known: _Part, part: Json) -> list[RunnerEvent]:
        text = str(part.get("text") or "")
        reports: list[RunnerEvent] = []
        if text.startswith(known.raw) and "final" not in known.reported:
            reports = self._grow(part_id, known, text[len(known.raw) :])
        known.raw = text or known.raw
        if (part.get("time") or {}).get("end") and text and "final" not in known.reported:
            known.reported.add("final")
            reports = [self._event(part_id, known, text=text)]
        return reports

    def _delta(self, properties: Json) -> list[RunnerEvent]:
        message_id = properties.get("messageID")
        if message_id not in self._assistant or properties.get("field") != "text":
            return []
        known = self._known(properties["partID"], "text", message_id)
        return self._grow(properties["partID"], known, str(properties.get("delta") or ""))

    def _grow(self, part_id: str, known: _Part, text: str) -> list[RunnerEvent]:
        known.raw += text
        offset, new = len(known.shown), known.stream.feed(text)
        known.shown += new
        if not new:
            return []
        return [AgentDelta(turn_id=self._turn_id, part_id=part_id, offset=offset, text=new)]

    def _tool(self, part_id: str, known: _Part, part: Json) -> list[RunnerEvent]:
        state = part.get("state") or {}
        status = str(state.get("status"))
        stage = {"running": "start", "completed": "final", "error": "final"}.get(status)
        if stage is None or {stage, "final"} & known.reported:
            return []
        known.reported.add(stage)
        data = {
            "tool": part.get("tool"),
            "status": status,
            "title": state.get("title") or part.get("tool"),
            "input": state.get("input") or {},
        }
        if stage == "final":
            data["output"] = state.get("output") or state.get("error") or ""
        return [self._event(part_id, known, **data)]

    def _event(self, part_id: str, part: _Part, **data: Any) -> AgentEvent:
        common = {"kind": part.kind, "messageId": part.message_id, "partId": part_id}
        return AgentEvent(turn_id=self._turn_id, data={**common, **data})


def _is_transient(part: Json) -> bool:
    """Return whether a text is Kilo's own progress, which it takes back, and no answer."""
    return (part.get("metadata") or {}).get("kilocode.lifecycle") == "transient"


def _session_of(properties: Json) -> str | None:
    for holder in (properties, properties.get("info") or {}, properties.get("part") or {}):
        if "sessionID" in holder:
            return str(holder["sessionID"])
    return None


def _error_text(error: Json) -> str:
    data = error.get("data") or {}
    return str(data.get("message") or error.get("name") or "unknown error")


def _step_error(error: Json) -> StepError:
    name, text = str(error.get("name", "")), _error_text(error)
    if name == "MessageAbortedError":
        return Cancelled("The turn was stopped")
    if name in _PROVIDER_ERRORS:
        return ProviderUnavailable(f"The model provider answered: {text}")
    return InternalStepError(f"The agent failed: {text}")
