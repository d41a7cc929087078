"""A person's hand on a session: change, interrupt, answer, retry."""

import logging
from typing import Any

from headstart.domain import channel, command_args, lifecycle, turns
from headstart.domain.calls import Call, Effect
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errors import (
    AlreadyInitiated,
    Cancelled,
    DeliveryUnknown,
    InputNotFound,
    ServiceUnavailable,
    StaleAttempt,
    ValidationFailed,
)
from headstart.domain.ids import new_id
from headstart.domain.requests import AnswerInput, PatchSession, RetrySession
from headstart.domain.session import (
    Cause,
    Command,
    Hold,
    Message,
    MessageStatus,
    Sandbox,
    SandboxStatus,
    SessionConfig,
    Status,
    Turn,
    title_of,
)
from headstart.domain.work import Work
from headstart.usecases.change import change, tell_runner
from headstart.usecases.commands import send_control
from headstart.usecases.line import admit_next, change_or_wait
from headstart.usecases.messages import go_on, let_go_on, release, require
from headstart.usecases.ports import Ports
from headstart.usecases.sandbox import give_up, kept_for_retry, let_go
from headstart.usecases.start import start_attempt

_log = logging.getLogger(__name__)

_ABORTS = 20
"""How many times a turn may be told to stop."""


def patch_session(ports: Ports, owner: str, session_id: str, request: PatchSession) -> None:
    """Change what was asked for, before the first message is on its way.

    What a step already did is not undone. Raises AlreadyInitiated, SessionNotFound, and where
    `autoInitiate` wakes the session QuotaExceeded.
    """
    given = request.model_fields_set

    def decide(work: Work) -> bool:
        session = work.session
        require(session, owner, Call.PATCH)
        if session.initiated_at or session.active_turn:
            raise AlreadyInitiated()
        message = ports.store.message(session_id, session.next_message)
        if _may_be_delivered(message):
            raise AlreadyInitiated()
        if request.prompt is not None:
            message.text = request.prompt
            session.title = title_of(request.prompt)
            work.save(message)
        if "mode" in given:
            session.mode = request.mode or ports.policy.default_mode
        if "model" in given:
            session.model = request.model or ports.policy.default_model
        wakes = False
        if "auto_initiate" in given and request.auto_initiate is not False:
            wakes = let_go_on(ports, work, message)
        elif "auto_initiate" in given:
            session.hold = Hold.INITIATE
            message.status = MessageStatus.HELD
            work.save(message)
        config = ports.store.config(session_id)
        work.save(_changed(config, request, given))
        session.counts = config.counts()
        session.updated_at = work.now
        return wakes

    work, wakes = change_or_wait(ports, session_id, decide)
    go_on(ports, work.session, wakes=wakes)


def _may_be_delivered(message: Message) -> bool:
    return message.failure is not None and message.failure.code == DeliveryUnknown.__name__


def _changed(
    config: SessionConfig, request: PatchSession | RetrySession, given: set[str]
) -> SessionConfig:
    """Take over the given fields; null or empty clears one."""
    empty = SessionConfig()
    body = request.model_dump(include=given & set(SessionConfig.model_fields))
    for name, value in body.items():
        setattr(config, name, getattr(empty, name) if value is None else value)
    return config


def interrupt(ports: Ports, owner: str, session_id: str) -> None:
    """Stop the active turn, or cancel the preparation; harmless where nothing is active.

    The queue then waits for the next message or for initiate. Raises SessionNotFound.
    """

    def decide(work: Work) -> tuple[Effect, list[Command], Sandbox | None]:
        session = work.session
        effect = require(session, owner, Call.INTERRUPT)
        if effect is Effect.CANCEL:
            return effect, *_cancel(ports, work)
        turn = session.active_turn
        if effect is not Effect.ABORT or turn is None:
            return Effect.NOTHING, [], None
        session.hold = session.hold or Hold.PAUSED
        session.updated_at = work.now
        turn.released = False
        return effect, [_abort_row(ports, work, turn)], None

    work, (effect, rows, given_up) = change(ports, session_id, decide)
    if effect is Effect.ABORT:
        for row in rows:
            send_control(ports, work.session, row)
    elif effect is Effect.CANCEL:
        tell_runner(ports, session_id, [channel.Cancel(id=row.command_id) for row in rows])
        try:
            number = work.session.attempt_number
            ports.machine.stop(session_id, number, "the preparation was cancelled")
        except ServiceUnavailable:
            # Nothing it does counts any more, and it ends when its heartbeats do.
            _log.warning("could not stop a cancelled execution", exc_info=True)
        if given_up:
            let_go(ports, session_id, given_up, "the preparation was cancelled")
        admit_next(ports, owner)


