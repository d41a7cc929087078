"""The commands that start a session's turns, stop them, and answer what they ask."""

import time
from argparse import Namespace
from typing import Any, cast

from headstart_client import checkout
from headstart_client.client import AsyncHeadstart
from headstart_client.commands.work import pull_request, warn_of_lost_secrets
from headstart_client.inputs import questions
from headstart_client.operations import on_repository
from headstart_client.options import Clone, SessionChanges, SessionOptions
from headstart_client.receipts import receipt
from headstart_client.terminal import Terminal
from headstart_client.usage import USAGE
from headstart_client.view import View
from headstart_client.watching import watch


async def run(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Create a session and follow it until its first turn ends (held: until it is prepared)."""
    if args.repo is None:
        try:
            found = checkout.here()
        except checkout.NoCheckoutError as error:
            return terminal.fail(f"{error}; or name one with --repo.", USAGE)
        args.repo, args.of_checkout = found.repository, {"--repo": "origin"}
        if args.branch is None:
            args.branch, args.of_checkout["--branch"] = found.branch, "branch"
            for note in found.notes:
                terminal.note(note)
        terminal.note(f"The repository of this checkout: {args.repo}, branch {args.branch}")
    options = _options(args)
    if options.get("pull_request") and not args.auto_commit:
        terminal.say("The pull request comes with `headstart publish`: --auto-commit was not given")
    began = time.monotonic()
    created = await client.create_session(args.prompt, auto_initiate=not args.hold, **options)
    answer_ms = (time.monotonic() - began) * 1000
    terminal.say(f"session {created.session_id} (answered in {answer_ms:.0f} ms)")
    terminal.warn(created.warnings, args)
    view = View()
    code = await watch(terminal, client, created.session_id, view, stream=created.stream)
    if not terminal.json_lines:
        first_word = view.answered_at - began if view.answered_at else None
        receipt(terminal.out, view, answer_ms, first_word)
    return code


def _options(args: Namespace) -> SessionOptions:
    clone: Clone = {}
    if args.depth is not None:
        clone["depth"] = args.depth
    if args.submodules:
        clone["submodules"] = True
    given = {
        "upstream_branch": args.branch,
        "agent": args.agent,
        "mode": args.mode,
        "model": args.model,
        "env_vars": dict(args.env) if args.env else None,
        "setup_commands": args.setup or None,
        "setup_inputs": args.setup_input or None,
        "prepared_tree": args.prepared_tree,
        "secrets": dict(args.secret) if args.secret else None,
        "clone": clone or None,
        "auto_commit": args.auto_commit or None,
        "pull_request": pull_request(args),
    }
    options = cast("SessionOptions", {k: v for k, v in given.items() if v is not None})
    return on_repository(args.repo, options)


async def follow(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Show a session from its beginning until it comes to rest."""
    return await watch(terminal, client, args.session_id, View())


async def send(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Send a message and follow the session until its turn ends."""
    turn = await client.send(args.session_id, args.prompt)
    terminal.warn(turn.message.warnings, args)
    view = View({turn.message.message_id})
    return await watch(terminal, client, args.session_id, view, after=turn.after)


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
    warn_of_lost_secrets(terminal, before, args)
    # A retry that will be refused must not change anything either.
    changes = cast("SessionChanges", on_repository(args.repo, {}) if args.repo else {})
    if args.branch is not None:
        changes["upstream_branch"] = args.branch
    if changes and before.status == "failed":
        await client.patch(args.session_id, **changes)
    number = before.attempt.number if before.attempt else 1
    warnings = await client.retry(
        args.session_id,
        number,
        setup_commands=args.setup,
        secrets=dict(args.secret) if args.secret else None,
        without_archive=args.without_archive,
    )
    terminal.warn(warnings, args)
    return await watch(terminal, client, args.session_id, View(), after=before.last_event_id)


async def stop(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Stop the turn or cancel the preparation, whichever there is."""
    named = args.session_id
    before = await client.get(named)
    await client.interrupt(named)
    if before.status == "preparing":
        said = f"Its preparation is being cancelled; see what comes of it: headstart follow {named}"
    elif before.active_turn:
        said = (
            f"{named} is being stopped; what waits in its queue goes on with "
            f"the next message or: headstart initiate {named}"
        )
    else:
        said = f"There is nothing to stop: {named} is {before.status}"
    terminal.say(said)
    return 0


async def withdraw(terminal: Terminal, client: AsyncHeadstart, args: Namespace) -> int:
    """Take a message back that waits; the second time is no failure, and said."""
    messages = await client.messages(args.session_id)
    known = next((one for one in messages if one.message_id == args.message_id), None)
    await client.withdraw(args.session_id, args.message_id)
    again = " already" if known and known.status == "withdrawn" else ""
    terminal.say(f"{args.message_id} is withdrawn{again}; the agent will not see it")
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
