"""What the agent asks people and waits for, kept up to date event by event, without any I/O.

web/inputs.js is the same in JavaScript; the tests drive both with the same events.
"""

from collections.abc import Mapping
from math import inf
from typing import Any, NamedTuple

from headstart_client.events import data_of
from headstart_client.models import Event, PendingInput
from headstart_client.shapes import PERMISSION, QUESTIONS, shaped

_ENDS = {"turn.completed", "turn.failed", "turn.interrupted", "session.failed", "session.asleep"}


class Inputs:
    """The open requests by their ids, oldest first."""

    def __init__(self) -> None:
        self.open: dict[str, PendingInput] = {}
        self._through = 0

    def apply(self, event: Event) -> None:
        """Take in an event; a replay of what the last snapshot includes changes nothing."""
        data = data_of(event)
        if event.type == "session.snapshot":
            self._through = data["lastEventId"]
            asked = [PendingInput.model_validate(asked) for asked in data["pendingInputs"]]
            self.open = {one.request_id: one for one in asked}
        elif (event.event_id or inf) <= self._through:
            return
        elif event.type == "input.requested":
            self.open[data["requestId"]] = PendingInput.model_validate(data)
        elif event.type == "input.resolved":
            self.open.pop(data["requestId"], None)
        elif event.type in _ENDS:
            self.open.clear()


def permission(asked: PendingInput) -> str:
    """Return what a permission is for."""
    body = shaped(PERMISSION, asked.body)
    title, named = body["title"] or "permission", ", ".join(body["patterns"])
    return f"{title}: {named}" if named else title


_REPLIES = {"once": "Allow once", "always": "Always"}


def answered(resolved: Mapping[str, Any]) -> str:
    """Return how it ended what was asked, in words: what a person chose, where that is known.

    `resolved` is what `data_of` reads of `input.resolved`.
    """
    answer = resolved["answer"] or {"reply": "", "answers": []}
    chosen = ", ".join(label for labels in answer["answers"] for label in labels)
    return _REPLIES.get(answer["reply"]) or chosen or resolved["outcome"] or "resolved"


class Question(NamedTuple):
    """A question, and what it offers; `multiple` says that several may be chosen."""

    text: str
    labels: list[str]
    descriptions: list[str]
    multiple: bool


def questions(asked: PendingInput) -> list[Question]:
    """Return each question and what it offers, whatever the agent wrote."""
    return [
        Question(
            question["question"],
            [option["label"] for option in question["options"]],
            [option["description"] for option in question["options"]],
            question["multiple"],
        )
        for question in shaped(QUESTIONS, asked.body)["questions"]
    ]
