"""Hands messages to the agent, each at most once, and follows their turns."""

import asyncio
import json
import secrets
import time
from typing import Any

from headstart.domain.channel import ErrorInfo, TurnEnded
from headstart.domain.command_args import PromptArgs
from headstart.domain.errors import (
    AgentCrashed,
    AgentStartFailed,
    DeliveryFailed,
    DeliveryUnknown,
    InputGone,
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
_CONNECT_TRIES = 3
_ABORTED = "aborted_turns"
_MOST_ABORTED = 16


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


class Courier:
    """One delivery and one turn at a time."""

    def __init__(
        self, journal: Journal, redactor: Redactor, reporter: Reporter, supervisor: Supervisor
    ) -> None:
        self._journal = journal
        self._redactor = redactor
        self._reporter = reporter
        self._supervisor = supervisor
        self._turn: Turn | None = None
        self._following: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        supervisor.listener = self

    @property
    def active_command(self) -> str | None:
        """The command whose turn goes on."""
        return self._turn.command_id if self._turn and self._following else None

    async def deliver(self, args: PromptArgs, command_id: str) -> str:
        """Give the message to the agent and return the agent's id of it once the agent shows it.

        DeliveryFailed when the agent certainly does not have it, DeliveryUnknown when it may.
        """
        try:
            known = self._journal.delivery(args.message_id)
            if known is None or known.state == "minted":
                known = await self._mint(args, command_id)
        except (AgentStartFailed, AgentSilent) as error:
            raise self._not_delivered(args.message_id, error) from error
        turn = Turn(
            args,
            agent_message_id=known.agent_message_id,
            command_id=command_id,
            redactor=self._redactor,
            report=self._reporter.report,
            connect=self._supervisor.client,
        )
        self._turn = turn
        if args.turn_id in self._aborted():
            turn.cancel()
        try:
            if known.state == "minted":
                await self._post(args, known.agent_message_id, turn)
            elif not await self._shows(turn, seconds=0):
                raise DeliveryUnknown(
                    "The sandbox's runner was interrupted while handing the message to the agent"
                )
            else:
                # The agent's server has not lived through whatever made us look.
                turn.crashed("it was restarted in the middle of the turn")
        except BaseException:
            self._turn = None
            raise
        if known.state != "ended":
            self._journal.set_delivery(args.message_id, "shown")
        return known.agent_message_id

    def interrupted(self, message_id: str) -> StepError:
        """Return what a delivery that ran out of time must be called."""
        return self._not_delivered(message_id, TimeoutError("no answer in time"))

    def _not_delivered(self, message_id: str, error: Exception) -> StepError:
        known = self._journal.delivery(message_id)
        if known is None or known.state == "minted":
            return DeliveryFailed(f"The agent is not there: {error}")
        return DeliveryUnknown(f"The agent can't be asked whether it has the message: {error}")

    async def _mint(self, args: PromptArgs, command_id: str) -> Delivery:
        """Journal a new pair of ids; nothing was posted under an older one."""
        minted = Delivery(
            args.message_id,
            mint_message_id(await self._known_messages(args.session_id)),
            args.turn_id,
            command_id,
            "minted",
        )
        self._journal.mint(minted)
        return minted

    async def _known_messages(self, session_id: str) -> list[dict[str, Any]]:
        for attempt in range(1, _CONNECT_TRIES):
            try:
                return await (await self._supervisor.client()).messages(session_id)
            except AgentSilent:
                # Perhaps it has just died, and is about to be started again.
                await asyncio.sleep(_LOOK_SECONDS * attempt)
        return await (await self._supervisor.client()).messages(session_id)

    async def _post(self, args: PromptArgs, agent_message_id: str, turn: Turn) -> None:
        body = self._supervisor.prompt_body(args, agent_message_id)
        for attempt in range(1, _CONNECT_TRIES + 1):
            self._journal.set_delivery(args.message_id, "posting")
            try:
                client = await self._supervisor.client()
                await client.prompt(args.session_id, body)
            except (AgentUnreachable, AgentStartFailed) as error:
                self._journal.set_delivery(args.message_id, "minted")
                if attempt == _CONNECT_TRIES:
                    raise DeliveryFailed(f"The agent could not be reached: {error}") from error
                await asyncio.sleep(_LOOK_SECONDS * attempt)
                continue
            except AgentRefused as error:
                self._journal.set_delivery(args.message_id, "minted")
                raise DeliveryFailed(f"The agent refused the message: {error}") from error
            except AgentSilent as error:
                logger.warning("no answer to a message: %s", error)
            break
        if not await self._shows(turn, _LAST_LOOK_SECONDS):
            raise DeliveryUnknown("The agent took the message, or not: it does not show it")

    async def _shows(self, turn: Turn, seconds: float) -> bool:
        """Return whether the agent shows the message within some seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not await turn.seen(_LOOK_SECONDS):
            await self._look(turn)
            if loop.time() >= deadline:
                return await turn.seen(0)
        return True

    def delivered(self) -> None:
        """Let the turn be seen: the delivery's result is on its way."""
        if self._turn is not None:
            self._turn.release()
            self._following = asyncio.create_task(self._follow(self._turn))

    async def _follow(self, turn: Turn) -> None:
        try:
            await turn.follow()
        finally:
            if self._turn is turn:
                self._turn, self._following = None, None

    def cancel(self, command_id: str) -> bool:
        """Stop the turn of a command, also one whose message is being posted; False without one."""
        if self._turn is None or self._turn.command_id != command_id:
            return False
        self._turn.cancel()
        return True

    def abort(self, turn_id: str) -> None:
        """Stop a turn; one still on its way to the agent is stopped once it is accepted.

        One that is over or never was needs nothing.
        """
        # Its delivery may be waiting for something, or for the runner that comes after us.
        self._journal.put(_ABORTED, json.dumps([*self._aborted(), turn_id][-_MOST_ABORTED:]))
        if self._turn is not None and self._turn.args.turn_id == turn_id:
            self._turn.cancel()

    def _aborted(self) -> list[str]:
        """Return the turns that were to be stopped, whatever became of them."""
        found: list[str] = json.loads(self._journal.get(_ABORTED) or "[]")
        return found

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

    def agent_event(self, event: dict[str, Any]) -> None:
        """Take one event of the agent's stream."""
        if self._turn is not None:
            self._turn.feed(event)

    def agent_reconnected(self) -> None:
        """Look for what happened while the agent's stream was broken."""
        if self._turn is not None:
            self._looking = asyncio.create_task(self._look(self._turn))

    async def _look(self, turn: Turn) -> None:
        try:
            await turn.look()
        except (AgentSilent, AgentStartFailed) as error:
            logger.info("the agent does not tell its messages: %s", error)

    def agent_crashed(self, reason: str) -> None:
        """End the present turn."""
        if self._turn is not None:
            self._turn.crashed(reason)
