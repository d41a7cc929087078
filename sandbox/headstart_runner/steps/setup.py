"""Runs the setup commands, one after the other, each to the end of its own process."""

import asyncio
import hashlib
import json
import signal
from typing import Any

from headstart.domain.archive import MOST_BYTES
from headstart.domain.command_args import SetupArgs
from headstart.domain.credentials import without_credentials
from headstart.domain.errors import SetupCommandFailed, SetupCommandTimedOut, StepError
from headstart.domain.secrecy import secrets_in_command
from headstart_runner.archives.files import Files
from headstart_runner.archives.saving import Saving
from headstart_runner.archives.workspace import Unusable
from headstart_runner.clock import awake_sleep
from headstart_runner.journal import Journal
from headstart_runner.log import logger
from headstart_runner.processes.launcher import CommandNotStarted, Tree
from headstart_runner.processes.output import StepOutput
from headstart_runner.processes.shell import Shell
from headstart_runner.steps.base import Context
from headstart_runner.terminal import LINE_END, plain
from headstart_runner.wire import MARK, cut_text

_QUOTED_BYTES = 500
_NOT_FOUND = 127
_SIGNALS = range(1, 65)
_REASON_BYTES = 1000
_DONE = "setup.done"


async def run(context: Context, args: SetupArgs) -> dict[str, Any]:
    """Run each command in a bash of its own; stop at the first that fails, and keep its output.

    What ran well before is skipped: the same commands, from the first on, in the same environment.
    What a command leaves running lives on after success; after a failure, a timeout or a cancel
    nothing of any command of this step is left.
    """
    tools = context.tools
    tools.open_vault(args.sealed)
    tools.redactor.add_settings(args.env)
    for command in args.commands:
        tools.redactor.add(*secrets_in_command(command))
    journal = tools.journal
    chain = _chain(args)
    finished = _finished(journal, chain)
    work = _Work(context, args)
    context.joined.append(work.show_missed)
    done = [_skipped(command) for command in args.commands[:finished]]
    for command in args.commands[:finished]:
        context.log.line(f"$ {_name(command)} (skipped, it ran before)")
    journal.put(_DONE, json.dumps(chain[:finished]))
    skipped = f"; {finished} skipped, they ran before" if finished else ""
    try:
        await work.shell.forget_from(finished + 1)
        for number, command in enumerate(args.commands[finished:], start=finished + 1):
            title = f"Running {_name(command)}"
            if len(args.commands) > 1:
                title += f" ({number} of {len(args.commands)})"
            # Progress is throttled, and the newest is what is seen: so each message repeats it.
            done.append(await work.do(command, number, title + skipped))
            journal.put(_DONE, json.dumps(chain[:number]))
    except BaseException as error:
        # A daemon of an earlier command goes too, so from that command on all must run again.
        trees = work.trees
        alive = next((n for n, tree in enumerate(trees) if not tree.gone), len(trees))
        kept = json.loads(journal.get(_DONE) or "[]")[: finished + alive]
        journal.put(_DONE, json.dumps(kept))
        await asyncio.shield(asyncio.gather(*(tree.kill() for tree in trees)))
        if isinstance(error, StepError) or context.expired.is_set():
            _retain(context, work.output)
        raise
    elapsed_ms = sum(command["elapsedMs"] for command in done)
    base = None
    if args.base_after_ms is not None and elapsed_ms >= args.base_after_ms:
        base = await _base(context, work.notes)
    notes = "".join(f"; {note}" for note in work.notes)
    context.progress(f"The setup is done{skipped}{cut_text(notes, _QUOTED_BYTES)}")
    return {"commands": done, "base": base, "notes": [*work.notes]}


async def _base(context: Context, notes: list[str]) -> dict[str, Any] | None:
    """Save the workspace as a base; None, and a note, where none could be made: no failure."""
    tools = context.tools
    files = Files(tools.config, tools.journal)
    files.sweep()
    context.progress("Saving the prepared tree")
    began = context.clock()
    try:
        saving = Saving(
            tools.config, tools.launcher, files, tools.supervisor.folders, tools.redactor.text
        )
        base = await saving.tree(MOST_BYTES)
    except (Unusable, OSError) as error:
        logger.warning("no prepared tree was made: %s", error)
        notes.append(f"No prepared tree was made: {error}")
        return None
    return {**base.made.to_json(), "elapsedMs": int((context.clock() - began) * 1000)}


def _retain(context: Context, output: StepOutput) -> None:
    for offset, text in output.tail():
        context.retained(offset, text)


def _skipped(command: str) -> dict[str, Any]:
    return {"command": _name(command), "exitCode": 0, "elapsedMs": 0, "skipped": True}


def _chain(args: SetupArgs) -> list[str]:
    """Return a hash for each command, of the environment and everything up to the command."""
    state = json.dumps(args.env, sort_keys=True)
    if args.sealed:
        state += args.sealed.ciphertext
    hashes = []
    for command in args.commands:
        state = hashlib.sha256(json.dumps([state, command]).encode()).hexdigest()
        hashes.append(state)
    return hashes


