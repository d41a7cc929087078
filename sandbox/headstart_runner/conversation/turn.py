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
from headstart_runner.agents.said import OddEvent
from headstart_runner.clock import awake_sleep
from headstart_runner.conversation import shapes
from headstart_runner.conversation.inputs import Inputs
from headstart_runner.conversation.tracker import Phase, TurnTracker
from headstart_runner.log import logger
from headstart_runner.redaction import Redactor

QUIET_SECONDS = 0.3
"""An agent's last events trail its idle by up to 100 ms."""

RETRYING_SECONDS = 300.0
"""How long an agent may try again what its provider fails to do: opencode itself never gives up."""

_TURN_SECONDS = 2 * 3600
_TRAILING_SECONDS = 5.0
"""How long an agent that is done may go on telling of it."""

_STALLED_SECONDS = 15.0
_SILENT_SECONDS = 60.0
"""How long nothing is heard of a turn before we ask how it is: its end may have gone unheard."""

_LOOK_SECONDS = 90.0
"""How long a look may take: the agent may have to be started again for it."""

_ABORT_SECONDS = 5.0
_BEGINNING_SECONDS = 5.0
"""How long to wait for an agent's first sign of work before it is told to stop.

opencode, stopped between a message and its answer, stops the answer to the next message, too.
"""

