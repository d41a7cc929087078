"""Every limit and format of the bodies callers send, by the field that breaks it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headstart.domain.envelope import CIPHERTEXT_BYTES
from headstart.domain.repository import check_branch
from headstart.domain.requests import CreateSession, PatchSession, SendMessage
from tests.envelopes import base64_of, envelope, secrets

VALID: dict[str, Any] = {"prompt": "Add a health check", "githubRepo": "org/name"}

WHOLE: dict[str, Any] = {
    **VALID,
    "upstreamBranch": "feature/x",
    "agent": "opencode",
    "mode": "code",
    "model": "provider/model-1.5:free",
    "clone": {"depth": 1, "submodules": True},
    "setupCommands": ["npm ci"],
    "setupInputs": ["package-lock.json"],
    "preparedTree": "refresh",
    "envVars": {"CI": "1"},
    "encryptedSecrets": secrets(),
    "mcpServers": {"files": {"command": ["x"]}},
    "appendSystemPrompt": "Be brief",
    "autoInitiate": False,
    "autoCommit": True,
    "callbackTarget": {"url": "https://example.com/hook", "headers": {}},
}


def refused(body: dict[str, Any]) -> set[str]:
    """Return the first parts of the places that are wrong."""
    with pytest.raises(ValidationError) as error:
        CreateSession.model_validate(body, strict=True, by_alias=True, by_name=False)
    return {str(item["loc"][0]) if item["loc"] else "body" for item in error.value.errors()}


def test_the_whole_request_of_the_documentation_is_taken() -> None:
    CreateSession.model_validate(WHOLE, strict=True, by_alias=True, by_name=False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", ""),
        ("prompt", "  \n"),
        ("prompt", "ü" * 50_001),
        ("prompt", "a\0b"),
        ("prompt", "\ud800"),
        ("prompt", 7),
        ("prompt", None),
        ("upstreamBranch", "-x"),
        ("upstreamBranch", "a..b"),
        ("agent", "../x"),
        ("agent", ""),
        ("mode", "a b"),
        ("model", "-x"),
        ("model", "m" * 200),
        ("setupCommands", ["x" * 10_001]),
        ("setupCommands", [""]),
        ("setupCommands", ["x"] * 21),
        ("setupCommands", ["x" * 10_000] * 10 + ["x"]),
        ("setupInputs", ["/etc/passwd"]),
        ("setupInputs", ["../secret"]),
        ("setupInputs", ["a/../b"]),
        ("setupInputs", ["a//b"]),
        ("setupInputs", ["./a"]),
        ("setupInputs", ["a/"]),
        ("setupInputs", [""]),
        ("setupInputs", ["a\0b"]),
        ("setupInputs", ["x" * 201]),
        ("setupInputs", ["x"] * 21),
        ("preparedTree", "maybe"),
        ("preparedTree", None),
        ("clone", {"depth": 0}),
        ("clone", {"depth": "1"}),
        ("clone", {"depth": True}),
        ("clone", {"submodules": 1}),
        ("clone", {"url": "x"}),
        ("setupCommands", "npm ci"),
        ("envVars", {f"K{n}": "v" for n in range(51)}),
        ("envVars", {"K" * 129: "v"}),
        ("envVars", {"1K": "v"}),
        ("envVars", {"K": "v" * 4097}),
        ("envVars", {f"K{n}": "v" * 4000 for n in range(17)}),
        ("envVars", {"K": 1}),
        ("envVars", {"HEADSTART_KEY": "x"}),
        ("envVars", {"CI": "1", "GIT_DIR": "/workspace/other"}),
        ("envVars", {"GIT_WORK_TREE": "."}),
        ("encryptedSecrets", {"names": [], "envelope": envelope()}),
        ("encryptedSecrets", {"names": ["A"]}),
        ("encryptedSecrets", {"names": ["A"], "envelope": "x"}),
        ("encryptedSecrets", secrets("A", "A")),
        ("encryptedSecrets", secrets(*(f"A{n}" for n in range(51)))),
        ("encryptedSecrets", secrets("1A")),
        ("encryptedSecrets", secrets("HEADSTART_KEY")),
        ("encryptedSecrets", secrets("GIT_DIR")),
        ("encryptedSecrets", secrets("PATH")),
        ("encryptedSecrets", secrets(keyId="arn:aws:kms:eu-west-1:1:key/2")),
        ("encryptedSecrets", secrets(keyId="")),
        ("encryptedSecrets", secrets(key=base64_of(255))),
        ("encryptedSecrets", secrets(key=base64_of(513))),
        ("encryptedSecrets", secrets(key=base64_of(256).rstrip("="))),
        ("encryptedSecrets", secrets(iv=base64_of(16))),
        ("encryptedSecrets", secrets(iv=base64_of(12)[:-4] + "AA A")),
        ("encryptedSecrets", secrets(ciphertext=base64_of(15))),
        ("encryptedSecrets", secrets(ciphertext=base64_of(CIPHERTEXT_BYTES + 3))),
        ("encryptedSecrets", secrets(ciphertext="-" * 64)),
        ("encryptedSecrets", secrets(enc="A128GCM")),
        ("encryptedSecrets", secrets(enc="A256CBC-HS512", iv=base64_of(12))),
        (
            "encryptedSecrets",
            secrets(enc="A256CBC-HS512", iv=base64_of(16), ciphertext=base64_of(32)),
        ),
        (
            "encryptedSecrets",
            secrets(enc="A256CBC-HS512", iv=base64_of(16), ciphertext=base64_of(49)),
        ),
        ("encryptedSecrets", secrets() | {"more": 1}),
        ("mcpServers", {f"s{n}": {} for n in range(21)}),
        ("mcpServers", {"a b": {}}),
        ("appendSystemPrompt", "x" * 10_001),
        ("autoInitiate", "yes"),
        ("autoCommit", 1),
        ("callbackTarget", {"url": "https://example.com/" + "x" * 2000}),
        ("callbackTarget", {"url": "https://example.com", "headers": {"Host": "x"}}),
        ("callbackTarget", {"headers": {}}),
        ("unknown", 1),
        ("git_url", "https://github.com/org/name"),
    ],
)
def test_what_breaks_a_limit_is_named_by_its_field(field: str, value: object) -> None:
    assert refused({**VALID, field: value}) == {field}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt", "ü" * 50_000),
        ("setupCommands", ["x" * 5000] * 20),
        ("setupCommands", ["ü" * 10_000] * 10),
        ("setupInputs", ["x" * 200] * 20),
        ("setupInputs", ["..a/.b/ü c"]),
        ("encryptedSecrets", secrets("GIT_TOKEN", "GIT_USERNAME", key=base64_of(512))),
        ("encryptedSecrets", secrets(ciphertext=base64_of(CIPHERTEXT_BYTES))),
        (
            "encryptedSecrets",
            secrets(enc="A256CBC-HS512", iv=base64_of(16), ciphertext=base64_of(48)),
        ),
        ("preparedTree", "off"),
        ("clone", {"depth": None, "submodules": True}),
        ("clone", {"depth": 1}),
        ("envVars", {f"K{n}": "v" * 1000 for n in range(50)}),
        ("envVars", {"K" * 128: "v" * 4096}),
        ("envVars", {"HOME": "/workspace/data", "PATH": "/usr/bin:/bin", "GIT_AUTHOR_NAME": "Ada"}),
        ("mcpServers", {f"s{n}": {} for n in range(20)}),
        ("appendSystemPrompt", "x" * 10_000),
        ("appendSystemPrompt", None),
        ("upstreamBranch", None),
    ],
)
def test_what_just_keeps_a_limit_is_taken(field: str, value: object) -> None:
    body = {**VALID, field: value}
    CreateSession.model_validate(body, strict=True, by_alias=True, by_name=False)


def test_a_branch_is_kept_without_refs_heads() -> None:
    body = {**VALID, "upstreamBranch": "refs/heads/main"}
    assert CreateSession.model_validate(body).upstream_branch == "main"
    assert PatchSession.model_validate({"upstreamBranch": "refs/heads/x"}).upstream_branch == "x"


def test_exactly_one_repository_is_named() -> None:
    assert refused({"prompt": "x"}) == {"body"}
    assert refused({**VALID, "gitUrl": "https://github.com/org/name"}) == {"body"}


def test_if_busy_is_queue_or_reject() -> None:
    assert SendMessage(prompt="x").if_busy == "queue"
    with pytest.raises(ValidationError):
        SendMessage.model_validate({"prompt": "x", "ifBusy": "maybe"})


@pytest.mark.parametrize("name", ["main", "feature/x", "a.b", "ünïcode", "a-b_c", "v1.0"])
def test_branch_names_git_takes(name: str) -> None:
    assert check_branch(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-x", ".x", "x.", "/x", "x/", "a..b", "a//b", "a b", "a~b", "a^b", "a:b", "a?b", "a*b",
     "a[b", "a\\b", "a@{b", "@", "HEAD", "x.lock", "a.lock/b", "a/.b", "a\x7fb", "x" * 251],
)  # fmt: skip
def test_branch_names_git_refuses(name: str) -> None:
    with pytest.raises(ValueError, match="branch"):
        check_branch(name)


@given(st.text(alphabet="ab/.-@{}~^:?*[\\ \x00\n", max_size=12))
def test_no_accepted_branch_can_be_an_option_or_leave_refs(name: str) -> None:
    try:
        check_branch(name)
    except ValueError:
        return
    assert not name.startswith("-")
    assert ".." not in name
    assert not any(ord(c) < 33 for c in name)
