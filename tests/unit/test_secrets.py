"""Secrets on their way: sealed to the sandbox, opened just in time, and failing in words."""

import base64
import json
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.envelope import check_named, filled
from headstart.domain.errors import (
    AgentStartFailed,
    EncryptionKeyNotFound,
    SecretsUnavailable,
    ServiceUnavailable,
    ValidationFailed,
)
from headstart.domain.requests import CreateSession, PatchSession, RetrySession
from headstart.domain.secrets import secrets_of
from headstart.domain.session import SessionConfig, Status
from headstart.domain.warnings import warnings_of
from headstart.usecases import create, sealing, talk
from headstart.usecases.change import change
from headstart.usecases.create import create_session
from headstart.usecases.prepare import error_of, fail_preparation
from headstart.usecases.read import list_sessions
from tests.envelopes import base64_of, envelope, secrets
from tests.unit.attempts import S
from tests.unit.helpers import begin, created, prepared_up_to, token


@pytest.mark.parametrize("step", [S.CLONE, S.SETUP, S.AGENT])
def test_the_commands_of_three_steps_bring_what_opens_the_secrets(
    ports: MemoryPorts, step: Any
) -> None:
    session_id = created(ports, encryptedSecrets=secrets("A"), setupCommands=["ls"])
    runner = prepared_up_to(ports, session_id, step)
    begin(ports, session_id, step)
    assert runner.frames()[-1]["args"]["sealed"] == {
        "names": ["A"],
        "enc": "A256GCM",
        "key": base64_of(32),
        "iv": envelope()["iv"],
        "ciphertext": envelope()["ciphertext"],
        "subject": "alice",
    }


def test_no_other_step_and_no_session_without_secrets_has_a_key_opened(ports: MemoryPorts) -> None:
    plain = created(ports)
    runner = prepared_up_to(ports, plain, S.DELIVER)
    assert all(not frame.get("args", {}).get("sealed") for frame in runner.frames())
    assert ports.sealing.opened == 0
    session_id = created(ports, encryptedSecrets=secrets("A"))
    prepared_up_to(ports, session_id, S.DELIVER)
    # There are no setup commands, so that step has no command.
    assert ports.sealing.opened == 2


def test_the_key_of_the_content_is_in_no_row_and_no_event(ports: MemoryPorts) -> None:
    ports.sealing.unwrap = lambda *_: b"the key of the content, 32 bytes"  # type: ignore[method-assign]
    session_id = created(ports, encryptedSecrets=secrets("A"), setupCommands=["ls"])
    runner = prepared_up_to(ports, session_id, S.DELIVER)
    opened = base64.b64encode(b"the key of the content, 32 bytes").decode()
    assert opened in json.dumps(runner.frames())
    rows = [row.to_json() for row in ports.store.commands(session_id)]
    told = [event.to_json() for event in ports.store.event_log[session_id]]
    assert opened not in json.dumps([rows, told, ports.store.session(session_id).to_json()])


def test_what_can_not_be_opened_fails_the_clone_by_name_and_a_retry_brings_others(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports, encryptedSecrets=secrets(keyId="another"))
    runner = prepared_up_to(ports, session_id, S.CLONE)
    begin(ports, session_id, S.CLONE)
    assert ports.machine.answers[token(S.CLONE)] == "SecretsUnavailable"
    assert not [frame for frame in runner.frames() if frame.get("kind") == "clone"]
    fail_preparation(ports, session_id, 1, error_of({"Error": "SecretsUnavailable", "Cause": ""}))
    session = ports.store.session(session_id)
    assert session.failure
    assert (session.status, session.failure.step) == (Status.FAILED, S.CLONE)
    assert (session.failure.code, session.failure.retryable) == ("SecretsUnavailable", True)
    assert session.failure.reason == "The secrets can't be opened"

    again = RetrySession.model_validate({"attemptNumber": 1, "encryptedSecrets": secrets("B")})
    talk.retry(ports, "alice", session_id, again)
    begin(ports, session_id, S.SANDBOX, 2)
    begin(ports, session_id, S.CLONE, 2)
    sent = [frame for frame in runner.frames() if frame.get("kind") == "clone"]
    assert sent[-1]["args"]["sealed"]["names"] == ["B"]


