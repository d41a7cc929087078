"""Keeping secrets out of everything that leaves the runner.

A secret is looked for as it is, line by line, and in its JSON, URL and base64 forms, as the usual
libraries write them: JSON with and without a backslash before `/`, URL escapes all in upper or all
in lower case, base64 whatever blanks and line ends it is wrapped and indented with.
What is a secret is said in secrecy.py.
"""

import base64
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

from headstart_runner.secrecy import SHORTEST, lines_of, secrets_in

REDACTED = "[redacted]"
_MOST_PASSING = 32
_ESCAPE = re.compile(r"%[0-9A-F]{2}")
_LEFT_ALONE = ("", "/", "!*'()", "!*'();,/?:@&=+$#")
"""What is not escaped in a URL: by nobody, by Python, by encodeURIComponent, by encodeURI."""
_FIXED = {"type", "status", "commandId", "turnId", "messageId"}
"""Fields of frames whose values are the protocol's own."""


def _plain_forms(secret: str) -> Iterator[str]:
    for text in (secret, secret.strip()):
        raw = text.encode("utf-8", "replace")
        yield text
        for quoted in (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
            yield quoted
            yield quoted.replace("/", r"\/")
        for escaped in (quote_plus(raw), *(quote(raw, safe) for safe in _LEFT_ALONE)):
            yield escaped
            yield _ESCAPE.sub(lambda escape: escape[0].lower(), escaped)


def _base64_forms(secret: str) -> Iterator[str]:
    # Inside a longer base64 text the secret starts at any of three offsets; what its neighbours
    # can change at either edge is left out.
    for raw in {text.encode("utf-8", "replace") for text in (secret, secret.strip())}:
        for before in range(3):
            coded = base64.b64encode(b"\0" * before + raw).decode()
            inner = coded[(0, 2, 3)[before] :].rstrip("=")
            inner = inner[:-1] if (before + len(raw)) % 3 else inner
            yield inner
            yield inner.replace("+", "-").replace("/", "_")


class _Forms:
    """Texts to be found, by their first 8 characters: a look takes as long however many there are.

    Thousands of them, as of long keys line by line, are too many for one regular expression.
    """

    def __init__(self) -> None:
        self._by_head: dict[str, list[str]] = {}
        self._beginnings: set[str] = set()
        self._few_characters: list[str] = []
        self._characters: list[set[str]] = [set() for _ in range(SHORTEST)]
        self._maybe: re.Pattern[str] | None = None
        self.longest = 0

    def add(self, forms: Iterable[str]) -> None:
        for form in {form for form in forms if _bytes(form) >= SHORTEST}:
            known = self._by_head.setdefault(form[:SHORTEST], [])
            if form not in known:
                known.append(form)
                known.sort(key=len, reverse=True)
                self._beginnings |= {form[:end] for end in range(1, min(SHORTEST, len(form)))}
                self.longest = max(self.longest, len(form))
                if len(form) < SHORTEST:
                    self._few_characters.append(form)
                else:
                    for characters, character in zip(self._characters, form, strict=False):
                        characters.add(character)
                self._maybe = None

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where the texts are, for each beginning the longest."""
        for place in self._looked_at().finditer(text) if self._by_head else ():
            start = place.start()
            for form in self._by_head.get(text[start : start + SHORTEST], ()):
                if text.startswith(form, start):
                    yield start, start + len(form)
                    break
        for form in self._few_characters:
            start = text.find(form)
            while start >= 0:
                yield start, start + len(form)
                start = text.find(form, start + 1)

    def _looked_at(self) -> re.Pattern[str]:
        """Return what finds the few places where each character may be of some beginning."""
        if self._maybe is None:
            classes = ("".join(map(re.escape, sorted(c))) for c in self._characters)
            pattern = "".join(f"[{c}]" if c else r"[^\s\S]" for c in classes)
            self._maybe = re.compile(f"(?={pattern})")
        return self._maybe

    def begun(self, text: str) -> Iterator[int]:
        """Yield where at the end of a text one may have begun."""
        for start in range(max(0, len(text) - self.longest + 1), len(text)):
            tail = text[start : start + SHORTEST]
            if tail in self._beginnings or any(
                form.startswith(text[start:]) for form in self._by_head.get(tail, ())
            ):
                yield start


class Redactor:
    """Replaces the secrets it was told about."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._passing: deque[str] = deque(maxlen=_MOST_PASSING)
        self._plain = _Forms()
        self._coded = _Forms()

    def add(self, *secrets: str) -> None:
        """Know these secrets from now on."""
        lines = {line for secret in secrets for line in (secret, *lines_of(secret))}
        for secret in lines:
            if secret not in self._secrets and _bytes(secret.strip()) >= SHORTEST:
                self._secrets.add(secret)
                self._learn(secret)

    def add_passing(self, *secrets: str) -> None:
        """Know these secrets for as long as no 32 later ones of their kind have come."""
        for secret in secrets:
            if len(self._passing) == _MOST_PASSING:
                self._plain, self._coded = _Forms(), _Forms()
                for known in (*self._secrets, *[*self._passing][1:]):
                    self._learn(known)
            self._passing.append(secret)
            self._learn(secret)

    def add_settings(self, settings: Any) -> None:
        """Know what is secret in variables, headers or settings, however nested."""
        self.add(*secrets_in(settings))

    def _learn(self, secret: str) -> None:
        self._plain.add(_plain_forms(secret))
        self._coded.add(_base64_forms(secret))

    def text(self, text: str) -> str:
        """Return a whole text without the secrets."""
        return self.part(text, 0, over=True)[0]

    def value(self, value: Any) -> Any:
        """Return a JSON value without the secrets, in keys neither."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key): self.value(item) for key, item in value.items()}
        return value

    def frame(self, frame: dict[str, Any]) -> dict[str, Any]:
        """Return a frame or a log line without the secrets; its own fields keep their names."""
        return {
            name: value if name in _FIXED else self.value(value) for name, value in frame.items()
        }

    def part(self, text: str, told: int, *, over: bool) -> tuple[str, str, int]:
        """Return what can be shown of an unfinished text, the rest, and what of that was told.

        Of `text` the first `told` characters are of a secret that was shown as such before.
        Nothing that may yet become a secret is shown, unless the text is `over`.
        """
        spans, end = self._spans(text), len(text) if over else self._settled(text)
        shown, at = [], told
        for start, stop in spans:
            if start >= end:
                break
            if start >= at:
                shown += [text[at:start], REDACTED]
            at = max(at, stop)
        shown.append(text[at:end])
        return "".join(shown), text[end:], max(0, at - end)

    def _spans(self, text: str) -> list[tuple[int, int]]:
        spans = [*self._plain.find(text)]
        dense = _dense(text)
        if found := [*self._coded.find(dense)]:
            places = _places(text, dense)
            wrapped = ((places[start], places[stop - 1] + 1) for start, stop in found)
            spans += [span for span in wrapped if span[1] - span[0] <= self._widest]
        return sorted(spans)

    def _settled(self, text: str) -> int:
        """Return up to where nothing has begun that may become a secret."""
        begun = [*self._plain.begun(text)][:1]
        before = max(0, len(text) - self._widest + 1)
        dense = _dense(tail := text[before:])
        if found := [*self._coded.begun(dense)]:
            begun.append(before + _places(tail, dense)[found[0]])
        return min(begun, default=len(text))

    @property
    def _widest(self) -> int:
        """How many characters a wrapped form may take: blanks without end are not waited for."""
        return 2 * self._coded.longest + 64


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


def _dense(text: str) -> str:
    """Return a text without its blanks and line ends."""
    return "".join(text.split())


def _places(text: str, dense: str) -> Sequence[int]:
    """Return where in a text the characters are that are not blank."""
    if len(dense) == len(text):
        return range(len(text))
    return [place for place, character in enumerate(text) if not character.isspace()]


class RedactedStream:
    """Redacts a text that arrives in pieces; holds back what may be the start of a secret."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""
        self._told = 0

    def feed(self, piece: str) -> str:
        """Return what can be shown by now."""
        return self._take(piece, over=False)

    def finish(self) -> str:
        """Return the rest: the text is over."""
        return self._take("", over=True)

    def _take(self, piece: str, *, over: bool) -> str:
        shown, self._held, self._told = self._redactor.part(
            self._held + piece, self._told, over=over
        )
        return shown
