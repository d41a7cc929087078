"""Heartbeats: what a runner has is compared with what it should have, and put right."""

import re
from datetime import timedelta

from headstart.domain.change import Change
from headstart.domain.channel import Cancel, Heard, Heartbeat
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errands import BeatTask, LookForCopy, Measure, Tell
from headstart.domain.life import hosting, saving, turns
from headstart.domain.session import Session, Status

FRAME_LIFE = timedelta(seconds=15)
"""How long a command may be on its way, to the runner and back, before it is taken for lost."""

_ON_ITS_WAY = timedelta(minutes=1)
"""How long a command's task is kept alive before the runner says that it works on it: a frame that
was lost is sent again 15 to 35 seconds later, when its state would be close to giving up."""

_OF_A_STEP = re.compile(r"([0-9]{1,9})\.[a-z]+\.")

_NAMED = 20
"""How many commands of one heartbeat are looked at; the runner works on three at most."""


def take_heartbeat(change: Change, connection_id: str, frame: Heartbeat) -> None:
    """Compare what the runner has with what it should have, and mend the difference.

    Its waiting tasks are beaten; what should run for a while and does not is sent again, what runs
    and should not is cancelled; a turn that two heartbeats in a row do not know is lost. Raises
    NotTheRunner.
    """
    hosting.require_runner(change, connection_id)
    hosting.is_welcomed(change)
    sandbox = change.sandbox
    if sandbox and (
        sandbox.seen_at is None or change.now - sandbox.seen_at >= hosting.SEEN_INTERVAL
    ):
        sandbox.seen_at = change.now
        change.save(sandbox)
    _send_what_is_missing(change, frame)
    _cancel_what_is_over(change, frame)
    if turns.check_turn(change, frame):
        saving.ask_for_copy(change)
    change.reply(connection_id, Heard(viewers=hosting.count_viewers(change)))


def _send_what_is_missing(change: Change, frame: Heartbeat) -> None:
    lost_frames = 0
    for command in change.commands.values():
        if command.kind is CommandKind.UPLOAD and command.answered:
            # Sent, and not seen there: who was to look has died, or the bucket was out of reach.
            change.then(LookForCopy(command.command_id))
    for command in hosting.open_commands(change):
        named = command.command_id in frame.running
        age = change.now - command.created_at
        lost = not named and age >= FRAME_LIFE
        if command.tokens and (named or age < _ON_ITS_WAY):
            change.then(BeatTask(tuple(command.tokens)))
        if lost:
            hosting.offer(change, command)
            lost_frames += 1
    if lost_frames:
        change.then(Measure("FramesRepeated", lost_frames))


def _cancel_what_is_over(change: Change, frame: Heartbeat) -> None:
    wanted = {command.command_id for command in hosting.open_commands(change)}
    for command_id in frame.running[:_NAMED]:
        if command_id not in wanted and _is_over(change.session, command_id):
            change.then(Tell(Cancel(id=command_id)))


def _is_over(session: Session, command_id: str) -> bool:
    """Say whether a command, known by its id alone, is of an attempt or a turn that is over."""
    turn = session.active_turn
    if ".prompt." in command_id:
        return turn is None or not turn.is_by(command_id)
    step = _OF_A_STEP.match(command_id)
    current = session.status is Status.PREPARING and step and step[1] == str(session.attempt_number)
    return step is not None and not current
