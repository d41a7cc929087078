"""Redaction: streams, every form of a secret, what is none."""

import base64
import json
import re
from collections.abc import Callable
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart_runner.redaction import RedactedStream, Redactor

SECRETS = ["abcabcabd-1", "abcabcab", "pässwörd=1&2", 'quo"te\\d secret']


@given(
    pieces=st.lists(
        st.one_of(st.sampled_from(SECRETS), st.text("abcd-1ps=", max_size=6)), max_size=12
    ),
    cuts=st.lists(st.integers(0, 150), max_size=10),
)
def test_a_stream_is_redacted_as_its_whole_would_be(pieces: list[str], cuts: list[int]) -> None:
    redactor = Redactor()
    redactor.add(*SECRETS)
    text = "".join(pieces)
    stream, shown, begin = RedactedStream(redactor), "", 0
    for cut in [*sorted(cuts), len(text)]:
        shown += stream.feed(text[begin:cut])
        begin = max(begin, min(cut, len(text)))
    shown += stream.finish()

    assert shown == redactor.text(text)
    assert not any(secret in shown for secret in SECRETS)


def _lower(url: str) -> str:
    return re.sub("%..", lambda escape: escape[0].lower(), url)


URLS: dict[str, Callable[[str], str]] = {
    "quote": quote,
    "quote all": lambda secret: quote(secret, safe=""),
    "form": quote_plus,
    "encodeURI": lambda secret: quote(secret, safe="-_.!~*'();,/?:@&=+$#"),
    "encodeURIComponent": lambda secret: quote(secret, safe="-_.!~*'()"),
}
ENCODINGS: dict[str, Callable[[str], str]] = {
    "none": str,
    "JSON": lambda secret: json.dumps(secret)[1:-1],
    "JSON in UTF-8": lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    "JSON of PHP": lambda secret: json.dumps(secret)[1:-1].replace("/", "\\/"),
    "JSON of PHP in UTF-8": lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1].replace(
        "/", "\\/"
    ),
    **URLS,
    **{f"{name}, lower": lambda secret, url=url: _lower(url(secret)) for name, url in URLS.items()},
}


def streamed(redactor: Redactor, *pieces: str) -> str:
    stream = RedactedStream(redactor)
    return "".join(map(stream.feed, pieces)) + stream.finish()


@given(
    secret=st.one_of(st.text(max_size=40), st.text("aB1/%\\+ü :'(\n", max_size=20)).filter(
        lambda secret: len(secret.strip()) >= 8
    ),
    encoding=st.sampled_from(sorted(ENCODINGS)),
    cuts=st.lists(st.integers(0, 300), max_size=6),
)
def test_every_form_of_a_secret_is_known(secret: str, encoding: str, cuts: list[int]) -> None:
    redactor = Redactor()
    redactor.add(secret)
    for form in {ENCODINGS[encoding](value) for value in (secret, secret.strip())}:
        text = f"x={form}&y"
        assert form not in redactor.text(text)
        ends = [0, *sorted(cuts), len(text)]
        assert form not in streamed(redactor, *(text[one:other] for one, other in pairwise(ends)))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_form_shows_wherever_it_is_split(encoding: str) -> None:
    secret = "p/ss wörd+(=&:x"
    redactor = Redactor()
    redactor.add(secret)
    form = ENCODINGS[encoding](secret)

    for cut in range(len(form) + 1):
        assert streamed(redactor, "<" + form[:cut], form[cut:] + ">") == "<[redacted]>"
    assert streamed(redactor, *f"<{form}>") == "<[redacted]>"


def test_a_secret_without_anything_to_escape_has_no_other_forms_but_base64() -> None:
    redactor = Redactor()
    redactor.add("plain-secret_1")

    assert sum("plain" in form for form in redactor._forms) == 1


@given(secret=st.text(min_size=8, max_size=40), before=st.binary(max_size=5))
def test_a_secret_in_base64_is_known(secret: str, before: bytes) -> None:
    redactor = Redactor()
    redactor.add(secret)
    raw = secret.encode("utf-8", "replace")
    if len(secret.strip().encode("utf-8", "replace")) < 8:
        return
    coded = base64.b64encode(before + raw + b"after").decode()
    assert "[redacted]" in redactor.text(coded)


def test_short_values_and_plain_words_are_left_alone() -> None:
    redactor = Redactor()
    redactor.add_environment({"A": "short", "MODE": "production", "PASSWORD": "sesameopen"})

    assert redactor.text("short production sesameopen") == "short production [redacted]"
