"""Where the commands write, for people or as JSON lines."""

import sys
from argparse import Namespace
from collections.abc import Iterable

from rich.console import Console

from headstart_client.advice import on_warning
from headstart_client.hangup import hung_up
from headstart_client.live import LiveScreen
from headstart_client.models import Warned
from headstart_client.screen import JsonScreen, LineScreen, Screen
from headstart_client.text import flat, plain
from headstart_client.usage import somebody_types
from headstart_client.verbatim import verbatim

_PIPE_WIDTH = 100_000
"""Columns of what is no terminal: who reads it breaks lines where he wants."""


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # What ends the command writes too, such as that the cloud of a demo is stopped.
        self.quiet = True
        sys.exit(hung_up())


class Terminal:
    """Standard output and error, and the session to name when a person presses Ctrl-C.

    `lasting` is False where the cloud goes away with the command: there is no coming back then.
    `command` is how another terminal reaches the same cloud; `answers` says whether somebody is
    here to be asked, `verbose` whether all that tools print is shown.
    """

    command = "headstart"

    def __init__(
        self, *, json_lines: bool = False, lasting: bool = True, verbose: bool = False
    ) -> None:
        self.out = _Console(highlight=False)
        if not self.out.is_terminal:
            self.out.width = _PIPE_WIDTH
        self.err = _Console(stderr=True, highlight=False)
        self.json_lines = json_lines
        self.lasting = lasting
        self.verbose = verbose
        self.following: str | None = None
        self.answers = not json_lines and self.out.is_terminal and somebody_types()

    def screen(self) -> Screen:
        """Return the display that suits where the output goes."""
        if self.json_lines:
            return JsonScreen(self.out)
        kind = LiveScreen if self.out.is_terminal else LineScreen
        return kind(self.out, self.command, answers=self.answers, verbose=self.verbose)

    def say(self, text: str) -> None:
        """Write a line for people: beside the data when that is JSON."""
        self._line(self.err if self.json_lines else self.out, text)

    def head(self, text: str) -> None:
        """Write the line above what belongs together."""
        self._line(self.out, text, "bold")

    def fact(self, name: str, *said: str) -> None:
        """Write a line of a table of facts."""
        verbatim(self.out, f"{name:<11}{'  '.join(map(flat, said))}".rstrip(), end="\n")

    def quote(self, text: str) -> None:
        """Write what somebody wrote, whole, below the fact that it belongs to."""
        for line in plain(text).rstrip().split("\n") if text else []:
            verbatim(self.out, f"  > {line}".rstrip(), end="\n")

    def warn(self, warnings: Iterable[Warned], args: Namespace) -> None:
        """Write what of a request should not have been sent as it was, beside the data."""
        for one in warnings:
            self._line(self.err, on_warning(one, args), "yellow")

    def data(self, line: str) -> None:
        """Write a line for programs, as it is."""
        self.out.file.write(f"{line}\n")

    def note(self, text: str) -> None:
        """Write a line that is no result: beside the data."""
        self._line(self.err, text, "dim")

    def excerpt(self, lines: Iterable[str]) -> None:
        """Write lines of somebody else's, beside the data."""
        for line in lines:
            verbatim(self.err, f"  │ {plain(line)}", end="\n")

    def item(self, mark: str, style: str, text: str) -> None:
        """Write a line of a list, with how it stands."""
        verbatim(self.out, mark, style, end=" ")
        self._line(self.out, text)

    def fail(self, sentence: str, code: int = 1) -> int:
        """Write the one sentence about a failure and return the exit code."""
        self._line(self.err, f"headstart: {sentence}", "red")
        return code

    @staticmethod
    def _line(console: Console, text: str, style: str = "") -> None:
        verbatim(console, flat(text), style, end="\n")
