"""What users and sandboxes write takes time in proportion to it, however it is made up."""

import time
from collections.abc import Callable

import pytest

from headstart.domain.credentials import without_credentials
from headstart.domain.requests import CreateSession
from headstart.domain.secrecy import (
    has_secret,
    is_secret_name,
    lines_of,
    looks_secret,
    secrets_in,
    secrets_in_command,
)
from headstart.domain.warnings import warnings_of
from headstart_client import text as client_text
from headstart_demo_agent.survey import search_words
from headstart_runner import terminal
from headstart_runner.agents import said
from headstart_runner.processes.variables import Additions
from headstart_runner.publishing.branch import push_error
from headstart_runner.publishing.pulls import anew
from headstart_runner.redaction import Redactor
from headstart_runner.repository.git import GitResult, checkout_error, clone_error, complaint

_BYTES = 64 * 1024
_SECONDS = 3.0
"""Fifty times what the slowest takes: what is not linear takes minutes."""

_HEX = "0123456789abcdef" * (_BYTES // 16)
_UNITS = (
    *("sk-", "sk-a_", "eyJ-", "eyJa.", "AKIA", "://a:", "://", "@", "key=", "key= ", "a=", "key:"),
    *(
        " ",
        "\t",
        "\n",
        "\r",
        ".",
        '"',
        "'",
        "-",
        "/x",
        "[",
        "(",
        '{"a":',
        "Token ",
        "\\",
        "#",
        "<!--",
    ),
    *(
        "-----BEGIN ",
        "authorization: ",
        "{secret:",
        "Remote branch ",
        "repository '",
        "transport '",
    ),
    *("'refs/heads/", " (a)", "remote:  ", "<<", "\x1b[", "\x1b]", "<!-- headstart -->"),
)
_PAIRS = (
    *(
        ("key=", "key="),
        ("://", "@"),
        ("://a:/", "@"),
        ("remote: ", " "),
        ("! [rejected] ", " (a)"),
    ),
    *(("\r", "a"), ("\x1b]", "a"), ("eyJ", "a"), ("sk-", "a"), ("authorization:", " ")),
)
_TEXTS = [
    *(beginning + unit * (_BYTES // len(unit)) + "x" for beginning, unit in _PAIRS),
    *(unit * (_BYTES // len(unit)) + "x" for unit in (_HEX, *_UNITS)),
    "://" + "@" * _BYTES + "[@",
]


def _push_error(text: str) -> object:
    return push_error(GitResult(1, text, text), checkout_error(text, "https://host/a"), "main")


def _read_env(text: str) -> object:
    additions = Additions()
    additions.read_env(text)
    return additions


_LOOKS: dict[str, Callable[[str], object]] = {
    "setting": lambda text: [*secrets_in({"BLOB": text})],
    "secret setting": lambda text: [*secrets_in({"API_KEY": text})],
    "command": lambda text: [*secrets_in_command(text)],
    "look": lambda text: looks_secret("BLOB", text),
    "prose": has_secret,
    "name": is_secret_name,
    "lines": lambda text: [*lines_of(text)],
    "credentials": without_credentials,
    "plain": terminal.plain,
    "last line": terminal.last_line,
    "screen": lambda text: terminal.Screen().feed(text),
    "overwritten": lambda text: terminal.settled(text.encode()),
    "line ends": lambda text: terminal.LINE_END.sub("", text),
    "complaint": complaint,
    "clone": lambda text: clone_error(text, "https://host/a/b", "main"),
    "push": _push_error,
    "pull request": lambda text: anew(text, "ours"),
    "variables": _read_env,
    "agent's words": lambda text: said.Unreadable if _unreadable(text) else None,
    "words": search_words,
    "client's plain": client_text.plain,
    "client's last line": client_text.last_line,
}


def _unreadable(text: str) -> bool:
    try:
        said.read(text.encode())
    except said.Unreadable:
        return True
    return False


@pytest.mark.parametrize("look", _LOOKS)
def test_no_text_takes_more_time_than_others_of_its_length(look: str) -> None:
    for text in _TEXTS:
        began = time.process_time()
        _LOOKS[look](text)
        took = time.process_time() - began
        assert took < _SECONDS, (look, text[:30], text[-5:])


def test_thousands_of_secrets_that_begin_alike_are_looked_for_as_one_is() -> None:
    redactor = Redactor()
    redactor.add("\n".join(f"secretab{number}" for number in range(1000, 4000)))
    for text in ("secretab" * (_BYTES // 8), "secretab1…" * (_BYTES // 10), "secretab2" * 7000):
        began = time.process_time()
        redactor.text(text)
        assert time.process_time() - began < _SECONDS


def test_what_is_nested_deeply_is_a_text_like_others() -> None:
    deep = "[" * 900 + '"token=hunter2hunter2"' + "]" * 900
    assert looks_secret("A", deep)
    assert warnings_of(CreateSession.model_validate({**_ASKED, "envVars": {"A": deep}}))


def test_settings_within_a_secret_are_known_and_not_without_end() -> None:
    assert [*secrets_in_command("run --token=key=secret=abcdefgh")] == [
        "key=secret=abcdefgh",
        "secret=abcdefgh",
        "abcdefgh",
    ]
    assert len([*secrets_in_command("key=" * 1000 + "x")]) < 10


_ASKED = {"prompt": "x", "githubRepo": "octocat/Hello-World"}


def test_secrets_that_begin_alike_are_not_looked_for_one_by_one() -> None:
    redactor = Redactor()
    redactor.add("\n".join("A" * length for length in range(8, 2008)))
    began = time.process_time()
    assert "A" not in redactor.text("A" * 30_000)
    assert time.process_time() - began < _SECONDS
