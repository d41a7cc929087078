"""Reading long texts, and the logs of steps, which are texts too."""

from typing import Any

from headstart.domain import cursors
from headstart.domain.change import text_key
from headstart.domain.cursors import TextPlace
from headstart.domain.errors import TextNotFound
from headstart.domain.life.writing import as_left
from headstart.domain.long_texts import LOGS, Text, is_ref, step_of
from headstart.domain.steps import StepName
from headstart.domain.views import log_view, text_view
from headstart.usecases.commit import read
from headstart.usecases.ports import Ports
from headstart.usecases.read import require_owned


def get_text(
    ports: Ports, owner: str, session_id: str, ref: str, cursor: str | None = None
) -> dict[str, Any]:
    """Return a page of a text, 1 MB of it at most, and whether more is to come.

    A cursor of a text that was begun anew since begins with it. Raises TextNotFound,
    SessionNotFound.
    """
    place = cursors.decode(cursor, TextPlace) if cursor else None
    # First how it stands, then the pieces: so what is said to be there is.
    found = read(ports, session_id, lambda _: [text_key(ref)] if is_ref(ref) else [])
    require_owned(found.session, owner)
    text = found.get(text_key(ref), Text) if is_ref(ref) else None
    if text is None:
        raise TextNotFound()
    text = as_left(text, found.sandbox)
    offset = place.offset if place and place.writer == text.writer else 0
    pieces = ports.store.text_pieces(session_id, text, offset) if text.bytes > offset else []
    end = pieces[-1].end if pieces else offset
    goes_on = not text.ended or end < text.bytes
    following = cursors.encode(TextPlace(text.writer, end)) if goes_on else None
    return text_view(text, pieces, following)


def list_logs(ports: Ports, owner: str, session_id: str) -> dict[str, Any]:
    """Return what there is of the logs of all attempts' steps, in their order.

    A sandbox says what it likes: what no attempt of this session can have written is left out.
    """
    found = read(ports, session_id)
    require_owned(found.session, owner)
    attempts = range(1, found.session.attempt_number + 1)
    order = {step.value: number for number, step in enumerate(StepName)}
    logs = [
        (*step, as_left(text, found.sandbox))
        for text in ports.store.texts(session_id, LOGS)
        if (step := step_of(text.ref)) and step[0] in attempts and step[1] in order
    ]
    logs.sort(key=lambda log: (log[0], order[log[1]]))
    return {"items": [log_view(text, number, step) for number, step, text in logs]}
