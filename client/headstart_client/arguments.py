"""What the commands take: one parser for all of them, and no I/O but for what an argument names."""

import argparse
import getpass
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from headstart_client.sealing import too_short
from headstart_client.usage import USAGE, senseless, somebody_types

SHELLS = ("bash", "zsh", "fish")
LISTED = 20
"""Sessions that `ls` shows unless it is asked for more."""

_UNDECODED = re.compile("[\ud800-\udfff]")
_SESSION_ID = re.compile(r"ses_\w+")


def refuse(sentence: str) -> NoReturn:
    """End the command before it did anything."""
    sys.stderr.write(f"headstart: {sentence}\n")
    sys.exit(USAGE)


def texts(arguments: Sequence[str]) -> list[str]:
    """Return arguments as UTF-8, also where the locale's encoding is less than that."""
    try:
        # What Python could not decode it has put away as halves of characters.
        return [os.fsencode(one).decode() if _UNDECODED.search(one) else one for one in arguments]
    except UnicodeError:
        refuse("An argument is not valid UTF-8, so nothing was done.")


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong in one sentence, as everything else here does."""

    def error(self, message: str) -> NoReturn:
        """Exit with it."""
        refuse(senseless(message, self.prog))

    def parse_known_args(  # type: ignore[override]
        self, args: Any = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse; a command may have its options between its arguments, too."""
        found, left = super().parse_known_args(args, namespace)
        if self._subparsers:
            return found, left
        for action in self._get_positional_actions():
            # What can be left out counts as left out where an option stands before it.
            if action.nargs == "?" and getattr(found, action.dest) is None:
                verbatim = left[:1] == ["--"] and len(left) > 1
                if verbatim:
                    del left[0]
                if left and (verbatim or left[0] == "-" or left[0][:1] != "-"):
                    setattr(found, action.dest, left.pop(0))
        if left:
            self.error(f"unrecognized arguments: {' '.join(left)}")
        return found, left


class Version(argparse.Action):
    """Prints the version; read from the package, which then need not be installed."""

    def __call__(self, *_: object) -> NoReturn:
        """Print it and exit."""
        from headstart_client import __version__  # noqa: PLC0415 - only when asked for

        sys.stdout.write(f"headstart {__version__}\n")
        sys.exit(0)


def _name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def _address(text: str) -> str:
    if "://" not in text:
        raise argparse.ArgumentTypeError("must be an address, such as `headstart ls` lists")
    return text


def _trusted(text: str) -> str:
    # Whether it is one that may be cloned is the cloud's to say, but that takes a while to start.
    if text and "://" not in text and text.count("/") != 1:
        raise argparse.ArgumentTypeError("must be an address, or org/name on GitHub")
    return text


def _session_id(text: str) -> str:
    if not _SESSION_ID.fullmatch(text):
        raise argparse.ArgumentTypeError(
            "must be a session's id, or its beginning, such as `headstart ls` lists"
        )
    return text


def _in_an_address(text: str) -> bool:
    # With a slash or dots alone the address would be that of another call.
    return bool(text.strip(" .")) and "/" not in text


def _request_id(text: str) -> str:
    if not _in_an_address(text):
        raise argparse.ArgumentTypeError("must be the id of what the agent asks")
    return text


def _message_id(text: str) -> str:
    if not _in_an_address(text):
        raise argparse.ArgumentTypeError("must be a message's id, such as `headstart show` lists")
    return text


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError("must be a whole number from 1 on")
    return int(text)


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError("must be NAME=VALUE")
    return name, value


def _secret(text: str) -> tuple[str, str]:
    """Return a secret by name: its value never stands on the command line, where others see it."""
    name, given, source = text.partition("=")
    value = _from_file(source) if given else os.environ.get(name)
    if value is None and somebody_types():
        value = getpass.getpass(f"{name}: ")
    if value is None:
        raise argparse.ArgumentTypeError(f"there is no variable {name} in the environment")
    if _UNDECODED.search(value):
        raise argparse.ArgumentTypeError(f"the variable {name} is not valid UTF-8")
    if why := too_short(value):
        raise argparse.ArgumentTypeError(f"{name} {why}, so it could not be kept from being shown")
    return name, value


def _from_file(source: str) -> str:
    if source[:1] != "@":
        raise argparse.ArgumentTypeError(
            "must be NAME, for the variable of that name, or NAME=@FILE: others see command lines"
        )
    value = _read(source[1:])
    # Editors end a token's one line, too.
    return value.removesuffix("\n") if value.count("\n") == 1 else value


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise argparse.ArgumentTypeError(f"{file} can't be read: {why}") from None


