"""Hands messages to the agent, each at most once, and follows their turns."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from headstart.domain.channel import ErrorInfo, TurnEnded
from headstart.domain.command_args import PromptArgs
from headstart.domain.errors import (
    AgentCrashed,
    AgentStartFailed,
    Cancelled,
    DeliveryFailed,
    DeliveryUnknown,
    InputGone,
    SandboxLeaving,
    SandboxStopped,
    StepError,
)
from headstart_runner.agents.http import AgentRefused, AgentSilent, AgentUnreachable
from headstart_runner.agents.supervisor import Supervisor
from headstart_runner.conversation.turn import Turn
from headstart_runner.journal import Delivery, Journal
from headstart_runner.log import logger
from headstart_runner.redaction import Redactor
from headstart_runner.uplink.reporter import Reporter

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LOOK_SECONDS = 0.1
_LAST_LOOK_SECONDS = 5.0
_ACCEPTED_SECONDS = 20.0
"""How long a message that the agent accepted may stay unshown: a starved one works on it later."""

_CONNECT_TRIES = 3
_ABORTED = "aborted_turns"
_MOST_ABORTED = 16

Answer = TypeVar("Answer")


def mint_message_id(messages: list[dict[str, Any]]) -> str:
    """Return an id above all of a session's: agents order messages by their ids.

    The agents' own format: 48 bits of `milliseconds * 4096 + counter` in hex, then 14 base62.
    """
    highest = max((_ticks(str(message["info"]["id"])) for message in messages), default=0)
    ticks = max(int(time.time() * 1000) * 4096 & 0xFFFFFFFFFFFF, highest + 1)
    tail = "".join(secrets.choice(_BASE62) for _ in range(14))
    return f"msg_{ticks:012x}{tail}"


def _ticks(message_id: str) -> int:
    try:
        return int(message_id[4:16], 16)
    except ValueError:
        return 0


def _not_there(error: Exception) -> DeliveryFailed:
    return DeliveryFailed(
        f"The agent is not there ({error}); another try starts it again,"
        " and a session that has slept wakes in a new sandbox"
    )


class Courier:
    """One delivery at a time, and the turn of the last one that succeeded."""

    def __init__(
        self, journal: Journal, redactor: Redactor, reporter: Reporter, supervisor: Supervisor
    ) -> None:
        self._journal = journal
        self._redactor = redactor
        self._reporter = reporter
        self._supervisor = supervisor
        self._coming: Turn | None = None
        """The turn of the message that is being delivered."""
        self._turn: Turn | None = None
        self._following: asyncio.Task[None] | None = None
        self._looking: set[asyncio.Task[None]] = set()
        self._at_stake: str | None = None
        self._closed = False
        supervisor.listener = self

    @property
    def active_command(self) -> str | None:
        """The command whose turn goes on."""
        return self._turn.command_id if self._turn else None

    @property
    def active_turn(self) -> str | None:
        """The turn that goes on."""
        return self._turn.args.turn_id if self._turn else None

    def may_have(self, command_id: str) -> bool:
        """Return whether the agent may have the message that a command is delivering."""
        return self._at_stake == command_id

    def close(self) -> None:
        """Post nothing to the agent from now on; a turn that still begins is stopped at once."""
        self._closed = True

    async def deliver(self, args: PromptArgs, command_id: str) -> str:
        """Give the message to the agent and return the agent's id of it once the agent shows it.

        DeliveryFailed or SandboxLeaving when the agent certainly does not have it, DeliveryUnknown
        when it may.
        """
        self._supervisor.trust_again()
        going_on = self._turn
        if going_on and (going_on.args.message_id != args.message_id or going_on.cancelled):
            await self.finish_turn()
        known = self._journal.delivery(args.message_id)
        if known is not None and (known.state, known.turn_id) == ("ended", args.turn_id):
            return known.agent_message_id
        try:
            if known is None or known.state == "minted":
                given = await self._give(args, command_id)
            else:
                given = await self._find(known, args, command_id)
        except BaseException as error:
            self._drop_coming()
            if isinstance(error, AgentStartFailed | AgentSilent):
                raise self._not_delivered(args.message_id, error) from error
            raise
        # Before anybody is told: what ends from now on is the turn that asked for it last.
        self._journal.put_delivery(
            replace(given, turn_id=args.turn_id, command_id=command_id, state="shown")
        )
        return given.agent_message_id

    def interrupted(self, message_id: str) -> StepError:
        """Return what a delivery that ran out of time must be called."""
        return self._not_delivered(message_id, TimeoutError("no answer in time"))

    def _not_delivered(self, message_id: str, error: Exception) -> StepError:
        known = self._journal.delivery(message_id)
        if known is None or known.state == "minted":
            return _not_there(error)
        return DeliveryUnknown(f"The agent can't be asked whether it has the message: {error}")

    def _begin(self, args: PromptArgs, command_id: str, agent_message_id: str) -> Turn:
        self._coming = Turn(
            args,
            agent_message_id=agent_message_id,
            command_id=command_id,
            redactor=self._redactor,
            report=self._reporter.report,
            connect=self._supervisor.client,
        )
        if args.turn_id in self._journal.remembered(_ABORTED):
            self._coming.cancel()
        return self._coming

    def _drop_coming(self) -> None:
        if self._coming is not None:
            self._coming.abandon()
        self._coming = None

    async def _give(self, args: PromptArgs, command_id: str) -> Delivery:
        """Post a message under an id that is minted for it: nothing can come of an older one."""
        await self.finish_turn()
        messages = await self._patiently(self._messages, args.session_id)
        agent_message_id = mint_message_id(messages)
        minted = Delivery(args.message_id, agent_message_id, args.turn_id, command_id, "minted")
        self._journal.put_delivery(minted)
        turn = self._begin(args, command_id, agent_message_id)
        accepted = await self._post(args, minted, turn)
        if not await self._shows(turn, _ACCEPTED_SECONDS if accepted else _LAST_LOOK_SECONDS):
            raise DeliveryUnknown("The agent took the message, or not: it does not show it")
        return minted

    async def _find(self, known: Delivery, args: PromptArgs, command_id: str) -> Delivery:
        """Look for a message that was posted before, perhaps.

        Not shown, or shown as stopped, it is posted once more if another command asks for it: that
        is a person's word.
        """
        self._at_stake = command_id
        turn = self._begin(args, command_id, known.agent_message_id)
        await self._patiently(turn.look)
        again = known.command_id != command_id
        if not turn.shown or (turn.stopped and again):
            if not again:
                raise DeliveryUnknown(
                    "The sandbox's runner was interrupted while handing the message to the agent"
                )
            self._at_stake = None
            if turn.cancelled:
                raise Cancelled("The message was cancelled before it was posted again")
            self._drop_coming()
            return await self._give(args, command_id)
        if turn.stands_still:
            turn.crashed("it was restarted in the middle of the turn")
        return known

    async def _messages(self, session_id: str) -> list[dict[str, Any]]:
        return await (await self._supervisor.client()).messages(session_id)

    async def _patiently(self, ask: Callable[..., Awaitable[Answer]], *arguments: Any) -> Answer:
        """Return what the agent answers.

        It may have just died, or answer nothing any more, and is then started again.
        """
        async with self._supervisor.doubted():
            for attempt in range(1, _CONNECT_TRIES):
                try:
                    return await ask(*arguments)
                except AgentSilent:
                    await asyncio.sleep(_LOOK_SECONDS * attempt)
            return await ask(*arguments)

    async def _post(self, args: PromptArgs, minted: Delivery, turn: Turn) -> bool:
        """Post a message and return whether the agent said that it accepts it."""
        body = self._supervisor.prompt_body(args, minted.agent_message_id)
        for attempt in range(1, _CONNECT_TRIES + 1):
            try:
                client = await self._supervisor.client()
                self._may_post(turn.command_id)
                # Whatever died before this moment did not have the message.
                turn.survived()
                self._at_stake = turn.command_id
                self._journal.put_delivery(replace(minted, state="posting"))
                await client.prompt(args.session_id, body)
            except (AgentUnreachable, AgentRefused, AgentStartFailed) as error:
                self._at_stake = None
                self._journal.put_delivery(minted)
                if isinstance(error, AgentRefused):
                    raise DeliveryFailed(f"The agent refused the message: {error}") from error
                if attempt == _CONNECT_TRIES:
                    raise _not_there(error) from error
                await asyncio.sleep(_LOOK_SECONDS * attempt)
            except AgentSilent as error:
                logger.warning("no answer to a message: %s", error)
                return False
            else:
                return True
        raise AssertionError("the last try returns or raises")

    def _may_post(self, command_id: str) -> None:
        """Raise what keeps a message from the agent at the last moment."""
        if self._closed:
            raise SandboxLeaving("The sandbox is about to stop")
        known = self._journal.command(command_id)
        if known is not None and known.result is not None:
            raise Cancelled("The command was answered before the message was posted")

    async def _shows(self, turn: Turn, seconds: float) -> bool:
        """Return whether the agent shows the message within some seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not await turn.seen(_LOOK_SECONDS):
            await self._look(turn)
            if loop.time() >= deadline:
                return turn.shown
        return True

    def delivered(self) -> None:
        """Let the turn be seen: the delivery's result is on its way."""
        turn, self._coming = self._coming, None
        if turn is None:
            return
        if self._turn is not None and self._following is not None:
            # The same message's, asked for before: what becomes of it is told as the new turn.
            self._turn.abandon()
            self._following.cancel()
        if self._closed:
            turn.cancel(SandboxStopped("The sandbox had to stop"))
        self._turn = turn
        turn.release()
        self._following = asyncio.create_task(self._follow(turn))

    async def _follow(self, turn: Turn) -> None:
        try:
            await turn.follow()
        finally:
            if self._turn is turn:
                self._turn, self._following = None, None

    def cancel(self, command_id: str) -> bool:
        """Stop the turn of a command, also one whose message the agent may have; else False."""
        for turn in self._turns():
            if turn.command_id == command_id and (turn is self._turn or self.may_have(command_id)):
                turn.cancel()
                return True
        return False

    def abort(self, turn_id: str) -> None:
        """Stop a turn; one still on its way to the agent is stopped once it is accepted.

        One that is over or never was needs nothing.
        """
        # Its delivery may be waiting for something, or for the runner that comes after us.
        self._journal.remember(_ABORTED, turn_id, _MOST_ABORTED)
        for turn in self._turns():
            if turn.args.turn_id == turn_id:
                turn.cancel()

    async def answer(self, request_id: str, answer: dict[str, Any]) -> None:
        """Pass a person's answer to the agent; InputGone when it asks that no more."""
        if self._turn is None:
            raise InputGone("The turn that asked this is over")
        await self._turn.answer(request_id, answer)

    async def finish_turn(self, error: StepError | None = None) -> None:
        """Stop the present turn, as cancelled or because of an error, and wait for its end."""
        if self._turn is not None and self._following is not None:
            self._turn.cancel(error)
            await asyncio.wait([self._following])

    def end_lost_turns(self, unfinished: set[str]) -> None:
        """End the turns that an earlier runner was following when it died.

        Those of `unfinished` commands are left to the commands, which are done again.
        """
        for lost in self._journal.open_turns():
            if lost.command_id not in unfinished:
                error = AgentCrashed("The sandbox's runner was restarted during the turn")
                self._reporter.report(
                    TurnEnded(
                        turn_id=lost.turn_id, message_id=lost.message_id, error=ErrorInfo.of(error)
                    )
                )

    def snapshot(self) -> None:
        """Show the open answer to a viewer that has just joined."""
        if self._turn is not None:
            self._turn.snapshot()

    def _turns(self) -> list[Turn]:
        return [turn for turn in (self._turn, self._coming) if turn is not None]

    def agent_event(self, event: dict[str, Any]) -> None:
        """Take one event of the agent's stream."""
        for turn in self._turns():
            turn.feed(event)

    def agent_reconnected(self) -> None:
        """Look for what happened while the agent's stream was broken."""
        for turn in [] if self._looking else self._turns():
            task = asyncio.create_task(self._look(turn))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)

    async def _look(self, turn: Turn) -> None:
        try:
            await turn.look()
        except (AgentSilent, AgentStartFailed) as error:
            logger.info("the agent does not tell its messages: %s", error)

    def agent_crashed(self, reason: str) -> None:
        """Take note for the turns that go on or begin."""
        for turn in self._turns():
            turn.crashed(reason)