def test_a_heartbeat_fails_no_step_twice_and_sends_nothing(ports: MemoryPorts) -> None:
    session_id = created(ports, encryptedSecrets=secrets(keyId="another"))
    runner = prepared_up_to(ports, session_id, S.CLONE)
    begin(ports, session_id, S.CLONE)
    ports.clock.advance(seconds=60)
    answers = len(ports.machine.answers)
    assert [frame["type"] for frame in runner.beat()] == ["heard"]
    assert len(ports.machine.answers) == answers


def test_a_key_service_that_is_down_is_asked_again_by_the_next_heartbeats(
    ports: MemoryPorts,
) -> None:
    session_id = created(ports, encryptedSecrets=secrets("A"))
    runner = prepared_up_to(ports, session_id, S.CLONE)
    ports.sealing.down = ServiceUnavailable("Decrypt: ThrottlingException")
    begin(ports, session_id, S.CLONE)
    assert token(S.CLONE) not in ports.machine.answers
    assert ("FollowUpsFailed", 1, {}) in ports.metrics.measured
    ports.sealing.down = None
    ports.clock.advance(seconds=60)
    assert [frame.get("kind") for frame in runner.beat()] == ["clone", None]


def test_the_agents_own_secrets_that_make_no_sense_fail_their_step_too(ports: MemoryPorts) -> None:
    def nonsense() -> dict[str, str]:
        raise AgentStartFailed("not a JSON object")

    session_id = created(ports)
    prepared_up_to(ports, session_id, S.AGENT)
    ports.secrets.read = nonsense  # type: ignore[method-assign]
    begin(ports, session_id, S.AGENT)
    assert ports.machine.answers[token(S.AGENT)] == "AgentStartFailed"


def test_an_earlier_key_is_good_while_it_is_there(ports: MemoryPorts) -> None:
    session_id = created(ports, encryptedSecrets=secrets("A"))
    ports.sealing.key_id, ports.sealing.earlier = "key-2", {"key-1"}
    runner = prepared_up_to(ports, session_id, S.CLONE)
    begin(ports, session_id, S.CLONE)
    assert runner.frames()[-1]["args"]["sealed"]["names"] == ["A"]
    assert sealing.encryption_key(ports)["keyId"] == "key-2"


def test_a_deployment_without_a_key_takes_no_secrets(ports: MemoryPorts) -> None:
    ports.policy = ports.policy.model_copy(update={"takes_secrets": False})
    with pytest.raises(ValidationFailed) as refused:
        created(ports, encryptedSecrets=secrets("A"))
    assert [error["loc"] for error in refused.value.errors] == [["encryptedSecrets"]]
    session_id = created(ports, autoInitiate=False)
    patch = PatchSession.model_validate({"encryptedSecrets": secrets("A")})
    with pytest.raises(ValidationFailed):
        talk.patch_session(ports, "alice", session_id, patch)


def test_what_an_earlier_version_took_for_secrets_is_said_to_be_of_no_use() -> None:
    old = SessionConfig(encrypted_secrets={"names": ["A"], "envelope": "x"})
    with pytest.raises(SecretsUnavailable, match="earlier version"):
        secrets_of(old)


def test_new_secrets_have_the_setup_run_again(ports: MemoryPorts) -> None:
    session_id = created(ports, encryptedSecrets=secrets("A"), autoInitiate=False)
    patch = PatchSession.model_validate({"encryptedSecrets": secrets("A", iv="AgICAgICAgICAgIC")})

    def set_up(work: Any) -> None:
        work.session.set_up = True

    change(ports, session_id, set_up)
    talk.patch_session(ports, "alice", session_id, patch)
    assert not ports.store.session(session_id).set_up


