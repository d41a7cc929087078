"""Commands as frames: made from their rows each time they are sent, secrets and URLs just then."""

from datetime import datetime

from headstart.domain import channel, command_args, turns
from headstart.domain.command_kinds import CommandKind
from headstart.domain.commands import SavedWork, step_args
from headstart.domain.model import OpenModel
from headstart.domain.session import Command, Session, SessionConfig, Status
from headstart.domain.steps import StepName
from headstart.usecases.change import tell_runner
from headstart.usecases.ports import Ports

MAX_FILE_BYTES = 50 * 1024 * 1024
MAX_SNAPSHOT_BYTES = 1024 * 1024 * 1024


def frame_of(
    ports: Ports, session: Session, config: SessionConfig, row: Command
) -> channel.Command | None:
    """Return the frame of a command, None where it has become pointless."""
    match row.kind:
        case CommandKind.PROMPT:
            return _prompt(ports, session, row)
        case CommandKind.UPLOAD:
            return _upload(ports, row)
        case CommandKind.ABORT | CommandKind.INPUT | CommandKind.SNAPSHOT:
            return _control(session, row)
        case _:
            return _step(ports, session, config, row)


def _command(row: Command, args: OpenModel, setup_commands: int = 1) -> channel.Command:
    return channel.Command(
        id=row.command_id,
        kind=row.kind,
        timeout=row.kind.timeout(setup_commands),
        args=args.to_json(),
    )


def _control(session: Session, row: Command) -> channel.Command:
    match row.kind:
        case CommandKind.ABORT:
            return _command(row, command_args.AbortArgs.model_validate(row.args))
        case CommandKind.INPUT:
            return _command(row, command_args.InputArgs.model_validate(row.args))
        case CommandKind.SNAPSHOT:
            args = command_args.SnapshotArgs(
                agent=session.agent,
                session_id=session.session_id,
                max_file_bytes=MAX_FILE_BYTES,
                max_bytes=MAX_SNAPSHOT_BYTES,
            )
            return _command(row, args)
        case _:
            raise ValueError(f"{row.kind} is not sent like this")


def _upload(ports: Ports, row: Command) -> channel.Command:
    size, sha256 = int(row.args["bytes"]), str(row.args["sha256"])
    url, headers = ports.objects.presign_put(str(row.args["key"]), size, sha256)
    return _command(row, command_args.UploadArgs(sha256=sha256, url=url, headers=headers))


def _step(
    ports: Ports, session: Session, config: SessionConfig, row: Command
) -> channel.Command | None:
    if session.status is not Status.PREPARING:
        return None
    step = StepName(row.kind)
    saved = _saved_work(ports, session) if step in {StepName.CLONE, StepName.RESTORE} else None
    secrets = ports.secrets.read() if step is StepName.AGENT else None
    args = step_args(step, session, config, ports.policy, saved, secrets=secrets)
    return _command(row, args, len(config.setup_commands))


def _saved_work(ports: Ports, session: Session) -> SavedWork | None:
    snapshot = ports.store.snapshot(session.session_id)
    if snapshot is None:
        return None
    url = ports.objects.presign_get(snapshot.key)
    ref = command_args.SnapshotRef(url=url, bytes=snapshot.bytes, sha256=snapshot.sha256)
    return SavedWork(ref, snapshot.base_commit)


def _prompt(ports: Ports, session: Session, row: Command) -> channel.Command | None:
    turn = session.active_turn
    if turn is None or turn.message_number != row.message_number:
        return None
    message = ports.store.message(session.session_id, turn.message_number)
    if turns.prompt_command_id(message) != row.command_id:
        return None
    args = command_args.PromptArgs(
        session_id=session.session_id,
        message_id=message.message_id,
        turn_id=turn.turn_id,
        text=message.text,
        mode=session.mode,
        model=session.model,
    )
    return _command(row, args)


def pending_frames(
    ports: Ports, session: Session, *, before: datetime | None = None
) -> list[channel.Command]:
    """Return the frames of the commands that wait for their results: all, or the older ones."""
    rows = [
        row
        for row in ports.store.open_commands(session.session_id)
        if row.attempt_number == session.attempt_number
        and (before is None or row.created_at <= before)
    ]
    if not rows:
        return []
    config = ports.store.config(session.session_id)
    frames = (frame_of(ports, session, config, row) for row in rows)
    return [frame for frame in frames if frame]


def send_command(ports: Ports, session: Session, row: Command) -> None:
    """Send a command whose row is written, other than a step's or a prompt's.

    A runner that is away gets it with its next hello.
    """
    upload = row.kind is CommandKind.UPLOAD
    _send(ports, session, _upload(ports, row) if upload else _control(session, row))


def send_control(ports: Ports, session: Session, row: Command) -> None:
    """Send an abort, an answer or a snapshot; apart, because it needs no right to any object."""
    _send(ports, session, _control(session, row))


def send_prompt(ports: Ports, session: Session, row: Command) -> None:
    """Send the command that delivers a message; apart, because it needs no right to any object."""
    _send(ports, session, _prompt(ports, session, row))


def send_step(ports: Ports, session: Session, row: Command) -> None:
    """Send a step's command; apart, because only who may send it may read the agents' secrets."""
    config = ports.store.config(session.session_id)
    _send(ports, session, _step(ports, session, config, row))


def _send(ports: Ports, session: Session, frame: channel.Command | None) -> None:
    if frame:
        tell_runner(ports, session.session_id, [frame])
