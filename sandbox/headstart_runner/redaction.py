"""Keeping secrets out of everything that leaves the runner.

A secret is looked for as it is, line by line, and in its JSON, URL and base64 forms, as the usual
libraries write them: JSON, and JSON in JSON, with and without a backslash before `/`, URL escapes
all in upper or all in lower case, base64 whatever blanks and line ends it is wrapped and indented
with; whatever escape sequences colour a part of it; and its beginning alone where a text was cut
behind it.
What is a secret is said in headstart/domain/secrecy.py.
"""

import base64
import json
import re
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from operator import neg
from typing import Any
from urllib.parse import quote, quote_plus

from headstart.domain.secrecy import SHORTEST, lines_of, secrets_in
from headstart_runner.terminal import ANY_CONTROL, CONTROL, UNFINISHED
from headstart_runner.wire import MARK

REDACTED = "[redacted]"
_MOST_PASSING = 32
_LEAST_CUT = 4
"""Characters of the shortest beginning of a secret that is one where a text was cut."""

_LONGEST_SEQUENCE = 256
_COLOURED = 24
"""What a character takes where each has a colour of its own, as `grep --color .` prints it."""

_CUT = re.compile(f"(?<=[^{MARK}]){MARK}")
_BLANKS = re.compile(r"\s+")
_SIGNED = re.compile(r"\n[-+]")
_SIGNED_BLANKS = re.compile(r"(?:\n[-+]|\s)+")
"""What wraps a line in a diff, whose signs are characters of base64, too."""
_ESCAPE = re.compile(r"%[0-9A-F]{2}")
_LEFT_ALONE = ("", "/", "!*'()", "!*'();,/?:@&=+$#")
"""What is not escaped in a URL: by nobody, by Python, by encodeURIComponent, by encodeURI."""
_FIXED = {"type", "status", "commandId", "turnId", "messageId"}
"""Fields of frames whose values are the protocol's own."""


def _plain_forms(secret: str) -> Iterator[str]:
    for text in (secret, secret.strip()):
        raw = text.encode("utf-8", "replace")
        yield text
        for ascii_only in (True, False):
            quoted = _quoted(text, ascii_only)
            for form in (quoted, quoted.replace("/", r"\/")):
                yield form
                yield _quoted(form, ascii_only)
        for escaped in (quote_plus(raw), *(quote(raw, safe) for safe in _LEFT_ALONE)):
            yield escaped
            yield _ESCAPE.sub(lambda escape: escape[0].lower(), escaped)


