"""What the agent of a turn asks people: permissions and questions, until they are answered.

The agent's server belongs to this session alone, so a request of a session it started itself (a
sub-agent's) is this turn's as well.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from headstart.domain.channel import InputRequested, InputResolved, RunnerEvent
from headstart.domain.errors import AgentStartFailed, InputGone, InternalStepError
from headstart_runner.agents.http import AgentClient, AgentRefused, AgentSilent
from headstart_runner.agents.said import OddEvent
from headstart_runner.clock import awake_sleep
from headstart_runner.conversation import shapes
from headstart_runner.conversation.shapes import Json
from headstart_runner.log import logger

INPUT_SECONDS = 30 * 60.0
"""How long a request waits for an answer before it is rejected."""

_REJECT: dict[str, dict[str, Any]] = {
    "permission": {"reply": "reject"},
    "question": {"reject": True},
}
_MOST_OPEN = 20
"""How many requests are people's at a time; the cloud keeps no more."""

_MOST_TOLD = 1_000
"""How many requests of one turn people ever see."""

_MOST_QUESTIONS = 20
_MOST_OPTIONS = 50

Outcome = Literal["answered", "rejected", "expired", "withdrawn"]


@dataclass(slots=True)
class _Request:
    kind: str
    agents_id: str
    """What the agent calls it; too long an id is passed on as a shorter one."""
    limit: asyncio.Task[None]


class Inputs:
    """The open requests of one turn. Each is reported once, and resolved once."""

    def __init__(
        self,
        turn_id: str,
        *,
        report: Callable[[RunnerEvent], None],
        connect: Callable[[], Awaitable[AgentClient]],
    ) -> None:
        self._turn_id = turn_id
        self._report = report
        self._connect = connect
        self._open: dict[str, _Request] = {}
        self._seen: set[str] = set()
        self._rejecting: dict[str, asyncio.Task[None]] = {}

    def feed(self, event: Json) -> None:
        """Take an event of the agent's stream; OddEvent for a request without an id."""
        kind, _, what = shapes.text(event.get("type")).partition(".")
        properties = shapes.record(event.get("properties"))
        if kind not in _REJECT:
            return
        if what == "asked":
            self._asked(kind, properties)
        elif what in {"replied", "rejected"}:
            rejected = what == "rejected" or properties.get("reply") == "reject"
            request_id = shapes.identifier(properties.get("requestID"))
            self._resolve(request_id, "rejected" if rejected else "answered")

    def _asked(self, kind: str, properties: Json) -> None:
        agents_id = shapes.text(properties.get("id"))
        request_id = shapes.identifier(agents_id)
        if not request_id:
            raise OddEvent(f"a {kind} without an id")
        if request_id in self._rejecting:
            self._reject(request_id, kind, agents_id)
        elif request_id in self._seen:
            return
        elif len(self._open) >= _MOST_OPEN or len(self._seen) >= _MOST_TOLD:
            self._reject(request_id, kind, agents_id)
        else:
            self._seen.add(request_id)
            limit = asyncio.create_task(self._expire(request_id))
            self._open[request_id] = _Request(kind, agents_id, limit)
            body = _permission(properties) if kind == "permission" else _question(properties)
            self._report(
                InputRequested.model_validate(
                    {"turnId": self._turn_id, "requestId": request_id, "kind": kind, "body": body}
                )
            )

    def _resolve(self, request_id: str, outcome: Outcome) -> None:
        request = self._open.pop(request_id, None)
        if request is None:
            return
        if request.limit is not asyncio.current_task():
            request.limit.cancel()
        self._report(InputResolved(turn_id=self._turn_id, request_id=request_id, outcome=outcome))

    async def answer(self, request_id: str, answer: Json) -> None:
        """Pass an answer on; InputGone when the agent asks that no more."""
        request = self._open.get(request_id)
        if request is None:
            raise InputGone("The agent does not ask this, or not any more")
        try:
            await (await self._connect()).answer(request.kind, request.agents_id, answer)
        except AgentRefused as error:
            self._resolve(request_id, "withdrawn")
            raise InputGone(f"The agent did not take the answer: {error}") from error
        except (AgentSilent, AgentStartFailed) as error:
            raise InternalStepError(f"The agent can't be given the answer: {error}") from error
        rejected = answer.get("reject") or answer.get("reply") == "reject"
        self._resolve(request_id, "rejected" if rejected else "answered")

    async def _expire(self, request_id: str) -> None:
        await awake_sleep(INPUT_SECONDS)
        request = self._open[request_id]
        self._resolve(request_id, "expired")
        with suppress(OddEvent):
            self._reject(request_id, request.kind, request.agents_id)

    def _reject(self, request_id: str, kind: str, agents_id: str) -> None:
        """Say no in a person's place; if that fails, again when the agent is seen to ask still."""
        if not (task := self._rejecting.get(request_id)) or task.done():
            if task is None and len(self._rejecting) >= _MOST_OPEN:
                raise OddEvent("more requests at a time than anybody could answer")
            self._rejecting[request_id] = asyncio.create_task(
                self._say_no(request_id, kind, agents_id)
            )

    async def _say_no(self, request_id: str, kind: str, agents_id: str) -> None:
        try:
            await (await self._connect()).answer(kind, agents_id, _REJECT[kind])
        except AgentRefused as error:
            logger.info("the agent does not ask any more what is rejected: %s", error)
        except (AgentSilent, AgentStartFailed) as error:
            logger.warning("a request could not be rejected: %s", error)
            return
        self._rejecting.pop(request_id, None)

    def close(self) -> None:
        """Withdraw what is still open: the turn is over."""
        for request_id in list(self._open):
            self._resolve(request_id, "withdrawn")
        for task in self._rejecting.values():
            task.cancel()


def _permission(properties: Json) -> Json:
    named = _texts(properties, "title", "permission")
    return {
        "title": named["title"] or named["permission"] or "permission",
        "patterns": shapes.texts(properties.get("patterns")),
        "metadata": shapes.free(shapes.record(properties.get("metadata"))),
    }


def _question(properties: Json) -> Json:
    asked = shapes.records(properties.get("questions"), _MOST_QUESTIONS)
    return {
        "questions": [
            {
                **_texts(question, "question", "header"),
                "options": [
                    _texts(option, "label", "description")
                    for option in shapes.records(question.get("options"), _MOST_OPTIONS)
                ],
                "multiple": question.get("multiple") is True,
            }
            for question in asked
        ]
    }


def _texts(told: Json, *names: str) -> Json:
    return {name: shapes.text(told.get(name), shapes.LINE_CHARACTERS) for name in names}
