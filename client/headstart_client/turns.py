"""What came of a message, read off the session's events."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from headstart_client import events
from headstart_client.errors import Interrupted, PreparationFailed, TurnFailed
from headstart_client.models import Answer, Counted, Event
from headstart_client.view import Outcome, View
from headstart_client.wholes import Wholes


async def answer_to(
    wholes: Wholes, happening: AsyncGenerator[Event, None], session_id: str, message_id: str
) -> Answer:
    """Follow a session until the turn of a message has ended, and return the answer.

    Raises TurnFailed, Interrupted and PreparationFailed.
    """
    view, said = View({message_id}), _Said(message_id)
    outcome: Outcome | None = None
    async with aclosing(happening):
        async for event in happening:
            wholes.note(event)
            view.apply(await with_reason(wholes, event))
            said.apply(event)
            if outcome := view.outcome():
                break
    _raise_for(outcome or Outcome("deleted"), session_id)
    parts, truncated = [], False
    for part in said.parts.values():
        whole, gone = part.text or "", part.truncated
        if part.text_ref is not None:
            found = await wholes.whole(part, part.text_ref, whole)
            whole, gone = found.text, gone or found.truncated or not found.complete
        parts.append(whole)
        truncated = truncated or gone
    changes = view.work.changes
    return Answer(
        session_id=session_id,
        message_id=message_id,
        text="\n\n".join(parts),
        usage=said.usage,
        changes=Counted.model_validate(changes) if changes else None,
        truncated=truncated,
    )


async def with_reason(wholes: Wholes, event: Event) -> Event:
    """Return an event with all of the reason that a turn failed for, as far as it can be had."""
    match event:
        case events.TurnFailed(text_ref=str(ref)):
            found = await wholes.whole(event, ref, event.reason)
            return event.model_copy(update={"data": {**event.data, "reason": found.text}})
        case _:
            return event


class _Said:
    """The texts of the agent's last message in the turn of one of ours."""

    def __init__(self, message_id: str) -> None:
        self.parts: dict[str, events.AgentEvent] = {}
        self.usage: dict[str, object] = {}
        self._message_id = message_id
        self._listening = False
        self._speaking = ""

    def apply(self, event: Event) -> None:
        match event:
            case events.TurnStarted(message_id=message_id):
                self._listening = message_id == self._message_id
            case events.TurnCompleted(message_id=message_id) if message_id == self._message_id:
                self.usage = event.usage
                self._listening = False
            case events.AgentEvent(kind="text", text=str()) if self._listening:
                if event.message_id != self._speaking:
                    self._speaking, self.parts = event.message_id, {}
                self.parts[event.part_id] = event


def _raise_for(outcome: Outcome, session_id: str) -> None:
    failure = outcome.failure
    match outcome.kind:
        case "completed":
            return
        case "failed" if failure:
            raise PreparationFailed(session_id, failure.step, failure.code, failure.reason)
        case "turn" if failure and failure.code == "Interrupted":
            raise Interrupted(session_id, failure.code, failure.reason)
        case "turn" if failure:
            raise TurnFailed(session_id, failure.code, failure.reason)
        case "held" | "prepared":
            why = failure.reason if failure else "`initiate` releases it"
            raise TurnFailed(session_id, "MessageHeld", f"The message is held: {why}")
        case _:
            raise TurnFailed(session_id, "SessionDeleted", "The session was deleted")
