"""Where the commands write, for people or as JSON lines."""

from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from headstart_client.live import LiveScreen
from headstart_client.models import Warned
from headstart_client.screen import JsonScreen, LineScreen, Screen
from headstart_client.text import flat
from headstart_client.usage import somebody_types

_PIPE_WIDTH = 100_000
"""Columns of what is no terminal: who reads it breaks lines where he wants."""


class Terminal:
    """Standard output and error, and the session to name when a person presses Ctrl-C.

    `lasting` is False where the cloud goes away with the command: there is no coming back then.
    `command` is how another terminal reaches the same cloud; `answers` says whether somebody is
    here to be asked.
    """

    command = "headstart"

    def __init__(self, *, json_lines: bool = False, lasting: bool = True) -> None:
        self.out = Console(highlight=False)
        if not self.out.is_terminal:
            self.out.width = _PIPE_WIDTH
        self.err = Console(stderr=True, highlight=False)
        self.json_lines = json_lines
        self.lasting = lasting
        self.following: str | None = None
        self.answers = not json_lines and self.out.is_terminal and somebody_types()

    def screen(self) -> Screen:
        """Return the display that suits where the output goes."""
        if self.json_lines:
            return JsonScreen(self.out)
        kind = LiveScreen if self.out.is_terminal else LineScreen
        return kind(self.out, None if self.answers else self.command)

    def say(self, text: str) -> None:
        """Write a line for people: beside the data when that is JSON."""
        console = self.err if self.json_lines else self.out
        console.print(Text(flat(text)), soft_wrap=True)

    def warn(self, warnings: Iterable[Warned]) -> None:
        """Write what of a request should not have been sent as it was, beside the data."""
        for one in warnings:
            where = ".".join(map(str, one.loc))
            self.err.print(Text(flat(f"Warning: {where} {one.msg}"), "yellow"), soft_wrap=True)

    def data(self, line: str) -> None:
        """Write a line for programs, as it is."""
        self.out.file.write(f"{line}\n")

    def note(self, text: str) -> None:
        """Write a line that is no result: beside the data."""
        self.err.print(Text(flat(text), "dim"), soft_wrap=True)

    def item(self, mark: str, style: str, text: str) -> None:
        """Write a line of a list, with how it stands."""
        self.out.print(Text(mark, style), Text(flat(text)), soft_wrap=True)

    def ask(self, text: str) -> None:
        """Begin the line that a person ends."""
        self.out.print(Text(text, "bold"), end="", soft_wrap=True)
        self.out.file.flush()

    def fail(self, sentence: str, code: int = 1) -> int:
        """Write the one sentence about a failure and return the exit code."""
        self.err.print(Text(f"headstart: {flat(sentence)}", "red"), soft_wrap=True)
        return code