def prompt_of(args: argparse.Namespace) -> str:
    """Return what the agent is asked: an argument, a file's text, or what comes by a pipe.

    Programs and editors end a last line; as in a shell's `$(…)` that is no part of it.
    """
    prompt = _given(args)
    if args.prompt in {None, "-"}:
        prompt = prompt.rstrip("\r\n")
    if not prompt.strip():
        # Before the folder is looked at: what is wrong with that is no help to who asked nothing.
        what = "PROMPT" if args.file is None else "--file"
        refuse(senseless(f"argument {what}: must not be empty", f"headstart {args.command}"))
    return prompt


def _given(args: argparse.Namespace) -> str:
    if args.prompt not in {None, "-"}:
        if args.file is not None:
            refuse(senseless("give PROMPT or --file, not both", f"headstart {args.command}"))
        return str(args.prompt)
    if args.file is not None:
        return str(args.file)
    if args.prompt is None and (somebody_types() or sys.stdin is None):
        what = "say what the agent is asked: PROMPT, --file FILE, or through a pipe"
        refuse(senseless(what, f"headstart {args.command}"))
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeError:
        refuse("What came by the pipe is not valid UTF-8, so nothing was done.")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    whole = _Parser(
        prog="headstart",
        description="Start coding-agent sessions and watch them.",
        epilog="HEADSTART_URL and HEADSTART_TOKEN name the API and its user, HEADSTART_PAGE the "
        "web page. The exit code is 0 when what was asked for is done, 1 when it failed or waits "
        "for you, 2 for wrong usage, 130 after Ctrl-C.",
    )
    whole.add_argument("--version", nargs=0, action=Version, help="print the version and exit")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _local(commands)
    run = _run(commands)
    command: argparse.ArgumentParser
    follow = commands.add_parser("follow", help="show a session until it comes to rest")
    send = commands.add_parser("send", help="send a message and follow its turn")
    initiate = commands.add_parser("initiate", help="release what is held and follow it")
    retry = commands.add_parser("retry", help="prepare a failed session again")
    stop = commands.add_parser("stop", help="stop the turn, or cancel the preparation")
    answer = commands.add_parser("answer", help="answer what the agent asks")
    withdraw = commands.add_parser("withdraw", help="take a message back that waits")
    ls = commands.add_parser("ls", help="list your sessions, the newest last")
    show = commands.add_parser("show", help="show all about a session")
    logs = commands.add_parser("logs", help="print what the steps' commands printed")
    diff = commands.add_parser("diff", help="show what a session changed")
    publish = commands.add_parser("publish", help="commit and push a session's work")
    archive = commands.add_parser("archive", help="take the saved work away")
    open_ = commands.add_parser("open", help="show a session on the web page")
    rename = commands.add_parser("rename", help="give a session another title")
    rm = commands.add_parser("rm", help="delete sessions")
    commands.add_parser("doctor", help="find out what is wrong, and what to do about it")
    named = (
        *(follow, send, initiate, retry, stop, answer, withdraw, show, logs, diff, publish),
        *(archive, open_, rename, rm),
    )
    for command in named:
        command.add_argument("session_id", metavar="ID", type=_session_id)
    _asked(send)
    withdraw.add_argument("message_id", metavar="MESSAGE", type=_message_id)
    rename.add_argument("title", metavar="TITLE", type=_name)
    diff.add_argument("--stat", action="store_true", help="file by file only")
    publish.add_argument("--message", metavar="TEXT", help="the commit's")
    archive.add_argument(
        "folder", nargs="?", metavar="FOLDER", help="a new or empty folder (default: ./ID)"
    )
    rm.add_argument("others", nargs="*", metavar="ID", type=_session_id)
    _answer(answer)
    _list(ls)
    logs.add_argument("step", nargs="?", metavar="STEP", help="of one step only, such as setup")
    logs.add_argument(
        "--attempt", type=_positive, metavar="N", help="(default: the last with a log)"
    )
    logs.add_argument("--follow", action="store_true", help="go on until the step has ended")
    retry.add_argument(
        "--repo", metavar="REPO", help="repository to clone instead, if nothing was cloned"
    )
    retry.add_argument("--branch", help="branch to start from instead")
    retry.add_argument("--setup", action="append", metavar="CMD", help="instead of the old ones")
    retry.add_argument(
        "--without-archive", action="store_true", help="begin anew, without the saved work"
    )
    for command in (run, retry, publish):
        command.add_argument(
            "--secret",
            action="append",
            type=_secret,
            metavar="NAME[=@FILE]",
            help="secret, from the variable of that name (asked for where there is none) or a "
            "file; repeatable: all of a session's are given together, those of before are gone",
        )
    for command in (run, publish):
        command.add_argument(
            "--pull-request", action="store_true", help="open a pull request, or update it"
        )
        command.add_argument("--draft", action="store_true", help="open it as a draft")
    for command in (run, follow, send, initiate, retry, publish):
        how = command.add_mutually_exclusive_group()
        how.add_argument("--json", action="store_true", help="print events as JSON lines")
        how.add_argument(
            "--verbose", action="store_true", help="show all that the agent's tools print"
        )
    show.add_argument("--json", action="store_true", help="print it as JSON")
    return whole