# Settings that name secrets.


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        (
            {"mcpServers": {"a": {"headers": {"X": "Bearer {secret:B}"}}}},
            ("mcpServers", "a", "headers", "X"),
        ),
        ({"mcpServers": {"a": {"command": ["x", "{secret:}"]}}}, ("mcpServers", "a", "command", 1)),
        ({"appendSystemPrompt": "{secret:A} {secret:B}"}, ("appendSystemPrompt",)),
        ({"appendSystemPrompt": "{secret:GIT_TOKEN}"}, ("appendSystemPrompt",)),
    ],
)
def test_a_setting_can_only_name_a_secret_that_is_sent(
    settings: dict[str, Any], place: tuple[Any, ...]
) -> None:
    with pytest.raises(ValidationFailed) as refused:
        check_named(settings, ["A", "GIT_TOKEN"])
    assert [error["loc"] for error in refused.value.errors] == [[*place]]


def test_the_names_may_come_in_another_call_than_the_settings(ports: MemoryPorts) -> None:
    settings = {"mcpServers": {"a": {"env": {"T": "{secret:A}"}}}}
    with pytest.raises(ValidationFailed):
        created(ports, **settings)
    session_id = created(ports, **settings, encryptedSecrets=secrets("A"), autoInitiate=False)
    without = PatchSession.model_validate({"encryptedSecrets": None})
    with pytest.raises(ValidationFailed):
        talk.patch_session(ports, "alice", session_id, without)
    both = PatchSession.model_validate({"encryptedSecrets": None, "mcpServers": None})
    talk.patch_session(ports, "alice", session_id, both)


def test_settings_are_filled_in_everywhere_and_are_otherwise_as_they_were() -> None:
    values = {"A": "one", "B": "{secret:A}"}
    settings = {"x": ["{secret:A}-{secret:B}", 1, None, True], "{secret:A}": {"y": "{env:A}"}}
    assert filled(settings, values.get) == {
        "x": ["one-{secret:A}", 1, None, True],
        "{secret:A}": {"y": "{env:A}"},
    }
    for name in ("C", "GIT_TOKEN"):
        with pytest.raises(LookupError):
            filled(f"{{secret:{name}}}", {"GIT_TOKEN": "x"}.get)


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        (
            {"callbackTarget": {"url": "https://x.test", "headers": {"A": "Bearer {secret:A}"}}},
            ["callbackTarget", "headers", "A"],
        ),
        ({"envVars": {"T": "{secret:A}"}}, ["envVars", "T"]),
    ],
)
def test_where_no_secret_is_filled_in_none_can_be_named(
    ports: MemoryPorts, settings: dict[str, Any], place: list[Any]
) -> None:
    with pytest.raises(ValidationFailed) as refused:
        created(ports, **settings, encryptedSecrets=secrets("A"))
    assert [error["loc"] for error in refused.value.errors] == [place]
    session_id = created(ports, autoInitiate=False, encryptedSecrets=secrets("A"))
    with pytest.raises(ValidationFailed):
        talk.patch_session(ports, "alice", session_id, PatchSession.model_validate(settings))


def test_a_warning_leads_to_where_the_secret_can_go() -> None:
    headers = {"Authorization": "Bearer correct-horse"}
    given = {
        "callbackTarget": {"url": "https://x.test", "headers": headers},
        "setupCommands": ["curl -H 'X: {secret:A}'"],
    }
    said = warnings_of(PatchSession.model_validate(given))
    assert [warning["loc"] for warning in said] == [
        ["callbackTarget", "headers", "Authorization"],
        ["setupCommands", 0],
    ]
    assert "the signature says who calls" in said[0]["msg"]
    assert "encryptedSecrets" not in said[0]["msg"]
    assert "$NAME" in said[1]["msg"]


