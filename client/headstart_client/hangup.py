"""Ending where nobody reads the output any more, as after `headstart ls | head -1`."""

import os
import sys
from typing import TextIO

HANGUP = 141
"""The exit code of a program that SIGPIPE ends, which Python ignores."""


def hung_up() -> int:
    """Let go of what was not read; return the exit code."""
    let_go(sys.stdout)
    try:
        sys.stderr.flush()
    except OSError:
        let_go(sys.stderr)
    return HANGUP


def let_go(stream: TextIO) -> None:
    """Let what is written to a stream go nowhere, from what is still in its buffer on."""
    # That would fail again as Python exits, and be told in a traceback or by another exit code.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
