"""What the emulator would keep for ever, in memory, of a cloud that runs for days."""

from collections import deque
from typing import Any

from headstart_local.patches.context import PatchContext

LOG_STREAMS = 1000
"""Of one log group; each invocation of a function has a stream of its own, of a kilobyte."""

LOG_RECORDS = 10_000
"""Lines of containers that Logs Insights can look up by their pointers."""


def newest_kept(context: PatchContext) -> None:
    """Keep the newest log streams of each group, and no list of all events ever put.

    Not a rule of AWS, which has the room: log groups there keep what they are told to.
    """
    logs, nobody_reads = context.emulator.cloudwatch_logs, deque[Any](maxlen=0)
    stock = logs._append_log_events
    context.emulator.eventbridge._events_log_list = lambda: nobody_reads

    def append(stream: dict[str, Any], events: list[dict[str, Any]]) -> None:
        stock(stream, events)
        for group in list(logs._log_groups.values()):
            _shorten(group["streams"], LOG_STREAMS)
        _shorten(logs._log_records, LOG_RECORDS)

    logs._append_log_events = append


def _shorten(kept: Any, most: int) -> None:
    """Drop the oldest entries, one at a time: several threads may be at it."""
    while len(kept) > most:
        kept.pop(next(iter(kept)), None)
