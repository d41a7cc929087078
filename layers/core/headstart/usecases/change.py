"""What follows a commit, in one place: viewers are told, errands done, replies sent."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from headstart.domain import errands
from headstart.domain.archive import Copy
from headstart.domain.change import Change, WorkingSet
from headstart.domain.connections import Role
from headstart.domain.errors import (
    ServiceUnavailable,
    SessionNotFound,
    StepError,
    TaskTokenGone,
)
from headstart.domain.life import preparing, saving, sleeping, turns, watching
from headstart.usecases import callbacks, outbox
from headstart.usecases.commit import Also, Decide, commit, nothing
from headstart.usecases.defects import log_defect
from headstart.usecases.ports import Ports
from headstart.usecases.trees import keep_tree

_log = logging.getLogger(__name__)
T = TypeVar("T")

Doer = Callable[[Ports, Change, Any], None]

AWAITED = (errands.AnswerTask,)
"""What a reply waits for: the batch that is not acknowledged asks for it again. Nothing of the
bucket's is: while that is out of reach a turn goes on."""


def change(
    ports: Ports,
    session_id: str,
    decide: Decide[T],
    also: Also = nothing,
    found: WorkingSet | None = None,
) -> T:
    """Make a change of a session, then do what must follow; as `commit` does it."""
    work, result = commit(ports, session_id, decide, also, found)
    follow(ports, work)
    return result


def follow(ports: Ports, work: Change, awaited: tuple[type[errands.Errand], ...] = AWAITED) -> None:
    """Tell the viewers, do the errands in order, and reply at last.

    Whatever goes wrong with an errand is logged and counted, since somebody does it again, except
    for those that are awaited: their failure is raised, and nothing is replied.
    """
    gone: list[str] = []
    with _best_effort(ports, "publishing"):
        gone = outbox.publish(ports, work)
    for errand in work.errands:
        if isinstance(errand, awaited):
            DOERS[type(errand)](ports, work, errand)
            continue
        with _best_effort(ports, type(errand).__name__):
            DOERS[type(errand)](ports, work, errand)
    for connection_id, frame in work.replies:
        outbox.post_frames(ports, connection_id, Role.RUNNER, [frame])
    if gone:
        with _best_effort(ports, "forgetting who is gone"):
            change(ports, work.session.session_id, partial(watching.leave_all, connection_ids=gone))
            for connection_id in gone:
                ports.store.remove_connection(connection_id)


@contextmanager
def _best_effort(ports: Ports, what: str) -> Iterator[None]:
    """Let nothing that fails after a commit make it look as if the change had not been made.

    What a viewer was not told it misses and asks for; what was not done is done by whoever
    `DOERS` names.
    """
    try:
        yield
    except SessionNotFound:
        _log.info("the session is gone: %s", what)
    except Exception as error:
        log_defect(f"{what} failed after a commit", error)
        ports.metrics.count("FollowUpsFailed")


def _send_step(ports: Ports, work: Change, errand: errands.SendStep) -> None:
    """Fail a step whose command can't be made, as if its sandbox had."""
    command = work.commands[errand.command_id]
    try:
        frame = outbox.step_frame(ports, work, command)
    except StepError as error:
        told = {"code": error.code, "reason": error.reason}
        _log.warning("a command can't be made", extra=told)
        failed = partial(preparing.not_made, command_id=command.command_id, error=error)
        change(ports, work.session.session_id, failed)
        return
    outbox.send(ports, work, frame)


def _send_prompt(ports: Ports, work: Change, errand: errands.SendPrompt) -> None:
    """Send nothing where the turn was stopped since: what was not given yet was cancelled."""
    turn = ports.store.session(work.session.session_id).active_turn
    if turn is None or not turn.is_by(errand.command_id):
        return
    frame = outbox.prompt_frame(ports, work, work.commands[errand.command_id])
    if not outbox.send(ports, work, frame) and work.sandbox:
        gone = work.sandbox.connection_id
        not_sent = partial(turns.not_sent, command_id=errand.command_id, connection_id=gone)
        change(ports, work.session.session_id, not_sent)


def _send_order(ports: Ports, work: Change, errand: errands.SendOrder) -> None:
    outbox.send(ports, work, outbox.order_frame(work, work.commands[errand.command_id]))


def _send_upload(ports: Ports, work: Change, errand: errands.SendUpload) -> None:
    outbox.send(ports, work, outbox.upload_frame(ports, work.commands[errand.command_id]))


def _send_publish(ports: Ports, work: Change, errand: errands.SendPublish) -> None:
    outbox.send(ports, work, outbox.publish_frame(ports, work, work.commands[errand.command_id]))


