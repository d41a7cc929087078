"""The agent's export on its way into an archive: without secrets, however long it is."""

import codecs
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from headstart.domain.secrecy import SHORTEST
from headstart_runner.config import Config
from headstart_runner.redaction import RedactedStream, Redactor

_STRANGE = "the agent's session makes no sense"


def last(config: Config) -> Path:
    """Return where the last export is that was made or put back in this sandbox, if any was."""
    return config.state_dir / "session.json"


def forget(file: Path) -> None:
    """Know of no export any more."""
    file.unlink(missing_ok=True)


@contextmanager
def replaced(file: Path) -> Iterator[IO[bytes]]:
    """Open what takes the place of a file, unless the block is left by an error."""
    partial = file.with_suffix(".partial")
    try:
        with partial.open("wb") as stream:
            yield stream
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def read(config: Config, session_id: str) -> dict[str, Any] | None:
    """Return the last export; None where there is none; NotJson for one of no use."""
    file = last(config)
    if not file.is_file():
        return None
    try:
        saved: dict[str, Any] = json.loads(file.read_bytes())
    except ValueError:
        raise NotJson(_STRANGE) from None
    info = saved.get("info") if isinstance(saved, dict) else None
    if not isinstance(info, dict):
        raise NotJson(_STRANGE)
    if info.get("id") != session_id:
        raise NotJson("it is another session's")
    return saved


class Limited:
    """Passes bytes on until there are too many, or no room; a sink must not raise."""

    def __init__(self, out: IO[bytes], limit: int) -> None:
        self._out = out
        self._limit = limit
        self.bytes = 0
        self.problem: OSError | None = None

    def write(self, data: bytes) -> None:
        """Take a piece."""
        self.bytes += len(data)
        if self.bytes > self._limit or self.problem:
            return
        try:
            self._out.write(data)
        except OSError as problem:
            self.problem = problem


class NotJson(Exception):
    """The agent's export is no JSON; the words are fit for a person."""


class RedactedJson:
    """Redacts a JSON document that arrives in pieces: each string, as it was before it was quoted.

    The document stays one, and the same but for the secrets. No more of a string is held than a
    secret is long. What is seen not to be JSON is NotJson.
    """

    _STRING = re.compile(r'(?:[^"\\]+|\\u[0-9a-fA-F]{4}|\\[^u])*')
    _FIRST_HALF = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}$")
    _HALF = re.compile("[\ud800-\udfff]")

    def __init__(self, redactor: Redactor, write: Callable[[bytes], object]) -> None:
        self._redactor = redactor
        self._write = write
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._string: RedactedStream | None = None
        self._rest = ""

    def write(self, data: bytes) -> None:
        """Take a piece of the document."""
        text = self._rest + self._decoder.decode(data)
        shown, at = [], 0
        while at < len(text):
            if self._string is not None:
                quoted, at, ended = self._go_on(self._string, text, at)
                shown.append(quoted)
                if not ended:
                    break
                self._string = None
            elif (quote := text.find('"', at)) < 0:
                shown.append(text[at:])
                at = len(text)
            else:
                shown.append(text[at : quote + 1])
                at = quote + 1
                whole = self._STRING.match(text, at)
                if whole and text.startswith('"', whole.end()):
                    shown += [self._redacted(whole[0]), '"']
                    at = whole.end() + 1
                else:
                    self._string = RedactedStream(self._redactor)
        self._rest = text[at:]
        if len(self._rest) > 2 * len(r"\uffff"):
            raise NotJson(_STRANGE)
        self._write("".join(shown).encode("utf-8", "replace"))

    def _redacted(self, raw: str) -> str:
        """Return what a whole string becomes: most are far too short to hold any secret."""
        if len(raw) < SHORTEST and raw.isascii():
            return raw
        said = _unquoted(raw)
        clean = self._redactor.text(said)
        return raw if clean == said else self._quoted(clean)

    def _go_on(self, string: RedactedStream, text: str, at: int) -> tuple[str, int, bool]:
        """Return what the next part of a long string becomes, its end, and if the string's, too."""
        inside = self._STRING.match(text, at)
        assert inside is not None  # noqa: S101  (it may be empty)
        raw, end = inside[0], inside.end()
        if text.startswith('"', end):
            shown = string.feed(_unquoted(raw)) + string.finish()
            return self._quoted(shown) + '"', end + 1, True
        if half := self._FIRST_HALF.search(raw):
            raw, end = raw[: half.start()], end - len(half[0])
        return self._quoted(string.feed(_unquoted(raw))), end, False

    def close(self) -> None:
        """Take the end of the document."""
        if self._string is not None:
            raise NotJson(_STRANGE)

    def _quoted(self, text: str) -> str:
        quoted = json.dumps(text, ensure_ascii=False)[1:-1]
        return self._HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", quoted)


def _unquoted(raw: str) -> str:
    try:
        text: str = json.loads(f'"{raw}"', strict=False)
    except ValueError:
        raise NotJson(_STRANGE) from None
    return text