def _quoted(text: str, ascii_only: bool) -> str:
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1]


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
        self._known: set[str] = set()
        self._by_head: dict[str, _Alike] = {}
        self._beginnings: set[str] = set()
        self._few_characters: list[str] = []
        self._characters: list[set[str]] = [set() for _ in range(SHORTEST)]
        self._maybe: re.Pattern[str] | None = None
        self.longest = 0

    def add(self, forms: Iterable[str]) -> None:
        for form in {form for form in forms if _bytes(form) >= SHORTEST}:
            if form not in self._known:
                self._known.add(form)
                self._by_head.setdefault(form[:SHORTEST], _Alike()).add(form)
                self._beginnings |= {form[:end] for end in range(1, min(SHORTEST, len(form)))}
                self.longest = max(self.longest, len(form))
                if len(form) < SHORTEST:
                    self._few_characters.append(form)
                else:
                    for characters, character in zip(self._characters, form, strict=False):
                        characters.add(character)
                self._maybe = None

    def find(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where the texts are, for each beginning the longest, or as much as was not cut."""
        for place in self._looked_at().finditer(text) if self._by_head else ():
            start = place.start()
            alike = self._by_head.get(text[start : start + SHORTEST])
            if alike is not None and (end := alike.reach(text, start)):
                yield start, end
        for mark in _CUT.finditer(text) if MARK in text else ():
            cut = mark.start()
            for start in range(max(0, cut - SHORTEST + 1), cut - _LEAST_CUT + 1):
                if text[start:cut] in self._beginnings:
                    yield start, cut
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
        first = max(0, len(text) - self.longest + 1)
        for place in self._looked_at().finditer(text, first) if self._by_head else ():
            start = place.start()
            alike = self._by_head.get(text[start : start + SHORTEST])
            if alike is not None and alike.some_begins(text[start:]):
                yield start
        for start in range(max(first, len(text) - SHORTEST + 1), len(text)):
            if text[start:] in self._beginnings:
                yield start


class _Alike:
    """Forms that begin with the same 8 characters, in the order of the alphabet.

    Thousands of them may, as of a long file line by line; a look takes steps for each of their
    lengths, of which there are few, and none for each of them.
    """

    def __init__(self) -> None:
        self._sorted: list[str] = []
        self._lengths: list[int] = []
        """Each once, the longest first."""

    def add(self, form: str) -> None:
        """Know another one, which is not known."""
        insort(self._sorted, form)
        if len(form) not in self._lengths:
            insort(self._lengths, len(form), key=neg)

    def reach(self, text: str, start: int) -> int:
        """Return up to where a text has the longest, or what was left of one by a cut; else 0."""
        cut = text.find(MARK, start + SHORTEST, start + self._lengths[0])
        # What reaches a cut is longer than what was not cut.
        if cut >= 0 and self.some_begins(text[start:cut], cut - start + 1):
            return cut
        for length in self._lengths:
            piece = text[start : start + length]
            if len(piece) == length and self._has(piece):
                return start + length
        return 0

    def some_begins(self, piece: str, least: int = 0) -> bool:
        """Return whether one begins with a piece, and is at least so long."""
        at = bisect_left(self._sorted, piece)
        while at < len(self._sorted) and self._sorted[at].startswith(piece):
            if len(self._sorted[at]) >= least:
                return True
            at += 1
        return False

    def _has(self, form: str) -> bool:
        at = bisect_left(self._sorted, form)
        return at < len(self._sorted) and self._sorted[at] == form


class _View:
    """A text as forms are looked for in it: without what may stand between their characters."""

    def __init__(
        self,
        text: str,
        forms: _Forms,
        widest: int,
        left_out: "tuple[re.Pattern[str], _View] | None" = None,
    ) -> None:
        self.text = text
        self._forms = forms
        self._widest = widest
        self._left_out = left_out

    @cached_property
    def _places(self) -> Sequence[int]:
        """Where in the whole text the characters are."""
        if self._left_out is None:
            return range(len(self.text))
        between, whole = self._left_out
        if len(self.text) == len(whole.text):
            return whole._places
        kept: list[int] = []
        at = 0
        for gone in between.finditer(whole.text):
            kept += whole._places[at : gone.start()]
            at = gone.end()
        return [*kept, *whole._places[at:]]

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield where in the whole text the forms are."""
        for start, stop in self._forms.find(self.text):
            first, last = self._places[start], self._places[stop - 1] + 1
            if last - first <= self._widest:
                yield first, last

    def begun(self, length: int) -> Iterator[int]:
        """Yield where in the whole text, of some length, one may have begun that is not over."""
        for start in self._forms.begun(self.text):
            if length - self._places[start] < self._widest:
                yield self._places[start]


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
        views = [*self._views(text)]
        end = len(text) if over else self._settled(text, views)
        shown, at = [], told
        for start, stop in sorted(span for view in views for span in view.spans()):
            if start >= end:
                break
            if start >= at:
                shown += [text[at:start], REDACTED]
            at = max(at, stop)
        shown.append(text[at:end])
        return "".join(shown), text[end:], max(0, at - end)

    def broken_off(self, text: str) -> str:
        """Return a text that may have ended in the middle of a secret, without the secrets."""
        return self.text(text + MARK).removesuffix(MARK)

    def _views(self, text: str) -> Iterator[_View]:
        """Yield the ways to look at a text; what stands between is not waited for without end."""
        views = [_View(text, self._plain, self._plain.longest)]
        if ANY_CONTROL.search(text):
            bare, widest = CONTROL.sub("", text), _COLOURED * self._plain.longest + 64
            views.append(_View(bare, self._plain, widest, (CONTROL, views[0])))
        widest = 2 * self._coded.longest + 64
        for view in views:
            dense = "".join(view.text.split())
            yield from (view, _View(dense, self._coded, widest, (_BLANKS, view)))
            if _SIGNED.search(view.text):
                dense = _SIGNED_BLANKS.sub("", view.text)
                yield _View(dense, self._coded, widest, (_SIGNED_BLANKS, view))

    def _settled(self, text: str, views: list[_View]) -> int:
        """Return up to where nothing has begun that may become a secret, or a sequence."""
        begun = (next(view.begun(len(text)), len(text)) for view in views)
        tail = max(0, len(text) - _LONGEST_SEQUENCE)
        ended = ANY_CONTROL.search(text, tail) and UNFINISHED.search(text, tail)
        return min(*begun, ended.start() if ended else len(text))


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace"))


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
