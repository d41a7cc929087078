"""Redaction: in which forms a secret is known, and that nothing else is touched."""

import base64
import json
import re
from collections.abc import Callable
from itertools import pairwise
from textwrap import wrap
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from headstart_runner.archives.export import NotJson, RedactedJson
from headstart_runner.redaction import REDACTED, RedactedStream, Redactor
from headstart_runner.terminal import CONTROL, plain


def _lower(url: str) -> str:
    return re.sub("%..", lambda escape: escape[0].lower(), url)


def _base64(secret: str) -> str:
    return base64.b64encode(secret.encode("utf-8", "replace")).decode()


def _wrapped(columns: int, between: str) -> Callable[[str], str]:
    return lambda secret: between.join(wrap(_base64(secret), columns))


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
    "JSON in JSON": lambda secret: json.dumps(json.dumps(secret)[1:-1])[1:-1],
    "JSON in JSON in UTF-8": lambda secret: json.dumps(
        json.dumps(secret, ensure_ascii=False)[1:-1], ensure_ascii=False
    )[1:-1],
    **URLS,
    **{f"{name}, lower": lambda secret, url=url: _lower(url(secret)) for name, url in URLS.items()},
}
BASE64: dict[str, Callable[[str], str]] = {
    "base64": _base64,
    "base64 for URLs": lambda secret: _base64(secret).replace("+", "-").replace("/", "_"),
    "base64 of 76 columns": _wrapped(76, "\n"),
    "base64 of 64 columns with CR LF": _wrapped(64, "\r\n"),
    "base64 of 64 columns, indented": _wrapped(64, "\n        "),
    "base64 of 76 columns, by tabs, with CR LF": _wrapped(76, "\r\n\t"),
}


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    ends = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[one:other] for one, other in pairwise(ends)]


def streamed(redactor: Redactor, *pieces: str) -> str:
    stream = RedactedStream(redactor)
    return "".join(map(stream.feed, pieces)) + stream.finish()


def rest(clean: str) -> str:
    """Return what is shown of a text: a secret may be a part of the mark itself."""
    return clean.replace(REDACTED, "\0")


def knowing(*secrets: str) -> Redactor:
    redactor = Redactor()
    redactor.add(*secrets)
    return redactor


SECRETS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.text("aB1/%\\+ü :'(\n", max_size=30),
    st.lists(st.text("abcXYZ019+/=", min_size=8, max_size=64), min_size=2, max_size=6).map(
        "\n".join
    ),
).filter(lambda secret: len(secret.strip().encode("utf-8", "replace")) >= 8)
CUTS = st.lists(st.integers(0, 2000), max_size=8)


@given(secret=SECRETS, encoding=st.sampled_from(sorted(ENCODINGS)), cuts=CUTS)
def test_every_form_of_a_secret_is_known(secret: str, encoding: str, cuts: list[int]) -> None:
    redactor = knowing(secret)
    for form in {ENCODINGS[encoding](value) for value in (secret, secret.strip())}:
        text = f"x={form}&y"
        assert form not in rest(redactor.text(text))
        assert streamed(redactor, *pieces_of(text, cuts)) == redactor.text(text)


@given(
    secret=SECRETS,
    encoding=st.sampled_from(sorted(BASE64)),
    before=st.text("abcde", max_size=5),
    after=st.text("abcde", max_size=5),
    cuts=CUTS,
)
def test_a_secret_in_base64_is_known_however_it_is_wrapped(
    secret: str, encoding: str, before: str, after: str, cuts: list[int]
) -> None:
    redactor = knowing(secret)
    coded = BASE64[encoding](f"{before}{secret}{after}")
    text = f"<{coded}>"
    clean = redactor.text(text)

    assert REDACTED in clean
    # Of the neighbours' characters some bits are the secret's: at most one at either edge is left.
    kept = clean.replace(REDACTED, "")
    assert len(re.sub(r"\s", "", kept)) <= len(_base64(before)) + len(_base64(after)) + 10
    assert streamed(redactor, *pieces_of(text, cuts)) == clean


@given(secret=SECRETS, indent=st.sampled_from(["", "    ", "\t", "  1  "]), cuts=CUTS)
def test_each_line_of_a_secret_is_known(secret: str, indent: str, cuts: list[int]) -> None:
    redactor = knowing(secret)
    lines = [line.strip() for line in secret.splitlines()]
    text = "".join(f"{indent}{line}\r\n" for line in lines)
    clean = streamed(redactor, *pieces_of(text, cuts))

    for line in lines:
        if len(line.encode("utf-8", "replace")) >= 8 and not re.fullmatch("[a-z]+|-{5}.*", line):
            assert line not in rest(clean)


