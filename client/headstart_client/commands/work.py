"""The commands that take a session's work out: as a diff, on its branch, as a folder."""

import json
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

from headstart_client import advice, archives, watching
from headstart_client.client import AsyncHeadstart
from headstart_client.errors import HeadstartError
from headstart_client.models import Session, Warned
from headstart_client.options import PublishOptions, PullRequestOptions
from headstart_client.terminal import Terminal
from headstart_client.text import plain
from headstart_client.usage import USAGE
from headstart_client.verbatim import verbatim
from headstart_client.view import View
from headstart_client.watching import watch
from headstart_client.work import changed


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
        verbatim(terminal.out, plain(text.decode(errors="replace")))
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
    if wanted := pull_request(args):
        options["pull_request"] = wanted
    if args.secret:
        warn_of_lost_secrets(terminal, before, args)
        options["secrets"] = dict(args.secret)
    published = await client.publish(args.session_id, **options)
    terminal.warn(published.warnings, args)
    done, after = watching.only_published, before.last_event_id
    code = await watch(terminal, client, args.session_id, View(), after=after, done=done)
    if code or not wanted:
        return code
    # Asked for and not taken from the event: nothing new may be in one that is there already.
    published_now = (await client.get(args.session_id)).publication
    if published_now and published_now.pull_request:
        return 0
    return terminal.fail(advice.on_no_pull_request(published_now))


def pull_request(args: Namespace) -> PullRequestOptions | None:
    """Return the pull request that a command is to open, None for none."""
    return {"draft": args.draft} if args.pull_request or args.draft else None


def warn_of_lost_secrets(terminal: Terminal, before: Session, args: Namespace) -> None:
    """Say that secrets go which are not given again; the API tells their number only."""
    known, given = before.counts.get("encryptedSecrets", 0), len(dict(args.secret or []))
    if given and known > given:
        terminal.warn(
            [
                Warned(
                    loc=["encryptedSecrets"],
                    msg=f"replaces all {known} of before, of which at most {given} can stay",
                )
            ],
            args,
        )
