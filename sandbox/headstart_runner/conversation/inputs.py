"""What the agent of a turn asks people: permissions and questions, until they are answered.

The agent's server belongs to this session alone, so a request of a session it started itself (a
sub-agent's) is this turn's as well.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from headstart.domain.channel import InputRequested, InputResolved, RunnerEvent
from headstart.domain.errors import AgentStartFailed, InputGone, InternalStepError
from headstart_runner.agents.http import AgentClient, AgentRefused, AgentSilent
from headstart_runner.clock import awake_sleep
from headstart_runner.log import logger

INPUT_SECONDS = 30 * 60.0
"""How long a request waits for an answer before it is rejected."""

_REJECT: dict[str, dict[str, Any]] = {
    "permission": {"reply": "reject"},
    "question": {"reject": True},
}

Json = dict[str, Any]


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
        self._kinds: dict[str, str] = {}
        self._limits: dict[str, asyncio.Task[None]] = {}
        self._seen: set[str] = set()

    def feed(self, event: Json) -> None:
        """Take an event of the agent's stream."""
        kind, _, what = str(event.get("type")).partition(".")
        properties = event.get("properties") or {}
        if kind not in _REJECT:
            return
        if what == "asked":
            self._asked(kind, properties)
        elif what in {"replied", "rejected"}:
            rejected = what == "rejected" or properties.get("reply") == "reject"
            outcome = "rejected" if rejected else "answered"
            self._resolve(str(properties.get("requestID")), outcome)

    def _asked(self, kind: str, properties: Json) -> None:
        request_id = str(properties.get("id"))
        if request_id in self._seen:
            return
        self._seen.add(request_id)
        if kind == "permission":
            body = {
                "title": properties.get("title") or properties.get("permission") or "permission",
                "patterns": properties.get("patterns") or [],
                "metadata": properties.get("metadata") or {},
            }
        else:
            body = {"questions": properties.get("questions") or []}
        self._kinds[request_id] = kind
        self._limits[request_id] = asyncio.create_task(self._expire(request_id))
        self._report(
            InputRequested.model_validate(
                {"turnId": self._turn_id, "requestId": request_id, "kind": kind, "body": body}
            )
        )

    def _resolve(self, request_id: str, outcome: str) -> None:
        if self._kinds.pop(request_id, None) is None:
            return
        limit = self._limits.pop(request_id)
        if limit is not asyncio.current_task():
            limit.cancel()
        self._report(
            InputResolved.model_validate(
                {"turnId": self._turn_id, "requestId": request_id, "outcome": outcome}
            )
        )

    async def answer(self, request_id: str, answer: Json) -> None:
        """Pass an answer on; InputGone when the agent asks that no more."""
        kind = self._kinds.get(request_id)
        if kind is None:
            raise InputGone("The agent does not ask this, or not any more")
        try:
            await (await self._connect()).answer(kind, request_id, answer)
        except AgentRefused as error:
            self._resolve(request_id, "withdrawn")
            raise InputGone(f"The agent did not take the answer: {error}") from error
        except (AgentSilent, AgentStartFailed) as error:
            raise InternalStepError(f"The agent can't be given the answer: {error}") from error
        rejected = answer.get("reject") or answer.get("reply") == "reject"
        self._resolve(request_id, "rejected" if rejected else "answered")

    async def _expire(self, request_id: str) -> None:
        await awake_sleep(INPUT_SECONDS)
        kind = self._kinds[request_id]
        self._resolve(request_id, "expired")
        try:
            await (await self._connect()).answer(kind, request_id, _REJECT[kind])
        except (AgentRefused, AgentSilent, AgentStartFailed) as error:
            logger.warning("an unanswered question could not be rejected: %s", error)

    def close(self) -> None:
        """Withdraw what is still open: the turn is over."""
        for request_id in list(self._kinds):
            self._resolve(request_id, "withdrawn")
