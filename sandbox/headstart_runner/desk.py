"""Does what the cloud asks for: one preparation step and one prompt at a time, each id once."""

import asyncio
from contextlib import suppress

from pydantic import ValidationError

from headstart.domain.channel import Command, CommandResult, ErrorInfo
from headstart.domain.errors import (
    Cancelled,
    DiskFull,
    InternalStepError,
    SandboxLeaving,
    SandboxStopped,
    StepError,
    StepTimedOut,
)
from headstart_runner.clock import awake_sleep
from headstart_runner.log import logger
from headstart_runner.steps import STEP_KINDS, setup
from headstart_runner.steps.base import Context, Slot, Tools

_PROMPT, _ARCHIVE = "prompt", "archive"
ARCHIVE_SECONDS = 10.0
"""How long a prompt waits for an archive or a commit: the agent should not write meanwhile."""

PUBLICATION_SECONDS = 60.0
"""How long an archive waits for a commit that it should have: nothing may keep the work from being
saved."""

_LEAVING_SECONDS = 10.0
"""The same in a sandbox that must stop, which has 100 s for all."""

_SAYING_SECONDS = 40.0
"""How long long texts may take in a sandbox that must stop, from when it hears so, before its work
is saved: the cloud takes nothing after that."""

_DELIVERY_SECONDS = 3.0
"""How long a sandbox that must stop waits for what the agent may have, before it says so."""

_CANCELLED = "cancelled_commands"
_MOST_CANCELLED = 64


