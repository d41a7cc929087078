"""The commands about sessions as such: which there are, how one stands, its title, its end."""

import json
import os
import sys
import webbrowser
from argparse import Namespace
from urllib.parse import urldefrag

from rich.text import Text

from headstart_client import advice, embedded
from headstart_client.amounts import counted
from headstart_client.arguments import LISTED
from headstart_client.client import AsyncHeadstart
from headstart_client.errors import NotFound
from headstart_client.models import Session, StepState, Summary
from headstart_client.moments import when
from headstart_client.terminal import Terminal
from headstart_client.text import flat, plain
from headstart_client.usage import USAGE, is_address, senseless
from headstart_client.view import STEP_TITLES
from headstart_client.work import changed

_ID_CHARACTERS = 30
"""Of a whole session id, as the API makes them."""

_NAMED = 3
"""Of several sessions, how many are named."""

_DATED = 80
"""Columns from which a list has room for dates beside titles."""


async def ls(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """List sessions, the newest last, where one looks first."""
    limit = None if args.all else args.limit or LISTED
    # One more tells whether there are more.
    asked = None if limit is None else limit + 1
    listed = client.list(search=args.search, repository=args.repo, limit=asked)
    found = [session async for session in listed]
    shown = found[:limit]
    for session in reversed(shown):
        if terminal.json_lines:
            terminal.data(json.dumps(session.to_json(), separators=(",", ":")))
        elif terminal.out.is_terminal:
            terminal.out.print(_row(session, terminal.out.width), soft_wrap=True)
        else:
            terminal.data("\t".join(_cells(session)))
    if len(found) > len(shown):
        terminal.note(
            f"There are more than {counted(len(shown), 'session')}: --all lists all of them"
        )
    return 0


async def complete(client: AsyncHeadstart, args: Namespace) -> str | None:
    """Put the whole id in the place of its beginning; return what to say where several begin so."""
    if not hasattr(args, "session_id"):
        return None
    given = [args.session_id, *getattr(args, "others", [])]
    if all(len(begun) >= _ID_CHARACTERS for begun in given):
        return None
    known = [session.session_id async for session in client.list()]
    for at, begun in enumerate(given):
        found = [one for one in known if one.startswith(begun)]
        if len(found) > 1 and begun not in found:
            named = ", ".join(sorted(found)[:_NAMED])
            more = ", …" if len(found) > _NAMED else ""
            said = f"argument ID: {counted(len(found), 'session')} begin so ({named}{more})"
            return senseless(said, f"headstart {args.command}")
        if len(found) == 1:
            given[at] = found[0]
    args.session_id, args.others = given[0], given[1:]
    return None


def _cells(session: Summary) -> list[str]:
    created = when(session.created_at)
    said = (session.session_id, session.status, created, session.repository.git_url, session.title)
    return [flat(cell) for cell in said]


def _row(session: Summary, width: int) -> Text:
    """Return a session in one line of a terminal; what has no room there is cut, but for the id."""
    named, status, created, repository, title = _cells(session)
    if session.pending_input_count:
        status = "asks you"
    row = Text(f"{named}  ", no_wrap=True, overflow="ellipsis")
    row.append(f"{status:<9}  ", _STYLES.get(status, ""))
    if width >= _DATED:
        row.append(f"{created}  ", "dim")
    row.append(title)
    if width >= 2 * _DATED:
        row.append(f"  {repository}", "dim")
    row.truncate(width, overflow="ellipsis")
    return row if width > len(named) else Text(named)


_STYLES = {"failed": "red", "running": "green", "asks you": "bold yellow", "preparing": "cyan"}


async def show(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Show all about a session, and what to do where it waits or has failed."""
    session = await client.get(args.session_id)
    if terminal.json_lines:
        terminal.data(json.dumps(session.to_json(), separators=(",", ":")))
        return 0
    for name, said in _facts(session):
        terminal.fact(name, said)
    for message in await client.messages(args.session_id):
        terminal.fact("message", message.status, message.message_id)
        terminal.quote(message.text or "")
    if session.failure and session.status == "failed":
        # What is held in it is not released before it is prepared again.
        terminal.say(advice.on_preparation(session.failure, session.session_id))
    elif session.pending_inputs:
        terminal.say(f"It waits for an answer of yours: headstart follow {session.session_id}")
    elif any(message.status == "held" for message in session.queue):
        terminal.say(advice.on_held(None, session.session_id))
    return 0


def _facts(session: Session) -> list[tuple[str, str]]:
    created = when(session.created_at)
    facts = [
        ("session", session.session_id),
        ("title", session.title),
        ("status", session.status),
        ("created", created),
        ("repository", f"{session.repository.git_url}, branch {session.repository.branch}"),
        ("agent", " ".join(filter(None, [session.agent, session.mode, session.model]))),
    ]
    attempt = session.attempt
    if attempt:
        facts.append(("attempt", f"{attempt.number}, {attempt.cause}, {attempt.status}"))
        facts += [("step", _step(step)) for step in attempt.steps if step.status != "pending"]
    if session.changes:
        facts.append(("changes", changed(session.changes.model_dump())))
    facts += [("not saved", name) for name in session.left_out]
    if published := session.publication:
        where = published.pull_request.url if published.pull_request else published.url
        facts.append(("published", " ".join(filter(None, [published.status, where]))))
    if callback := session.callback:
        facts.append(("callback", callback.status))
    return facts


def _step(step: StepState) -> str:
    took = ""
    if step.started_at and step.ended_at:
        took = f", {(step.ended_at - step.started_at).total_seconds():.1f} s"
    said = f": {step.message}" if step.message else ""
    return f"{STEP_TITLES.get(step.step, step.step)}: {step.status}{took}{plain(said)}"


_PAGE = "set it to the web page's address, as `headstart up` or the deployment printed it."


async def open_page(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Print where the web page has a session, and on a terminal have a browser show it."""
    given = urldefrag(os.environ.get("HEADSTART_PAGE", "").strip()).url
    if given and not is_address(given):
        return terminal.fail(f"HEADSTART_PAGE is not an address: {_PAGE}", USAGE)
    session = await client.get(args.session_id)
    page = given or embedded.page(client.url)
    if not page:
        unknown = "HEADSTART_PAGE is not set, and no page of this machine's is known"
        return terminal.fail(f"{unknown}: {_PAGE}", USAGE)
    address = f"{page}#{session.session_id}"
    terminal.say(address)
    sys.stdout.flush()
    if terminal.out.is_terminal:
        webbrowser.open(address)
    return 0


async def rename(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Give a session another title."""
    session = await client.rename(args.session_id, args.title)
    terminal.say(f"{args.session_id} is called: {session.title}")
    return 0


async def rm(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Delete sessions, whatever they are doing; one that is not there keeps no other."""
    code = 0
    for named in [args.session_id, *args.others]:
        # The one that Ctrl-C, or a failure, leaves in doubt.
        args.session_id = named
        try:
            await client.delete(named)
        except NotFound as error:
            if not args.others:
                raise
            code = terminal.fail(f"{named}: {error}")
        else:
            terminal.say(f"{named} is being deleted")
    return code