@pytest.mark.parametrize("encoding", [*ENCODINGS, *BASE64])
def test_no_form_shows_wherever_it_is_split(encoding: str) -> None:
    secret = "p/ss wörd+(=&:x" + "and 61 more bytes, so that it takes two lines of seventy-six"
    redactor = knowing(secret)
    form = (ENCODINGS | BASE64)[encoding](secret)
    whole = redactor.text(f"<{form}>")

    assert whole.startswith("<[redacted]")
    assert len(whole) <= len("<[redacted]x==>")
    for cut in range(len(form) + 1):
        assert streamed(redactor, "<" + form[:cut], form[cut:] + ">") == whole
    assert streamed(redactor, *f"<{form}>") == whole


SEQUENCES = (
    "\x1b[01;31m",
    "\x1b[K",
    "\x1b[m",
    "\x1b]0;title\x07",
    "\x1b]8;;x\x1b\\",
    "\x9b1m",
    "\r",
    "\x1b(B",
)


@given(
    secret=SECRETS.filter(lambda secret: secret == plain(secret)),
    encoding=st.sampled_from(["none", "JSON", "encodeURIComponent", "base64"]),
    colours=st.lists(st.tuples(st.integers(0, 200), st.sampled_from(SEQUENCES)), max_size=6),
    cuts=CUTS,
)
def test_a_secret_with_colours_in_it_is_known(
    secret: str, encoding: str, colours: list[tuple[int, str]], cuts: list[int]
) -> None:
    redactor = knowing(secret)
    form = coloured = (ENCODINGS | BASE64)[encoding](secret)
    places = sorted(((place % len(form), sequence) for place, sequence in colours), reverse=True)
    for place, sequence in places:
        coloured = coloured[:place] + sequence + coloured[place:]
    text = f"> {coloured} <"
    shown = streamed(redactor, *pieces_of(text, cuts))

    for clean in (redactor.text(text), shown):
        assert form.removesuffix("=").removesuffix("=") not in rest(CONTROL.sub("", clean))


def test_each_character_of_a_secret_may_have_a_colour() -> None:
    secret = "hunter2-hunter2-hunter2"
    redactor = knowing(secret)
    coloured = "".join(f"\x1b[01;31m\x1b[K{c}\x1b[m\x1b[K" for c in secret)
    text = f"\x1b[35mfile\x1b[m: {coloured} \x1b[32mgreen\x1b[m"

    assert "\x1b[32mgreen\x1b[m" in redactor.text(text)
    for clean in (redactor.text(text), streamed(redactor, *text)):
        assert plain(clean) == f"file: {REDACTED} green"


@pytest.mark.parametrize("endless", ["\x1b[31m", "\x1b]0;", "x", "\x1b]0;title\x07", "\r"])
def test_no_sequence_without_end_is_waited_for(endless: str) -> None:
    redactor = knowing("hunter2hunter2")
    stream = RedactedStream(redactor)
    stream.feed("hunter2")
    for _ in range(50):
        stream.feed(endless * 50)
        assert len(stream._held) <= 24 * redactor._plain.longest + 64


@given(secret=SECRETS, encoding=st.sampled_from(sorted(ENCODINGS)), kept=st.integers(4, 200))
def test_the_beginning_of_a_secret_that_was_cut_is_known(
    secret: str, encoding: str, kept: int
) -> None:
    redactor = knowing(secret)
    form = ENCODINGS[encoding](secret)
    assume(len(form) > 4)
    cut = form[: min(kept, len(form) - 1)]

    for clean in (redactor.text(f"x {cut}… y"), redactor.broken_off(f"x {cut}") + "… y"):
        assert clean.endswith("… y")
        assert cut not in rest(clean)


def test_a_beginning_is_no_secret_where_nothing_was_cut() -> None:
    redactor = knowing("postgres-1234")

    assert redactor.text("It runs postgres") == "It runs postgres"
    assert redactor.text("It runs postgres… and so on") == f"It runs {REDACTED}… and so on"
    assert redactor.text("a po… pos…") == "a po… pos…"


OVERLAPPING = ("abcabcabd-1", "abcabcab", "cabdabcab", "pässwörd=1&2", 'quo"te\\d secret')


@given(
    pieces=st.lists(
        st.one_of(
            st.sampled_from(OVERLAPPING),
            st.sampled_from([_base64(secret) for secret in OVERLAPPING]),
            st.text("abcd-1ps= \n…", max_size=6),
            st.sampled_from(SEQUENCES),
        ),
        max_size=12,
    ),
    cuts=CUTS,
)
def test_a_stream_is_redacted_as_its_whole_would_be(pieces: list[str], cuts: list[int]) -> None:
    redactor = knowing(*OVERLAPPING)
    text = "".join(pieces)
    shown = streamed(redactor, *pieces_of(text, cuts))

    assert shown == redactor.text(text)
    assert not any(secret in rest(shown) for secret in OVERLAPPING)


