"""The session's container task: kept or started, and noted when it stops."""

import logging
from contextlib import suppress
from functools import partial

from headstart.domain.change import Change, WorkingSet
from headstart.domain.errors import (
    AttemptSuperseded,
    SandboxStartFailed,
    SandboxStopped,
    SessionNotFound,
    StepError,
)
from headstart.domain.ids import new_id, new_secret
from headstart.domain.life import hosting, sleeping
from headstart.domain.life.progress import expected
from headstart.domain.sandbox import Sandbox, SandboxStatus, session_of
from headstart.domain.tree import tree_key
from headstart.usecases.change import change, follow
from headstart.usecases.commit import commit
from headstart.usecases.ports import Ports, SandboxSpec

_log = logging.getLogger(__name__)


def acquire_sandbox(ports: Ports, session_id: str, attempt_number: int, task_token: str) -> None:
    """Keep the session's living sandbox or start one; done when the runner's hello is accepted.

    Raises SandboxStartFailed, AttemptSuperseded.
    """
    found = ports.store.load(session_id)
    acquire = partial(
        hosting.acquire,
        attempt_number=attempt_number,
        token=task_token,
        newcomer=_newcomer(ports, found, attempt_number),
    )
    work, _ = commit(ports, session_id, acquire, found=found)
    follow(ports, work)
    sandbox = work.sandbox
    if sandbox is not None and sandbox.status is SandboxStatus.STARTING:
        _start(ports, work, sandbox)


def _newcomer(ports: Ports, found: WorkingSet, attempt_number: int) -> hosting.Newcomer:
    session, old = found.session, found.sandbox
    seen = Change(found, ports.clock(), ports.policy)
    asked = old and old.attempt_number != attempt_number and hosting.may_be_kept(seen)
    living = old.task_arn if old and old.task_arn and asked else None
    takes_part = session.recipe and not session.put_back and ports.policy.prepared_tree_life
    key = tree_key(session.recipe, ports.policy.image) if session.recipe and takes_part else None
    is_wanted = key if session.prepared_tree == "use" else None
    took, tree = ports.store.prepared_before(session.owner, session.git_url, is_wanted)
    return hosting.Newcomer(
        sandbox_id=new_id("box"),
        key=new_secret(),
        expected=expected(took, session.recipe),
        recipe=session.recipe,
        tree_key=key,
        tree=tree if tree and tree.expires_at > seen.now else None,
        living=living if living and ports.sandboxes.is_alive(living) else None,
    )


def _start(ports: Ports, work: Change, sandbox: Sandbox) -> None:
    session_id = work.session.session_id
    spec = SandboxSpec(
        name=sandbox.name(session_id),
        session_id=session_id,
        attempt_number=sandbox.attempt_number,
        try_number=sandbox.try_number,
        key=sandbox.bootstrap_key or "",
        stream_url=ports.policy.stream_url,
    )
    try:
        handle = ports.sandboxes.start(spec)
    except SandboxStartFailed as error:
        failed = partial(hosting.not_started, started=sandbox, reason=error.reason)
        change(ports, session_id, failed)
        raise
    remember = partial(hosting.remember, started=sandbox, handle=handle)
    try:
        change(ports, session_id, remember, found=work.committed())
    except (AttemptSuperseded, SessionNotFound):
        ports.sandboxes.stop(handle, "the attempt is over")
        raise


def sandbox_stopped(ports: Ports, name: str, handle: str, reason: str) -> None:
    """Take note that a task ended: its waiting step fails at once, a turn ends, a session sleeps.

    `name` is what the task was started with, `<session>-<attempt>-<try>`. A task that is not the
    session's accepted one, or a session that is gone, is none of our business.
    """
    ports.identify(session_of(name))
    note_end(ports, name, handle, SandboxStopped(reason))


def note_end(ports: Ports, name: str, handle: str, error: StepError) -> None:
    """Take note that a sandbox ended and log why: as a warning where its session needed it."""
    stopped = partial(sleeping.stopped, name=name, handle=handle, error=error)
    was_needed = False
    with suppress(SessionNotFound):
        was_needed = change(ports, session_of(name), stopped)
    level = logging.WARNING if was_needed else logging.INFO
    _log.log(level, "a sandbox stopped", extra={"task": name, "reason": error.reason})
