"""Secrets as callers of the API see them: the key, what is refused, and what is warned of."""

import json
from typing import Any

import pytest

from headstart.adapters.memory import MemoryPorts
from headstart.domain.errors import ServiceUnavailable
from headstart.domain.life import preparing
from headstart.usecases.change import change
from headstart_docs.answers import ChangedSession, EncryptionKey, SentMessage
from headstart_docs.in_process import Api
from tests.api.test_bad_input import VALID, problem
from tests.envelopes import secrets

TOKEN = "ghp_abcdefghij0123456789abc"
WARNED = [{"loc": ["envVars", "API_KEY"], "msg": "looks like a credential, and is kept as it is: "
           "send it in encryptedSecrets"}]  # fmt: skip


def test_the_key_may_be_kept_by_caches_for_as_long_as_we_keep_it(api: Api) -> None:
    answer = api.call("GET", "/encryption-key")
    assert (answer.status, answer.headers["cache-control"]) == (200, "public, max-age=300")
    assert EncryptionKey.model_validate_json(answer.text).key_id == "key-1"


def test_a_key_that_can_not_be_had_is_said_so_and_kept_by_nobody(
    api: Api, ports: MemoryPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down() -> Any:
        raise ServiceUnavailable("GetPublicKey: ThrottlingException")

    monkeypatch.setattr(ports.sealing, "public_key", down)
    answer = api.call("GET", "/encryption-key")
    problem(answer, 503, "ServiceUnavailable")
    assert answer.headers["cache-control"] == "no-store"


def test_the_answer_shows_how_many_secrets_there_are_and_nothing_of_them(api: Api) -> None:
    sent = secrets("NPM_TOKEN", "WIKI")
    created = api.call("POST", "/sessions", VALID | {"encryptedSecrets": sent})
    assert (created.status, created.json["warnings"]) == (202, [])
    shown = api.call("GET", f"/sessions/{created.json['sessionId']}")
    assert shown.json["counts"]["encryptedSecrets"] == 2
    assert "NPM_TOKEN" not in shown.text
    assert sent["envelope"]["ciphertext"] not in shown.text
    assert "warnings" not in shown.json


def test_every_call_that_takes_settings_warns_of_credentials_in_the_open(
    api: Api, ports: MemoryPorts
) -> None:
    given = {"envVars": {"API_KEY": TOKEN}}
    created = api.call("POST", "/sessions", VALID | given | {"autoInitiate": False})
    path = f"/sessions/{created.json['sessionId']}"
    patched = api.call("PATCH", path, given)
    change(ports, created.json["sessionId"], preparing.cancel)
    retried = api.call("POST", f"{path}/retry", {"attemptNumber": 1, **given})
    assert [created.status, patched.status, retried.status] == [202, 200, 202]
    for answer in (created, patched, retried):
        assert answer.json["warnings"] == WARNED
        assert TOKEN not in answer.text
    for answer in (patched, retried):
        ChangedSession.model_validate_json(answer.text)
    assert api.call("PATCH", path, {"model": "p/m"}).json["warnings"] == []


def test_a_repeat_answers_the_same_warnings(api: Api) -> None:
    body, key = VALID | {"prompt": f"Use {TOKEN}"}, {"Idempotency-Key": "one"}
    first, again = (api.call("POST", "/sessions", body, headers=key) for _ in range(2))
    assert first.json["sessionId"] == again.json["sessionId"]
    assert first.json["warnings"] == again.json["warnings"] != []
    assert json.dumps(first.json["warnings"]).count("prompt") == 1


def test_a_later_message_warns_too_and_a_list_of_them_does_not(api: Api) -> None:
    created = api.call("POST", "/sessions", VALID).json["sessionId"]
    path, key = f"/sessions/{created}/messages", {"Idempotency-Key": "one"}
    said = [api.call("POST", path, {"prompt": f"Use {TOKEN}"}, headers=key) for _ in range(2)]
    for answer in said:
        assert [warning["loc"] for warning in answer.json["warnings"]] == [["prompt"]]
        SentMessage.model_validate_json(answer.text)
    assert "warnings" not in api.call("GET", path).text
    assert api.call("POST", path, {"prompt": "And then?"}).json["warnings"] == []
