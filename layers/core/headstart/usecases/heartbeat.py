"""A runner's heartbeat: what it has is compared with what it should have, and put right."""

from datetime import datetime, timedelta

from headstart.domain import channel, lifecycle, turns
from headstart.domain.connections import Connection, Standing, standing
from headstart.domain.errors import SessionNotFound
from headstart.domain.session import Command, Sandbox, Session, Status
from headstart.domain.work import Work
from headstart.usecases.change import change, hang_up, post, viewer_count
from headstart.usecases.commands import frames_of, send_command, waiting_commands
from headstart.usecases.messages import dispatch
from headstart.usecases.ports import Ports
from headstart.usecases.sleep import snapshot_row
from headstart.usecases.tasks import beat

_NAMED = 10
"""How many commands one heartbeat may name; the runner works on two at most."""

_FRAME_LIFE = timedelta(seconds=15)
"""How long a command may be on its way, to the runner and back, before it is taken for lost."""

_DELIVERY = timedelta(minutes=1)
"""How long a command's task is kept alive before the runner says that it works on it."""

_SEEN_INTERVAL = timedelta(minutes=1)
"""How often a heartbeat is written down."""


def heartbeat(ports: Ports, connection: Connection, frame: channel.Heartbeat) -> None:
    """Keep waiting tasks alive, have what was lost done, and note that the runner lives.

    Commands that should run and don't are sent again, what runs and shouldn't is cancelled, and a
    turn that the runner does not have is ended.
    """
    sandbox = ports.store.sandbox(connection.session_id)
    try:
        session = ports.store.session(connection.session_id)
    except SessionNotFound:
        session = None
    if (
        sandbox is None
        or session is None
        or session.status is Status.DELETING
        or standing(connection, sandbox) is not Standing.CURRENT
    ):
        hang_up(ports, connection)
        return
    running = frame.running[:_NAMED]
    rows = waiting_commands(ports, session)
    _keep_alive(ports, rows, running)
    _put_right(ports, connection, session, rows, running)
    _note(ports, connection, session, sandbox, frame)
    heard = channel.Heard(viewers=viewer_count(ports, session.session_id))
    post(ports, connection, channel.encode(heard))


def _keep_alive(ports: Ports, rows: list[Command], running: list[str]) -> None:
    """Beat for what is worked on, and for what may be on its way to the runner, again too.

    A frame that was lost is repeated 15 to 35 seconds later, by the first heartbeat that finds it
    old enough; by then a state that heard nothing would be close to giving up.
    """
    young = ports.clock() - _DELIVERY
    for row in rows:
        if row.command_id in running or row.created_at > young:
            beat(ports, row.tokens)


def _put_right(
    ports: Ports, connection: Connection, session: Session, rows: list[Command], running: list[str]
) -> None:
    late = ports.clock() - _FRAME_LIFE
    lost = [row for row in rows if row.created_at <= late and row.command_id not in running]
    frames = [
        *frames_of(ports, session, lost),
        *(channel.Cancel(id=name) for name in running if _is_over(session, name)),
    ]
    if frames:
        ports.metrics.count("FramesRepeated", len(frames))
        post(ports, connection, [text for frame in frames for text in channel.encode(frame)])


def _is_over(session: Session, command_id: str) -> bool:
    """Say whether a command is of an attempt, or delivers the message of a turn, that is over."""
    if turns.is_prompt(command_id):
        return session.active_turn is None or not session.active_turn.is_by(command_id)
    step = lifecycle.parse_step_command(command_id)
    current = session.status is Status.PREPARING and step and step[0] == session.attempt_number
    return step is not None and not current


def _note(
    ports: Ports,
    connection: Connection,
    session: Session,
    sandbox: Sandbox,
    frame: channel.Heartbeat,
) -> None:
    """Write down what is new: that the runner lives, has its key, or lacks its turn."""
    turn = session.active_turn
    missed = turns.is_missing(session, frame) or (turn and turn.missing_since)
    if not missed and not _is_news(sandbox, ports.clock() - _SEEN_INTERVAL):
        return

    def decide(work: Work) -> Command | None:
        known = ports.store.sandbox(connection.session_id)
        if known is None or standing(connection, known) is not Standing.CURRENT:
            return None
        if _is_news(known, work.now - _SEEN_INTERVAL):
            known.seen_at = work.now
            known.bootstrap_key = None
            work.save(known)
        return snapshot_row(work) if turns.check_turn(work, frame) else None

    work, snapshot = change(ports, connection.session_id, decide)
    if snapshot:
        ports.metrics.count("TurnsLost")
        send_command(ports, work.session, snapshot)
        dispatch(ports, connection.session_id)


def _is_news(sandbox: Sandbox, before: datetime) -> bool:
    """Say whether a heartbeat tells what is not written down.

    It comes after the welcome, so whoever sends it has the key that replaces the bootstrap key.
    """
    return sandbox.bootstrap_key is not None or sandbox.seen_at is None or sandbox.seen_at <= before
