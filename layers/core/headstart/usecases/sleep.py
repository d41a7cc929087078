"""Sleep: save the work, stop the sandbox, and look at the queue once more."""

import logging
from datetime import datetime
from typing import Any

from headstart.domain import lifecycle
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errors import QuotaExceeded, SnapshotFailed
from headstart.domain.ids import new_id
from headstart.domain.session import Cause, Command, Snapshot, Status
from headstart.domain.work import Work
from headstart.usecases.change import change
from headstart.usecases.commands import send_control
from headstart.usecases.line import admit_next, change_or_wait
from headstart.usecases.ports import Ports
from headstart.usecases.sandbox import stop_sandbox
from headstart.usecases.start import start_attempt

_log = logging.getLogger(__name__)


def begin_sleep(ports: Ports, session_id: str) -> bool:
    """Begin to put an idle session to sleep; False where it is not idle any more."""

    def decide(work: Work) -> Command | None:
        session = work.session
        idle = session.status in {Status.READY, Status.PREPARED} and not session.active_turn
        if not idle or session.can_deliver:
            return None
        lifecycle.begin_stopping(work)
        return snapshot_row(work)

    work, row = change(ports, session_id, decide)
    if row is None:
        return False
    send_control(ports, work.session, row)
    return True


def snapshot_row(work: Work) -> Command:
    """Ask for a copy of the work; the runner makes it before it takes the next prompt.

    It takes the place of a copy that was asked for before.
    """
    work.session.saving = new_id("snap")
    row = Command(
        command_id=f"{work.session.saving}.snapshot",
        kind=CommandKind.SNAPSHOT,
        snapshot=work.session.saving,
        attempt_number=work.session.attempt_number,
        created_at=work.now,
    )
    work.save(row)
    return row


def upload_row(work: Work, made: Command) -> Command | None:
    """Ask for the upload of a copy that was made; None where its answer makes no sense."""
    size, sha256 = made.output.get("bytes"), made.output.get("sha256")
    if not isinstance(size, int) or size < 0 or not isinstance(sha256, str):
        return None
    name = snapshot_of(made)
    row = Command(
        command_id=f"{name}.upload",
        kind=CommandKind.UPLOAD,
        snapshot=name,
        attempt_number=work.session.attempt_number,
        args={
            **made.output,
            "key": f"snapshots/{work.session.session_id}/{name}",
            "askedAt": made.created_at.isoformat(),
        },
        created_at=work.now,
    )
    work.save(row)
    return row


def snapshot_of(row: Command) -> str:
    """Return the name of the snapshot that a command makes or sends.

    An earlier version had it in the id alone.
    """
    return row.snapshot or row.command_id.partition(".")[0]


def keep_snapshot(ports: Ports, work: Work, uploaded: Command) -> str | None:
    """Make an uploaded copy the session's snapshot, once it is seen to be there whole.

    Returns the key of the object that is not needed any more: the one before, or this one when a
    copy that was asked for later has been faster. Raises SnapshotFailed.
    """
    args: dict[str, Any] = uploaded.args
    key, size, sha256 = str(args["key"]), int(args["bytes"]), str(args["sha256"])
    if not ports.objects.is_there(key, size, sha256):
        raise SnapshotFailed("it was said to be sent and is not there")
    asked_at = datetime.fromisoformat(str(args["askedAt"]))
    before = ports.store.snapshot(work.session.session_id)
    if before and before.created_at > asked_at:
        return key
    skipped = args.get("skipped")
    work.save(
        Snapshot(
            key=key,
            bytes=size,
            sha256=sha256,
            base_commit=args.get("baseCommit"),
            head_commit=args.get("headCommit"),
            skipped=skipped[:50] if isinstance(skipped, list) else [],
            created_at=asked_at,
        )
    )
    return before.key if before and before.key != key else None


def fall_asleep(ports: Ports, session_id: str, reason: str, *, saved: bool) -> None:
    """End `stopping`: stop the sandbox, sleep, and wake at once if a message came meanwhile."""
    session = ports.store.session(session_id)
    if session.status is not Status.STOPPING:
        return
    stop_sandbox(ports, session_id, "the session goes to sleep")

    def decide(work: Work) -> None:
        if work.session.status is Status.STOPPING:
            lifecycle.fall_asleep(work, reason, saved=saved)

    change(ports, session_id, decide)
    try:
        wake_if_waiting(ports, session_id)
    except QuotaExceeded:
        _log.info("a message waits for a place; the janitor tries again")
    admit_next(ports, session.owner)


def wake_if_waiting(ports: Ports, session_id: str) -> bool:
    """Wake a sleeping session whose queue is not empty: once, however many try.

    Raises QuotaExceeded where nobody waits in line; the session stays due and is looked at again.
    """

    def decide(work: Work) -> bool:
        session = work.session
        if session.status is not Status.ASLEEP or session.hold or not session.queue_length:
            return False
        lifecycle.begin_attempt(work, Cause.WAKE)
        return True

    work, wakes = change_or_wait(ports, session_id, decide)
    if wakes and work.session.waiting_since is None:
        start_attempt(ports, work.session)
    return wakes