# Warnings.

REQUEST = {"prompt": "Add a health check", "githubRepo": "org/name"}
TOKEN = "ghp_abcdefghij0123456789abc"


@pytest.mark.parametrize(
    ("given", "places"),
    [
        ({"envVars": {"API_TOKEN": "correct-horse"}}, [["envVars", "API_TOKEN"]]),
        ({"envVars": {"X": TOKEN}}, [["envVars", "X"]]),
        ({"envVars": {"DB": "postgres://u:correct-horse@h/x"}}, [["envVars", "DB"]]),
        ({"envVars": {"CI": "1", "API_TOKEN": "short", "TOKEN_URL": "https://x.test"}}, []),
        ({"setupCommands": ["ls", f"echo {TOKEN}"]}, [["setupCommands", 1]]),
        ({"setupCommands": ["npm ci", "echo $NPM_TOKEN"]}, []),
        ({"prompt": f"Use {TOKEN}"}, [["prompt"]]),
        ({"prompt": "Use the token of the wiki"}, []),
        ({"appendSystemPrompt": "-----BEGIN RSA PRIVATE KEY-----"}, [["appendSystemPrompt"]]),
        (
            {"mcpServers": {"a": {"headers": {"Authorization": "Bearer correct-horse"}}}},
            [["mcpServers", "a", "headers", "Authorization"]],
        ),
        (
            {"mcpServers": {"a": {"command": ["x", "--token", "correct-horse"]}}},
            [["mcpServers", "a", "command", 2]],
        ),
        (
            {
                "mcpServers": {
                    "a": {"headers": {"Authorization": "Bearer {secret:A}"}, "env": {"T": "1"}}
                },
                "encryptedSecrets": secrets("A"),
            },
            [],
        ),
    ],
)
def test_what_looks_like_a_credential_is_answered_with_a_warning(
    ports: MemoryPorts, given: dict[str, Any], places: list[list[Any]]
) -> None:
    request = CreateSession.model_validate(REQUEST | given)
    first = create_session(ports, "alice", request, "key")
    again = create_session(ports, "alice", request, "key")
    assert [warning["loc"] for warning in first["warnings"]] == places
    assert again["warnings"] == first["warnings"]
    assert "correct-horse" not in json.dumps(first)
    assert TOKEN not in json.dumps(first)


def test_no_more_than_twenty_warnings_are_answered() -> None:
    request = PatchSession(env_vars={f"TOKEN_{n}_KEY": "correct-horse" for n in range(30)})
    assert len(warnings_of(request)) == 20


def test_where_warnings_fail_nothing_is_left_behind(
    ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> Any:
        raise RecursionError

    session_id = created(ports, autoInitiate=False)
    before = ports.store.session(session_id)
    monkeypatch.setattr(create, "warnings_of", broken)
    monkeypatch.setattr(talk, "warnings_of", broken)
    with pytest.raises(RecursionError):
        create.create_session(ports, "bob", CreateSession.model_validate(REQUEST), None)
    with pytest.raises(RecursionError):
        talk.patch_session(ports, "alice", session_id, PatchSession(prompt="Another"))
    with pytest.raises(RecursionError):
        talk.retry(ports, "alice", session_id, RetrySession(attempt_number=1))
    assert list_sessions(ports, "bob", None)["items"] == []
    assert ports.store.session(session_id) == before


def test_the_public_key_is_told_and_who_has_none_says_so(ports: MemoryPorts) -> None:
    assert sealing.encryption_key(ports) == {
        "keyId": "key-1",
        "algorithm": "RSA-OAEP-256",
        "publicKey": base64.b64encode(ports.sealing.spki).decode(),
    }

    def none() -> Any:
        raise EncryptionKeyNotFound()

    ports.sealing.public_key = none  # type: ignore[method-assign]
    with pytest.raises(EncryptionKeyNotFound):
        sealing.encryption_key(ports)
