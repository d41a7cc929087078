"""What one process prints, line by line, for a log that people read."""

import codecs
from collections.abc import Callable

from headstart_runner.terminal import Screen

_LINE_CHARACTERS = 64 * 1024
"""How much of a line is waited for; of a longer one its end comes as a line of its own."""


class Printed:
    """Passes on whole lines, each as it is in the end; before the first of them, a title.

    `true` is what each of them is put through.
    """

    def __init__(
        self, say: Callable[[str], None], title: str, true: Callable[[str], str] = str
    ) -> None:
        self._say = say
        self._title = title
        self._true = true
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, data: bytes) -> None:
        """Take what was printed."""
        self._held += self._decoder.decode(data)
        lines, end, rest = self._held.rpartition("\n")
        if len(rest) > _LINE_CHARACTERS:
            lines, end, rest = self._held, "\n", ""
        self._held = rest
        self._pass_on(lines + end)

    def finish(self) -> None:
        """Take the end of it."""
        rest, self._held = self._held + self._decoder.decode(b"", final=True), ""
        if rest:
            self._pass_on(f"{rest}\n")

    def _pass_on(self, lines: str) -> None:
        if not lines:
            return
        if self._title:
            self._say(f"{self._title}\n")
            self._title = ""
        self._say(Screen().feed(self._true(lines), over=True))
