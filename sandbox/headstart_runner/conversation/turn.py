"""One turn of the agent, from the delivery of its message to its one end."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from headstart.domain.channel import AgentSnapshot, ErrorInfo, RunnerEvent, TurnEnded
from headstart.domain.command_args import PromptArgs
from headstart.domain.errors import (
    AgentCrashed,
    AgentStartFailed,
    Cancelled,
    InternalStepError,
    ProviderUnavailable,
    StepError,
    StepTimedOut,
)
from headstart_runner.agents.http import AgentClient, AgentSilent
from headstart_runner.clock import awake_sleep
from headstart_runner.conversation.inputs import Inputs
from headstart_runner.conversation.tracker import TurnTracker
from headstart_runner.log import logger
from headstart_runner.redaction import Redactor

QUIET_SECONDS = 0.3
"""An agent's last events trail its idle by up to 100 ms."""

RETRYING_SECONDS = 300.0
"""How long an agent may try again what its provider fails to do: opencode itself never gives up."""

_TURN_SECONDS = 2 * 3600
_STALLED_SECONDS = 15.0
_ABORT_SECONDS = 5.0
_BEGINNING_SECONDS = 5.0
"""How long to wait for an agent's first sign of work before it is told to stop.

opencode, stopped between a message and its answer, stops the answer to the next message, too.
"""

Connect = Callable[[], Awaitable[AgentClient]]


