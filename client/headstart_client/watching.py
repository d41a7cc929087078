"""Following a session until it has come to what a command is for, and telling how that ended."""

import sys
from collections.abc import Callable
from contextlib import aclosing

from rich.text import Text

from headstart_client import advice
from headstart_client.client import AsyncHeadstart
from headstart_client.models import Stream
from headstart_client.terminal import Terminal
from headstart_client.text import flat, plain
from headstart_client.view import Outcome, View

_TAIL_LINES = 20


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
    terminal.following = session_id
    screen = terminal.screen()
    outcome = None
    try:
        async with aclosing(client.follow(session_id, after, stream=stream)) as events:
            async for event in events:
                view.apply(event)
                screen.show(event, view)
                if outcome := done(view):
                    break
    finally:
        screen.close()
        sys.stdout.flush()
    terminal.following = None
    if view.work.ended and done is not View.outcome and outcome == Outcome("completed"):
        return await _published(terminal, client, session_id)
    return await _conclude(terminal, client, session_id, outcome or Outcome("deleted"))


async def _published(terminal: Terminal, client: AsyncHeadstart, session_id: str) -> int:
    """Tell whether all was published that was asked for: a pull request may fail on its own."""
    publication = (await client.get(session_id)).publication
    if publication and publication.failure:
        again = f"; again: {terminal.command} publish {session_id}"
        return terminal.fail(flat(publication.failure.reason) + (again if terminal.lasting else ""))
    return 0


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
            tail = plain(step.output).rstrip().splitlines()[-_TAIL_LINES:]
            terminal.err.print(Text("\n".join(f"  │ {line}" for line in tail)), soft_wrap=True)
    if not session.failure:
        return "The preparation failed."
    return advice.on_preparation(session.failure, named)


def published(view: View) -> Outcome | None:
    """Return how it ended: after a turn that completed, once its work was published or was not."""
    found = view.outcome()
    goes_on = view.status != "asleep" and view.work.ended is None
    return None if found == Outcome("completed") and goes_on else found


def only_published(view: View) -> Outcome | None:
    """Return how a publication ended, or why there will be none."""
    found = view.outcome()
    if found and found.kind in {"failed", "deleted"}:
        return found
    return Outcome("completed") if found and view.work.ended else None
