"""Long texts as they come: piece after piece, each once, within their bounds."""

from collections.abc import Iterable

from headstart.domain import channel
from headstart.domain.change import Change, text_key
from headstart.domain.errands import Measure
from headstart.domain.long_texts import (
    SESSION_TEXT_BYTES,
    TEXT_BYTES,
    Piece,
    Text,
    TextPiece,
    refs_in,
)
from headstart.domain.sandbox import Sandbox, SandboxStatus


def refs_of(event: channel.RunnerEvent) -> Iterable[str]:
    """Return the texts that an event is a piece of, or refers to."""
    match event:
        case Piece():
            return [event.ref]
        case channel.AgentEvent():
            return refs_in(event.data)
        case channel.TurnEnded(error=channel.ErrorInfo() as error):
            return refs_in(error.to_json())
        case _:
            return []


def expect(change: Change, event: channel.RunnerEvent) -> None:
    """Have the texts that an event refers to be there, before any piece of them has come."""
    for ref in refs_of(event):
        if _text(change, ref) is None:
            change.save(_begun(change, ref))


def take_piece(change: Change, piece: Piece) -> None:
    """Keep a piece that follows those that are there; a hole or a bound ends the text, truncated.

    What comes twice, or of a writing that another one has followed, changes nothing.
    """
    text = _text(change, piece.ref) or _begun(change, piece.ref)
    if piece.writer != text.writer and (piece.offset == 0 or not text.writer):
        text.writer, text.sandbox_id = piece.writer, _sandbox_id(change)
        text.bytes, text.ended, text.truncated = 0, False, False
    if piece.writer != text.writer or text.ended or piece.offset < text.bytes:
        return
    size = len(piece.text.encode())
    if piece.offset > text.bytes or not _has_room(change, text, size):
        text.ended = text.truncated = True
    else:
        if size:
            row = TextPiece(
                ref=piece.ref, writer=piece.writer, offset=piece.offset, text=piece.text
            )
            change.save(row)
        text.bytes += size
        change.session.text_bytes += size
        text.ended, text.truncated = piece.last, piece.last and piece.truncated
    if text.truncated:
        change.then(Measure("TextsTruncated"))
    change.save(text)


def as_left(text: Text, sandbox: Sandbox | None) -> Text:
    """Return how a text stands, given the session's sandbox: what one that is gone was writing is
    over, and not whole."""
    is_there = (
        sandbox is not None
        and sandbox.sandbox_id == text.sandbox_id
        and sandbox.status is not SandboxStatus.STOPPED
    )
    if text.ended or is_there:
        return text
    return text.model_copy(update={"ended": True, "truncated": True})


def _text(change: Change, ref: str) -> Text | None:
    return change.get(text_key(ref), Text)


def _begun(change: Change, ref: str) -> Text:
    return Text(ref=ref, sandbox_id=_sandbox_id(change))


def _sandbox_id(change: Change) -> str:
    return change.sandbox.sandbox_id if change.sandbox else ""


def _has_room(change: Change, text: Text, size: int) -> bool:
    fits = text.bytes + size <= TEXT_BYTES
    return fits and change.session.text_bytes + size <= SESSION_TEXT_BYTES