class Turn:
    """Follows the agent. Nothing is reported before `release`: the delivery's result goes first."""

    def __init__(
        self,
        args: PromptArgs,
        *,
        agent_message_id: str,
        command_id: str,
        redactor: Redactor,
        report: Callable[[RunnerEvent], None],
        connect: Connect,
    ) -> None:
        self.args = args
        self.command_id = command_id
        self._tracker = TurnTracker(args.session_id, args.turn_id, agent_message_id, redactor)
        self._report = report
        self._connect = connect
        self._inputs = Inputs(args.turn_id, report=self._emit, connect=connect)
        self._held: list[RunnerEvent] | None = []
        self._activity = asyncio.Event()
        self._retrying_since: float | None = None
        self._verdict: StepError | None = None
        self._gone = False

    async def seen(self, seconds: float) -> bool:
        """Return whether the agent shows the message, waiting a moment for its stream to say so."""
        if not self._tracker.shown:
            self._activity.clear()
            await self._anything(seconds)
        return self._tracker.shown

    def feed(self, event: dict[str, Any]) -> None:
        """Take an event of the agent's stream."""
        for report in self._tracker.feed(event):
            self._emit(report)
        self._inputs.feed(event)
        now = asyncio.get_running_loop().time()
        if self._tracker.retrying is None:
            self._retrying_since = None
        elif self._retrying_since is None:
            self._retrying_since = now
        self._activity.set()

    def _emit(self, event: RunnerEvent) -> None:
        if self._held is None:
            self._report(event)
        else:
            self._held.append(event)

    def release(self) -> None:
        """Report what was held, and everything from now on as it comes."""
        held, self._held = self._held or [], None
        for event in held:
            self._report(event)

    def snapshot(self) -> None:
        """Report the open parts to a viewer that has just joined."""
        if parts := self._tracker.snapshot():
            self._emit(AgentSnapshot(turn_id=self.args.turn_id, parts=parts))

    def crashed(self, reason: str) -> None:
        """Take note that the agent died in the middle."""
        self._gone = True
        self._end_with(AgentCrashed(f"The agent crashed: {reason}"))

    def cancel(self, error: StepError | None = None) -> None:
        """Ask for the end of the turn, which then fails with `error`, or else is interrupted."""
        self._end_with(error or Cancelled("The turn was stopped"))

    def _end_with(self, error: StepError) -> None:
        self._verdict = self._verdict or error
        self._activity.set()

    async def look(self) -> None:
        """Ask the agent what its stream may not have said; AgentSilent without an answer."""
        client = await self._connect()
        session_id = self.args.session_id
        busy = await client.busy(session_id)
        for message in await client.messages(session_id):
            self.feed(_event("message.updated", session_id, info=message["info"]))
            # Open parts are left to the stream, whose deltas may be on their way.
            for part in filter(_is_closed, message.get("parts") or []):
                self.feed(_event("message.part.updated", session_id, part=part))
        if busy:
            await self._look_for_questions(client)
        status = {"type": "busy" if busy else "idle"}
        self.feed(_event("session.status", session_id, status=status))

    async def _look_for_questions(self, client: AgentClient) -> None:
        try:
            for event in await client.asked():
                self.feed(event)
        except AgentSilent as error:
            logger.info("the agent does not tell what it asks: %s", error)

    async def answer(self, request_id: str, answer: dict[str, Any]) -> None:
        """Pass a person's answer to the agent; InputGone when it asks that no more."""
        await self._inputs.answer(request_id, answer)

    async def follow(self) -> None:
        """Wait for the end of the turn and report it."""
        limit = asyncio.create_task(awake_sleep(_TURN_SECONDS))
        limit.add_done_callback(self._out_of_time)
        try:
            error = await self._outcome()
        finally:
            limit.cancel()
            self._inputs.close()
        for event in self._tracker.close():
            self._emit(event)
        interrupted = isinstance(error, Cancelled)
        self._emit(
            TurnEnded(
                turn_id=self.args.turn_id,
                message_id=self.args.message_id,
                usage=self._tracker.usage,
                error=ErrorInfo.of(error) if error and not interrupted else None,
                interrupted=interrupted,
            )
        )

    def _out_of_time(self, limit: asyncio.Task[None]) -> None:
        if not limit.cancelled():
            self._end_with(StepTimedOut("The turn was stopped after 2 hours"))

    async def _outcome(self) -> StepError | None:
        while True:
            if isinstance(self._verdict, AgentCrashed):
                return self._tracker.error if self._tracker.over else self._verdict
            if self._verdict is not None:
                return await self._abort(self._verdict)
            self._activity.clear()
            if self._tracker.over:
                if not await self._anything(QUIET_SECONDS):
                    return self._tracker.error
            elif self._tracker.idle:
                if not await self._anything(_STALLED_SECONDS) and not await self._look_again():
                    return InternalStepError("The agent stopped without finishing its answer")
            elif self._retrying_since is not None:
                await self._anything(RETRYING_SECONDS)
                if self._retried_for() >= RETRYING_SECONDS:
                    reason = f"The model provider kept failing: {self._tracker.retrying}"
                    self._end_with(ProviderUnavailable(reason))
            else:
                await self._activity.wait()

    def _retried_for(self) -> float:
        if self._retrying_since is None:
            return 0.0
        return asyncio.get_running_loop().time() - self._retrying_since

    async def _anything(self, seconds: float) -> bool:
        """Return whether anything happens within some seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._activity.wait()
        except TimeoutError:
            return False
        return True

    async def _look_again(self) -> bool:
        """Return whether a look at the agent shows that the turn goes on or is complete."""
        try:
            await self.look()
        except (AgentSilent, AgentStartFailed):
            return False
        return self._tracker.over or not self._tracker.idle

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition of what the agent says, some seconds at most, or for its death."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (condition() or self._gone):
                    self._activity.clear()
                    await self._activity.wait()

    async def _abort(self, verdict: StepError) -> StepError:
        """Stop the agent's work and return the verdict, whatever the agent says to it."""
        await self._until(lambda: self._tracker.begun, _BEGINNING_SECONDS)
        if self._gone:
            return verdict
        try:
            async with asyncio.timeout(_ABORT_SECONDS):
                await (await self._connect()).abort(self.args.session_id)
                await self._until(lambda: self._tracker.over, _ABORT_SECONDS)
                while await self._anything(QUIET_SECONDS):
                    self._activity.clear()
        except (TimeoutError, AgentSilent, AgentStartFailed):
            pass
        return verdict


def _is_closed(part: dict[str, Any]) -> bool:
    return part.get("type") not in {"text", "reasoning"} or bool(
        (part.get("time") or {}).get("end")
    )


def _event(kind: str, session_id: str, **properties: Any) -> dict[str, Any]:
    return {"type": kind, "properties": {"sessionID": session_id, **properties}}
