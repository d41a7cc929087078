"""What programs print for terminals, as a person reads it."""

import re

# Control sequences, control strings (to their end, or the line's), other escapes, and the rest of
# C0 and C1 (ECMA-48) but tab and newline.
CONTROL = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)

ANY_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""The first character of whatever CONTROL matches: quick to look for."""

UNFINISHED = re.compile(
    r"(?:(?:\x1b\[|\x9b)[0-?]*[ -/]*|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*\x1b?"
    r"|\x1b[ -/]*)\Z"
)
"""A sequence at the end of a text that what follows may belong to."""

_TO_THE_LEFT = re.compile(r"\r|(?:\x1b\[|\x9b)[01]?G")
"""What moves to the first column of a line."""
LINE_END = re.compile(r"(?<!\r)\r++(?=\n|\Z)")
"""The `\\r` of a line's end, however many."""

_OVERWRITTEN = re.compile(rb"(?m)^[^\n]*\r")
_LONGEST_SEQUENCE = 256


def settled(text: bytes) -> bytes:
    """Return lines without what `\\r` has overwritten in them."""
    return _OVERWRITTEN.sub(b"", text) if b"\r" in text else text


class Screen:
    """Reads what comes in pieces for a terminal: the text, without what drives one.

    Of a line that is written again and again each piece keeps the last version; a `\\r` before it
    says that it takes the place of what came of that line in earlier pieces.
    """

    def __init__(self) -> None:
        self._held = ""
        self._begun = False
        self._returned = False

    def feed(self, text: str, *, over: bool = False) -> str:
        """Return what can be told by now; all of it when the text is `over`."""
        text, self._held = self._held + text, ""
        tail = max(0, len(text) - _LONGEST_SEQUENCE)
        if not over and (unfinished := UNFINISHED.search(text, tail)):
            text, self._held = text[: unfinished.start()], text[unfinished.start() :]
        if ANY_CONTROL.search(text):
            text = CONTROL.sub(lambda m: "\r" if _TO_THE_LEFT.fullmatch(m[0]) else "", text)
        text = ("\r" if self._returned else "") + text
        # What follows says whether it begins the line again or is a part of its end.
        self._returned = not over and text.endswith("\r")
        text = LINE_END.sub("", text)
        if "\r" in text:
            first, *others = text.split("\n")
            version, again = _last_version(first)
            lines = [f"\r{version}" if again and self._begun else version]
            text = "\n".join([*lines, *(_last_version(line)[0] for line in others)])
        self._begun = not text.endswith("\n") if text else self._begun
        return text


def _last_version(line: str) -> tuple[str, bool]:
    """Return what a line says in the end, and whether that is not how it began."""
    versions = line.split("\r")
    last = max((number for number, version in enumerate(versions) if version), default=0)
    return versions[last], last > 0


def plain(text: str) -> str:
    """Return a text without escape sequences and control characters; `\\r` ends a line."""
    return CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def last_line(text: str) -> str:
    """Return the last line that says something, plain."""
    lines = (line.strip() for line in reversed(plain(text).split("\n")))
    return next((line for line in lines if line), "")
