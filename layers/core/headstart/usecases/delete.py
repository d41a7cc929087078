"""Deleting: the status first, so nothing new starts; then what runs; then the rows, in slices.

An upload under way may end after the objects were deleted. So the rows stay until the sandbox has
stopped, and the janitor deletes the objects once more.
"""

import logging
from datetime import datetime, timedelta
from functools import partial

from headstart.domain.change import Change
from headstart.domain.errands import StopAttempt, StopSandbox
from headstart.domain.life import ending, saving
from headstart.usecases.change import follow
from headstart.usecases.commit import commit
from headstart.usecases.ports import Ports

_log = logging.getLogger(__name__)

DELETION_CHECK = timedelta(seconds=15)
"""When to go on with a deletion that is not done."""

STOP_PATIENCE = timedelta(minutes=5)
"""How long a sandbox may take to stop; ECS kills it after two minutes."""

_CLEAR_TIME = timedelta(seconds=10)
_SLICE_ROWS = 200


def delete_session(ports: Ports, owner: str, session_id: str) -> None:
    """Delete a session in any status; what is left the janitor removes, minutes later at most.

    Twice is harmless. Raises SessionNotFound.
    """
    work, _ = commit(ports, session_id, partial(ending.delete, owner=owner))
    _stop(ports, work)
    if not ending.is_uploading(work):
        ports.store.purge(session_id, _SLICE_ROWS)


def clear(ports: Ports, session_id: str, until: datetime) -> bool:
    """Go on with a deletion for ten seconds at most, and not after `until`; True when all went."""
    work, _ = commit(ports, session_id, ending.stop_all)
    # Asked first: what was put before its sandbox stopped is among the objects deleted then.
    waits = ending.is_uploading(work) and _may_run(ports, work)
    _stop(ports, work)
    if waits:
        return False
    until = min(until, ports.clock() + _CLEAR_TIME)
    while ports.clock() < until:
        if ports.store.purge(session_id, _SLICE_ROWS):
            return True
    return False


def _stop(ports: Ports, work: Change) -> None:
    """Stop what a deleted session still runs, and delete what lies outside of its rows."""
    follow(ports, work, (StopAttempt, StopSandbox))
    ports.objects.delete(saving.objects_of(work.session.session_id))


def _may_run(ports: Ports, work: Change) -> bool:
    """Say whether the sandbox may not have stopped yet; after five minutes it has to have."""
    if work.now - work.session.updated_at > STOP_PATIENCE:
        _log.warning("a deletion waits no longer for its sandbox to stop")
        return False
    sandbox = work.sandbox
    if sandbox is None:
        return False
    return sandbox.task_arn is None or ports.sandboxes.is_alive(sandbox.task_arn)
