"""What the commands do once their arguments are read."""

import asyncio
import json
import re
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from rich.table import Table
from rich.text import Text

from headstart_client import advice, archives, watching
from headstart_client.client import AsyncHeadstart
from headstart_client.errors import HeadstartError, ValidationFailed
from headstart_client.inputs import questions
from headstart_client.models import Session, Warned
from headstart_client.operations import (
    Clone,
    PublishOptions,
    PullRequestOptions,
    SessionOptions,
)
from headstart_client.screen import receipt
from headstart_client.terminal import Terminal
from headstart_client.text import flat, plain
from headstart_client.usage import USAGE
from headstart_client.view import View
from headstart_client.watching import watch
from headstart_client.work import changed

_GITHUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")

_DATED = 80
"""Columns from which a list has room for dates beside titles."""

_TOO_LARGE = 413

_ARGUMENTS = {
    "prompt": "--prompt",
    "githubRepo": "--repo",
    "gitUrl": "--repo",
    "upstreamBranch": "--branch",
    "agent": "--agent",
    "setupCommands": "--setup",
    "setupInputs": "--setup-input",
    "preparedTree": "--prepared-tree",
    "clone": "--depth",
    "encryptedSecrets": "--secret",
    "message": "--message",
    "pullRequest": "--pull-request",
    "answers": "--choose",
}
"""What becomes the fields of the API's requests."""

Command = Callable[[Terminal, AsyncHeadstart, Namespace], Awaitable[int]]


def execute(command: Command, terminal: Terminal, args: Namespace, url: str, token: str) -> int:
    """Run a command to its exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""

    async def main() -> int:
        async with AsyncHeadstart(url, token) as client:
            return await command(terminal, client, args)

    try:
        return asyncio.run(main())
    except ValidationFailed as error:
        if not error.errors:
            too_large = error.status == _TOO_LARGE
            return terminal.fail(advice.on_error(error, url), USAGE if too_large else 1)
        arguments = _ARGUMENTS | _arguments_of(args)
        return terminal.fail(advice.on_arguments(error.errors, arguments, args.command), USAGE)
    except HeadstartError as error:
        return terminal.fail(advice.on_error(error, url))
    except KeyboardInterrupt:
        if terminal.following and terminal.lasting:
            terminal.say(f"The session goes on: headstart follow {terminal.following}")
        return 130


def _arguments_of(args: Namespace) -> dict[str, str]:
    """Return the same of what only one command has."""
    match args.command:
        case "send":
            return {"prompt": "TEXT"}
        case "answer":
            return {"body": "--reply" if args.reply else "--choose"}
        case _:
            return {}


async def run(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Create a session and follow it until its first turn ends (held: until it is prepared)."""
    options = _options(args)
    if options.get("pull_request") and not args.auto_commit:
        terminal.say("The pull request comes with `headstart publish`: --auto-commit was not given")
    began = time.monotonic()
    created = await client.create_session(args.prompt, auto_initiate=not args.hold, **options)
    answer_ms = (time.monotonic() - began) * 1000
    terminal.say(f"session {created.session_id} (answered in {answer_ms:.0f} ms)")
    terminal.warn(created.warnings)
    view = View()
    code = await watch(terminal, client, created.session_id, view, stream=created.stream)
    if not terminal.json_lines:
        first_word = view.answered_at - began if view.answered_at else None
        receipt(terminal.out, view, answer_ms, first_word)
    return code


def _options(args: Namespace) -> SessionOptions:
    named = "github_repo" if _GITHUB_NAME.fullmatch(args.repo) else "git_url"
    clone: Clone = {}
    if args.depth is not None:
        clone["depth"] = args.depth
    if args.submodules:
        clone["submodules"] = True
    given = {
        named: args.repo,
        "upstream_branch": args.branch,
        "agent": args.agent,
        "setup_commands": args.setup or None,
        "setup_inputs": args.setup_input or None,
        "prepared_tree": args.prepared_tree,
        "secrets": dict(args.secret) if args.secret else None,
        "clone": clone or None,
        "auto_commit": args.auto_commit or None,
        "pull_request": _pull_request(args),
    }
    return cast("SessionOptions", {k: v for k, v in given.items() if v is not None})


