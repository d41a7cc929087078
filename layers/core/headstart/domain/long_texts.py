"""Long texts: what an agent or a step said that no event holds, kept piece by piece."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeGuard

from pydantic import Field

from headstart.domain.model import OpenModel, RowModel

TEXT_BYTES = 4 * 1024 * 1024
"""Bytes of UTF-8 of one text; what comes after them is gone."""

SESSION_TEXT_BYTES = 64 * 1024 * 1024
"""Bytes of all texts of a session, those of earlier tries too; later ones are gone."""

REF = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"
"""Not of dots alone, which a client's path would not survive."""

WRITER = r"[A-Za-z0-9_.-]{1,64}"
LOGS = "log."


class LongField(NamedTuple):
    """A field that may be longer than its event, and those by which all of it is read.

    `ref` has the name of the text, `bytes` its length; the text of what is no string is its JSON.
    """

    name: str
    ref: str
    bytes: str


_TEXT, _OUTPUT, _REASON = (
    LongField(n, "textRef", "textBytes") for n in ("text", "output", "reason")
)
_INPUT = LongField("input", "inputRef", "inputBytes")

LONG_OF_PARTS = {
    "text": (_TEXT,),
    "reasoning": (_TEXT,),
    "error": (_TEXT,),
    "tool": (_INPUT, _OUTPUT),
}
"""What may be long of a part of the agent's answer, by its kind."""

LONG_OF_ERRORS = (_REASON,)
"""What may be long of the error that a turn ends with."""


def refs_in(data: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts that an event's data refers to."""
    for name in sorted({field.ref for field in (_TEXT, _INPUT)}):
        if is_ref(ref := data.get(name)):
            yield ref


def is_ref(value: Any) -> TypeGuard[str]:
    """Say whether a text can be read by a value."""
    return isinstance(value, str) and re.fullmatch(REF, value) is not None


def with_refs_alone(data: dict[str, Any]) -> dict[str, Any]:
    """Return an event's data without what is to name a text and can't: that text is gone."""
    odd = [f for f in (_TEXT, _INPUT) if f.ref in data and not is_ref(data[f.ref])]
    names = {name for field in odd for name in (field.ref, field.bytes)}
    told = {name: value for name, value in data.items() if name not in names}
    return {**told, "truncated": True} if odd else data


def log_ref(attempt_number: int, step: str) -> str:
    """Return by what the log of a step is read."""
    return f"{LOGS}{attempt_number}.{step}"


def step_of(ref: str) -> tuple[int, str] | None:
    """Return the attempt and the step of a log, None for another text."""
    number, _, step = ref.removeprefix(LOGS).partition(".")
    found = (int(number), step) if number.isdecimal() else None
    return found if found and ref == log_ref(*found) else None


class Piece(OpenModel):
    """A piece of a long text, from byte `offset` of it, and the `last` of it; no viewer is told.

    A text's pieces come in order and without a hole. `writer` is random and of one writing: another
    one, from offset 0, begins the text anew. `truncated`, on the last, says that more was to come
    and is gone.
    """

    type: Literal["text"] = "text"
    ref: str = Field(pattern=f"^{REF}$")
    writer: str = Field(pattern=f"^{WRITER}$")
    offset: int = Field(ge=0)
    text: str
    last: bool = False
    truncated: bool = False

    @property
    def is_end(self) -> bool:
        """Whether nothing is in it but that its text is over."""
        return self.last and not self.text

    def as_lost(self) -> "Piece":
        """Return what ends the text in the piece's place, truncated."""
        return self.model_copy(update={"text": "", "last": True, "truncated": True})


class Text(RowModel):
    """How a long text stands: `bytes` are there, in pieces without a hole.

    `writer` is random and of one writing; another one began it anew, and what the earlier one wrote
    is read no more. It was written in the sandbox `sandbox_id`. `ended` says that nothing is to
    come, `truncated` that something is gone.
    """

    ref: str
    writer: str = ""
    sandbox_id: str = ""
    bytes: int = 0
    ended: bool = False
    truncated: bool = False


class TextPiece(RowModel):
    """A piece of a long text, from byte `offset`."""

    ref: str
    writer: str
    offset: int
    text: str

    @property
    def end(self) -> int:
        """Where the next piece begins."""
        return self.offset + len(self.text.encode())
