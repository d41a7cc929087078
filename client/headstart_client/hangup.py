"""Ending where nobody reads the output any more, as after `headstart ls | head -1`."""

import os
import sys

HANGUP = 141
"""The exit code of a program that SIGPIPE ends, which Python ignores."""


def hung_up() -> int:
    """Let go of what was not read; return the exit code."""
    # What is left in the buffer would fail again as Python exits, and be told in a traceback.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return HANGUP
