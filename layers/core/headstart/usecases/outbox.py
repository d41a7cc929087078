"""What is sent over WebSockets: events to viewers, commands and frames to the runner."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from headstart.domain import channel, command_args
from headstart.domain.archive import MOST_BYTES, Archive, Copy, StoredFile, Tree
from headstart.domain.change import (
    ARCHIVE,
    CONFIG,
    Change,
    message_key,
)
from headstart.domain.channel import BATCH_BYTES, encode
from headstart.domain.command_kinds import CommandKind
from headstart.domain.commands import publish_args, step_args
from headstart.domain.connections import Connection, Role
from headstart.domain.errors import AgentStartFailed, ConnectionGone, ServiceUnavailable
from headstart.domain.events import Event
from headstart.domain.fitting import dumps, fitting
from headstart.domain.message import Message
from headstart.domain.model import OpenModel
from headstart.domain.sandbox import Command
from headstart.domain.session import SessionConfig, Status
from headstart.domain.steps import StepName
from headstart.domain.work import Beginning
from headstart.usecases.defects import log_defect
from headstart.usecases.ports import Ports
from headstart.usecases.sealing import TOLD_SECRETS, sealed_for

_log = logging.getLogger(__name__)

MESSAGE_BYTES = 128 * 1024
"""A whole WebSocket message ("Amazon API Gateway endpoints and quotas")."""

_ENVELOPE = 1024
"""What an event and its frame add to an event's data, and more."""


# To viewers.


def publish(ports: Ports, work: Change) -> list[str]:
    """Send a change's events to every open viewer; returns the connections found to be gone.

    Those that the change sends away are told, too. Nobody's trouble is anybody else's: the change
    is made, and a viewer asks for what it missed. All have what they get when it returns, so the
    frames of the next change come after these.
    """
    if not work.events:
        return []
    frames = list(event_frames(work.events))
    sent_away = [row for row in work.gone if isinstance(row, Connection)]
    everybody = [*work.connections.values(), *sent_away]
    viewers = [who for who in everybody if who.role is Role.VIEWER and who.is_open]
    expired = [who.connection_id for who in viewers if who.expires_at <= work.now]
    watching = [who.connection_id for who in viewers if who.expires_at > work.now]
    posted = ports.sockets.for_each(watching, lambda viewer: _post(ports, viewer, frames))
    return expired + _gone(ports, Role.VIEWER, posted)


def event_frames(events: Iterable[Event]) -> Iterator[str]:
    """Return the fewest `events` frames within BATCH_BYTES that carry the events in order.

    An event too large for any frame is cut, and says so in its data: so every frame can be sent.
    """
    batch: list[str] = []
    taken = 0
    for event in events:
        text = dumps(event.to_json())
        length = len(text.encode())
        if length > MESSAGE_BYTES - _ENVELOPE:
            cut = fitting(event.data, MESSAGE_BYTES - _ENVELOPE)
            text = dumps(event.model_copy(update={"data": {**cut, "truncated": True}}).to_json())
            length = len(text.encode())
        if batch and taken + length > BATCH_BYTES:
            yield _events_frame(batch)
            batch, taken = [], 0
        batch.append(text)
        taken += length + 1
    if batch:
        yield _events_frame(batch)


def _events_frame(batch: list[str]) -> str:
    return '{"type":"events","events":[' + ",".join(batch) + "]}"


def post(ports: Ports, connection_id: str, role: Role, messages: Iterable[str]) -> bool:
    """Send messages in order, each only after the one before; False if the connection is gone."""
    return not _gone(ports, role, [_post(ports, connection_id, list(messages))])


@dataclass(frozen=True, slots=True)
class _Posted:
    """What kept a connection from taking its messages, if anything did."""

    connection_id: str
    error: Exception | None = None


def _post(ports: Ports, connection_id: str, messages: list[str]) -> _Posted:
    """Send messages in order, and nothing else: others may be posted to at the same time."""
    try:
        for message in messages:
            ports.sockets.post(connection_id, message)
    except Exception as error:
        return _Posted(connection_id, error)
    return _Posted(connection_id)


def _gone(ports: Ports, role: Role, posted: list[_Posted]) -> list[str]:
    """Count and log what became of posts; returns the connections found to be gone."""
    gone = [one.connection_id for one in posted if isinstance(one.error, ConnectionGone)]
    failed = [e for one in posted if (e := one.error) and not isinstance(e, ConnectionGone)]
    for error in failed:
        # A viewer notices the gap and asks again; a runner sends its batch again.
        log_defect("could not post to a connection", error)
    for name, count in (("GoneSockets", len(gone)), ("PostsFailed", len(failed))):
        if count:
            ports.metrics.count(name, count, Role=role.value)
    return gone


def post_frames(ports: Ports, connection_id: str, role: Role, frames: Iterable[OpenModel]) -> bool:
    """Send downward frames, the larger ones in parts."""
    return post(ports, connection_id, role, [text for frame in frames for text in encode(frame)])


# To the runner.


def send(ports: Ports, work: Change, frame: OpenModel | None) -> bool:
    """Send a frame to the session's runner; False if it is not connected, and so has nothing of it.

    What it misses its next hello asks for.
    """
    if frame is None:
        return True
    connection_id = work.sandbox.connection_id if work.sandbox else None
    return connection_id is not None and post_frames(ports, connection_id, Role.RUNNER, [frame])