def _tell(ports: Ports, work: Change, errand: errands.Tell) -> None:
    outbox.send(ports, work, errand.frame)


def _answer_task(ports: Ports, _: Change, errand: errands.AnswerTask) -> None:
    for token in errand.tokens:
        try:
            if errand.code is None:
                ports.machine.succeed(token)
            else:
                ports.machine.fail(token, errand.code, errand.title)
        except TaskTokenGone:
            _log.info("the task was answered before or is over")


def _beat_task(ports: Ports, _: Change, errand: errands.BeatTask) -> None:
    for token in errand.tokens:
        try:
            ports.machine.beat(token)
        except TaskTokenGone:
            _log.info("a heartbeat came for a task that no longer waits")


def _start_attempt(ports: Ports, work: Change, errand: errands.StartAttempt) -> None:
    try:
        ports.machine.start(work.session.session_id, errand.attempt_number)
    except ServiceUnavailable:
        ports.metrics.count("StartFailed")
        raise


def _stop_attempt(ports: Ports, work: Change, errand: errands.StopAttempt) -> None:
    ports.machine.stop(work.session.session_id, errand.attempt_number, errand.reason)


def _stop_sandbox(ports: Ports, _: Change, errand: errands.StopSandbox) -> None:
    ports.sandboxes.stop(errand.handle, errand.reason)


def _close_connections(ports: Ports, _: Change, errand: errands.CloseConnections) -> None:
    def close(connection_id: str) -> None:
        ports.sockets.close(connection_id)
        ports.store.remove_connection(connection_id)

    ports.sockets.for_each(errand.connection_ids, close)


def _look_for_copy(ports: Ports, work: Change, errand: errands.LookForCopy) -> None:
    """Ask the bucket between two changes, never in the middle of one."""
    copy = Copy.model_validate(work.commands[errand.command_id].args)
    is_there = all(map(ports.objects.is_there, copy.sent))
    has_source = True
    if is_there and copy.source and copy.base and not ports.objects.is_there(copy.base):
        has_source = ports.objects.copy(copy.source, copy.base)
    name, session_id = errand.command_id, work.session.session_id
    keep = partial(sleeping.looked_for, command_id=name, is_there=is_there, has_source=has_source)
    try:
        change(ports, session_id, keep, saving.beside_a_copy, work.committed())
    except SessionNotFound:
        if copy.source and copy.base:
            ports.objects.drop(copy.base.key)
        raise


def _keep_tree(ports: Ports, _: Change, errand: errands.KeepTree) -> None:
    keep_tree(ports, errand.source, errand.tree)


def _drop_object(ports: Ports, _: Change, errand: errands.DropObject) -> None:
    ports.objects.drop(errand.key)


def _admit_next(ports: Ports, _: Change, errand: errands.AdmitNext) -> None:
    from headstart.usecases.line import admit_next  # noqa: PLC0415  it changes sessions, too

    admit_next(ports, errand.owner)


def _send_callbacks(ports: Ports, work: Change, errand: errands.SendCallbacks) -> None:
    callbacks.send(ports, work.session.owner, work.session.session_id, errand.event_ids)


def _measure(ports: Ports, _: Change, errand: errands.Measure) -> None:
    getattr(ports.metrics, errand.unit)(errand.name, errand.value, **dict(errand.dimensions))


# Who does it again, should the function die before it is done:
DOERS: dict[type[errands.Errand], Doer] = {
    errands.SendStep: _send_step,  # the next heartbeat, the next hello
    errands.SendPrompt: _send_prompt,  # the same
    errands.SendOrder: _send_order,  # the same
    errands.SendUpload: _send_upload,  # the same
    errands.SendPublish: _send_publish,  # the same
    errands.Tell: _tell,  # the next heartbeat compares what runs and who watches
    errands.AnswerTask: _answer_task,  # the batch, which is not acknowledged; the machine's retry
    errands.BeatTask: _beat_task,  # the next heartbeat
    errands.StartAttempt: _start_attempt,  # the janitor
    errands.StopAttempt: _stop_attempt,  # the janitor; its heartbeats end it
    errands.StopSandbox: _stop_sandbox,  # the janitor, as a task that nobody needs
    errands.CloseConnections: _close_connections,  # nobody: it is refused at its next frame
    errands.LookForCopy: _look_for_copy,  # the next heartbeat, the janitor
    errands.KeepTree: _keep_tree,  # nobody: the next session makes one, the bucket's rule tidies up
    errands.DropObject: _drop_object,  # the deletion of the session
    errands.SendCallbacks: _send_callbacks,  # the janitor
    errands.AdmitNext: _admit_next,  # the janitor
    errands.Measure: _measure,  # nobody
}
