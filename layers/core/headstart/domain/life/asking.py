"""What the agent asks, and what a person answers: the first answer counts."""

from typing import Any

from headstart.domain import channel, events
from headstart.domain.calls import Call, require
from headstart.domain.change import Change, input_key
from headstart.domain.command_kinds import CommandKind
from headstart.domain.errands import SendOrder
from headstart.domain.errors import (
    InputGone,
    InputNotFound,
    StepError,
    ValidationFailed,
    WrongStatus,
)
from headstart.domain.fitting import fitting
from headstart.domain.message import Input
from headstart.domain.requests import AnswerInput
from headstart.domain.sandbox import Command

MAX_PENDING_INPUTS = 20


def ask(change: Change, event: channel.InputRequested) -> bool:
    """Keep what the agent asks; False for more than a person could ever answer."""
    pending = change.session.pending_inputs
    if event.request_id not in pending:
        if len(pending) >= MAX_PENDING_INPUTS:
            return False
        pending.append(event.request_id)
    known = _input(change, event.request_id)
    if known is not None and known.outcome is None:
        known.body = event.body
        if answering(change, event.request_id) is None:
            known.answer = None  # it asks again: what it was told did not reach it
        change.save(known)
        return True
    change.save(
        Input(
            request_id=event.request_id,
            turn_id=event.turn_id,
            kind=event.kind,
            body=event.body,
            created_at=change.now,
        )
    )
    return True


def answer(change: Change, *, owner: str, request_id: str, request: AnswerInput) -> None:
    """Pass a person's answer on to the agent; one that is on its way already is sent again.

    Raises WrongStatus for another answer than the one that was given.
    """
    require(change.session, owner, Call.ANSWER)
    # Looked for among the pending ones first: what a caller names may be too long for a key.
    pending = request_id in change.session.pending_inputs
    asked = change.get(input_key(request_id), Input) if pending else None
    if asked is None:
        raise InputNotFound()
    if (asked.kind == "question" and request.reply) or (
        asked.kind == "permission" and request.answers is not None
    ):
        raise ValidationFailed([{"loc": ["body"], "msg": f"does not answer a {asked.kind}"}])
    questions = asked.body.get("questions")
    if request.answers is not None and isinstance(questions, list):
        _check_count(request.answers, questions)
    given = request.answer(asked.kind)
    command = answering(change, request_id)
    before = command.args.get("answer") if command else asked.answer
    if before is None:
        asked.answer = given
        change.save(asked)
        command = Command(
            command_id=f"{change.new_id('answer')}.input",
            kind=CommandKind.INPUT,
            attempt_number=change.session.attempt_number,
            args={"requestId": request_id, "answer": given},
            created_at=change.now,
        )
        change.save(command)
    elif before != given:
        raise WrongStatus("another answer was given before")
    if command:
        change.then(SendOrder(command.command_id))


def _check_count(answers: list[Any], questions: list[Any]) -> None:
    if len(answers) != len(questions):
        message = f"must be one for each question: {len(questions)}"
        raise ValidationFailed([{"loc": ["body", "answers"], "msg": message}])


def answering(change: Change, request_id: str) -> Command | None:
    """Return the command by which an answer is on its way to the agent."""
    on_their_way = (c for c in change.commands.values() if c.kind is CommandKind.INPUT)
    return next(
        (c for c in on_their_way if not c.answered and c.args.get("requestId") == request_id), None
    )


def _input(change: Change, request_id: str) -> Input | None:
    name = input_key(request_id)
    return change.get(name, Input) if change.knows(name) else None


def resolve(change: Change, request_id: str, outcome: str) -> None:
    asked = _input(change, request_id)
    if asked is None or asked.outcome:
        return
    asked.outcome = outcome
    change.save(asked)
    if request_id in change.session.pending_inputs:
        change.session.pending_inputs.remove(request_id)
    said = asked.answer if outcome == "answered" else None
    resolved = events.InputResolved(
        request_id=request_id,
        outcome=outcome,
        answer=fitting(said or {}, events.TEXT_LIMIT) or None,
    )
    change.emit(resolved, asked.turn_id)


def answer_failed(change: Change, request_id: str, error: StepError) -> None:
    """Let what the agent asks be answered again, unless it wants no answer any more."""
    if isinstance(error, InputGone):
        resolve(change, request_id, "withdrawn")
    elif asked := _input(change, request_id):
        asked.answer = None
        change.save(asked)