@given(
    secret=st.text("ab/+1 ü", min_size=8, max_size=20).filter(lambda secret: len(secret) >= 8),
    text=st.text("ab/+1 ü\nxy=", max_size=200),
    cuts=CUTS,
)
def test_a_text_without_secrets_is_never_changed(secret: str, text: str, cuts: list[int]) -> None:
    redactor = knowing(secret)
    forms = redactor._plain._known
    coded = redactor._coded._known
    dense = "".join(text.split())
    if any(form in text for form in forms) or any(form in dense for form in coded):
        return

    assert redactor.text(text) == text
    assert streamed(redactor, *pieces_of(text, cuts)) == text
    assert redactor.value({text: [text, 1, None]}) == {text: [text, 1, None]}


def test_no_more_is_held_back_than_a_secret_is_long() -> None:
    redactor = knowing("abcdefgh" * 8)
    bound = 2 * redactor._coded.longest + 64
    for endless in ("abcdefgh", _base64("abcdefgh" * 8)[:20], "a", " ", "YWJj \n"):
        stream = RedactedStream(redactor)
        stream.feed(endless[:5])
        for _ in range(200):
            stream.feed(endless * 50)
            assert len(stream._held) <= bound


def test_a_secret_without_anything_to_escape_has_no_other_forms_but_base64() -> None:
    redactor = knowing("plain-secret_1")

    assert redactor._plain._known == {"plain-secret_1"}


def test_secrets_that_pass_are_forgotten_and_the_others_are_not() -> None:
    redactor = knowing("a-lasting-secret")
    signatures = [f"signature-{number:04}" for number in range(100)]
    for signature in signatures:
        redactor.add_passing(signature)
        assert signature not in redactor.text(signature)

    assert redactor.text(signatures[50]) == signatures[50]
    assert redactor.text(signatures[-30]) == REDACTED
    assert redactor.text("a-lasting-secret") == REDACTED


def test_keys_are_redacted_too_and_the_fields_of_a_frame_keep_their_names() -> None:
    redactor = knowing("hunter2hunter2", "commandId")
    frame = {"commandId": "commandId", "output": {"hunter2hunter2": ["x hunter2hunter2"]}}

    clean = {"commandId": "commandId", "output": {REDACTED: [f"x {REDACTED}"]}}
    assert redactor.frame(frame) == clean
    assert redactor.value({"a": {"commandId": 1}}) == {"a": {REDACTED: 1}}


def cleaned(redactor: Redactor, document: bytes, cuts: list[int]) -> bytes:
    written = bytearray()
    clean = RedactedJson(redactor, written.extend)
    ends = [0, *sorted(cut % (len(document) + 1) for cut in cuts), len(document)]
    for one, other in pairwise(ends):
        clean.write(document[one:other])
    clean.close()
    return bytes(written)


HIDDEN = ["密码密码", "nabcdefgh", 'quo"te\\d secret', "pässwörd=😀1", "line one\nline two"]
TEXTS = st.lists(
    st.one_of(st.sampled_from([*HIDDEN, "\n", "\\", "\ud83d", "😀", "\0"]), st.text(max_size=8)),
    max_size=5,
).map("".join)
DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.booleans() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=20,
)


@example(document="pässwörd=😀1", ascii_only=True, indent=None, cuts=[3, 26])
@given(document=DOCUMENTS, ascii_only=st.booleans(), indent=st.sampled_from([None, 2]), cuts=CUTS)
def test_a_document_stays_one_and_loses_its_secrets_only(
    document: Any, ascii_only: bool, indent: int | None, cuts: list[int]
) -> None:
    redactor = knowing(*HIDDEN)
    quoted = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    half = re.compile("[\ud800-\udfff]")
    quoted = half.sub(lambda lone: f"\\u{ord(lone[0]):04x}", quoted)
    clean = cleaned(redactor, quoted.encode(), cuts)

    # What is quoted in two halves is one character: as every reader of JSON takes it.
    assert json.loads(clean) == redactor.value(json.loads(quoted))


def test_keys_of_a_document_are_redacted_as_its_values_are() -> None:
    document = json.dumps({"hunter2hunter2": "hunter2hunter2", "": {"x": ["hunter2hunter2"]}})

    clean = json.loads(cleaned(knowing("hunter2hunter2"), document.encode(), [3, 9, 20]))
    assert clean == {REDACTED: REDACTED, "": {"x": [REDACTED]}}


def test_a_long_string_is_not_held_as_a_whole() -> None:
    written = bytearray()
    clean = RedactedJson(knowing("hunter2hunter2"), written.extend)
    clean.write(b'{"a": "')
    for number in range(1, 50):
        clean.write(b"x" * 10_000)
        assert len(written) > number * 10_000 - 200
    clean.write(b'hunter2hunter2"}')
    clean.close()

    assert json.loads(written)["a"].endswith(f"x{REDACTED}")


@pytest.mark.parametrize(
    "document", ['{"a": "\\x234567"}', '{"a": "\\uzzzzzzzzzzzzzz"}', '{"a": "b']
)
def test_what_is_not_json_is_said_not_to_be(document: str) -> None:
    for cuts in ([], [8, 9, 10], list(range(len(document)))):
        with pytest.raises(NotJson):
            cleaned(knowing("hunter2hunter2"), document.encode(), cuts)
