"""Untrusted text for terminals: what may be printed of it. web/text.js is the same for the page."""

import re

_SEQUENCES = (
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours and cursor movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # window titles, links, clipboard
)
_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
_UNSEEN = (
    r"\xad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufeff"
    r"\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"
)
"""What is not seen and changes what is: order of reading, width, line ends, hidden letters."""

_NOT_PLAIN = re.compile(f"{_SEQUENCES}|[{_CONTROLS}{_UNSEEN}]")
_NOT_VISIBLE = re.compile(f"[{_CONTROLS}{_UNSEEN}]")


def plain(text: str) -> str:
    """Return text without anything that drives a terminal or makes it show something else."""
    return _NOT_PLAIN.sub("", text)


def visible(text: str) -> str:
    """Return text with such characters spelled out, as `\\u202e`: for what a person is to allow.

    Nothing of it may be missing there, so whole sequences are not dropped either.
    """
    return _NOT_VISIBLE.sub(_spelled, text)


def flat(text: str) -> str:
    """Return plain text on one line, so that none of it can look like a line of ours."""
    return " ".join(plain(text).split())


def last_line(output: str) -> str:
    """Return the last line with something in it, as a terminal would show it after any \\r."""
    lines = [line for line in re.split(r"[\r\n]+", output) if plain(line).strip()]
    return plain(lines[-1]).strip() if lines else ""


def _spelled(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\u{{{code:x}}}"
