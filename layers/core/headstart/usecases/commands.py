"""Commands as frames: made from their rows each time they are sent, secrets and URLs just then."""

from datetime import datetime

from headstart.domain import channel, command_args, turns
from headstart.domain.commands import SavedWork, step_args, step_timeout
from headstart.domain.model import OpenModel
from headstart.domain.session import CommandRow, Session, SessionConfig, Status
from headstart.domain.steps import STEP_BY_NAME, StepName
from headstart.usecases.change import tell_runner
from headstart.usecases.ports import Ports

CONTROL_TIMEOUT = 30
"""Seconds an abort or an answer may take."""

SAVE_TIMEOUT = 120
"""Seconds making or sending a snapshot may take."""

MAX_FILE_BYTES = 50 * 1024 * 1024
MAX_SNAPSHOT_BYTES = 1024 * 1024 * 1024

_STEP_KINDS = {step.value for step in STEP_BY_NAME}


def frame_of(
    ports: Ports, session: Session, config: SessionConfig, row: CommandRow
) -> channel.Command | None:
    """Return the frame of a command, None where it has become pointless."""
    if row.kind in _STEP_KINDS:
        return _step(ports, session, config, row)
    if row.kind == "upload":
        return _upload(ports, row)
    return _other(ports, session, row)


def _upload(ports: Ports, row: CommandRow) -> channel.Command:
    size, sha256 = int(row.args["bytes"]), str(row.args["sha256"])
    url, headers = ports.objects.presign_put(str(row.args["key"]), size, sha256)
    args = command_args.UploadArgs(sha256=sha256, url=url, headers=headers)
    return _command(row, SAVE_TIMEOUT, args)


def _other(ports: Ports, session: Session, row: CommandRow) -> channel.Command | None:
    if row.kind == "prompt":
        return _prompt(ports, session, row)
    timeout = CONTROL_TIMEOUT if row.kind in {"abort", "input"} else SAVE_TIMEOUT
    return _command(row, timeout, _control_args(session, row))


def _command(row: CommandRow, timeout: int, args: OpenModel) -> channel.Command:
    return channel.Command.model_validate(
        {"id": row.command_id, "kind": row.kind, "timeout": timeout, "args": args.to_json()}
    )


def _control_args(session: Session, row: CommandRow) -> OpenModel:
    match row.kind:
        case "abort":
            return command_args.AbortArgs.model_validate(row.args)
        case "input":
            return command_args.InputArgs.model_validate(row.args)
        case "snapshot":
            return command_args.SnapshotArgs(
                agent=session.agent,
                session_id=session.session_id,
                max_file_bytes=MAX_FILE_BYTES,
                max_bytes=MAX_SNAPSHOT_BYTES,
            )
        case _:
            raise ValueError(f"no command is of kind {row.kind}")


def _step(
    ports: Ports, session: Session, config: SessionConfig, row: CommandRow
) -> channel.Command | None:
    if session.status is not Status.PREPARING:
        return None
    step = StepName(row.kind)
    saved = _saved_work(ports, session) if step in {StepName.CLONE, StepName.RESTORE} else None
    secrets = ports.secrets.read() if step is StepName.AGENT else None
    args = step_args(step, session, config, ports.policy, saved, secrets=secrets)
    return _command(row, step_timeout(step, len(config.setup_commands)), args)


def _saved_work(ports: Ports, session: Session) -> SavedWork | None:
    snapshot = ports.store.snapshot(session.session_id)
    if snapshot is None:
        return None
    url = ports.objects.presign_get(snapshot.key)
    ref = command_args.SnapshotRef(url=url, bytes=snapshot.bytes, sha256=snapshot.sha256)
    return SavedWork(ref, snapshot.base_commit)


def _prompt(ports: Ports, session: Session, row: CommandRow) -> channel.Command | None:
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
    return _command(row, step_timeout(StepName.DELIVER), args)


def pending_frames(
    ports: Ports, session: Session, *, before: datetime | None = None
) -> list[channel.Command]:
    """Return the frames of the commands that wait for their results: all, or the older ones."""
    rows = [
        row
        for row in ports.store.commands(session.session_id)
        if not row.answered
        and row.attempt_number == session.attempt_number
        and (before is None or row.created_at <= before)
    ]
    if not rows:
        return []
    config = ports.store.config(session.session_id)
    frames = (frame_of(ports, session, config, row) for row in rows)
    return [frame for frame in frames if frame]


def send_command(ports: Ports, session: Session, row: CommandRow) -> None:
    """Send a command whose row is written, other than a step's, a prompt's or an upload's.

    A runner that is away gets it with its next hello.
    """
    _send(ports, session, _other(ports, session, row))


def send_saving(ports: Ports, session: Session, row: CommandRow) -> None:
    """Send a command that saves the work; apart, because only who may send it may write objects."""
    upload = row.kind == "upload"
    _send(ports, session, _upload(ports, row) if upload else _other(ports, session, row))


def send_prompt(ports: Ports, session: Session, row: CommandRow) -> None:
    """Send the command that delivers a message; apart, because it needs no right to any object."""
    _send(ports, session, _prompt(ports, session, row))


def send_step(ports: Ports, session: Session, row: CommandRow) -> None:
    """Send a step's command; apart, because only who may send it may read the agents' secrets."""
    config = ports.store.config(session.session_id)
    _send(ports, session, _step(ports, session, config, row))


def _send(ports: Ports, session: Session, frame: channel.Command | None) -> None:
    if frame:
        tell_runner(ports, session.session_id, [frame])
