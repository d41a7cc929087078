"""A sandbox that must stop within seconds: its work is saved first, and its session sleeps."""

from headstart.domain import channel, lifecycle, turns
from headstart.domain.connections import Connection, Standing, standing
from headstart.domain.errors import DeliveryUnknown, SessionNotFound
from headstart.domain.session import Command, Sandbox, SandboxStatus, Status
from headstart.domain.work import Work
from headstart.usecases.change import change, hang_up, post
from headstart.usecases.commands import frames_of, waiting_commands
from headstart.usecases.ports import Ports
from headstart.usecases.sleep import snapshot_row

_SAVING = {"snapshot", "upload"}
_IDLE = {Status.READY, Status.PREPARED}


def leaving(ports: Ports, connection: Connection, frame: channel.Leaving) -> None:
    """Have the work saved of a sandbox that must stop.

    One that has nothing to save, or whose work nobody would wait for, is let go at once.
    """
    session_id = connection.session_id

    def decide(work: Work) -> tuple[Standing, bool]:
        session = work.session
        sandbox = ports.store.sandbox(session_id)
        place = standing(connection, sandbox)
        if sandbox is None or place is not Standing.CURRENT:
            return place, False
        if sandbox.status is SandboxStatus.STOPPED or session.status is Status.DELETING:
            return place, False
        _judge_delivery(ports, work, frame)
        if session.status in _IDLE:
            begin_leaving(work, sandbox)
        return place, session.status is Status.STOPPING and session.saving is not None

    try:
        work, (place, stays) = change(ports, session_id, decide)
    except SessionNotFound:
        post(ports, connection, channel.encode(channel.Leave()))
        return
    if place is not Standing.CURRENT:
        hang_up(ports, connection)
        return
    if not stays:
        post(ports, connection, channel.encode(channel.Leave()))
        return
    ports.metrics.count("SandboxesLeaving")
    rows = [row for row in waiting_commands(ports, work.session) if row.kind in _SAVING]
    saving = frames_of(ports, work.session, rows)
    post(ports, connection, [text for command in saving for text in channel.encode(command)])


def _judge_delivery(ports: Ports, work: Work, frame: channel.Leaving) -> None:
    """Decide about a message on its way: back into the queue only where it certainly stayed out.

    In a preparation one that may have arrived waits for the sandbox's end, like all else of it.
    """
    turn = work.session.active_turn
    if turn is None or turn.started_at:
        return
    message = ports.store.message(work.session.session_id, turn.message_number)
    if frame.delivering is not None and not any(map(turn.is_by, frame.delivering)):
        turns.unclaim_message(work, message)
    elif work.session.status in _IDLE:
        error = DeliveryUnknown("The sandbox had to stop while the message was delivered")
        turns.refuse_message(work, message, error)


def begin_leaving(work: Work, sandbox: Sandbox) -> Command | None:
    """Begin to stop: have the work saved; the copy that is being made already will do."""
    lifecycle.begin_stopping(work)
    sandbox.stopped_reason = "The sandbox had to stop"
    work.save(sandbox)
    return snapshot_row(work) if work.session.saving is None else None