def _abort_row(ports: Ports, work: Work, turn: Turn) -> Command:
    """Return the command that stops a turn: a new one when an earlier one did not help."""
    for number in range(1, _ABORTS + 1):
        command_id = f"{turn.turn_id}.abort.{number}"
        known = ports.store.command(work.session.session_id, command_id)
        if known and not known.answered:
            return known
        if known is None:
            break
    row = Command(
        command_id=command_id,
        kind=CommandKind.ABORT,
        attempt_number=work.session.attempt_number,
        args=command_args.AbortArgs(turn_id=turn.turn_id).to_json(),
        created_at=work.now,
    )
    work.save(row)
    return row


def _cancel(ports: Ports, work: Work) -> tuple[list[Command], Sandbox | None]:
    """Write the terminal status; returns the commands that still run, and a sandbox given up."""
    session = work.session
    error = Cancelled("The preparation was cancelled")
    attempt = ports.store.attempt(session.session_id, session.attempt_number)
    rows = [
        row
        for row in ports.store.open_commands(session.session_id)
        if row.attempt_number == attempt.number
    ]
    if session.active_turn:
        message = ports.store.message(session.session_id, session.active_turn.message_number)
        turns.lose_turn(work, message, error)
    saved = ports.store.snapshot(session.session_id) is not None
    sandbox = ports.store.sandbox(session.session_id)
    kept = kept_for_retry(sandbox, error)
    lifecycle.cancel_attempt(work, attempt, saved=saved, kept=kept)
    if (
        sandbox is None
        or sandbox.status is SandboxStatus.STOPPED
        or (kept and session.status is Status.FAILED)
    ):
        return rows, None
    give_up(work, sandbox, error.reason)
    return rows, sandbox


def retry(ports: Ports, owner: str, session_id: str, request: RetrySession) -> None:
    """Begin a new attempt of a failed session; what succeeded in a living sandbox is kept.

    Raises StaleAttempt, WrongStatus, QuotaExceeded, SessionNotFound.
    """

    def decide(work: Work) -> None:
        session = work.session
        visible = session.owner == owner and session.status is not Status.DELETING
        if visible and session.attempt_number != request.attempt_number:
            raise StaleAttempt(f"the last attempt is {session.attempt_number}")
        require(session, owner, Call.RETRY)
        given = request.model_fields_set - {"attempt_number"}
        if given:
            config = ports.store.config(session_id)
            work.save(_changed(config, request, given))
            session.counts = config.counts()
        if session.hold is Hold.PAUSED:
            release(ports, work)
        lifecycle.begin_attempt(work, Cause.RETRY)

    work, _ = change_or_wait(ports, session_id, decide)
    if work.session.waiting_since is None:
        start_attempt(ports, work.session)


def answer_input(
    ports: Ports, owner: str, session_id: str, request_id: str, request: AnswerInput
) -> dict[str, Any]:
    """Pass a person's answer to the agent; `input.resolved` tells when it has it.

    Raises InputNotFound, WrongStatus, SessionNotFound.
    """

    def decide(work: Work) -> Command:
        session = work.session
        require(session, owner, Call.ANSWER)
        # Looked for among the pending ones first: what a caller names may be too long for a key.
        pending = request_id in session.pending_inputs
        asked = ports.store.input(session_id, request_id) if pending else None
        if asked is None:
            raise InputNotFound()
        if (asked.kind == "question" and request.reply) or (
            asked.kind == "permission" and request.answers is not None
        ):
            raise ValidationFailed([{"loc": ["body"], "msg": f"does not answer a {asked.kind}"}])
        row = Command(
            command_id=f"{new_id('answer')}.input",
            kind=CommandKind.INPUT,
            attempt_number=session.attempt_number,
            args={"requestId": request_id, "answer": request.answer(asked.kind)},
            created_at=work.now,
        )
        work.save(row)
        return row

    work, row = change(ports, session_id, decide)
    send_control(ports, work.session, row)
    return {"requestId": request_id, "status": "sent"}
