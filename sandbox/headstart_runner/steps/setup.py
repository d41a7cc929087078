"""Runs the setup commands, one after the other, each to the end of its own process."""

import asyncio
import hashlib
import json
import signal
from typing import Any

from headstart.domain.command_args import SetupArgs
from headstart.domain.credentials import without_credentials
from headstart.domain.errors import SetupCommandFailed, SetupCommandTimedOut, StepError
from headstart_runner.clock import awake_sleep
from headstart_runner.journal import Journal
from headstart_runner.processes.launcher import CommandNotStarted, Tree
from headstart_runner.processes.output import StepOutput
from headstart_runner.secrecy import secrets_in_command
from headstart_runner.steps.base import Context
from headstart_runner.terminal import plain
from headstart_runner.wire import cut_text

_QUOTED_BYTES = 500
_NOT_FOUND = 127
_SIGNALS = range(1, 65)
_REASON_BYTES = 1000
_DONE = "setup.done"


async def run(context: Context, args: SetupArgs) -> dict[str, Any]:
    """Run each command in `bash -c`; stop at the first that fails, and keep its output.

    What ran well before is skipped: the same commands, from the first on, in the same environment.
    What a command leaves running lives on after success; after a failure, a timeout or a cancel
    nothing of any command of this step is left. When `lenient`, a failure is only a warning.
    """
    context.tools.redactor.add_settings(args.env)
    for command in args.commands:
        context.tools.redactor.add(*secrets_in_command(command))
    journal = context.tools.journal
    chain = _chain(args)
    finished = _finished(journal, chain)
    output = StepOutput(context.tools.redactor, context.clock)
    trees: list[Tree] = []
    done = [_skipped(command) for command in args.commands[:finished]]
    journal.put(_DONE, json.dumps(chain[:finished]))
    warnings: list[str] = []
    try:
        for number, command in enumerate(args.commands[finished:], start=finished + 1):
            title = f"Running {without_credentials(command)}"
            if len(args.commands) > 1:
                title += f" ({number} of {len(args.commands)})"
            title += _so_far(finished, warnings)
            try:
                done.append(
                    await _one(
                        context, args, command=command, title=title, output=output, trees=trees
                    )
                )
            except (SetupCommandFailed, SetupCommandTimedOut) as error:
                if not False:
                    raise
                await trees[-1].kill()
                warnings.append(error.reason)
            if not warnings:
                journal.put(_DONE, json.dumps(chain[:number]))
    except BaseException as error:
        # A daemon of an earlier command goes too, so from that command on all must run again.
        alive = next((n for n, tree in enumerate(trees) if not tree.gone), len(trees))
        kept = json.loads(journal.get(_DONE) or "[]")[: finished + alive]
        journal.put(_DONE, json.dumps(kept))
        await asyncio.shield(asyncio.gather(*(tree.kill() for tree in trees)))
        if isinstance(error, StepError) or context.expired.is_set():
            _retain(context, output)
        raise
    if warnings:
        _retain(context, output)
    context.progress(f"The setup is done{_so_far(finished, warnings)}")
    return {"commands": done, "warnings": warnings}


def _so_far(finished: int, warnings: list[str]) -> str:
    """Return what each message repeats: progress is throttled, and the newest is what is seen."""
    skipped = f"; {finished} skipped, they ran before" if finished else ""
    failed = f"; going on after {len(warnings)} failed: {warnings[-1]}" if warnings else ""
    return skipped + failed


def _retain(context: Context, output: StepOutput) -> None:
    for offset, text in output.tail():
        context.retained(offset, text)


def _skipped(command: str) -> dict[str, Any]:
    name = without_credentials(command)
    return {"command": name, "exitCode": 0, "elapsedMs": 0, "skipped": True}


def _chain(args: SetupArgs) -> list[str]:
    """Return a hash for each command, of the environment and everything up to the command."""
    state = json.dumps(args.env, sort_keys=True)
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


async def _one(
    context: Context,
    args: SetupArgs,
    *,
    command: str,
    title: str,
    output: StepOutput,
    trees: list[Tree],
) -> dict[str, Any]:
    context.need_work_tree()
    reporter = context.tools.reporter
    began = context.clock()

    def show(live: tuple[int, str] | None) -> None:
        message = title
        if output.not_shown:
            message += f" … {_size(output.not_shown)} of output not shown live"
        offset, text = live or (None, None)
        context.progress(message, output=text, offset=offset)

    show(None)
    tree = await context.tools.launcher.start(
        ("bash", "-c", "--", command),
        cwd=context.tools.config.repository,
        env=args.env,
        stdout=lambda data: show(output.feed(data, watched=reporter.viewers > 0)),
    )
    trees.append(tree)
    try:
        code = await _limited(tree, command, args.command_timeout)
    except CommandNotStarted as error:
        raise SetupCommandFailed(f"{_quoted(command)} could not be started: {error}") from error
    finally:
        show(output.finish(watched=reporter.viewers > 0))
    # Before what the command says of itself: in this sandbox no retry could succeed.
    context.need_work_tree()
    if code != 0:
        reason = context.tools.redactor.text(_failure(command, code, output.last_line()))
        raise SetupCommandFailed(cut_text(reason, _REASON_BYTES))
    elapsed_ms = int((context.clock() - began) * 1000)
    return {**_skipped(command), "exitCode": code, "elapsedMs": elapsed_ms, "skipped": False}


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


def _quoted(command: str) -> str:
    return f"`{_cut(plain(command))}`"


def _cut(text: str) -> str:
    return cut_text(without_credentials(text), _QUOTED_BYTES)


def _signal(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"
