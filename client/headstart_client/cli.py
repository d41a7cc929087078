"""The `headstart` command line: reads arguments, loads what the command needs and nothing else."""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO, TextIOWrapper
from pathlib import Path
from types import ModuleType
from typing import NoReturn
from urllib.parse import urlsplit

from headstart_client.sealing import too_short
from headstart_client.usage import USAGE, senseless

_UNDECODED = re.compile("[\ud800-\udfff]")
_SESSION_ID = re.compile(r"ses_\w+")
_LOCAL_HOSTS = {"127.0.0.1", "localhost", "::1"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    if isinstance(sys.stdout, TextIOWrapper):
        # What the terminal's encoding lacks is shown as "?"; a session is not left for it.
        sys.stdout.reconfigure(errors="replace")
    arguments = _texts(sys.argv[1:] if argv is None else argv)
    match arguments:
        case ["up", *rest]:
            return int(_embedded("up").main(rest))
        case ["token", *_]:
            asked = _parser().parse_args(arguments)
            groups = [word for group in asked.group for word in ("--group", group)]
            return int(_embedded("tokens").main(["--sub", asked.sub, *groups]))
        case ["demo", *_]:
            from headstart_client.demo import demo  # noqa: PLC0415 - fast start

            return demo(_parser().parse_args(arguments))
    args = _parser().parse_args(arguments)
    from headstart_client import commands  # noqa: PLC0415 - fast start
    from headstart_client.terminal import Terminal  # noqa: PLC0415 - fast start

    terminal = Terminal(json_lines=getattr(args, "json", False))
    url = os.environ.get("HEADSTART_URL", "")
    if not _is_address(url):
        wrong = "is not an address: set it" if url else "is not set: set it"
        return terminal.fail(
            f"HEADSTART_URL {wrong} to the API's, such as https://…, "
            "or start an embedded cloud with `headstart up`.",
            USAGE,
        )
    token = os.environ.get("HEADSTART_TOKEN") or _local_token(url)
    if not token:
        return terminal.fail(
            "HEADSTART_TOKEN is not set: set it to a token of the API's users.", USAGE
        )
    return commands.execute(getattr(commands, args.command), terminal, args, url, token)


def _texts(arguments: Sequence[str]) -> list[str]:
    """Return arguments as UTF-8, also where the locale's encoding is less than that."""
    try:
        # What Python could not decode it has put away as halves of characters.
        return [os.fsencode(one).decode() if _UNDECODED.search(one) else one for one in arguments]
    except UnicodeError:
        _refuse("An argument is not valid UTF-8, so nothing was done.")


def _refuse(sentence: str) -> NoReturn:
    sys.stderr.write(f"headstart: {sentence}\n")
    sys.exit(USAGE)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        complete = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return complete and parts.scheme in {"http", "https"} and url.isprintable()


def _local_token(url: str) -> str:
    if urlsplit(url).hostname not in _LOCAL_HOSTS:
        return ""
    with redirect_stdout(StringIO()) as printed:
        _embedded("tokens").main(["--sub", "demo"])
    return printed.getvalue().strip()


def _name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def _session_id(text: str) -> str:
    if not _SESSION_ID.fullmatch(text):
        raise argparse.ArgumentTypeError("must be a session's id, such as `headstart ls` lists")
    return text


def _request_id(text: str) -> str:
    # With a slash in it the address would be that of another call.
    if not text.strip() or "/" in text:
        raise argparse.ArgumentTypeError("must be the id of what the agent asks")
    return text


def _secret(text: str) -> tuple[str, str]:
    """Return a secret by name: its value never stands on the command line, where others see it."""
    name, given, source = text.partition("=")
    value = _from_file(source) if given else os.environ.get(name)
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
    try:
        value = Path(source[1:]).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise argparse.ArgumentTypeError(f"{source[1:]} can't be read: {why}") from None
    # Editors end a token's one line, too.
    return value.removesuffix("\n") if value.count("\n") == 1 else value


class _Parser(argparse.ArgumentParser):
    """Tells what is wrong in one sentence, as everything else here does."""

    def error(self, message: str) -> NoReturn:
        """Exit with it."""
        _refuse(senseless(message, self.prog))


def _embedded(module: str) -> ModuleType:
    """Return a module of the embedded cloud, which the client alone comes without."""
    try:
        return import_module(f"headstart_local.{module}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("headstart_local"):
            raise
        sys.exit("headstart: The embedded cloud is not installed: run `make setup` in a checkout.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="headstart",
        description="Start coding-agent sessions and watch them.",
        epilog="HEADSTART_URL and HEADSTART_TOKEN name the API and its user. The exit code is 0 "
        "when what was asked for is done, 1 when it failed, 2 for wrong usage, 130 after Ctrl-C.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "up",
        help="start an embedded cloud on this machine; sessions run as you, isolated by nothing",
        add_help=False,
    )
    token = commands.add_parser("token", help="print a token for an embedded cloud")
    token.add_argument("--sub", default="demo", type=_name, help="the user's name")
    token.add_argument(
        "--group",
        action="append",
        default=[],
        type=_name,
        help="a group that the user joins, for the access rules; repeatable",
    )

    demo = commands.add_parser(
        "demo",
        help="embedded cloud, one session, and away again",
        description="Start an embedded cloud, run one session in it and stop it again. What the "
        "repository brings (code, configuration of its agent) runs as you, isolated by nothing.",
    )
    demo.add_argument("--repo", default="", help="a repository you trust (default: the sample)")
    demo.add_argument("--prompt", default="", help="what the agent is asked")
    demo.add_argument("--port", type=int, default=0, help="port of the cloud (default: a free one)")

    run = _run(commands)
    follow = commands.add_parser("follow", help="show a session until it comes to rest")
    send = commands.add_parser("send", help="send a message and follow its turn")
    initiate = commands.add_parser("initiate", help="release what is held and follow it")
    retry = commands.add_parser("retry", help="prepare a failed session again")
    interrupt = commands.add_parser("interrupt", help="stop the turn, or cancel the preparation")
    answer = commands.add_parser("answer", help="answer what the agent asks")
    ls = commands.add_parser("ls", help="list your sessions")
    ls.add_argument("--json", action="store_true", help="print sessions as JSON lines")
    diff = commands.add_parser("diff", help="show what a session changed")
    diff.add_argument("--stat", action="store_true", help="file by file only")
    publish = commands.add_parser("publish", help="commit and push a session's work")
    publish.add_argument("--message", metavar="TEXT", help="the commit's")
    for command in (run, publish):
        command.add_argument(
            "--pull-request",
            action="store_true",
            help="open a pull request, or update it",
        )
        command.add_argument("--draft", action="store_true", help="open it as a draft")
    archive = commands.add_parser("archive", help="take the saved work away")
    rm = commands.add_parser("rm", help="delete a session")
    named = (follow, send, initiate, retry, interrupt, answer, diff, publish, archive, rm)
    for command in named:
        command.add_argument("session_id", metavar="ID", type=_session_id)
    send.add_argument("text", metavar="TEXT")
    answer.add_argument("request_id", metavar="REQUEST", type=_request_id)
    one = answer.add_mutually_exclusive_group(required=True)
    one.add_argument("--reply", choices=["once", "always", "reject"], help="to a permission")
    one.add_argument(
        "--choose", action="append", metavar="LABEL", help="to a question; once for each of several"
    )
    one.add_argument("--reject", action="store_true", help="answer nothing")
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
            help="secret, from the variable of that name or a file; repeatable: all of a "
            "session's are given together, those of before are gone",
        )
    archive.add_argument(
        "folder", nargs="?", metavar="FOLDER", help="a new or empty folder (default: ./ID)"
    )
    for command in (run, follow, send, initiate, retry, publish):
        command.add_argument("--json", action="store_true", help="print events as JSON lines")
    return parser


def _run(commands: "argparse._SubParsersAction[_Parser]") -> argparse.ArgumentParser:
    run = commands.add_parser("run", help="create a session and follow it")
    run.add_argument("--repo", required=True, help="repository: URL, or org/name on GitHub")
    run.add_argument("--prompt", required=True, help="what the agent is asked")
    run.add_argument("--branch", help="branch to start from")
    run.add_argument("--agent", help="agent to use")
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
    run.add_argument("--depth", type=int, metavar="N", help="commits of history (default: all)")
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


if __name__ == "__main__":
    sys.exit(main())
