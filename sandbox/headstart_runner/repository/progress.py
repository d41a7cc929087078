"""Reads `git clone --progress`: many phases on stderr become one percentage that only grows.

The phases and their order are those of git's progress.c and of the server's `remote:` lines. The
weights are rough shares of the time a large clone takes.
"""

import codecs
import re

_LINE_END = re.compile(r"[\r\n]")
_PHASE = re.compile(r"(?:remote: )?([A-Z][a-z]+ (?:objects|deltas|files)):\s+(\d{1,3})%")
_WEIGHTS = (
    ("Counting objects", 5),
    ("Compressing objects", 10),
    ("Receiving objects", 60),
    ("Resolving deltas", 15),
    ("Updating files", 10),
)
_LONGEST_LINE = 4096
_KEPT_LINES = 40


class GitProgress:
    """Feed it the raw bytes of stderr."""

    def __init__(self) -> None:
        self.percent = 0
        self.message = ""
        self.lines: list[str] = []
        """The last lines that are not progress: where git says what went wrong."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def feed(self, data: bytes) -> bool:
        """Take what came and return whether the progress changed."""
        before = (self.percent, self.message)
        *lines, self._rest = _LINE_END.split(self._rest + self._decoder.decode(data))
        for line in lines:
            self._line(line.strip())
        self._rest = self._rest[-_LONGEST_LINE:]
        return (self.percent, self.message) != before

    def finish(self) -> None:
        """Take a last line without an end."""
        self._line((self._rest + self._decoder.decode(b"", final=True)).strip())
        self._rest = ""

    def _line(self, line: str) -> None:
        match = _PHASE.match(line)
        if match is None:
            if line:
                self.lines = [*self.lines, line][-_KEPT_LINES:]
            return
        done = 0
        for phase, weight in _WEIGHTS:
            if phase == match[1]:
                percent = done + weight * min(int(match[2]), 100) // 100
                self.percent = max(self.percent, percent)
                self.message = line.removeprefix("remote: ")
                return
            done += weight