def step_frame(ports: Ports, work: Change, command: Command) -> channel.Command | None:
    """Return a step's command; apart, because only who may send it may read the agents' secrets.

    Raises SecretsUnavailable, AgentStartFailed where it can't be made, ServiceUnavailable.
    """
    session = work.session
    if session.status is not Status.PREPARING or command.step is None:
        return None
    step = command.step
    names = [CONFIG] if session.is_told(step) else []
    tree = work.attempt.tree if step is StepName.CLONE else None
    names += [ARCHIVE] if step is StepName.CLONE and session.put_back else []
    found = ports.store.named(session.session_id, names) if names else {}
    known, archive = found.get(CONFIG), found.get(ARCHIVE)
    config = known if isinstance(known, SessionConfig) else SessionConfig()
    args = step_args(
        step,
        session,
        work.attempt,
        config,
        ports.policy,
        archive=_archive_ref(ports, archive) if isinstance(archive, Archive) else None,
        tree=_tree_ref(ports, tree, config) if tree else None,
        secrets=_provider_secrets(ports, step),
        sealed=sealed_for(ports, session.owner, config) if step in TOLD_SECRETS else None,
    )
    return _frame(command, args, session.counts.get("setupCommands", 1))


def _provider_secrets(ports: Ports, step: StepName) -> dict[str, str] | None:
    if step is StepName.AGENT:
        return ports.secrets.read()
    if step is not StepName.CLONE:
        return None
    try:
        return ports.secrets.read()
    except (AgentStartFailed, ServiceUnavailable):
        # The clone can do without: the agent's own step asks again, and tells what is wrong.
        _log.warning("the agent does not get ready beside the clone", exc_info=True)
        return None


def _archive_ref(ports: Ports, archive: Archive) -> command_args.ArchiveRef:
    difference = archive.difference
    return command_args.ArchiveRef(
        base=_file_ref(ports, archive.base),
        difference=_file_ref(ports, difference) if difference else None,
    )


def _tree_ref(ports: Ports, tree: Tree, config: SessionConfig) -> command_args.TreeRef:
    file = _file_ref(ports, tree.file)
    return command_args.TreeRef(
        url=file.url,
        bytes=file.bytes,
        sha256=file.sha256,
        commit=tree.commit,
        branch=tree.branch,
        inputs=config.setup_inputs,
    )


def _file_ref(ports: Ports, file: StoredFile) -> command_args.FileRef:
    url = ports.objects.presign_get(file.key)
    return command_args.FileRef(url=url, bytes=file.bytes, sha256=file.sha256)


def prompt_frame(ports: Ports, work: Change, command: Command) -> channel.Command | None:
    """Return the command that delivers a message, None where its turn is not the active one."""
    session, turn = work.session, work.session.active_turn
    if turn is None or turn.command_id != command.command_id:
        return None
    message = _message(ports, work, turn.message_number)
    args = command_args.PromptArgs(
        session_id=session.session_id,
        message_id=turn.message_id,
        turn_id=turn.turn_id,
        text=message.text,
        mode=session.mode,
        model=session.model,
    )
    return _frame(command, args)


def _message(ports: Ports, work: Change, number: int) -> Message:
    name = message_key(number)
    found = work.get(name, Message) if work.knows(name) else None
    if found is None:
        read = ports.store.named(work.session.session_id, [name])[name]
        if not isinstance(read, Message):
            raise LookupError(f"message {number} is not there")
        found = read
    return found


def order_frame(work: Change, command: Command) -> channel.Command:
    """Return a command that needs nothing else: an abort, an answer, a copy to be made."""
    match command.kind:
        case CommandKind.ABORT:
            return _frame(command, command_args.AbortArgs.model_validate(command.args))
        case CommandKind.INPUT:
            return _frame(command, command_args.InputArgs.model_validate(command.args))
        case _:
            args = command_args.ArchiveArgs(
                agent=work.session.agent,
                session_id=work.session.session_id,
                base=command.args.get("base"),
                max_bytes=MOST_BYTES,
                began=Beginning.model_validate(command.args.get("began") or {}),
            )
            return _frame(command, args)


def upload_frame(ports: Ports, command: Command) -> channel.Command:
    """Return the command that uploads a copy; each address takes exactly that content, once."""
    files = []
    for file in Copy.model_validate(command.args).sent:
        url, headers = ports.objects.presign_put(file.key, file.bytes, file.sha256)
        files.append(command_args.FileUpload(sha256=file.sha256, url=url, headers=headers))
    return _frame(command, command_args.UploadArgs(files=files))


def publish_frame(ports: Ports, work: Change, command: Command) -> channel.Command | None:
    """Return the command that publishes the work, None where that is not awaited any more."""
    session, publication = work.session, work.session.publication
    if publication is None or publication.command_id != command.command_id:
        return None
    config = ports.store.named(session.session_id, [CONFIG])[CONFIG]
    known = config if isinstance(config, SessionConfig) else SessionConfig()
    return _frame(command, publish_args(session, publication, known, ports.policy))


def _frame(command: Command, args: OpenModel, setup_commands: int = 1) -> channel.Command:
    return channel.Command(
        id=command.command_id,
        kind=command.kind,
        timeout=command.kind.timeout(setup_commands),
        args=args.to_json(),
    )
