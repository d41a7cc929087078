"""`headstart logs`: what the commands of the steps printed, whole."""

import asyncio
import sys
from argparse import Namespace

from headstart_client.client import AsyncHeadstart
from headstart_client.models import StepLog
from headstart_client.screen import gone
from headstart_client.terminal import Terminal
from headstart_client.text import plain
from headstart_client.verbatim import verbatim

_PAUSE = 1.0
"""Seconds between two looks at what has not come yet."""


async def logs(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Print the logs of an attempt's steps, or of one step, as far as they go or to their end."""
    terminal.following = args.session_id if args.follow else None
    number = args.attempt
    if number is None and args.follow:
        session = await client.get(args.session_id)
        if session.status == "preparing" and session.attempt:
            number = session.attempt.number
    shown: set[str] = set()
    while True:
        # Asked before the list, so that what came last is in it.
        more = args.follow and await _more_to_come(client, args.session_id, number)
        found = await client.logs(args.session_id)
        # What a retry did not do again was done, and told, in an earlier attempt.
        there = [log.attempt_number for log in found if args.step in {None, log.step}]
        of = number or max(there, default=0)
        for log in found:
            wanted = log.attempt_number == of and args.step in {None, log.step}
            if wanted and log.ref not in shown:
                shown.add(log.ref)
                if not args.step:
                    head = f"== {log.step}, attempt {log.attempt_number} =="
                    terminal.head(head)
                await _print(terminal, client, args, log)
        if not more or (args.step and shown):
            break
        await asyncio.sleep(_PAUSE)
    if not shown:
        named = ", ".join(f"{log.step} (attempt {log.attempt_number})" for log in found)
        return terminal.fail(f"There is no such log; there are: {named or 'none yet'}.")
    return 0


async def _more_to_come(client: AsyncHeadstart, session_id: str, number: int | None) -> bool:
    session = await client.get(session_id)
    gone_by = number is not None and session.attempt and session.attempt.number > number
    return session.status == "preparing" and not gone_by


async def _print(terminal: Terminal, client: AsyncHeadstart, args: Namespace, log: StepLog) -> None:
    cursor: str | None = None
    last, position = "\n", 0
    while True:
        page = await client.text_page(args.session_id, log.ref, cursor=cursor)
        for piece in page.items:
            if piece.offset < position:
                terminal.note(f"The step {log.step} was begun anew")
            _write(terminal, piece.text)
            last = piece.text[-1:] or last
            position = piece.offset + len(piece.text.encode(errors="replace"))
        if page.next_cursor and page.items:
            cursor = page.next_cursor
            continue
        if page.complete or not args.follow:
            break
        sys.stdout.flush()
        await asyncio.sleep(_PAUSE)
    if last != "\n":
        _write(terminal, "\n")
    if page.truncated:
        terminal.note(gone(f"the log of {log.step}"))
    elif not page.complete:
        terminal.note(f"The log of {log.step} goes on: --follow waits for the rest")


def _write(terminal: Terminal, text: str) -> None:
    """Write as it is to programs; to a terminal without what would drive it."""
    if terminal.out.is_terminal:
        verbatim(terminal.out, plain(text))
    else:
        sys.stdout.write(text.encode(errors="replace").decode())
