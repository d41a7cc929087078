"""What the emulator would keep for ever, in memory, of a cloud that runs for days."""

import hashlib
import json
from collections import deque
from typing import Any

from headstart_local.patches.context import PatchContext

LOG_STREAMS = 200
"""Of one log group: each task has one, and each invocation of a function."""

STREAM_LINES = 500
"""Of one log stream, 0.6 KB each."""

LOG_RECORDS = 1_000
"""Lines of containers that Logs Insights can look up by their pointers."""

CLOSED_EXECUTIONS = 100
"""Executions that are over, 20 KB each with its history."""


def newest_logs(context: PatchContext) -> None:
    """Keep the newest log streams of each group and the newest lines of each stream.

    Not a rule of AWS, which has the room: log groups there keep what they are told to.
    """
    logs = context.emulator.cloudwatch_logs
    stock = logs._append_log_events

    def append(stream: dict[str, Any], events: list[dict[str, Any]]) -> None:
        stock(stream, events)
        with logs._log_events_lock:
            del stream["events"][:-STREAM_LINES]
            for group in list(logs._log_groups.values()):
                _drop_quietest(group["streams"])
        _shorten(logs._log_records, LOG_RECORDS)

    logs._append_log_events = append


def _drop_quietest(streams: dict[str, dict[str, Any]]) -> None:
    """Drop the streams that were written to the longest ago: a task that lives on keeps its own."""
    if len(streams) <= LOG_STREAMS:
        return
    written = {n: s["lastIngestionTime"] or s["creationTime"] for n, s in list(streams.items())}
    for name in sorted(written, key=written.__getitem__)[:-LOG_STREAMS]:
        streams.pop(name, None)


def no_list_of_events(context: PatchContext) -> None:
    """Keep no list of all events ever put on a bus, which nobody can read.

    Not a rule of AWS, which has no call that shows them.
    """
    nobody_reads = deque[Any](maxlen=0)
    context.emulator.eventbridge._events_log_list = lambda: nobody_reads


def newest_executions(context: PatchContext) -> None:
    """Keep the newest of the executions that are over, and all that run.

    Not a rule of AWS, where they can be described for 90 days and their names are taken as long.
    """
    sfn = context.emulator.stepfunctions
    stock = sfn._start_execution

    def start(data: dict[str, Any]) -> Any:
        executions = sfn._executions
        over = [arn for arn, one in list(executions.items()) if one["status"] != "RUNNING"]
        for arn in over[:-CLOSED_EXECUTIONS]:
            executions.pop(arn, None)
        return stock(data)

    sfn._start_execution = start


class _Digest:  # noqa: PLW1641 - it equals dicts, which have no hash either
    """Stands for a request, and equals it: all that comparing one with a later one takes."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._digest = self._of(request)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and self._digest == self._of(other)

    @staticmethod
    def _of(request: dict[str, Any]) -> bytes:
        return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).digest()


def digests_of_transactions(context: PatchContext) -> None:
    """Know a transaction again by a digest of it, in the ten minutes that its token is good.

    Not a rule of AWS, which tells no difference: with the requests themselves each session would
    take a third of a megabyte for that time.
    """
    dynamodb = context.emulator.dynamodb
    stock = dynamodb._txn_token_store

    def store(token: str, entry: dict[str, Any]) -> None:
        stock(token, {**entry, "signature": _Digest(entry["signature"])})

    dynamodb._txn_token_store = store


def _shorten(kept: Any, most: int) -> None:
    """Drop the oldest entries, one at a time: several threads may be at it."""
    while len(kept) > most:
        kept.pop(next(iter(kept)), None)
