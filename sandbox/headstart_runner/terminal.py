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

UNFINISHED = re.compile(
    r"(?:(?:\x1b\[|\x9b)[0-?]*[ -/]*|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*\x1b?"
    r"|\x1b[ -/]*)\Z"
)
"""A sequence at the end of a text that what follows may belong to."""


def plain(text: str) -> str:
    """Return a text without escape sequences and control characters; `\\r` ends a line."""
    return CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def last_line(text: str) -> str:
    """Return the last line that says something, plain."""
    lines = (line.strip() for line in reversed(plain(text).split("\n")))
    return next((line for line in lines if line), "")
