"""Keeping secrets out of everything that leaves the runner.

A secret is looked for as it is and in its JSON, URL and base64 forms, as the usual libraries write
them: JSON with and without a backslash before `/`, URL escapes all in upper or all in lower case.
Values under 8 bytes would take half of every output with them and are left alone; so is a plain
lower-case word such as `production`, unless its variable's name says that it is a secret.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
_SHORTEST = 8
_SECRET_NAME = re.compile(r"key|token|secret|passw|credential|auth|private|dsn", re.IGNORECASE)
_PLAIN_WORD = re.compile(r"[a-z]+")
_ESCAPE = re.compile(r"%[0-9A-F]{2}")
_LEFT_ALONE = ("", "/", "!*'()", "!*'();,/?:@&=+$#")
"""What is not escaped in a URL: by nobody, by Python, by encodeURIComponent, by encodeURI."""


def _forms(secret: str) -> Iterable[str]:
    for text in (secret, secret.strip()):
        raw = text.encode("utf-8", "replace")
        yield text
        for quoted in (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
            yield quoted
            yield quoted.replace("/", r"\/")
        for escaped in (quote_plus(raw), *(quote(raw, safe) for safe in _LEFT_ALONE)):
            yield escaped
            yield _ESCAPE.sub(lambda escape: escape[0].lower(), escaped)
        yield from _base64_forms(raw)


def _base64_forms(raw: bytes) -> Iterable[str]:
    # Inside a longer base64 text the secret starts at any of three offsets; what its neighbours
    # can change at either edge is left out.
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + raw).decode()
        inner = coded[(0, 2, 3)[before] :].rstrip("=")
        inner = inner[:-1] if (before + len(raw)) % 3 else inner
        yield inner
        yield inner.replace("+", "-").replace("/", "_")


class Redactor:
    """Replaces the secrets it was told about."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, *secrets: str) -> None:
        """Know these secrets from now on."""
        for secret in secrets:
            if len(secret.strip().encode("utf-8", "replace")) >= _SHORTEST:
                self._forms |= {form for form in _forms(secret) if len(form) >= _SHORTEST}
        if self._forms:
            # The longest first, so that a secret containing another goes as a whole.
            ordered = sorted(self._forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, ordered)))

    def add_environment(self, env: Mapping[str, str]) -> None:
        """Know the values of these variables, but for what is plainly no secret."""
        self.add(
            *(
                value
                for name, value in env.items()
                if _SECRET_NAME.search(name) or not _PLAIN_WORD.fullmatch(value)
            )
        )

    def text(self, text: str) -> str:
        """Return a whole text without the secrets."""
        return self._pattern.sub(REDACTED, text) if self._pattern else text

    def value(self, value: Any) -> Any:
        """Return a JSON value without the secrets, its keys left alone."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {key: self.value(item) for key, item in value.items()}
        return value

    def settled(self, text: str) -> int:
        """Return how much of an unfinished text can be redacted now: no secret straddles that."""
        begun = sorted(self._begun(text))
        if self._pattern is None or not begun:
            return len(text)
        whole = [match.span() for match in self._pattern.finditer(text)]
        for start in begun:
            if not any(first < start < end for first, end in whole):
                return start
        return len(text)

    def _begun(self, text: str) -> set[int]:
        """Return where at the end of a text a secret may have begun."""
        found = set()
        for form in self._forms:
            start = text.find(form[0], max(len(text) - len(form) + 1, 0))
            while start >= 0:
                if form.startswith(text[start:]):
                    found.add(start)
                start = text.find(form[0], start + 1)
        return found


class RedactedStream:
    """Redacts a text that arrives in pieces; holds back what may be the start of a secret."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""

    def feed(self, piece: str) -> str:
        """Return what can be shown by now."""
        self._held += piece
        cut = self._redactor.settled(self._held)
        shown, self._held = self._held[:cut], self._held[cut:]
        return self._redactor.text(shown)

    def finish(self) -> str:
        """Return the rest: the text is over."""
        rest, self._held = self._held, ""
        return self._redactor.text(rest)
