"""Moments, told by this machine's clock."""

import re
from datetime import datetime

_MOMENT = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


def when(moment: datetime) -> str:
    """Return a moment to the minute."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M")


def timed(text: str) -> str:
    """Return the cloud's words, with the moments in them as people read them."""
    return _MOMENT.sub(lambda found: _when(found[0]), text)


def _when(text: str) -> str:
    try:
        return when(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return text
