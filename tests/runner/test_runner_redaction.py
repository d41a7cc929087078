"""Redaction: what a secret is, in which forms it is known, and that nothing else is touched."""

import base64
import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from textwrap import wrap
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headstart_runner.redaction import REDACTED, RedactedStream, Redactor
from headstart_runner.secrecy import secrets_in, secrets_of
from headstart_runner.snapshots.export import NotJson, RedactedJson

DOCUMENT = Path(__file__).parents[2] / "docs" / "agents.md"

KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----\n"
READABLE = {
    "APP_NAME": "billing-api",
    "API_BASE": "http://localhost:3000",
    "REGION": "eu-west-1",
    "DATA_DIR": "/workspace/data",
    "NODE_ENV": "production",
    "NODE_OPTIONS": "--max-old-space-size=4096",
    "LOG_FORMAT": "%(asctime)s %(levelname)s",
    "GIT_AUTHOR_NAME": "Ada Lovelace",
    "REDIS_URL": "redis://localhost:6379/0",
    "IMAGE": "node:20.11.1-bookworm-slim",
    "MODEL": "claude-sonnet-4-20250514",
    "JAVA_OPTS": "-Xmx4g -XX:+UseG1GC",
    "TOKEN_URL": "https://auth.example.com/token",
    "PRIVATE_KEY_PATH": "/workspace/home/key.pem",
    "SSH_KEY": "~/.ssh/id_ed25519",
    "MAX_TOKENS": "16000000",
    "KEYBOARD_LAYOUT": "us-international",
    "COMMIT_SHA": "8843d7f92416211de9ebb963ff4ce28125932878",
    "CLIENT_ID": "8f14e45f-ceea-467a-9a36-dedd4bea2543",
    "PWD": "/workspace/repo",
}
SECRET = {
    "API_TOKEN": ("correct-horse-battery", "correct-horse-battery"),
    "dbPassword": ("sesameopen", "sesameopen"),
    "USER_PASSWORD": ("sesameopen", "sesameopen"),
    "ID_TOKEN": ("correct-horse", "correct-horse"),
    "SERVICE_APIKEY": ("abcd1234efgh", "abcd1234efgh"),
    "DATABASE_URL": ("postgres://app:hunter2hunter2@db/app", "hunter2hunter2"),
    "CACHE_URL": ("redis://app:hun/ter#2?x@cache:6379/0", "hun/ter#2?x"),
    "MONGO": ("mongodb://app:pw@db/app", "app:pw@db"),
    "PIP_INDEX_URL": ("https://ci:p%40ssw0rd1@pypi.example.com/simple", "p@ssw0rd1"),
    "REPO": ("https://ghs_abcdefghij0123456789@github.com/o/r", "ghs_abcdefghij0123456789"),
    "CONNECTION": ("Server=db;Password=hunter2hunter2;Encrypt=yes", "hunter2hunter2"),
    "NPM_CONFIG": ("//registry.npmjs.org/:_authToken=abcdefgh-ij", "abcdefgh-ij"),
    "SETTINGS": ('{"region": "eu-west-1", "clientSecret": "abcdefgh-ij"}', "abcdefgh-ij"),
    "AWS_ACCESS_KEY_ID": ("AKIAIOSFODNN7EXAMPLE", "AKIAIOSFODNN7EXAMPLE"),
    "OPENAI": ("sk-proj-abcdefgh12345678", "sk-proj-abcdefgh12345678"),
    "BUILD_CACHE": ("f3a9c1d27b5e4860a1b2c3d4", "f3a9c1d27b5e4860a1b2c3d4"),
    "DEPLOY": (KEY, KEY),
}
"""Variables, their values, and what of these must not be shown."""


@pytest.mark.parametrize("name", READABLE)
def test_what_is_no_secret_stays_readable(name: str) -> None:
    redactor = Redactor()
    redactor.add_settings({name: READABLE[name]})
    text = f"{name}={READABLE[name]}, services/{READABLE[name]}/main.py"

    assert redactor.text(text) == text


@pytest.mark.parametrize("name", SECRET)
def test_what_is_a_secret_by_name_or_shape_is_known(name: str) -> None:
    value, secret = SECRET[name]
    redactor = Redactor()
    redactor.add_settings({name: value})

    assert secret in set(secrets_of(name, value))
    assert secret not in redactor.text(f"> {value}\n> {secret}")


@pytest.mark.skipif(not DOCUMENT.exists(), reason="the documents are not in the image")
def test_the_document_says_what_is_a_secret() -> None:
    rows = re.findall(r"^\| `(\w+)=(.+?)` \| (.+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert len(rows) >= 10
    for name, value, verdict in rows:
        found = {secret for secret in secrets_of(name, value) if len(secret) >= 8}
        shown = {
            "is shown": set[str](),
            "is redacted": {value},
        }.get(verdict, set(re.findall("`(.+)`", verdict)))
        assert found == shown, name


def test_settings_are_looked_through_however_nested() -> None:
    servers = {
        "remote": {
            "type": "remote",
            "url": "https://mcp.example.com/?api_key=abcdefgh12",
            "headers": {"Authorization": "Bearer abcdefgh34", "Accept": "application/json"},
        },
        "local": {
            "command": ["npx", "server", "--token", "abcdefgh56", "--root", "/workspace/repo"],
            "environment": {"GITHUB_TOKEN": "abcdefgh78", "DEBUG": "server:verbose"},
        },
        "named": {"headers": {"X-Api-Key": "{env:API_KEY}", "Authorization": "${AUTH_TOKEN}"}},
    }
    secrets = {"abcdefgh12", "abcdefgh34", "Bearer abcdefgh34", "abcdefgh56", "abcdefgh78"}

    assert set(secrets_in(servers)) == secrets


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

unhurried = settings(deadline=None)


@unhurried
@given(secret=SECRETS, encoding=st.sampled_from(sorted(ENCODINGS)), cuts=CUTS)
def test_every_form_of_a_secret_is_known(secret: str, encoding: str, cuts: list[int]) -> None:
    redactor = knowing(secret)
    for form in {ENCODINGS[encoding](value) for value in (secret, secret.strip())}:
        text = f"x={form}&y"
        assert form not in rest(redactor.text(text))
        assert streamed(redactor, *pieces_of(text, cuts)) == redactor.text(text)


@unhurried
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


@unhurried
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


OVERLAPPING = ("abcabcabd-1", "abcabcab", "cabdabcab", "pässwörd=1&2", 'quo"te\\d secret')


@unhurried
@given(
    pieces=st.lists(
        st.one_of(
            st.sampled_from(OVERLAPPING),
            st.sampled_from([_base64(secret) for secret in OVERLAPPING]),
            st.text("abcd-1ps= \n", max_size=6),
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


@unhurried
@given(
    secret=st.text("ab/+1 ü", min_size=8, max_size=20).filter(lambda secret: len(secret) >= 8),
    text=st.text("ab/+1 ü\nxy=", max_size=200),
    cuts=CUTS,
)
def test_a_text_without_secrets_is_never_changed(secret: str, text: str, cuts: list[int]) -> None:
    redactor = knowing(secret)
    forms = [form for known in redactor._plain._by_head.values() for form in known]
    coded = [form for known in redactor._coded._by_head.values() for form in known]
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

    assert list(redactor._plain._by_head.values()) == [["plain-secret_1"]]


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
@unhurried
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