class Desk:
    """The commands being worked on. A newer one replaces the older one of its slot."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._slots: dict[str, Slot] = {}
        self._contexts: dict[str, Context] = {}
        self._recovered = False
        self._accepting = True
        self._leaving = False
        self._say_until = 0.0
        self._unknown: list[str] = []

    def recover(self) -> None:
        """Take up what an earlier runner left: repeatable commands are done again."""
        setup.forget(self._tools.journal)
        rows = self._tools.journal.running_commands()
        self._tools.courier.end_lost_turns({row.id for row in rows})
        restarted = SandboxStopped("The sandbox's runner was restarted during this step")
        for row in rows:
            self._take_up(Command.model_validate_json(row.frame or ""), restarted)
        self._recovered = True

    def _take_up(self, command: Command, why: StepError) -> None:
        """Do a command again of which it is not known what came of it, or fail it."""
        if command.kind not in STEP_KINDS or STEP_KINDS[command.kind].repeatable:
            self._begin(command)
        else:
            self._failed(command.id, why, 0)

    def start(self, command: Command) -> None:
        """Begin a command, unless it is known: then its stored result is sent again.

        One whose result could not be stored is taken up as after a restart.
        """
        known = self._tools.journal.command(command.id)
        if known is not None:
            if known.result is not None:
                self._tools.reporter.repeat(known.result)
            elif self._recovered and self._accepting and command.id not in self.running():
                full = DiskFull("The disk was full: what came of this step could not be kept")
                self._take_up(command, full)
        elif self._accepting:
            self._tools.journal.begin_command(command.id, command.model_dump_json(by_alias=True))
            if command.id in self._tools.journal.remembered(_CANCELLED):
                self._failed(command.id, Cancelled("The command was cancelled before it came"), 0)
            elif self._leaving and command.kind == _PROMPT:
                self._failed(command.id, _leaving(), 0)
            else:
                self._begin(command)

    def _begin(self, command: Command) -> None:
        kind = STEP_KINDS.get(command.kind)
        older = []
        if kind is not None and kind.slot is not None:
            older = [self._tasks[i] for i, slot in self._slots.items() if slot == kind.slot]
            for other in [i for i, slot in self._slots.items() if slot == kind.slot]:
                self.cancel(other)
            self._slots[command.id] = kind.slot
        task = asyncio.create_task(self._run(command, older))
        self._tasks[command.id] = task
        task.add_done_callback(lambda _: self._forget(command.id, task))

    def _forget(self, command_id: str, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            logger.error("what came of %s could not be kept: %s", command_id, error)
        self._tasks.pop(command_id, None)
        self._slots.pop(command_id, None)
        self._contexts.pop(command_id, None)

    def cancel(self, command_id: str) -> None:
        """Kill what a command runs; nobody waits for its result. A turn ends as cancelled.

        One that is not known yet will not begin, should it come.
        """
        if self._tools.courier.cancel(command_id):
            return
        task = self._tasks.get(command_id)
        if task is None:
            if self._tools.journal.command(command_id) is None:
                self._tools.journal.remember(_CANCELLED, command_id, _MOST_CANCELLED)
        elif not task.cancelling():
            error = Cancelled("The command was cancelled")
            self._tools.journal.cancel_command(command_id, _failure(command_id, error, 0).to_json())
            self._tools.reporter.forget(command_id)
            task.cancel()

    def running(self) -> list[str]:
        """Return the ids being worked on, a prompt's as long as its turn."""
        turn = self._tools.courier.active_command
        return sorted({*self._tasks, *([turn] if turn else [])})

    def turn(self) -> str | None:
        """Return the turn that goes on."""
        return self._tools.courier.active_turn

    def delivering(self) -> list[str]:
        """Return the prompts whose outcome stayed open when `settle` gave up on them.

        They are named even when it is known by now: the cloud may not have heard of it yet.
        """
        return self._unknown

    def viewers_changed(self, before: int, now: int) -> None:
        """Show an open answer, and what nobody saw of a step's output, to viewers who join."""
        if now > before:
            self._tools.courier.snapshot()
        if now > before == 0:
            for show in [show for context in self._contexts.values() for show in context.joined]:
                show()

    async def settle(self) -> None:
        """Take no more prompts, post nothing more to the agent and end the turn.

        What the agent certainly does not have goes back to the cloud. What it may have is waited
        for a while, and then named by `delivering`.
        """
        self._leaving = True
        self._say_until = asyncio.get_running_loop().time() + _SAYING_SECONDS
        courier = self._tools.courier
        courier.close()
        for command_id, task in self._deliveries().items():
            if not courier.may_have(command_id):
                self._failed(command_id, _leaving(), 0)
                task.cancel()
        if posted := self._deliveries():
            await asyncio.wait(posted.values(), timeout=_DELIVERY_SECONDS)
        self._unknown = sorted(self._deliveries())
        await courier.finish_turn(SandboxStopped("The sandbox had to stop"))

    async def said(self) -> None:
        """Wait until all that was said has arrived, long texts too, while there is time for that.

        Only a sandbox that must stop has a reason to wait.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._say_until):
                await self._tools.reporter.drained(texts=True)

    def _deliveries(self) -> dict[str, asyncio.Task[None]]:
        prompts = {i: self._tasks[i] for i, slot in self._slots.items() if slot is Slot.PROMPT}
        return {i: t for i, t in prompts.items() if not t.done() and not t.cancelling()}

    async def stop(self) -> None:
        """Accept nothing more, and end everything."""
        self._accepting = False
        tasks = dict(self._tasks)
        for command_id, task in tasks.items():
            self.cancel(command_id)
            if not task.cancelling():
                # A delivery in the middle: the agent may take longer than there is time.
                task.cancel()
        await self._tools.courier.finish_turn()
        await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _run(self, command: Command, older: list[asyncio.Task[None]]) -> None:
        if older:
            await asyncio.wait(older)
        if command.kind == _PROMPT:
            await self._idle(ARCHIVE_SECONDS, Slot.ARCHIVE, Slot.PUBLICATION)
        elif command.kind == _ARCHIVE:
            patience = _LEAVING_SECONDS if self._leaving else PUBLICATION_SECONDS
            await self._idle(patience, Slot.PUBLICATION)
            if self._leaving:
                # A prompt that was refused has the cloud ask before it is told that we leave.
                await self.said()
        log = self._tools.reporter.log(command.id)
        context = Context(self._tools, command.id, log, command.timeout)
        self._contexts[command.id] = context
        logger.info("%s begins", command.id)
        try:
            await self._tools.gateway.ready()
            output = await self._limited(command, context)
        except asyncio.CancelledError:
            if self._slots.get(command.id) is Slot.PREPARATION:
                # Nobody may come who wants the agent that gets ready beside the steps.
                await self._tools.supervisor.stop_early()
            raise
        except StepError as error:
            self._failed(command.id, error, context.elapsed_ms())
        except ValidationError as error:
            logger.exception("%s has arguments without sense", command.id)
            fields = ", ".join(".".join(map(str, item["loc"])) for item in error.errors())
            reason = f"The runner does not understand the command's arguments: {fields}"
            self._failed(command.id, InternalStepError(reason), context.elapsed_ms())
        except Exception as error:
            logger.exception("%s failed unexpectedly", command.id)
            reason = f"The runner failed: {type(error).__name__}: {error}"
            self._failed(command.id, InternalStepError(reason), context.elapsed_ms())
        else:
            logger.info("%s completed after %d ms", command.id, context.elapsed_ms())
            self._tools.reporter.result(
                CommandResult(
                    command_id=command.id,
                    status="completed",
                    output=output,
                    elapsed_ms=context.elapsed_ms(),
                )
            )
            if command.kind == _PROMPT:
                self._tools.courier.delivered()

    async def _idle(self, seconds: float, *busy: Slot) -> None:
        """Wait a while for what is being done in some slots."""
        work = [self._tasks[i] for i, slot in self._slots.items() if slot in busy]
        if work:
            await asyncio.wait(work, timeout=seconds)

    async def _limited(self, command: Command, context: Context) -> dict[str, object]:
        kind = STEP_KINDS.get(command.kind)
        if kind is None:
            raise InternalStepError(f"This sandbox's runner can't do {command.kind} yet")
        work = asyncio.create_task(kind.run(context, kind.args.model_validate(command.args)))
        limit = asyncio.create_task(awake_sleep(command.timeout))
        try:
            await asyncio.wait({work, limit}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            context.expired.set()
        finally:
            limit.cancel()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            context.log.end()
        if not work.cancelled():
            return work.result()
        raise StepTimedOut(f"The step was stopped after {command.timeout} s")

    def _failed(self, command_id: str, error: StepError, elapsed_ms: int) -> None:
        logger.warning("%s failed: %s: %s", command_id, error.code, error.reason)
        self._tools.reporter.result(_failure(command_id, error, elapsed_ms))


def _leaving() -> StepError:
    return SandboxLeaving("The sandbox is about to stop")


def _failure(command_id: str, error: StepError, elapsed_ms: int) -> CommandResult:
    return CommandResult(
        command_id=command_id, status="failed", error=ErrorInfo.of(error), elapsed_ms=elapsed_ms
    )
