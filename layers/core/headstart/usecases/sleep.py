"""Sleep: save the work, stop the sandbox, and look at the queue once more."""

from datetime import datetime
from typing import Any

from headstart.domain import lifecycle
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errors import SnapshotFailed
from headstart.domain.ids import new_id
from headstart.domain.session import Cause, Command, Sandbox, Snapshot, Status
from headstart.domain.work import Work
from headstart.usecases.change import change
from headstart.usecases.commands import send_control
from headstart.usecases.line import admit_next, change_or_wait
from headstart.usecases.ports import Ports
from headstart.usecases.sandbox import give_up, let_go
from headstart.usecases.start import start_attempt

_SLEEPS = "the session goes to sleep"


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
            name=snapshot_of(uploaded),
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
    """End `stopping`: sleep, stop the sandbox, and wake at once if a message came meanwhile."""

    def decide(work: Work) -> tuple[bool, Sandbox | None]:
        if work.session.status is not Status.STOPPING:
            return False, None
        sandbox = ports.store.sandbox(session_id)
        if sandbox:
            give_up(work, sandbox, _SLEEPS)
        # In one change: what dies after it must not leave a session that was saved and says not.
        lifecycle.fall_asleep(work, reason, saved=saved)
        return True, sandbox

    work, (asleep, sandbox) = change(ports, session_id, decide)
    if not asleep:
        return
    if sandbox:
        let_go(ports, session_id, sandbox, _SLEEPS)
    wake_if_waiting(ports, session_id)
    admit_next(ports, work.session.owner)


def wake_if_waiting(ports: Ports, session_id: str) -> bool:
    """Wake a sleeping session whose queue is not empty: once, however many try.

    Over the quota it waits in line, whatever the deployment does with people: its message was
    accepted.
    """

    def decide(work: Work) -> bool:
        session = work.session
        if session.status is not Status.ASLEEP or session.hold or not session.queue_length:
            return False
        lifecycle.begin_attempt(work, Cause.WAKE)
        return True

    work, wakes = change_or_wait(ports, session_id, decide, always=True)
    if wakes and work.session.waiting_since is None:
        start_attempt(ports, work.session)
    return wakes
