"""What a peer sent, made fit to be judged and kept: nothing in it may hold up what follows."""

import json
import math
from typing import Any

from pydantic import ValidationError

from headstart.domain.channel import (
    RUNNER_EVENT,
    CommandResult,
    ErrorInfo,
    Report,
    RunnerEvent,
    TurnEnded,
)
from headstart.domain.errors import InternalStepError
from headstart.domain.long_texts import Piece

MAX_DEPTH = 40
"""How deep a frame may nest; what makes JSON of it again gives up at about 250."""

MAX_ID_BYTES = 512
"""How long an id may be that becomes part of a row's key, which DynamoDB ends at 1024 bytes."""

_MOST = 2**63
_SENSELESS = "The sandbox's answer makes no sense"


def parse(text: str) -> Any:
    """Return the JSON value that a peer sent, None for what is none.

    Whatever can't be stored and read back by everybody is replaced: what lies too deep, numbers
    without end, halves of surrogate pairs.
    """
    try:
        return _storable(json.loads(text), MAX_DEPTH)
    except (ValueError, RecursionError):
        return None


def _storable(value: Any, room: int) -> Any:  # noqa: PLR0911  one kind of value a line
    match value:
        case str():
            return value if value.isascii() else value.encode("utf-8", "replace").decode()
        case int():
            return value if abs(value) < _MOST else None
        case float():
            return value if math.isfinite(value) else None
        case dict() | list() if room == 0:
            return "…"
        case dict():
            return {_storable(key, 0): _storable(item, room - 1) for key, item in value.items()}
        case list():
            return [_storable(item, room - 1) for item in value]
        case _:
            return value


def read_report(frame: dict[str, Any]) -> tuple[Report, int] | None:
    """Return what is understood of a report, and how many of its items are not.

    Each item is judged for itself: a runner may be newer than we are, and one thing that it says
    must not cost the others. An end or a result that makes no sense is a failed one, and so is a
    piece of a text a hole in it. None for what is no report at all.
    """
    seq, events, results = frame.get("seq"), frame.get("events", []), frame.get("results", [])
    if type(seq) is not int or not isinstance(events, list) or not isinstance(results, list):
        return None
    known = [event for item in events if (event := _event(item))]
    answers = [result for item in results if (result := _result(item))]
    lost = len(events) + len(results) - len(known) - len(answers)
    return Report(seq=seq, events=known, results=answers), lost


def _event(item: Any) -> RunnerEvent | None:
    try:
        event = RUNNER_EVENT.validate_python(item)
    except ValidationError:
        match item:
            case {"type": "turn.ended"}:
                return _failed_turn(item.get("turnId"), item.get("messageId"))
            case {"type": "text"}:
                return _hole(item)
            case _:
                return None
    return event if _is_id(getattr(event, "request_id", "")) else None


def _failed_turn(turn_id: object, message_id: object) -> TurnEnded | None:
    if not isinstance(turn_id, str):
        return None
    return TurnEnded(turn_id=turn_id, message_id=str(message_id), error=_senseless())


def _hole(piece: dict[str, Any]) -> Piece | None:
    """Return what ends a text in the place of a piece, None where it can't be known of which."""
    of_text = {name: piece.get(name) for name in ("ref", "writer")}
    try:
        return Piece.model_validate({**of_text, "offset": _MOST, "text": ""}).as_lost()
    except ValidationError:
        return None


def _result(item: Any) -> CommandResult | None:
    command_id = item.get("commandId") if isinstance(item, dict) else None
    if not isinstance(command_id, str) or not _is_id(command_id):
        return None
    try:
        return CommandResult.model_validate(item)
    except ValidationError:
        return CommandResult(command_id=command_id, status="failed", error=_senseless())


def _senseless() -> ErrorInfo:
    return ErrorInfo.of(InternalStepError(_SENSELESS))


def _is_id(text: str) -> bool:
    return len(text.encode()) <= MAX_ID_BYTES
