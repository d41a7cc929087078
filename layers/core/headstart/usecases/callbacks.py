"""Callbacks on their way into the queue: after the commit, or by the janitor if that died."""

import random
from datetime import timedelta

from headstart.domain.policy import DUE_SHARDS
from headstart.usecases.ports import Ports

SEND_TIME = timedelta(seconds=5)
"""How long a run of the janitor may begin to put something in the queue."""

_PER_SHARD = 50


def send_due(ports: Ports) -> int:
    """Put in the queue what nobody came to put there, for five seconds at most; returns how much.

    The shards take turns by chance: where time runs out it is never the same ones that are left.
    What can't be sent holds up no other, and is raised in the end.
    """
    until, sent = ports.clock() + SEND_TIME, 0
    failure: Exception | None = None
    for shard in random.sample(range(DUE_SHARDS), DUE_SHARDS):
        for session_id, row in ports.store.callbacks_due(shard, ports.clock(), _PER_SHARD):
            if ports.clock() >= until:
                break
            try:
                send(ports, row.owner, session_id, tuple(row.event_ids))
                sent += 1
            except Exception as error:
                failure = error
    if failure:
        raise failure
    return sent


def send(ports: Ports, owner: str, session_id: str, event_ids: tuple[int, ...]) -> None:
    """Put the events of one change in the queue, then forget that they are to be put there.

    In this order: who dies in between has them told twice, which their ids show.
    """
    ports.callback_queue.put(owner, session_id, event_ids)
    ports.store.forget_callbacks(session_id, event_ids[-1])