def _local(commands: "argparse._SubParsersAction[Any]") -> None:
    commands.add_parser(
        "up",
        help="start an embedded cloud on this machine; sessions run as you, isolated by nothing",
        add_help=False,
    )
    demo = commands.add_parser(
        "demo",
        help="embedded cloud, one session, and away again",
        description="Start an embedded cloud, run one session in it and stop it again. What the "
        "repository brings (code, configuration of its agent) runs as you, isolated by nothing.",
    )
    demo.add_argument(
        "--repo", default="", type=_trusted, help="a repository you trust (default: the sample)"
    )
    demo.add_argument("--prompt", default="", help="what the agent is asked")
    demo.add_argument("--port", type=int, default=0, help="port of the cloud (default: a free one)")
    token = commands.add_parser("token", help="print a token for an embedded cloud, or check yours")
    token.add_argument("--check", action="store_true", help="say whose yours is, and until when")
    token.add_argument("--sub", default="demo", type=_name, help="the user's name")
    token.add_argument(
        "--group",
        action="append",
        default=[],
        type=_name,
        help="a group that the user joins, for the access rules; repeatable",
    )
    completion = commands.add_parser("completion", help="print what completes commands in a shell")
    completion.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))


def _asked(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "prompt", nargs="?", metavar="PROMPT", help="what the agent is asked; - reads a pipe"
    )
    command.add_argument("--file", type=_read, metavar="FILE", help="read it from a file")


def _run(commands: "argparse._SubParsersAction[Any]") -> argparse.ArgumentParser:
    run: argparse.ArgumentParser = commands.add_parser("run", help="create a session and follow it")
    _asked(run)
    run.add_argument(
        "--repo", help="repository: URL, or org/name on GitHub (default: this checkout's origin)"
    )
    run.add_argument("--branch", help="branch to start from")
    run.add_argument("--agent", help="agent to use")
    run.add_argument("--mode", help="the agent's mode, such as plan")
    run.add_argument("--model", help="model to use, as provider/model")
    run.add_argument(
        "--env", action="append", type=_variable, metavar="NAME=VALUE", help="variable, repeatable"
    )
    run.add_argument("--setup", action="append", metavar="CMD", help="setup command, repeatable")
    run.add_argument(
        "--setup-input",
        action="append",
        metavar="PATH",
        help="file that the setup's result depends on, such as a lock file; repeatable",
    )
    run.add_argument(
        "--prepared-tree",
        choices=["use", "refresh", "off"],
        help="whether to begin with what was prepared for an earlier session (default: use)",
    )
    run.add_argument(
        "--depth", type=_positive, metavar="N", help="commits of history (default: all)"
    )
    run.add_argument("--submodules", action="store_true", help="clone submodules too")
    run.add_argument(
        "--hold",
        action="store_true",
        help="prepare only: 0 means that the session is prepared, and its prompt not sent",
    )
    run.add_argument(
        "--auto-commit", action="store_true", help="publish the work after each turn, and wait"
    )
    return run


def _answer(answer: argparse.ArgumentParser) -> None:
    answer.add_argument("request_id", metavar="REQUEST", type=_request_id)
    one = answer.add_mutually_exclusive_group(required=True)
    one.add_argument("--reply", choices=["once", "always", "reject"], help="to a permission")
    one.add_argument(
        "--choose", action="append", metavar="LABEL", help="to a question; once for each of several"
    )
    one.add_argument("--reject", action="store_true", help="answer nothing")


def _list(ls: argparse.ArgumentParser) -> None:
    ls.add_argument("--search", metavar="WORDS", help="words of the title or the repository")
    ls.add_argument(
        "--repo",
        type=_address,
        metavar="URL",
        help="the address of the repository, as it is listed",
    )
    many = ls.add_mutually_exclusive_group()
    many.add_argument(
        "--limit", type=_positive, metavar="N", help=f"how many at most (default: {LISTED})"
    )
    many.add_argument("--all", action="store_true", help="all of them")
    ls.add_argument("--json", action="store_true", help="print sessions as JSON lines")