def _finished(journal: Journal, chain: list[str]) -> int:
    """Return how many commands from the first on ran well in this clone, one after the other."""
    done = json.loads(journal.get(_DONE) or "[]")
    pairs = enumerate(zip(chain, done, strict=False))
    return next((n for n, (now, then) in pairs if now != then), min(len(chain), len(done)))


def forget(journal: Journal) -> None:
    """Note that nothing has run: the clone is another, or what commands left running is gone."""
    journal.put(_DONE, "[]")


class _Work:
    """What the commands of one step share: their shell, their output, what they left running."""

    def __init__(self, context: Context, args: SetupArgs) -> None:
        tools = context.tools
        self.output = StepOutput(tools.redactor, context.clock)
        self.output.log_to(context.log.write)
        self.shell = Shell(tools.launcher, tools.redactor, tools.config.home)
        self.trees: list[Tree] = []
        self.notes: list[str] = []
        self._context = context
        self._args = args
        self._title = ""
        self._env = {
            **args.env,
            **tools.vault.variables,
            "HEADSTART_ATTEMPT_CAUSE": args.cause,
            "HEADSTART_SESSION_ID": tools.config.session_id,
        }

    @property
    def _watched(self) -> bool:
        return self._context.tools.reporter.viewers > 0

    def _show(self, live: tuple[int, str] | None) -> None:
        message = self._title
        if self.output.not_shown:
            message += f" … {_size(self.output.not_shown)} of output not shown live"
        offset, text = live or (None, None)
        self._context.progress(message, output=text, offset=offset)

    def show_missed(self) -> None:
        """Show what was printed while nobody watched."""
        if missed := self.output.missed():
            self._show(missed)

    async def do(self, command: str, number: int, title: str) -> dict[str, Any]:
        """Run a command to its end; SetupCommandFailed or SetupCommandTimedOut if it is bad."""
        context, self._title = self._context, title
        context.need_work_tree()
        context.log.line(f"$ {_name(command)}")
        self._show(None)
        env = await self.shell.environment(self._env, number)
        self._tell_notes()
        began = context.clock()
        tree = await context.tools.launcher.start(
            ("bash", "-c", "--", _script(command)),
            cwd=context.tools.config.repository,
            env=env,
            stdout=lambda data: self._show(self.output.feed(data, watched=self._watched)),
        )
        self.trees.append(tree)
        try:
            code = await _limited(tree, command, self._args.command_timeout)
        except CommandNotStarted as error:
            raise SetupCommandFailed(f"{_quoted(command)} could not be started: {error}") from error
        finally:
            self._show(self.output.finish(watched=self._watched))
        elapsed_ms = int((context.clock() - began) * 1000)
        # Before what the command says of itself: in this sandbox no retry could succeed.
        context.need_work_tree()
        said = self.output.last_line()
        await self.shell.drop(context.tools.vault.values.values())
        await self.shell.look(self._env)
        self._tell_notes()
        if code != 0:
            reason = context.tools.redactor.text(_failure(command, code, said))
            raise SetupCommandFailed(cut_text(reason, _REASON_BYTES))
        return {**_skipped(command), "exitCode": code, "elapsedMs": elapsed_ms, "skipped": False}

    def _tell_notes(self) -> None:
        """Say in the output what of the shell was not taken: there people look for the reason."""
        for note in self.shell.notes():
            self.notes.append(note)
            self._show(self.output.add(f"headstart: {note}", watched=self._watched))


async def _limited(tree: Tree, command: str, seconds: int) -> int:
    ending = asyncio.create_task(tree.finished())
    limit = asyncio.create_task(awake_sleep(seconds))
    try:
        await asyncio.wait({ending, limit}, return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            raise SetupCommandTimedOut(f"{_quoted(command)} was stopped after {seconds} s")
        return ending.result()
    finally:
        for task in (ending, limit):
            task.cancel()
        await asyncio.gather(ending, limit, return_exceptions=True)


def _failure(command: str, code: int, last_line: str) -> str:
    how = f"exited with status {code}"
    if code < 0:
        how = f"was killed by {_signal(-code)}"
    elif code - 128 in _SIGNALS:
        how += f", killed by {_signal(code - 128)}"
    elif code == _NOT_FOUND and command.lstrip().startswith("- "):
        how += " (without the `- ` of a list in YAML it may work)"
    said = f": {_cut(last_line)}" if last_line else ""
    return f"{_quoted(command)} {how}{said}"


def _script(command: str) -> str:
    """Return what bash is given: line ends as it knows them."""
    return LINE_END.sub("", command)


def _name(command: str) -> str:
    """Return a command as it is told of: its first line that says something, not too much of it."""
    lines = [line for line in plain(command).split("\n") if line.strip()]
    more = f" {MARK}" if len(lines) > 1 else ""
    return _cut(next(iter(lines), "")) + more


def _quoted(command: str) -> str:
    return f"`{_name(command)}`"


def _cut(text: str) -> str:
    return cut_text(without_credentials(text), _QUOTED_BYTES)


def _signal(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"
