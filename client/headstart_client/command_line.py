"""What comes of a command line: loads what the command needs and nothing else."""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from io import TextIOWrapper

from headstart_client import embedded
from headstart_client.arguments import parser, prompt_of, texts
from headstart_client.tokens import bare
from headstart_client.usage import USAGE, is_address


def run(argv: Sequence[str]) -> int:
    """Run one command to its exit code."""
    if isinstance(sys.stdout, TextIOWrapper):
        # What the terminal's encoding lacks is shown as "?"; a session is not left for it.
        sys.stdout.reconfigure(errors="replace")
    if "_ARGCOMPLETE" in os.environ:
        from headstart_client.completing import complete  # noqa: PLC0415 - asked by a shell

        complete(parser())
    arguments = texts(argv)
    if arguments[:1] == ["up"]:
        return int(embedded.part("up").main(arguments[1:]))
    args = parser().parse_args(arguments)
    match args.command:
        case "demo":
            embedded.part("up")
            from headstart_client.demo import demo  # noqa: PLC0415 - fast start

            return demo(args)
        case "completion":
            from argcomplete.shell_integration import shellcode  # noqa: PLC0415 - fast start

            sys.stdout.write(shellcode(["headstart"], use_defaults=False, shell=args.shell))
            return 0
        case "token" if not args.check:
            groups = [word for group in args.group for word in ("--group", group)]
            return int(embedded.part("tokens").main(["--sub", args.sub, *groups]))
        case "run" | "send":
            args.prompt = prompt_of(args)
    return _on_the_api(args)


def _on_the_api(args: Namespace) -> int:
    from headstart_client import commands  # noqa: PLC0415 - fast start
    from headstart_client.advice import NO_USER  # noqa: PLC0415 - fast start
    from headstart_client.terminal import Terminal  # noqa: PLC0415 - fast start

    terminal = Terminal(
        json_lines=getattr(args, "json", False), verbose=getattr(args, "verbose", False)
    )
    url, token = (os.environ.get(f"HEADSTART_{name}", "").strip() for name in ("URL", "TOKEN"))
    token = bare(token)
    if args.command == "token":
        return commands.check_token(terminal, token)
    if not is_address(url):
        wrong = "is not an address: set it" if url else "is not set: set it"
        return terminal.fail(
            f"HEADSTART_URL {wrong} to the API's, such as https://…, "
            "or start an embedded cloud with `headstart up`.",
            USAGE,
        )
    if not token:
        token, why = embedded.token(url)
        if not token:
            return terminal.fail(why or NO_USER, 1 if why else USAGE)
    return commands.execute(commands.COMMANDS[args.command], terminal, args, url, token)