async def follow(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Show a session from its beginning until it comes to rest."""
    return await watch(terminal, client, args.session_id, View())


async def send(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Send a message and follow the session until its turn ends."""
    before = await client.get(args.session_id)
    message = await client.send_message(args.session_id, args.text)
    view = View({message.message_id})
    return await watch(terminal, client, args.session_id, view, after=before.last_event_id)


async def initiate(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Release what is held and follow it."""
    before = await client.get(args.session_id)
    await client.initiate(args.session_id)
    if not (before.queue or before.active_turn):
        terminal.say(f"Nothing waits in {args.session_id}, so nothing was sent")
        return 0
    view = View({message.message_id for message in before.queue})
    return await watch(terminal, client, args.session_id, view, after=before.last_event_id)


async def retry(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Prepare a failed session again and follow it."""
    before = await client.get(args.session_id)
    _warn_of_lost_secrets(terminal, before, args)
    # A retry that will be refused must not change anything either.
    if args.branch is not None and before.status == "failed":
        await client.patch(args.session_id, upstream_branch=args.branch)
    number = before.attempt.number if before.attempt else 1
    warnings = await client.retry(
        args.session_id,
        number,
        setup_commands=args.setup,
        secrets=dict(args.secret) if args.secret else None,
        without_archive=args.without_archive,
    )
    terminal.warn(warnings)
    return await watch(terminal, client, args.session_id, View(), after=before.last_event_id)


def _warn_of_lost_secrets(terminal: Terminal, before: Session, args: Namespace) -> None:
    """Say that secrets go which are not given again; the API tells their number only."""
    known, given = before.counts.get("encryptedSecrets", 0), len(dict(args.secret or []))
    if given and known > given:
        terminal.warn(
            [
                Warned(
                    loc=["--secret"],
                    msg=f"replaces all {known} of before; {given} of them at most stay",
                )
            ]
        )


async def interrupt(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Stop the turn or cancel the preparation, whichever there is."""
    named = args.session_id
    before = await client.get(named)
    await client.interrupt(named)
    if before.status == "preparing":
        said = f"Its preparation is being cancelled; see what comes of it: headstart follow {named}"
    elif before.active_turn:
        said = (
            f"{named} is being interrupted; what waits in its queue goes on with "
            f"the next message or: headstart initiate {named}"
        )
    else:
        said = f"There is nothing to interrupt: {named} is {before.status}"
    terminal.say(said)
    return 0


async def answer(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Answer what the agent asks; what can't be an answer to it, the API refuses."""
    session = await client.get(args.session_id)
    asked = next((one for one in session.pending_inputs if one.request_id == args.request_id), None)
    body: dict[str, Any] = {"reject": True}
    if args.reply or (asked and asked.kind == "permission" and args.reject):
        body = {"reply": args.reply or "reject"}
    elif args.choose:
        count = len(questions(asked)) if asked else 1
        if count > 1 and len(args.choose) != count:
            return terminal.fail(
                f"There are {count} questions: give each its --choose, in order.", USAGE
            )
        body = {"answers": [[label] for label in args.choose] if count > 1 else [args.choose]}
    await client.answer_input(args.session_id, args.request_id, body)
    terminal.say(f"The answer is sent; see what comes of it: headstart follow {args.session_id}")
    return 0


async def ls(terminal: Terminal, client: AsyncHeadstart, _: Namespace) -> int:
    """List the sessions, newest first."""
    if terminal.json_lines:
        async for session in client.list():
            terminal.out.out(json.dumps(session.to_json(), separators=(",", ":")), highlight=False)
        return 0
    table = Table(box=None, pad_edge=False)
    dated = terminal.out.width >= _DATED
    for heading in ("session", "status", *(["created"] if dated else []), "title"):
        # Room is taken from the column that may wrap; its texts are cut instead.
        table.add_column(heading, no_wrap=heading != "title")
    async for session in client.list():
        created = session.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
        row = (session.session_id, session.status, *([created] if dated else []), session.title)
        table.add_row(*(Text(flat(cell), no_wrap=True, overflow="ellipsis") for cell in row))
    terminal.out.print(table)
    return 0


async def archive(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Download the saved work and make a folder of it, where this machine can."""
    places = archives.Places(Path(args.folder or args.session_id))
    try:
        taken = places.taken()
    except OSError as error:
        return terminal.fail(f"{places.folder} can't be used: {error.strerror}.", USAGE)
    if taken:
        return terminal.fail(f"{taken} is there already: name another FOLDER.", USAGE)
    saved = await client.archive(args.session_id)
    base, changed = saved.base, saved.difference
    size = base.bytes + (changed.bytes if changed else 0)
    when = saved.saved_at.astimezone().strftime("%Y-%m-%d %H:%M")
    terminal.say(f"Saved at {when}: {size / 1e6:,.1f} MB to download")
    if saved.missing:
        terminal.say(f"It is without {saved.missing}")
    for name in saved.left_out:
        terminal.say(f"Not in it: {name}")
    await archives.download(base, places.base)
    if changed:
        await archives.download(changed, places.difference)
    files = " and ".join(map(str, (places.base, places.difference) if changed else (places.base,)))
    if not archives.can_put_back():
        terminal.say(f"It is in {files}. There is no zstd or no tar here; where both are, in a")
        terminal.say("container or as a user who owns nothing else, it is put back by:")
        for command in places.by_hand(changed=changed is not None):
            terminal.say(command)
        return 0
    try:
        archives.put_back(places, changed=changed is not None)
    except HeadstartError as error:
        return terminal.fail(f"{error}. It is as it came in {files}.")
    places.base.unlink()
    if changed:
        places.difference.unlink()
    terminal.say(f"The work is in {places.folder}: the agent and the repository made those files")
    if places.session.exists():
        terminal.say(f"The agent's session is in {places.session}")
    return 0


def _name(text: str) -> str:
    """Return a file's name in one line that no other name has."""
    return text if text.isprintable() else json.dumps(text, ensure_ascii=False)


async def diff(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Show what a session changed, as of when its work was saved last."""
    if args.stat:
        changes = await client.changes(args.session_id)
        for one in changes.files:
            lines = "binary" if one.additions is None else f"+{one.additions} -{one.deletions}"
            name = f"{_name(one.source)} → {_name(one.path)}" if one.source else _name(one.path)
            mode = f" ({one.mode})" if one.mode else ""
            terminal.say(f"{one.status} {lines} {name}{mode}")
        more = " (not all are named)" if changes.truncated else ""
        terminal.say(changed(changes.total.model_dump()) + more)
        return 0
    saved = await client.diff(args.session_id)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "diff"
        await archives.download(saved, file)
        text = file.read_bytes()
    if terminal.out.is_terminal:
        terminal.out.out(plain(text.decode(errors="replace")), end="", highlight=False)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(text)
    return 0


async def publish(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Have the work published, and show what comes of it."""
    before = await client.get(args.session_id)
    options: PublishOptions = {}
    if args.message is not None:
        options["message"] = args.message
    if wanted := _pull_request(args):
        options["pull_request"] = wanted
    if args.secret:
        _warn_of_lost_secrets(terminal, before, args)
        options["secrets"] = dict(args.secret)
    published = await client.publish(args.session_id, **options)
    terminal.warn(published.warnings)
    done, after = watching.only_published, before.last_event_id
    return await watch(terminal, client, args.session_id, View(), after=after, done=done)


def _pull_request(args: Namespace) -> PullRequestOptions | None:
    return {"draft": args.draft} if args.pull_request or args.draft else None


async def rm(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Delete a session, whatever it is doing."""
    await client.delete(args.session_id)
    terminal.say(f"{args.session_id} is being deleted")
    return 0
