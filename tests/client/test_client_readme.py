"""The client's README against the command line: each command, option and argument, and no other."""

import argparse
import re
from pathlib import Path

from headstart_client import cli

README = (Path(__file__).parents[2] / "client" / "README.md").read_text()

ELSEWHERE = {"up"}
"""What hands its arguments on to the embedded cloud, whose document has them."""


def commands() -> dict[str, argparse.ArgumentParser]:
    [choice] = [a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(choice.choices)


def taken_by(parser: argparse.ArgumentParser) -> set[str]:
    """Return the options that a command has, and the names of its arguments."""
    taken: set[str] = set()
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction):
            taken.update(action.option_strings or [str(action.metavar)])
    return taken


def test_each_command_has_its_row_with_what_it_takes():
    rows = dict(re.findall(r"^\| `headstart (\w+)(.*)\|$", README, re.MULTILINE))
    assert set(rows) == set(commands())
    for name, parser in commands().items():
        usage = rows[name].partition("`")[0]
        named = set(re.findall(r"--[\w-]+", rows[name]))
        named |= set(re.findall(r"(?<!-)\b[A-Z]+\b", re.sub(r"--\w+ [A-Z]+", "", usage)))
        if name not in ELSEWHERE:
            assert named == taken_by(parser), name


def test_the_examples_are_understood():
    [block] = re.findall(r"```sh\n(headstart .+?)```", README, re.DOTALL)
    for line in block.splitlines():
        words = re.findall(r'"[^"]*"|[^\s"]+', line.partition(" # ")[0].replace("ses_…", "ses_1"))
        assert cli._parser().parse_args([word.strip('"') for word in words[1:]])
