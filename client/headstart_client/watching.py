"""Following a session until it has come to what a command is for, and telling how that ended."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import aclosing

from headstart_client import advice, tools
from headstart_client.asking import Asker
from headstart_client.client import AsyncHeadstart
from headstart_client.events import AgentEvent
from headstart_client.models import Event, Stream
from headstart_client.screen import LineScreen, Screen
from headstart_client.terminal import Terminal
from headstart_client.text import flat, plain
from headstart_client.turns import with_reason
from headstart_client.view import Outcome, View
from headstart_client.wholes import Wholes

_TAIL_LINES = 20

TICK_SECONDS = 10.0
"""How long a step may go on before a log says that it does."""


async def watch(
    terminal: Terminal,
    client: AsyncHeadstart,
    session_id: str,
    view: View,
    *,
    after: int = 0,
    stream: Stream | None = None,
    done: Callable[[View], Outcome | None] = View.outcome,
) -> int:
    """Show a session until `done` says how it ended; return the exit code."""
    # A watch that began goes on for ever; one that can't begin is told to who waits.
    stream = stream or await client.stream_ticket(session_id)
    terminal.following = session_id
    view.last_event_id = after
    screen = terminal.screen()
    asker: Asker | None = None
    if terminal.answers and isinstance(screen, LineScreen):
        asker = Asker(terminal, screen, client, session_id)
    outcome, rest = None, _Rest(client, session_id)
    wholes = Wholes(client.text, session_id)
    ticking = asyncio.create_task(_tick(screen, view))
    try:
        async with aclosing(client.follow(session_id, after, stream=stream)) as events:
            async for event in events:
                wholes.note(event)
                view.apply(await with_reason(wholes, event))
                await _complete(wholes, event, view, outputs=terminal.verbose)
                screen.show(event, view)
                if asker:
                    asker.look(view)
                outcome = done(view)
                if outcome and (outcome.kind != "completed" or await rest.reached(view)):
                    break
    finally:
        ticking.cancel()
        if asker:
            asker.leave()
        screen.close()
        sys.stdout.flush()
    terminal.following = None
    if outcome == Outcome("completed") and (failure := view.work.failure):
        again = f"{terminal.command} publish {session_id}" if terminal.lasting else None
        return terminal.fail(advice.on_publication(failure, view.work.commit, again))
    return await _conclude(terminal, client, session_id, outcome or Outcome("deleted"))


async def _tick(screen: Screen, view: View) -> None:
    while True:
        await asyncio.sleep(TICK_SECONDS)
        screen.tick(view)


async def _complete(wholes: Wholes, event: Event, view: View, *, outputs: bool) -> None:
    """Fetch what of a long text is neither in its event nor was streamed before.

    Of a tool's output only what will be shown, which is that of failures or all `outputs`.
    """
    match event:
        case AgentEvent(kind="text" | "error" | "tool" as kind, text_ref=str(ref)):
            part = view.parts[event.part_id]
            had = event.output if kind == "tool" else part.text
            if part.missing and (kind != "tool" or outputs or tools.failed(part.data)):
                part.take(await wholes.whole(event, ref, had))


class _Rest:
    """When nothing is published any more: no event tells that a publication begins."""

    def __init__(self, client: AsyncHeadstart, session_id: str) -> None:
        self._client, self._session_id = client, session_id
        self._look_at = 0
        self._quiet_at = -1

    async def reached(self, view: View) -> bool:
        """Say whether no publication goes on, and the view has all events until it ended."""
        seen = view.last_event_id
        if seen == self._quiet_at:
            return True
        if seen < self._look_at:
            return False
        session = await self._client.get(self._session_id)
        publication, last = session.publication, session.last_event_id
        if publication and publication.status == "publishing":
            self._look_at = last + 1
            return False
        self._look_at = self._quiet_at = last
        return seen >= last


async def _conclude(
    terminal: Terminal, client: AsyncHeadstart, session_id: str, outcome: Outcome
) -> int:
    named = session_id if terminal.lasting else None
    match outcome:
        case Outcome("completed"):
            return 0
        case Outcome("prepared"):
            terminal.say(advice.on_held(None, session_id))
            return 0
        case Outcome("failed"):
            sentence = await _why_it_failed(terminal, client, session_id, named)
        case Outcome("turn", failure) if failure:
            sentence = advice.on_turn(failure, named)
        case Outcome("held", failure):
            sentence = advice.on_held(failure, named)
        case _:
            sentence = "The session was deleted; start a new one with `headstart run`."
    return terminal.fail(sentence)


async def _why_it_failed(
    terminal: Terminal, client: AsyncHeadstart, session_id: str, named: str | None
) -> str:
    # Fetched and not taken from the stream: only GET has all the output that is kept.
    session = await client.get(session_id)
    steps = session.attempt.steps if session.attempt else []
    for step in steps:
        if step.status == "failed" and step.output:
            lines = plain(step.output).rstrip().split("\n")
            tail = lines[-_TAIL_LINES:]
            if named and len(lines) > len(tail):
                tail.insert(0, f"… (all of it: headstart logs {named} {flat(step.step)})")
            terminal.excerpt(tail)
    if not session.failure:
        return "The preparation failed."
    return advice.on_preparation(session.failure, named)


def only_published(view: View) -> Outcome | None:
    """Return how a publication ended, or why there will be none."""
    found = view.outcome()
    if found and found.kind in {"failed", "deleted"}:
        return found
    return Outcome("completed") if found and view.work.ended else None
