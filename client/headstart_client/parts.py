"""The parts of the agent's answer, kept up to date event by event; web/parts.js is the same."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from headstart_client.models import Text


@dataclass
class Part:
    """One part of the agent's answer; deltas may come twice, late or out of order.

    `data` is the part's last `agent.event`; offsets count characters (Unicode code points).
    `missing` are the bytes of a long text, or of a tool's output, that are not here, and can be
    fetched by its `textRef`. `began_at` and `ended_at` are the cloud's times of its first event and
    its last.
    """

    kind: str = "text"
    text: str = ""
    final: bool = False
    data: Mapping[str, Any] = field(default_factory=dict)
    missing: int = 0
    began_at: datetime | None = None
    ended_at: datetime | None = None
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

    @property
    def seconds(self) -> float:
        """How long a tool took, up to its last event; 0 where that is not known."""
        if self.began_at is None or self.ended_at is None:
            return 0.0
        return max(0.0, (self.ended_at - self.began_at).total_seconds())

    def settle(self, data: Mapping[str, Any], at: datetime | None = None) -> None:
        """Take in an `agent.event` of a time: for text the whole and final state."""
        self.data = data
        self.began_at, self.ended_at = self.began_at or at, at
        if (text := data.get("text")) is not None:
            # Of a long text this is the beginning only, and more of it may have streamed.
            if not (data.get("textRef") and self.text.startswith(text)):
                self.text = text
            self.final = True
            self._early.clear()
        self._count()

    def take(self, found: Text) -> None:
        """Take in what could be had of a text that was too long for its event."""
        if self.kind == "tool":
            self.data = {**self.data, "output": found.text}
        else:
            self.text = found.text
        self._count()
        if found.truncated:
            self.data = {**self.data, "truncated": True}
        elif found.complete:
            self.missing = 0

    def _count(self) -> None:
        whole = self.data.get("textBytes") or 0
        text = self.data.get("output", "") if self.kind == "tool" else self.text
        self.missing = max(0, whole - len(text.encode(errors="replace")))
