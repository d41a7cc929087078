"""What is said of arguments that make no sense, whoever finds them: the parser or the API."""

import sys
from urllib.parse import urlsplit

USAGE = 2
"""The exit code for arguments and variables that nothing can be done with."""


def senseless(message: str, command: str) -> str:
    """Return the sentence that says what is wrong, and where to read what would be right."""
    return f"{message[:1].upper()}{message[1:]}; `{command} --help` says what there is."


def somebody_types() -> bool:
    """Say whether a person is there to be asked; where there is no input at all, nobody is."""
    return sys.stdin is not None and sys.stdin.isatty()


def is_address(url: str) -> bool:
    """Say whether a variable has the whole address that it is to have."""
    try:
        parts = urlsplit(url)
        complete = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return complete and parts.scheme in {"http", "https"} and url.isprintable()