_MOST_HELD = 1000

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
        self._clock = asyncio.get_running_loop().time
        self._activity = asyncio.Event()
        self._heard_at = self._clock()
        self._verdict: StepError | None = None
        self._judged = asyncio.Event()
        self._gone = False

    @property
    def shown(self) -> bool:
        """Whether the agent has the message."""
        return self._tracker.shown

    @property
    def stands_still(self) -> bool:
        """Whether the agent neither works on the message nor has finished."""
        return self._tracker.phase is Phase.STALLED

    @property
    def stopped(self) -> bool:
        """Whether the agent says that it was stopped in the middle of its answer, and is done."""
        return self._tracker.over and isinstance(self._tracker.error, Cancelled)

    @property
    def cancelled(self) -> bool:
        """Whether it is to end as soon as it has begun."""
        return isinstance(self._verdict, Cancelled)

    async def seen(self, seconds: float) -> bool:
        """Return whether the agent shows the message, waiting a moment for its stream to say so."""
        if not self._tracker.shown:
            self._activity.clear()
            await self._anything(seconds)
        return self._tracker.shown

    def feed(self, event: dict[str, Any]) -> None:
        """Take an event of the agent's stream; OddEvent for one of ours that makes no sense."""
        reports = self._tracker.feed(event)
        if reports is None:
            self._inputs.feed(event)
            return
        for report in reports:
            self._emit(report)
        self._heard_at = self._clock()
        self._activity.set()

    def _emit(self, event: RunnerEvent) -> None:
        if self._held is None:
            self._report(event)
        elif len(self._held) < _MOST_HELD:
            self._held.append(event)

    def release(self) -> None:
        """Report what was held, and everything from now on as it comes."""
        held, self._held = self._held or [], None
        for event in held:
            self._report(event)

    def abandon(self) -> None:
        """Report nothing any more, and wait for no answer: another turn may, or none."""
        self._held = []
        self._inputs.close()

    def snapshot(self) -> None:
        """Report the open parts to a viewer that has just joined."""
        if parts := self._tracker.snapshot():
            self._emit(AgentSnapshot(turn_id=self.args.turn_id, parts=parts))

    def crashed(self, reason: str) -> None:
        """Take note that the agent died in the middle."""
        self._gone = True
        self._end_with(AgentCrashed(f"The agent crashed: {reason}"))

    def survived(self) -> None:
        """Forget a crash: it was over before the agent could have had the message."""
        self._gone = False
        if isinstance(self._verdict, AgentCrashed):
            self._verdict = None
            self._judged.clear()

    def cancel(self, error: StepError | None = None) -> None:
        """Ask for the end of the turn, which then fails with `error`, or else is interrupted."""
        self._end_with(error or Cancelled("The turn was stopped"))

    def _end_with(self, error: StepError) -> None:
        self._verdict = self._verdict or error
        self._judged.set()
        self._activity.set()

    async def look(self) -> None:
        """Ask the agent what its stream may not have said; AgentSilent without an answer."""
        client = await self._connect()
        session_id = self.args.session_id
        busy = await client.busy(session_id)
        if busy:
            # Now, because what the stream says while we ask on is newer.
            self._told("session.status", status={"type": "busy"})
        for message in await client.messages(session_id):
            self._told("message.updated", info=message["info"])
            # Open parts are left to the stream, whose deltas may be on their way.
            for part in filter(_is_closed, shapes.records(message.get("parts"))):
                self._told("message.part.updated", part=part)
        if busy:
            await self._look_for_questions(client)
        else:
            self._told("session.status", status={"type": "idle"})

    async def _look_for_questions(self, client: AgentClient) -> None:
        try:
            for event in await client.asked():
                self._take(event)
        except AgentSilent as error:
            logger.info("the agent does not tell what it asks: %s", error)

    def _told(self, kind: str, **properties: Any) -> None:
        ours = {"sessionID": self.args.session_id}
        self._take({"type": kind, "properties": {**ours, **properties}})

    def _take(self, event: dict[str, Any]) -> None:
        with suppress(OddEvent):  # the stream has told it, too, and there it is counted
            self.feed(event)

    async def answer(self, request_id: str, answer: dict[str, Any]) -> None:
        """Pass a person's answer to the agent; InputGone when it asks that no more."""
        await self._inputs.answer(request_id, answer)

    async def follow(self) -> None:
        """Wait for the end of the turn and report it, whatever goes wrong on the way."""
        limit = asyncio.create_task(awake_sleep(_TURN_SECONDS))
        limit.add_done_callback(self._out_of_time)
        try:
            ended = self._ended(await self._outcome())
        except Exception as problem:
            logger.exception("a turn could not be followed")
            error = InternalStepError(f"The runner failed: {type(problem).__name__}: {problem}")
            with suppress(Exception):
                if not self._tracker.over:
                    await self._abort()
            ended = self._end(error)
        finally:
            limit.cancel()
            self._inputs.close()
        self._emit(ended)

    def _ended(self, error: StepError | None) -> TurnEnded:
        self._inputs.close()
        for event in self._tracker.close():
            self._emit(event)
        interrupted = isinstance(error, Cancelled)
        return self._end(
            None if interrupted else error, usage=self._tracker.usage, interrupted=interrupted
        )

    def _end(self, error: StepError | None, **more: Any) -> TurnEnded:
        return TurnEnded(
            turn_id=self.args.turn_id,
            message_id=self.args.message_id,
            error=ErrorInfo.of(error) if error else None,
            **more,
        )

    def _out_of_time(self, limit: asyncio.Task[None]) -> None:
        if not limit.cancelled():
            self._end_with(StepTimedOut("The turn was stopped after 2 hours"))

    async def _outcome(self) -> StepError | None:
        """Return how the turn ends: by the agent itself, or by a verdict, whichever comes first."""
        finishing = asyncio.create_task(self._finished())
        judged = asyncio.create_task(self._judged.wait())
        try:
            await asyncio.wait({finishing, judged}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            finishing.cancel()
            judged.cancel()
            await asyncio.wait({finishing, judged})
        if self._verdict is None:
            return finishing.result()
        if isinstance(self._verdict, AgentCrashed):
            return self._tracker.error if self._tracker.over else self._verdict
        await self._abort()
        return self._verdict

    async def _finished(self) -> StepError | None:
        """Wait until the agent is done, or does nothing that could ever be an end."""
        phase, since = None, self._clock()
        while True:
            self._activity.clear()
            if phase is not self._tracker.phase:
                phase, since = self._tracker.phase, self._clock()
            heard = max(since, self._heard_at)
            deadline = {
                Phase.OVER: min(heard + QUIET_SECONDS, since + _TRAILING_SECONDS),
                Phase.STALLED: since + _STALLED_SECONDS,
                Phase.RETRYING: since + RETRYING_SECONDS,
                Phase.WORKING: heard + _SILENT_SECONDS,
            }[phase]
            remaining = deadline - self._clock()
            if remaining > 0 and await self._anything(remaining):
                continue
            if phase is Phase.OVER:
                return self._tracker.error
            if phase is Phase.RETRYING:
                reason = f"The model provider kept failing: {self._tracker.retrying}"
                await self._abort()
                return ProviderUnavailable(reason)
            if not await self._look_again() and phase is Phase.STALLED:
                return InternalStepError("The agent stopped without finishing its answer")
            self._heard_at = self._clock()

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
            async with asyncio.timeout(_LOOK_SECONDS):
                await self.look()
        except (TimeoutError, AgentSilent, AgentStartFailed):
            return False
        return self._tracker.phase is not Phase.STALLED

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition of what the agent says, some seconds at most, or for its death."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not (condition() or self._gone):
                    self._activity.clear()
                    await self._activity.wait()

    async def _abort(self) -> None:
        """Stop the agent's work, whatever the agent says to it."""
        await self._until(lambda: self._tracker.begun, _BEGINNING_SECONDS)
        if self._gone:
            return
        with suppress(TimeoutError, AgentSilent, AgentStartFailed):
            async with asyncio.timeout(_ABORT_SECONDS):
                await (await self._connect()).abort(self.args.session_id)
                await self._until(lambda: self._tracker.over, _ABORT_SECONDS)
                while await self._anything(QUIET_SECONDS):
                    self._activity.clear()


def _is_closed(part: dict[str, Any]) -> bool:
    kind = shapes.text(part.get("type"))
    return kind not in {"text", "reasoning"} or bool(shapes.record(part.get("time")).get("end"))
